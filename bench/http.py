"""One HTTP connection that asks and waits, by hand: no more than a measurement needs."""

from __future__ import annotations

import socket

from bench.websocket import RefusedError, address


class Http:
    """Kept open from one request to the next."""

    def __init__(self, url: str, patience: float = 60) -> None:
        self._sock = socket.create_connection(address(url), patience)
        self._answers = self._sock.makefile("rb")

    def ask(self, target: str) -> bytes:
        """The body that GET gets."""
        return self.send(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def send(self, request: bytes) -> bytes:
        """The body of the answer to a whole request. Raises `RefusedError` for any but a 2xx."""
        self._sock.sendall(request)
        status, size = self._answers.readline(), 0
        while (line := self._answers.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        body = self._answers.read(size)
        if b" 2" not in status[:10]:
            raise RefusedError(f"{status!r} {body[:300]!r}")
        return body

    def close(self) -> None:
        self._answers.close()
        self._sock.close()
