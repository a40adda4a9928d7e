"""A process that the supervisor has forked: a worker, or the one that answers with the figures."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from livelog.cli.workers.worker import OPEN

_LASTED = 10.0
"""Seconds a worker must be ready to count as one that works."""


class Child:
    """A worker that runs, for the supervisor."""

    def __init__(self, number: int, pid: int, channel: socket.socket) -> None:
        self.number = number
        what = f"worker {number}" if number else "the process of the figures"
        self.name = f"{what} (process {pid})"
        self.channel = channel
        self.text = ""
        """The lines that say where it serves, once it is ready."""
        self._ready_at = 0.0

    def read(self) -> bool:
        """Read that it is ready; False at the end of the worker."""
        try:
            data = self.channel.recv(1 << 16)
        except ConnectionError:  # it has died, and an order to it was not read
            data = b""
        if text := data.replace(OPEN, b""):
            self.text, self._ready_at = text.decode(), time.monotonic()
        return bool(data)

    def order(self, order: bytes) -> None:
        """Give it an order, unless it has died."""
        with suppress(OSError):
            self.channel.send(order)

    @property
    def lasted(self) -> bool:
        """Whether it was ready for long enough."""
        return bool(self.text) and time.monotonic() - self._ready_at >= _LASTED
