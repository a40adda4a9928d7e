"""Connections of a load: subscribers, sampled subscribers and the publisher.

`read` takes all there is and returns; it is called when epoll says so, edge-triggered, on sockets
that do not block. Most subscribers only count bytes (ballast); a sample parses what it reads.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from array import array
from collections.abc import Callable, Iterable
from typing import Protocol

from bench.traffic import STAMP_DIGITS
from bench.websocket import CLOSE, PING, PONG, TEXT, Client, Parser, frame

clock = time.monotonic_ns
SECOND = 1_000_000_000
BATCH = 64
SINK = bytearray(1 << 18)  # what ballast is read into; the kernel leaves it untouched


class Subscriber:
    """Subscriber that only counts the bytes of the stream, which begins after the marker."""

    def __init__(self, client: Client) -> None:
        self.sock = client.sock
        self.received = 0

    def read(self) -> None:
        # Edge-triggered: read on while the sink is filled, or no further event comes.
        while (size := self.sock.recv_into(SINK, 0, socket.MSG_TRUNC)) == len(SINK):
            self.received += size
        self.received += size

    def read_secure(self) -> None:
        """Read over TLS, a record at a time; an `OSError` says that no more has come."""
        while data := self.sock.recv(len(SINK)):
            self.take(data)

    def take(self, data: bytes) -> None:
        self.received += len(data)


class Sampled(Subscriber):
    """Subscriber that parses every frame and times every read."""

    def __init__(self, client: Client, frame_size: int, stamp_at: int) -> None:
        super().__init__(client)
        self._frame_size, self._stamp_at = frame_size, stamp_at
        self._rest = b""
        self.dues = array("q")
        self.latencies = array("q")

    def read(self) -> None:
        while data := self.sock.recv(len(SINK)):
            self._record(data, clock())
            if len(data) < len(SINK):
                break

    def take(self, data: bytes) -> None:
        self._record(data, clock())

    def _record(self, data: bytes, now: int) -> None:
        self.received += len(data)
        data = self._rest + data
        end = len(data) - len(data) % self._frame_size
        self._rest = data[end:]
        for at in range(self._stamp_at, end, self._frame_size):
            due = int(data[at : at + STAMP_DIGITS])
            self.dues.append(due)
            self.latencies.append(now - due)


class Frames(Protocol):
    """Source of publish commands."""

    def frame(self, number: int, due: int) -> bytes:
        """Return the command that publishes message `number`, stamped with its due time."""


class Publisher:
    """Publisher at a steady rate; when late, it sends several messages in one write."""

    def __init__(self, client: Client, traffic: Frames) -> None:
        self.sock, self._traffic = client.sock, traffic
        self._parser = Parser()
        self._outbox = b""
        self.dues: list[int] = []
        self.sent = self.acknowledged = 0
        self.refusals: list[str] = []
        self.lateness = array("q")

    def plan(self, start: int, rate: float, count: int) -> None:
        self.dues = [start + round(number * SECOND / rate) for number in range(count)]

    def send_due(self, now: int) -> int:
        """Send the messages that are due; return the time of the next call."""
        first, dues = self.sent, self.dues
        while self.sent < len(dues) and dues[self.sent] <= now:
            self._outbox += self._traffic.frame(self.sent, dues[self.sent])
            self.lateness.append(now - dues[self.sent])
            self.sent += 1
        if self.sent > first or self._outbox:
            self._flush()
        if self._outbox:
            return now + SECOND // 1000
        return dues[self.sent] if self.sent < len(dues) else now + SECOND

    def _flush(self) -> None:
        try:
            self._outbox = self._outbox[self.sock.send(self._outbox) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            return  # the server reads no faster: what waits counts against its latency

    def read(self) -> None:
        while data := self.sock.recv(len(SINK)):
            for opcode, payload in self._parser.feed(data):
                self._take(opcode, payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._outbox += frame(payload, PONG)
        elif b'"published"' in payload:
            self.acknowledged += 1
        else:
            self.refusals.append(payload.decode("utf-8", "replace"))


class Pump:
    """Event loop that publishes what is due and reads what has come."""

    def __init__(self) -> None:
        self._epoll = select.epoll()  # before the sockets: select() takes descriptors below 1024
        self._readers: dict[int, Callable[[], None]] = {}

    def watch(self, publisher: Publisher, subscribers: Iterable[Subscriber]) -> None:
        self._publisher = publisher
        self._add(publisher.sock, publisher.read)
        for each in subscribers:
            secure = isinstance(each.sock, ssl.SSLSocket)
            self._add(each.sock, each.read_secure if secure else each.read)

    def _add(self, sock: socket.socket, read: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._readers[sock.fileno()] = read
        self._epoll.register(sock, select.EPOLLIN | select.EPOLLET)

    def forget(self, each: Subscriber) -> None:
        self._epoll.unregister(each.sock)

    def run(self, until: int) -> None:
        """Publish and read until the time `until`."""
        readers, publisher, poll = self._readers, self._publisher, self._epoll.poll
        while (now := clock()) < until:
            next_due = publisher.send_due(now)
            events = poll(0, BATCH)
            for descriptor, _ in events:
                try:
                    readers[descriptor]()
                except OSError:
                    continue  # nothing to read, or closed on us: then its bytes will be missing
            if not events:  # select(), because epoll waits in whole milliseconds
                wait = max(0, min(next_due, until) - clock()) / SECOND
                select.select((self._epoll,), (), (), wait)


def farewell(each: Subscriber, frame_size: int, deadline: int) -> tuple[bool, int]:
    """Read on where a stalled subscriber stopped; return whether the policy told and closed it.

    The second value is the number of frames read, with the error and the close frame.
    """
    each.sock.settimeout(max(SECOND // 100, deadline - clock()) / SECOND)
    parser, frames = Parser(), []
    skip = -each.received % frame_size  # the rest of a frame of which a part was read before
    try:
        while data := each.sock.recv(len(SINK)):
            skipped = min(skip, len(data))
            skip -= skipped
            frames += parser.feed(data[skipped:])
            if frames and frames[-1][0] == CLOSE:
                break
    except OSError:
        pass  # reset or silent: judged by what came before
    told = [opcode for opcode, _ in frames[-2:]] == [TEXT, CLOSE] and (
        b'"connection_timeout"' in frames[-2][1] and frames[-1][1][:2] == (1008).to_bytes(2, "big")
    )
    return told, len(frames)
