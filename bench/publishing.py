"""Rates of acknowledged publishing: as NDJSON, as pipelined commands, at a steady rate.

The time ends when the last acknowledgement has been read, and every message has to reach
every subscriber. Bodies and frames are made before it begins.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic_ns as clock

from bench import http
from bench.latency import Percentiles
from bench.report import Figures
from bench.traffic import publication, texts
from bench.websocket import Client, Json, Parser, command, listening

SECOND = 1_000_000_000
TEXT_LENGTH = 132  # characters, which makes a message of 350 bytes as it is delivered
TEXTS = 1024


@dataclass(frozen=True)
class Publishing:
    """`count` messages to `subscribers`, from `publishers` at the same time."""

    count: int = 150_000
    subscribers: int = 10
    publishers: int = 2
    per_body: int = 1000
    in_flight: int = 500


def messages(count: int) -> list[Json]:
    known = texts(TEXT_LENGTH, TEXTS)
    return [publication(n, known[n % TEXTS])["message"] for n in range(count)]


def by_ndjson(url: str, work: Publishing) -> Figures:
    lines = [json.dumps(each, separators=(",", ":")) for each in messages(work.per_body)]
    request = http.publication([line.encode() for line in lines])
    bodies = work.count // work.per_body // work.publishers

    def publish() -> int:
        connection = http.Http(url)
        for _ in range(bodies):
            connection.send(request)
        connection.close()
        return bodies * work.per_body

    return _timed(url, work, publish)


def by_commands(url: str, work: Publishing) -> Figures:
    frames = [command({"action": "publish", "message": each}) for each in messages(work.in_flight)]
    half = len(frames) // 2
    bursts = b"".join(frames[:half]), b"".join(frames[half:])
    rounds = work.count // work.in_flight // work.publishers

    def publish() -> int:
        client = Client(url)
        client.sock.sendall(b"".join(bursts))
        for number in range(2 * rounds):
            _await_acknowledgements(client, half)
            if number < 2 * rounds - 2:
                client.sock.sendall(bursts[number % 2])
        client.close()
        return rounds * work.in_flight

    return _timed(url, work, publish)


def _await_acknowledgements(client: Client, count: int) -> None:
    for _ in range(count):
        answer = client.read()
        if b'"published"' not in answer:
            raise SystemExit(f"not taken: {answer!r}")


def at_a_pace(url: str, rate: float, seconds: float) -> Figures:
    """Publish a message every 1/`rate` s; its acknowledgement is timed from when it was due."""
    count = round(rate * seconds)
    frames = [command({"action": "publish", "message": each}) for each in messages(TEXTS)]
    client = Client(url)
    client.sock.setblocking(False)
    start = clock()
    dues = [start + round(number * SECOND / rate) for number in range(count)]
    taken: list[int] = []
    sent, outbox, parser = 0, b"", Parser()
    deadline = dues[-1] + 20 * SECOND
    while len(taken) < count and clock() < deadline:
        now = clock()
        while sent < count and dues[sent] <= now:
            outbox += frames[sent % TEXTS]
            sent += 1
        if outbox:
            outbox = outbox[client.sock.send(outbox) :]
        wait = dues[sent] - clock() if sent < count else SECOND
        if select.select([client.sock], [], [], max(0, wait) / SECOND)[0]:
            answers = parser.feed(client.sock.recv(1 << 18))
            now = clock()
            taken += [now - dues[len(taken) + n] for n, _ in enumerate(answers)]
    client.sock.setblocking(True)
    client.close()
    return {**Percentiles.of(taken).figures("ack "), "unacknowledged": float(count - len(taken))}


def _timed(url: str, work: Publishing, publish: Callable[[], int]) -> Figures:
    with _subscribed(url, work.subscribers) as audience, ThreadPoolExecutor() as pool:
        began = clock()
        published = sum(pool.map(lambda _: publish(), range(work.publishers)))
        acknowledged = clock()
        missing = audience.missing(published)
    return {
        "messages/s": published * SECOND / (acknowledged - began),
        "messages": float(published),
        "subscribers' missing": float(missing),
    }


class _Audience:
    """Subscribers that read in a thread of their own and count bytes."""

    def __init__(self, url: str, count: int) -> None:
        self._clients = [Client(listening(url)) for _ in range(count)]
        self._received = dict.fromkeys(self._clients, 0)
        self._frame = self._measured(url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _measured(self, url: str) -> int:
        """Size of each delivered frame: all messages have one length."""
        publisher = Client(url)
        publisher.ask({"action": "publish", "message": messages(1)[0]})
        publisher.close()
        sizes = {len(client.read_until(b'"seq":')) for client in self._clients}
        [size] = sizes
        return size + 4  # the head of a frame of this size

    def _read(self) -> None:
        sink = bytearray(1 << 20)
        poll = select.poll()
        by_descriptor = {client.sock.fileno(): client for client in self._clients}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        while not self._stop.is_set():
            for descriptor, _ in poll.poll(100):
                client = by_descriptor[descriptor]
                self._received[client] += client.sock.recv_into(sink, 0, socket.MSG_TRUNC)

    def missing(self, published: int) -> int:
        """Wait some seconds; return the number of messages that have not arrived."""
        deadline = clock() + 10 * SECOND
        expected = published * self._frame
        while min(self._received.values()) < expected and clock() < deadline:
            time.sleep(0.05)
        return sum(max(0, expected - got) // self._frame for got in self._received.values())

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for client in self._clients:
            client.sock.close()


@contextmanager
def _subscribed(url: str, count: int) -> Iterator[_Audience]:
    audience = _Audience(url, count)
    try:
        yield audience
    finally:
        audience.close()
