"""The server that is examined, and how it is asked: each time over a connection of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from threading import Timer
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

from livelog.wire import WEBSOCKET_PATH


class Target:
    """The server, and how to ask it."""

    timeout = 10.0
    """Seconds for each answer to come, and as many again for all of it."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.token = token
        parts = urlsplit(url)
        self.secure = parts.scheme == "wss"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.removesuffix(WEBSOCKET_PATH).rstrip("/")

    def open(self) -> socket.socket:
        """Open a TCP connection."""
        return socket.create_connection((self.host, self.port), self.timeout)

    @contextmanager
    def get(self, path: str) -> Iterator[HTTPResponse]:
        """Ask for a path below the prefix, and close the connection after the block."""
        kind = HTTPSConnection if self.secure else HTTPConnection
        headers = {"Connection": "close"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = kind(self.host, self.port, timeout=self.timeout)
        with closing(connection):
            connection.connect()
            with _ending(connection.sock, 2 * self.timeout):
                connection.request("GET", self.prefix + path, headers=headers)
                with connection.getresponse() as response:
                    yield response

    def connect(self) -> ClientConnection:
        """Open a WebSocket.

        With a socket that exists already no redirect is followed: it is a finding, and whom it
        leads to would be told the token.
        """
        sock = self.open()
        try:
            return connect(
                self.url, sock=sock, open_timeout=self.timeout, close_timeout=1, compression=None
            )
        except ValueError as redirected:
            raise redirected.__cause__ or redirected from None


@contextmanager
def _ending(sock: socket.socket, seconds: float) -> Iterator[None]:
    """End a connection after a while, however much still comes."""

    def end() -> None:
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS, which another thread uses

    timer = Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
