"""Clients through a restart: one server drains, the next one starts, and all clients reconnect.

The clients behave like livelog's own, but are lighter, because thousands of those would measure
themselves. They reconnect when the server told them to, or by the specification's schedule while no
server listens, and resume from the last `seq` they have seen. Messages are published over HTTP all
the while, each until it is acknowledged, and every client has to get exactly these, in order.
"""

from __future__ import annotations

import heapq
import json
import random
import select
import socket
import threading
from array import array
from collections import Counter
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from urllib.parse import urlsplit

from bench.clients import SECOND, clock
from bench.report import Figures
from bench.server import started
from bench.traffic import STAMP, STAMP_DIGITS, publication
from bench.websocket import CLOSE, Client, Parser, RefusedError, address, frame, upgrade, upgraded

TEXT = "x" * 80
SILENT = 100  # one client in so many does not answer a close
DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 60.0)  # seconds, the specification's
LIMIT_SECONDS = 120
SETTLE = 3 * SECOND


@dataclass(frozen=True)
class RestartLoad:
    """Settings of a restart: clients, message rate, drain time."""

    clients: int = 8000
    rate: float = 2.0
    drain_seconds: float = 10.0


class Publisher(threading.Thread):
    """Thread that publishes at a steady rate, each message until it is acknowledged."""

    def __init__(self, url: str, rate: float) -> None:
        super().__init__(daemon=True)
        self._host, self._rate = urlsplit(url).netloc, rate
        self._ended = threading.Event()
        self.dues: list[int] = []
        """Due times of the acknowledged messages, in order."""

    def end(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(1 / self._rate):
            self.publish()

    def publish(self) -> None:
        due, number = clock(), len(self.dues)
        message = publication(number, TEXT)["message"]
        message["metadata"]["due"] = f"{due:0{STAMP_DIGITS}}"
        message["id"] = f"msg_{due:020}"
        while not self._acknowledged(json.dumps(message)) and not self._ended.wait(0.05):
            pass
        self.dues.append(due)

    def _acknowledged(self, body: str) -> bool:
        connection = HTTPConnection(self._host, timeout=5)
        try:
            connection.request("POST", "/api/messages", body, {"Content-Type": "application/json"})
            return connection.getresponse().status == 201
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


class Follower:
    """Client that follows the log, is disconnected, and reconnects."""

    __slots__ = ("_data", "_parser", "attempts", "back", "dues", "greeted", "number", "seq", "sock")

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.sock = sock
        self._parser: Parser | None = Parser()
        self._data = b""
        self.dues = array("q")  # of the messages it got
        self.seq = 0  # of the last one
        self.attempts = 0
        self.back = -1.0  # seconds until it may reconnect, once it is told to
        self.greeted = 0  # when it was let in again

    def dial(self, url: str) -> None:
        """Begin the next connection."""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.back, self._data, self._parser = -1.0, b"", None
        self.attempts += 1
        self.sock.connect_ex(address(url))

    def greet(self, url: str) -> bool:
        """Send the handshake that resumes after the last message; False if no server listens."""
        if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        self.sock.send(upgrade(f"{url}?message_types=user&since={self.seq}"))
        return True

    def read(self) -> bool:
        """Read what has come; return False when the connection has ended."""
        data = self.sock.recv(1 << 18)
        if not data:
            return False
        if self._parser is None:
            self._data += data
            rest = upgraded(self._data)
            if rest is None:
                return True
            self._parser, data, self.greeted = Parser(), rest, clock()
        return all(self._take(opcode, payload) for opcode, payload in self._parser.feed(data))

    def _take(self, opcode: int, payload: bytes) -> bool:
        if opcode == CLOSE and self.number % SILENT == 0:
            return True  # it is for the server to go
        if opcode == CLOSE:
            self.sock.send(frame(payload, CLOSE))
            return False
        if STAMP in payload:
            at = payload.index(STAMP) + len(STAMP)
            self.dues.append(int(payload[at : at + STAMP_DIGITS]))
            self.seq = int(payload[payload.rindex(b":") + 1 : -1])
        elif b'"disconnected"' in payload:
            self.back = json.loads(payload).get("reconnect_after_ms", -1000) / 1000
        return True


class Followers:
    """All clients, from the first server to the next."""

    def __init__(self, load: RestartLoad, url: str) -> None:
        self._url = url
        self._epoll = select.epoll()
        self._dice = random.Random(0)
        self._away: list[tuple[int, int]] = []  # when who is due back
        self.refused = 0
        """Attempts while no server was listening."""
        clients = [Client(f"{url}?message_types=user") for _ in range(load.clients)]
        for client in clients:
            client.read_until(b'"subscribed"')
            client.sock.setblocking(False)
        self.all = [Follower(n, client.sock) for n, client in enumerate(clients)]
        self._by_descriptor = {each.sock.fileno(): each for each in self.all}
        for descriptor in self._by_descriptor:
            self._epoll.register(descriptor, select.EPOLLIN)

    def run(self, until: int) -> None:
        """Read and reconnect until the time `until`."""
        while (now := clock()) < until:
            while self._away and self._away[0][0] <= now:
                self._dial(self.all[heapq.heappop(self._away)[1]])
            next_ = min(until, self._away[0][0]) if self._away else until
            for descriptor, events in self._epoll.poll(max(0, next_ - clock()) / SECOND, 256):
                self._serve(descriptor, events)

    def _dial(self, follower: Follower) -> None:
        follower.dial(self._url)
        self._by_descriptor[follower.sock.fileno()] = follower
        self._epoll.register(follower.sock, select.EPOLLOUT)

    def _serve(self, descriptor: int, events: int) -> None:
        follower = self._by_descriptor[descriptor]
        try:
            if events & select.EPOLLOUT:
                goes_on = follower.greet(self._url)
                self._epoll.modify(descriptor, select.EPOLLIN)
            else:
                goes_on = follower.read()
        except (OSError, RefusedError):
            goes_on = False
        if not goes_on:
            self._disconnected(descriptor, follower)

    def _disconnected(self, descriptor: int, follower: Follower) -> None:
        self._epoll.unregister(descriptor)
        del self._by_descriptor[descriptor]
        follower.sock.close()
        wait = follower.back
        if wait < 0:
            self.refused += 1
            wait = DELAYS[min(follower.attempts, len(DELAYS) - 1)] * self._dice.random()
        heapq.heappush(self._away, (clock() + round(wait * SECOND), follower.number))

    @property
    def complete(self) -> bool:
        """Whether every client has reconnected."""
        return all(follower.greeted for follower in self.all)


def restarted(load: RestartLoad) -> Figures:
    """Measure a restart: messages, reconnections, and the handshakes of the next server."""
    with TemporaryDirectory() as folder, TwoServers(Path(folder), load) as servers:
        followers = Followers(load, servers.url)
        publisher = Publisher(servers.url, load.rate)
        publisher.start()
        followers.run(clock() + SETTLE)
        servers.change()
        deadline = clock() + LIMIT_SECONDS * SECOND
        while not followers.complete and clock() < deadline:
            followers.run(clock() + SECOND // 10)
        publisher.end()
        followers.run(clock() + SETTLE)
    return figures(followers, publisher.dues, servers)


class TwoServers:
    """One server, and later the next one at the same address on the same file."""

    def __init__(self, folder: Path, load: RestartLoad) -> None:
        self._options = (
            "--store",
            str(folder / "live.db"),
            "--drain-seconds",
            f"{load.drain_seconds}",
        )
        self._changing, self._ending = threading.Event(), threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.url = ""
        self.seconds_away = 0.0
        """Seconds from the end of the first server until the next was ready."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._changing.set()
        self._ending.set()
        self._thread.join()

    def change(self) -> None:
        self._changing.set()

    def _run(self) -> None:
        try:
            with started("livelog", *self._options) as server:
                self.url = server.url
                self._ready.set()
                self._changing.wait()
            gone = clock()
            port = str(urlsplit(self.url).port)
            with started("livelog", *self._options, "--port", port):
                self.seconds_away = (clock() - gone) / SECOND
                self._ending.wait()
        finally:
            self._ready.set()


def figures(followers: Followers, published: list[int], servers: TwoServers) -> Figures:
    clients = followers.all
    wanted = set(published)
    returns = sorted(each.greeted for each in clients if each.greeted)
    middle = returns[len(returns) // 20 : -len(returns) // 20]
    mean = len(middle) / ((middle[-1] - middle[0]) / SECOND)
    peak = max(Counter((at - returns[0]) // SECOND for at in returns).values())
    return {
        "missing": float(sum(len(wanted - set(each.dues)) for each in clients)),
        "doubled": float(sum(len(each.dues) - len(set(each.dues)) for each in clients)),
        "out of order": float(sum(list(each.dues) != sorted(each.dues) for each in clients)),
        "not back": float(sum(not each.greeted for each in clients)),
        "handshakes/s, mean": mean,
        "handshakes/s, peak": float(peak),
        "peak / mean": peak / mean,
        "attempts in vain": float(followers.refused),
        "seconds without a server": servers.seconds_away,
        "seconds until all were back": (returns[-1] - returns[0]) / SECOND,
        "messages": float(len(published)),
    }
