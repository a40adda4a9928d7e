"""A blocking WebSocket client: handshake and frames.

It has no more than a measurement needs. The handshake key is a constant, because the answer to
it is then a constant that can be compared. Frames are masked, as they must be, with the key 0: the
server undoes it like any other key, and the client need not spend its core on it.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
from typing import Any
from urllib.parse import urlsplit

KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
NO_MASK = bytes(4)
_TLS = ssl.create_default_context()
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE  # it is the measurement's own certificate, on this machine

Frame = tuple[int, bytes]
Json = dict[str, Any]


class RefusedError(Exception):
    """Unexpected answer of the server."""


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80


def connected(url: str, timeout: float = 20, source: str = "") -> socket.socket:
    """Connect to the server of a URL, with TLS where it says so."""
    sock = socket.create_connection(address(url), timeout, (source, 0) if source else None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _TLS.wrap_socket(sock) if url.startswith("wss:") else sock


def listening(url: str) -> str:
    """Return the URL that subscribes at once to what the load publishes."""
    return f"{url}{'&' if '?' in url else '?'}message_types=user"


def upgrade(url: str) -> bytes:
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return (
        f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def upgraded(data: bytes) -> bytes | None:
    """Return the bytes after the 101 response, or None while the response is incomplete."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    if b" 101 " not in head or ACCEPT not in head:
        raise RefusedError(head.decode("latin-1"))
    return rest


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + NO_MASK + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size) + NO_MASK + payload
    return struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size) + NO_MASK + payload


def command(content: Json) -> bytes:
    return frame(json.dumps(content, separators=(",", ":")).encode())


class Parser:
    """Frame parser that keeps incomplete frames until more bytes come."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        data = self.rest + data
        frames, start = [], 0
        while (span := _payload_at(data, start)) is not None:
            frames.append((data[start] & 15, data[span]))
            start = span.stop
        self.rest = data[start:]
        return frames


def _payload_at(data: bytes, start: int) -> slice | None:
    """Return the place of the payload of the frame at `start`, or None while it is incomplete."""
    if len(data) < start + 2:
        return None
    size = data[start + 1]
    begin = start + {126: 4, 127: 10}.get(size, 2)
    if begin > start + 2:
        size = int.from_bytes(data[start + 2 : begin], "big")
    end = begin + size
    return slice(begin, end) if begin <= len(data) and end <= len(data) else None


class Client:
    """WebSocket connection, open and greeted when the constructor returns.

    It comes from the address `source`, if one is given.
    """

    def __init__(self, url: str, timeout: float = 20, source: str = "") -> None:
        self.sock = connected(url, timeout, source)
        self.sock.sendall(upgrade(url))
        data = b""
        while (rest := upgraded(data)) is None:
            data += self._recv()
        self._parser = Parser()
        self._frames = self._parser.feed(rest)
        greeting = self.read()
        if b'"connected"' not in greeting:
            raise RefusedError(greeting.decode())

    def _recv(self) -> bytes:
        data = self.sock.recv(1 << 16)
        if not data:
            raise RefusedError("closed by the server")
        return data

    def read(self) -> bytes:
        """Return the payload of the next text frame; a ping before it is answered."""
        while True:
            while not self._frames:
                self._frames = self._parser.feed(self._recv())
            opcode, payload = self._frames.pop(0)
            if opcode == TEXT:
                return payload
            if opcode == CLOSE:
                raise RefusedError(f"closed by the server: {payload!r}")
            if opcode == PING:
                self.sock.sendall(frame(payload, PONG))

    def read_until(self, part: bytes) -> bytes:
        while part not in (payload := self.read()):
            pass
        return payload

    def ask(self, content: Json) -> Json:
        """Send a command and return its answer; messages delivered meanwhile are passed over."""
        self.sock.sendall(command(content))
        answer: Json = json.loads(self.read_until(b'"action"'))
        if answer["action"] == "error":
            raise RefusedError(str(answer))
        return answer

    def close(self) -> None:
        """Close as a browser does: send a close frame, wait for the server's and the end."""
        self.sock.sendall(frame((1000).to_bytes(2, "big"), CLOSE))
        while self.sock.recv(1 << 16):
            pass
        self.sock.close()
