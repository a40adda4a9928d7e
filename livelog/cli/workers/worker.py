"""A worker from inside: what the code that serves tells the supervisor, and is told by it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping

STOP, HURRY, RELOAD = b"s", b"h", b"r"
"""Orders: stop over `--drain-seconds`, stop at once, read the certificate again."""

OPEN = b"\0"
"""Told by a worker that serves what it has, and is not ready yet."""

_log = logging.getLogger(__name__)


class Worker:
    """The worker that this process is, for the code that runs in it."""

    def __init__(self, number: int, channel: socket.socket) -> None:
        self.number = number
        self._channel = channel

    def obey(self, orders: Mapping[bytes, Callable[[], object]]) -> None:
        """Call what belongs to an order whenever one comes; without a supervisor, stop."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            data = self._channel.recv(64)
            if not data:
                loop.remove_reader(self._channel)
            for order in data or STOP:
                orders[bytes([order])]()

        loop.add_reader(self._channel, read)

    def open(self, text: str) -> None:
        """Tell the supervisor that the doors are open, and the log why this is not all."""
        _log.warning("%s", text)
        self._channel.sendall(OPEN)

    def ready(self, text: str) -> None:
        """Tell the supervisor."""
        self._channel.sendall(text.encode())
