"""Answers of the reading process on their way to the server.

The server takes them as fast as its loop comes by, and a large page takes many iterations of it. So
a long answer is cut into parts, and short ones go between them: nobody waits for a page that
somebody else has asked for. `calls` describes the parts.
"""

from __future__ import annotations

import socket
from collections import OrderedDict, deque
from contextlib import suppress

from livelog.store.reader.calls import HEAD, PART, framed

PART_BYTES = 1 << 16
"""Bytes of a part, and of the longest answer that is not cut."""

_FULL_BYTES = 8 << 20
"""Bytes of answers with which it is full: those that can wait are not made before."""


class Outbox:
    """Answers that the server has not taken yet, in front of a socket."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._begun = b""
        """The rest of what has been sent in part."""
        self._short: deque[tuple[int, bytes, bytes]] = deque()
        self._long: OrderedDict[int, tuple[bytes, memoryview]] = OrderedDict()
        """Status and rest of the longer answers, by number of the call; the first has its turn."""
        self._size = 0
        """Bytes of the answers, without what has been begun."""

    def __bool__(self) -> bool:
        return bool(self._begun or self._short or self._long)

    @property
    def is_full(self) -> bool:
        """Tell whether very much is still to be sent."""
        return self._size > _FULL_BYTES

    def put(self, number: int, status: bytes, data: bytes) -> None:
        """Add an answer."""
        self._size += len(data)
        if len(data) > PART_BYTES:
            self._long[number] = status, memoryview(data)
        else:
            self._short.append((number, status, data))

    def drop(self, number: int) -> None:
        """Forget the rest of a long answer that nobody waits for; the number may be unknown."""
        _, rest = self._long.pop(number, (b"", b""))
        self._size -= len(rest)

    def send(self) -> None:
        """Send as much as the server takes now."""
        with suppress(BlockingIOError):
            while self:
                self._begun = self._begun or self._next()
                sent = self._server.send(self._begun, socket.MSG_DONTWAIT)
                self._begun = self._begun[sent:]

    def _next(self) -> bytes:
        """Take what is to be sent next: a short answer, or a part of the long ones in turn."""
        if self._short:
            number, status, data = self._short.popleft()
            self._size -= len(data)
            return framed(HEAD.pack(number, status) + data)
        number, (status, rest) = self._long.popitem(last=False)
        part, rest = rest[:PART_BYTES], rest[PART_BYTES:]
        if rest:
            self._long[number] = status, rest
        self._size -= len(part)
        return framed(HEAD.pack(number, PART if rest else status) + part)
