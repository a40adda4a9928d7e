"""Pings without an end: the longest time to a pong shows how long a server was held."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.clients import clock
from bench.websocket import Client


@contextmanager
def pinging(client: Client, pause: float) -> Iterator[list[int]]:
    """Ping during the block, with a pause in seconds behind each pong.

    The list has the nanoseconds to each pong; it is complete behind the block.
    """
    taken, over = list[int](), threading.Event()

    def ping() -> None:
        while not over.is_set():
            began = clock()
            client.ask({"action": "ping"})
            taken.append(clock() - began)
            time.sleep(pause)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()
