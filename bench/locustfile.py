"""Locust users who listen, publish, search and page, each waiting on average a second in between.

    python -m locust -f bench/locustfile.py --headless -u 100 -r 20 -t 30s \\
        --host ws://127.0.0.1:8000

against a running server (`python -m livelog --no-limits`). Locust's table then shows the
connections, every command until its answer, and `delivery`: from publishing a message until it
comes back to the user who published it. Everyone receives everything, but times only what is their
own, so one clock suffices wherever the workers run. Locust waits for answers, so it cannot see what
a stalled publisher would hide; `python -m bench fanout` can.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from locust import User, between, task
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATH = "/ws/live-log"
numbers = itertools.count()


class Participant(User):
    """One connection, read by a greenlet of its own."""

    wait_time = between(0.5, 1.5)

    def on_start(self) -> None:
        self.name = f"locust_{next(numbers)}_{time.time_ns()}"
        self.asked: dict[str, tuple[str, float]] = {}
        with self._timed("connect"):
            self.connection = connect(f"{self.host}{PATH}", compression=None, max_size=None)
            self.connection.recv()  # `connected`
        self._ask("subscribe", message_types=["user"])
        self.listener = gevent.spawn(self._listen)

    def on_stop(self) -> None:
        self.connection.close()
        self.listener.join(timeout=5)

    @task(10)
    def publish(self) -> None:
        number = str(next(numbers))
        message = {
            "type": "user",
            "user_id": self.name,
            "username": self.name,
            "content": f"dragon number {number} flies over the northern tower",
            "metadata": {"channel": "general", "number": number},
        }
        self.asked[number] = ("delivery", time.perf_counter())
        self._ask("publish", message=message)

    @task(2)
    def ping(self) -> None:
        self._ask("ping")

    @task(1)
    def search(self) -> None:
        self._ask("search", query="dragon tower", limit=20)

    @task(1)
    def history(self) -> None:
        self._ask("get_history", limit=50, filters={"user_id": self.name})

    def _ask(self, action: str, **fields: Any) -> None:
        """Send a command; the listener times its answer by the `request_id`."""
        request_id = f"r{next(numbers)}"
        self.asked[request_id] = (action, time.perf_counter())
        self.connection.send(json.dumps({"action": action, "request_id": request_id, **fields}))

    def _listen(self) -> None:
        try:
            for text in self.connection:
                self._take(json.loads(text), len(text))
        except ConnectionClosed as closed:
            self._record("connection", 0.0, 0, closed)

    def _take(self, received: dict[str, Any], size: int) -> None:
        if "action" in received:
            key, issue = received.get("request_id", ""), received.get("error_message")
        else:
            key, issue = received["metadata"].get("number", ""), None
        if key in self.asked and received.get("user_id", self.name) == self.name:
            name, since = self.asked.pop(key)
            elapsed = (time.perf_counter() - since) * 1000
            self._record(name, elapsed, size, RuntimeError(issue) if issue else None)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        since = time.perf_counter()
        yield
        self._record(name, (time.perf_counter() - since) * 1000, 0, None)

    def _record(self, name: str, elapsed: float, size: int, issue: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=elapsed,
            response_length=size,
            exception=issue,
        )
