"""A blocking HTTP client with no more than a measurement needs."""

from __future__ import annotations

import socket

from bench.websocket import RefusedError, address


def publication(messages: list[bytes]) -> bytes:
    """Return the request that publishes messages as NDJSON."""
    body = b"\n".join(messages)
    return (
        b"POST /api/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


class Http:
    """HTTP connection that is kept open from one request to the next."""

    def __init__(self, url: str, patience: float = 60) -> None:
        self._sock = socket.create_connection(address(url), patience)
        self._answers = self._sock.makefile("rb")

    def ask(self, target: str) -> bytes:
        """Return the body of a GET."""
        return self.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def send(self, request: bytes) -> bytes:
        """Send a whole request and return the body; raise `RefusedError` for any but a 2xx."""
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
