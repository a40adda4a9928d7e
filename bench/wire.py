"""Bytes on the wire and their cost: shared compression and batches, beside plain frames.

Readers connect as a browser does, with an offer of `permessage-deflate`, to a server with
`--compression off` and to one with `shared`, one after the other. All count the bytes that come; a
few decode them, with zlib, and check that each message comes once and in order. Messages are the
demo's, without direct messages, which are never compressed, or of the text that the other loads
have, in which most words are rare. Latency is from the message's `timestamp`, which the server
gives it, to the decoded message, so it is good to a millisecond.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import ssl
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bench.clients import SINK
from bench.report import Figures
from bench.server import Launch, Server
from bench.traffic import publication, texts
from bench.websocket import Client, Json, command, connected, upgrade, upgraded
from livelog.cli.demo.world import World
from livelog.wire.frames import payloads
from livelog.wire.timestamps import parse_moment

TYPES = ("user", "system", "raid", "party", "guild")
SAMPLED = 4
CORPUS_TEXT = 150
"""Letters of the text of the corpus, which make 350 bytes with the rest of a message."""
_OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
_DRAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Wire:
    """One load of readers and messages."""

    readers: int = 1000
    rate: float = 100
    seconds: float = 8
    warmup: float = 4
    batch: int = 0
    """Milliseconds of a batch; 0 for single messages."""
    audiences: int = 1
    corpus: bool = False
    """Text of rare words in place of the demo's."""
    types: tuple[str, ...] = TYPES
    joining: int = 0
    """Readers that join within a second, at the beginning of what is measured."""


def messages(corpus: bool) -> Iterator[Json]:
    """Make messages without end."""
    if corpus:
        each = texts(CORPUS_TEXT, 1024)
        for number in itertools.count():
            yield publication(number, each[number % len(each)])["message"]
    for message in World(3):
        if message["type"] in TYPES:
            yield message


def target(load: Wire) -> str:
    """Return the parameters with which a reader subscribes."""
    found = f"?message_types={','.join(load.types)}"
    return f"{found}&batch={load.batch}" if load.batch else found


class Reader:
    """A reader that counts bytes; with TLS, those of its records, which it does not decrypt."""

    def __init__(self, url: str) -> None:
        self.sock = connected(url)
        self.sock.sendall(upgrade(url)[:-2] + _OFFER)
        data = b""
        while (rest := upgraded(data)) is None:
            data += self.sock.recv(1 << 12)
        self.received = len(rest)
        self._begin(rest)
        self.sock.setblocking(False)

    def read(self) -> None:
        """Read all there is."""
        while size := self._read():
            self.received += size

    def _read(self) -> int:
        try:
            return self.sock.recv_into(SINK, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            return 0

    def _begin(self, rest: bytes) -> None:
        """Begin, with what came with the handshake."""
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock = socket.socket(fileno=self.sock.detach())


@dataclass
class Found:
    """Figures of a sampled reader."""

    messages: int = 0
    waits: list[float] = field(default_factory=list)
    """Milliseconds."""
    wrong: int = 0
    """Messages out of order, or again."""
    compressed: int = 0
    """Frames."""


class Sampled(Reader):
    """A reader that decodes what comes."""

    def __init__(self, url: str) -> None:
        self.found = Found()
        self._rest = b""
        self._last = 0
        self._inflater = zlib.decompressobj(-15)
        super().__init__(url)

    def _begin(self, rest: bytes) -> None:
        self._take(rest)

    def _read(self) -> int:
        try:
            data = self.sock.recv(1 << 18)
        except (BlockingIOError, ssl.SSLWantReadError):
            return 0
        self._take(data)
        return len(data)

    def _take(self, data: bytes) -> None:
        now = time.time()
        data = self._rest + data
        end = 0
        while (following := _frame_end(data, end)) is not None:
            [body] = payloads(data[end:following])
            if data[end] & 0x40:
                self.found.compressed += 1
                body = self._inflater.decompress(body + b"\x00\x00\xff\xff")
            self._decoded(body, now)
            end = following
        self._rest = data[end:]

    def _decoded(self, body: bytes, now: float) -> None:
        item = json.loads(body)
        for one in item if isinstance(item, list) else [item]:
            if "type" in one:
                self.found.messages += 1
                self.found.wrong += one["seq"] <= self._last
                self._last = one["seq"]
                self.found.waits.append(
                    1000 * now - parse_moment(one["timestamp"], "timestamp") / 1000
                )


def _frame_end(data: bytes, at: int) -> int | None:
    if len(data) < at + 10:  # the longest head; a message is longer
        return None
    size = data[at + 1]
    begin = at + {126: 4, 127: 10}.get(size, 2)
    if size > 125:
        size = int.from_bytes(data[at + 2 : begin], "big")
    return begin + size if len(data) >= begin + size else None


class Run:
    """One load on one server."""

    def __init__(self, server: Server, load: Wire) -> None:
        self._server, self._load = server, load
        self._epoll = select.epoll()
        self.readers: dict[int, Reader] = {}
        self.sampled: list[Sampled] = []
        self._publisher = Client(server.entry or server.url)
        self._publisher.sock.setblocking(False)
        self._outbox = b""
        self.published = 0
        self._messages = messages(load.corpus)
        for number in range(load.readers):
            self.join(number)

    def join(self, number: int) -> None:
        """Open one more reader."""
        reader = self._open(self._server.url + target(self._load), number)
        if self._load.audiences > 1:  # each with a condition of its own, which always holds
            day = f"2000-01-01T00:{number % self._load.audiences // 60:02}:00Z"
            day = day.replace(":00Z", f":{number % self._load.audiences % 60:02}Z")
            asked = {
                "action": "subscribe",
                "message_types": self._load.types,
                "filters": {"date_from": day},
            }
            reader.sock.sendall(command(asked))

    def _open(self, url: str, number: int) -> Reader:
        sampled = number < SAMPLED
        reader = Sampled(url) if sampled else Reader(url)
        if isinstance(reader, Sampled):
            self.sampled.append(reader)
        self.readers[reader.sock.fileno()] = reader
        self._epoll.register(reader.sock, select.EPOLLIN)
        return reader

    def drive(self, seconds: float, joining: int = 0) -> None:
        """Publish at the load's rate for so long, and read."""
        begun, sent, joined = time.monotonic(), 0, 0
        while (passed := time.monotonic() - begun) < seconds:
            due = int(passed * self._load.rate)
            while sent < due:
                content = {"action": "publish", "message": next(self._messages)}
                self._outbox += command(content)
                sent += 1
            while joined < min(joining, int(passed * joining)):
                self.join(self._load.readers + joined)
                joined += 1
            self._flush()
            self.read(0.002)
        self.published += sent

    def _flush(self) -> None:
        try:
            while self._publisher.sock.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        try:
            while self._outbox:
                self._outbox = self._outbox[self._publisher.sock.send(self._outbox) :]
        except BlockingIOError:
            return

    def read(self, timeout: float) -> None:
        """Read what has come."""
        for descriptor, _ in self._epoll.poll(timeout):
            self.readers[descriptor].read()

    def drain(self) -> None:
        """Read until those who decode have everything, or for a while."""
        end = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < end and self._outbox:
            self._flush()
            self.read(0.01)
        while time.monotonic() < end and any(
            one.found.messages < self.published for one in self.sampled
        ):
            self._flush()
            self.read(0.01)

    def received(self) -> dict[int, int]:
        """Return the bytes that came for each reader that only counts them."""
        counting = (item for item in self.readers.items() if not isinstance(item[1], Sampled))
        return {key: one.received for key, one in counting}

    def close(self) -> None:
        """Close all connections."""
        for reader in self.readers.values():
            reader.sock.close()
        self._publisher.sock.close()


def run(launch: Launch, load: Wire, compression: str) -> Figures:
    """Return the figures of one load."""
    with launch.server("--compression", compression) as server:
        return brought(server, load)


def brought(server: Server, load: Wire) -> Figures:
    """Bring a load to a server, or to what stands in front of it; the CPU is that of `server`."""
    here = Run(server, load)
    here.drive(load.warmup)
    for one in here.sampled:
        one.found.waits.clear()
    count, bytes_before = here.published, here.received()
    spent, begun = server.cpu_ns(), time.monotonic()
    here.drive(load.seconds, load.joining)
    spent, took = server.cpu_ns() - spent, time.monotonic() - begun
    published = here.published - count
    here.drain()
    received = _grown(here.received(), bytes_before)
    waits = sorted(wait for one in here.sampled for wait in one.found.waits)
    missing = sum(here.published - one.found.messages for one in here.sampled)
    wrong = sum(one.found.wrong for one in here.sampled)
    compressed = sum(one.found.compressed for one in here.sampled)
    here.close()
    return {
        "bytes a message and reader": received / published,
        "core %": 100 * spent / 1e9 / took,
        "CPU us/delivery": spent / 1000 / published / load.readers,
        "p95 ms": waits[int(len(waits) * 0.95)],
        "missing or wrong": missing + wrong,
        "compressed frames": compressed,
    }


def _grown(after: dict[int, int], before: dict[int, int]) -> float:
    """Return how much has been added in the mean to those who were there before."""
    return sum(after[key] - size for key, size in before.items()) / len(before)


def compared(launch: Launch, load: Wire) -> Figures:
    """Compare a load with and without compression, and with single messages without."""
    plain = run(launch, replace(load, batch=0), "off")
    off = run(launch, load, "off") if load.batch else plain
    shared = run(launch, load, "shared")
    name = "bytes a message and reader"
    return {
        "ratio": plain[name] / shared[name],
        name: shared[name],
        f"{name}, plain": plain[name],
        "core %": shared["core %"],
        "core % without": off["core %"],
        "core % more": shared["core %"] - off["core %"],
        "p95 ms": shared["p95 ms"],
        "p95 ms without": off["p95 ms"],
        "p95 / without": shared["p95 ms"] / off["p95 ms"],
        "missing or wrong": shared["missing or wrong"] + off["missing or wrong"],
        "compressed frames": shared["compressed frames"],
    }


def idle(launch: Launch, connections: int) -> Figures:
    """Memory of a connection that has negotiated compression, subscribes, and gets nothing."""
    with launch.server("--compression", "shared") as server:
        url = server.url + target(Wire())
        first = [Reader(url) for _ in range(connections // 2)]
        time.sleep(1.5)
        before = server.memory()
        rest = [Reader(url) for _ in range(connections - len(first))]
        time.sleep(1.5)
        each = (server.memory() - before) / len(rest) / 1024
        for reader in first + rest:
            reader.sock.close()
    return {"KB each": each, "connections": float(connections)}


def joined(launch: Launch, load: Wire) -> Figures:
    """Compare a storm of readers that join one audience; and the ratio two seconds after it."""
    found = compared(launch, load)
    with launch.server("--compression", "shared") as server:
        here = Run(server, load)
        here.drive(load.warmup)
        here.drive(1, load.joining)
        here.drive(2)
        before, count = here.received(), here.published
        here.drive(2)
        here.drain()
        each = _grown(here.received(), before) / (here.published - count)
        here.close()
    return found | {"ratio after 2 s": found["bytes a message and reader, plain"] / each}
