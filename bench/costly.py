"""Requests that are cheap to send and costly to answer, each kind a function.

They are what clients in the field have sent: answers that are not read, bodies of words that no
other message has, filters and texts that share long beginnings, texts that grow when they are
normalized, and searches that are abandoned. Each call sends a bounded amount and returns. Refusals
are taken as answers; what is acknowledged is kept, to be looked for later.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, cycle, islice, product
from string import ascii_lowercase
from threading import Lock
from urllib.parse import quote

from bench.websocket import Client, Json, RefusedError, address

SOURCES = [f"127.0.2.{number}" for number in range(1, 21)]
PATIENCE = 60.0
COMMON = "red dragon"
"""A phrase that the seeded messages have."""

_FEW_BYTES = 4096
"""Receive buffer of a client that does not read."""


def user(content: str, **fields: object) -> Json:
    return {"type": "user", "user_id": "u1", "username": "Ann", "content": content, **fields}


class Attacker:
    """Sends costly requests to one server, from many addresses."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.acknowledged: set[str] = set()
        """The ids of all messages that the server has acknowledged."""
        self._lock = Lock()
        self._sources = cycle(SOURCES)
        self._ids = count()
        self._unread: list[socket.socket] = []

    def close(self) -> None:
        """Close the connections that are held open."""
        for sock in self._unread:
            sock.close()
        self._unread.clear()

    # Each kind.

    def unread_answers(self, connections: int = 15) -> None:
        """Ask for large pages, and leave the answers unread."""
        for sock in self._unread:
            sock.close()
        self._unread = [self._open(_FEW_BYTES) for _ in range(connections)]
        for sock in self._unread:
            sock.sendall(_get("/api/history?limit=1000"))

    def large_messages(self, messages: int = 1000) -> None:
        """Publish messages of 60 KB, to be asked for."""
        text = ("lorem ipsum dolor sit amet " * 3000)[:60_000]
        for _ in range(messages // 100):
            self.publish([user(text) for _ in range(100)])

    def unique_words(self, messages: int = 128) -> None:
        """Publish texts of 60 KB in which no word comes twice."""
        words = map("".join, product(ascii_lowercase, repeat=5))
        self.publish([user(" ".join(islice(words, 10_000))) for _ in range(messages)])

    def long_beginnings(self, subscriptions: int = 20) -> None:
        """Filter and search for a phrase that a text nearly has, very many times."""
        phrase = f'"x {"a" * 200}b"'
        filters = {"text": phrase}
        with self._subscribers(subscriptions, filters):
            for _ in range(3):
                self.publish([user("x " + "a" * 60_000), user("x " + "aa " * 20_000)])
        self.search(phrase, times=5)

    def filtered_texts(self, messages: int = 20) -> None:
        """Publish long texts while somebody filters by a word."""
        with self._subscribers(1, {"text": "dragon"}):
            self.publish([user("lorem ipsum " * 5000) for _ in range(messages)])

    def growing_texts(self) -> None:
        """Publish texts that grow when normalized, and values that are many and small."""
        system = {"type": "system", "event": "error"}
        values: list[list[object]] = [[[]] * 15_000, [f"word{number}" for number in range(5000)]]
        for data in values:
            self.publish([{**system, "data": {"x": data}}])
        self.publish([user("\ufdfa" * 20_000), user("\ufdfa " * 10_000)])

    def abandoned_searches(self, searches: int = 20) -> None:
        """Search for a common phrase at many connections, and leave before the answers."""
        asked = [self._open() for _ in range(searches)]
        phrase = quote(f'"{COMMON}"')
        for number, sock in enumerate(asked):
            page = f"limit=1000&offset={number * 1000}"
            sock.sendall(_get(f"/api/search?query={phrase}&{page}"))
        for sock in asked[::2]:
            sock.close()
        for sock in asked[1::2]:
            with suppress(OSError):
                sock.recv(1 << 16)
            sock.close()

    def seed(self, messages: int = 80_000) -> None:
        """Publish short messages that all have a phrase."""
        for start in range(0, messages, 2000):
            numbers = range(start, min(messages, start + 2000))
            self.publish([user(f"the {COMMON} number {number} has come") for number in numbers])

    # How it is sent.

    def publish(self, messages: list[Json]) -> int:
        """Publish messages in one body; return the status."""
        for message in messages:
            message["id"] = f"attack_{next(self._ids)}"
        body = b"\n".join(json.dumps(message, ensure_ascii=False).encode() for message in messages)
        head = (
            "POST /api/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            status, answer = self._ask(head.encode() + body)
        except OSError:  # refused while it was sent
            return 0
        if status == 201:
            self._note(each["id"] for each in answer["messages"])
        elif status == 503:
            self._note(answer.get("details", {}).get("acknowledged", []))
        return status

    def search(self, query: str, times: int) -> None:
        """Search over HTTP, one after the other."""
        for _ in range(times):
            with suppress(OSError, ValueError):
                self._ask(_get(f"/api/search?query={quote(query)}", close=True))

    def _note(self, ids: Iterator[str]) -> None:
        with self._lock:
            self.acknowledged.update(ids)

    def _ask(self, request: bytes) -> tuple[int, Json]:
        with self._open() as sock:
            sock.sendall(request)
            data = bytearray()
            while more := sock.recv(1 << 18):
                data += more
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), json.loads(body)

    def _open(self, receive_buffer: int = 0) -> socket.socket:
        sock = socket.socket()
        sock.settimeout(PATIENCE)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        with self._lock:
            source = next(self._sources)
        sock.bind((source, 0))
        sock.connect(address(self.url))
        return sock

    @contextmanager
    def _subscribers(self, number: int, filters: Json) -> Iterator[None]:
        clients: list[Client] = []
        subscribe = {"action": "subscribe", "message_types": ["user"], "filters": filters}
        try:
            for _ in range(number):
                with suppress(RefusedError, OSError):
                    clients.append(Client(self.url))
                    clients[-1].ask(subscribe)
            yield
        finally:
            for client in clients:
                client.sock.close()


def _get(target: str, *, close: bool = False) -> bytes:
    ending = "Connection: close\r\n" if close else ""
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{ending}\r\n".encode()


KINDS: tuple[Callable[[Attacker], None], ...] = (
    Attacker.unread_answers,
    Attacker.unique_words,
    Attacker.long_beginnings,
    Attacker.filtered_texts,
    Attacker.growing_texts,
    Attacker.abandoned_searches,
)
"""The costly requests, each in its own function."""
