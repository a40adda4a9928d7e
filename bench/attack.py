"""Attacks, and the latency of well-behaved clients meanwhile.

The limits are in force, only those on publishing are lifted, because the load's publisher stands
for many. Attackers come from addresses of their own in 127.0.0.0/8, from this process, and the load
from another; both share the core that the server does not use, so that an attack that keeps its
own side busy harms the load, too: the figures err on the bad side.
"""

from __future__ import annotations

import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, cycle
from multiprocessing.synchronize import Event
from statistics import fmean
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench import loadprocess
from bench.clients import SECOND, Publisher, Pump, clock
from bench.costly import KINDS, PATIENCE, Attacker, user
from bench.latency import Percentiles
from bench.load import Load
from bench.loadprocess import SPAWN
from bench.report import Figures
from bench.server import CORES, Server, started
from bench.traffic import Traffic
from bench.websocket import Client, Json, RefusedError, address, frame, upgrade

LOAD = Load(subscribers=200, rate=200, seconds=10, warmup=2)
MANY = "1000000000"
LIMITS = (
    "--limits", "--message-limit", MANY, "--address-message-limit", MANY,
    "--connections-per-ip", "20000",
)  # fmt: skip
SOURCES = [f"127.0.1.{number}" for number in range(1, 21)]
SLOW_HEAD = b"GET /api/history HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
SLOW_BODY = (
    b"POST /api/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)
SUBSCRIBE = b'{"action":"subscribe","message_types":["user"],"filters":{"user_id":"churn_%d"}}'
CHANGES_AT_ONCE = 20
TEXT_LENGTH = 100
HOUR = 3600
HONEST_PAUSE = 0.1
"""Seconds between two rounds of the honest clients."""

Attack = Callable[[Server, threading.Event], None]


def under(attack: Attack, *options: str) -> Figures:
    """Measure the load without the attack, then with it, on one server."""
    with started("livelog", "--store", "memory", *LIMITS, *options) as server:
        without = loadprocess.figures(LOAD, server)
        over = threading.Event()
        attacker = threading.Thread(target=attack, args=(server, over))
        attacker.start()
        try:
            with loadprocess.running(LOAD, server) as load:
                load.wait_for_stream()
                found = load.figures()
        finally:
            over.set()
            attacker.join()
    return {
        "p95 ms": found["p95 ms"],
        "p95 without ms": without["p95 ms"],
        "max ms": found["max ms"],
        "publish late p99 ms": found["publish late p99 ms"],
        "missing": found["missing"],
        "core %": found["core %"],
        "core % without": without["core %"],
        "memory MB": found["memory MB"],
    }


def half_open(connections: int) -> Figures:
    """Hold requests that never end open; each one the server closes is opened again."""
    held = HalfOpen(connections)
    found = under(held.run)
    return found | {"half-open": fmean(held.counts), "thrown out": float(held.thrown_out)}


class HalfOpen:
    """Connections with an unfinished head or body."""

    def __init__(self, connections: int) -> None:
        self._wanted = connections
        self._begins = cycle([SLOW_HEAD, SLOW_BODY])
        self._sources = cycle(SOURCES)
        self._epoll = select.epoll()
        self._held: dict[int, socket.socket] = {}
        self.thrown_out = 0
        self.counts = list[int]()
        """Number of connections held, at every round."""

    def run(self, server: Server, over: threading.Event) -> None:
        while len(self._held) < self._wanted:
            self._open(server.url)
        while not over.is_set():
            self._drop_dead()
            self.counts.append(len(self._held))
            for _ in range(min(500, self._wanted - len(self._held))):
                self._open(server.url)
            self._dribble()
            over.wait(0.1)
        for sock in self._held.values():
            sock.close()

    def _open(self, url: str) -> None:
        sock = socket.socket()
        sock.bind((next(self._sources), 0))
        sock.connect(address(url))
        sock.setblocking(False)
        sock.send(next(self._begins))
        self._epoll.register(sock, select.EPOLLIN)
        self._held[sock.fileno()] = sock

    def _drop_dead(self) -> None:
        """Forget connections that were answered with an error or closed."""
        for descriptor, _ in self._epoll.poll(0):
            self._epoll.unregister(descriptor)
            self._held.pop(descriptor).close()
            self.thrown_out += 1

    def _dribble(self) -> None:
        """Send another byte on some connections, so that they are not idle."""
        for sock in [*self._held.values()][:: max(1, self._wanted // 50)]:
            try:
                sock.send(b"x")
            except OSError:
                continue


def flood() -> Figures:
    """Open connections without a pause, send a handshake, garbage or nothing, and close them."""
    opened = count()

    def attack(server: Server, over: threading.Event) -> None:
        says, sources = (
            cycle([b"", upgrade(server.url), b"\x16\x03\x01garbage\r\n\r\n"]),
            cycle(SOURCES),
        )
        while not over.is_set():
            with socket.socket() as sock:
                sock.bind((next(sources), 0))
                sock.connect(address(server.url))
                sock.send(next(says))
            next(opened)

    found = under(attack)
    return found | {"connections": float(next(opened))}


def churn(per_second: int, clients: int = 100) -> Figures:
    """Change subscriptions continuously, each to a filter that no other client has."""
    made = Churn(per_second, clients)
    found = under(made.run, "--command-limit", MANY, "--address-command-limit", MANY)
    return found | {"changes/s": made.changes / made.seconds}


class Churn:
    """Clients that change their subscriptions at a steady rate."""

    def __init__(self, per_second: int, clients: int) -> None:
        self._per_second, self._count = per_second, clients
        self.changes = 0
        self.seconds = 0.0

    def run(self, server: Server, over: threading.Event) -> None:
        clients = [Client(server.url) for _ in range(self._count)]
        began = clock()
        for client in cycle(clients):
            if over.is_set():
                break
            client.sock.sendall(b"".join(self._change() for _ in range(CHANGES_AT_ONCE)))
            _discard(client.sock)
            due = began + self.changes * SECOND // self._per_second
            time.sleep(max(0, due - clock()) / SECOND)
        self.seconds = (clock() - began) / SECOND
        for client in clients:
            client.sock.close()

    def _change(self) -> bytes:
        self.changes += 1
        return frame(SUBSCRIBE % self.changes)


def _discard(sock: socket.socket) -> None:
    sock.setblocking(False)
    try:
        while sock.recv(1 << 16):
            pass
    except BlockingIOError:
        sock.setblocking(True)


def costly(rounds: int = 300, clients: int = 40) -> Figures:
    """Send requests that are costly to answer, all kinds at a time; time honest clients beside.

    Each round is a ping, a publish and a search of one of the clients, which have their limits.
    """
    with TemporaryDirectory() as folder:
        options = ("--store", f"{folder}/live.db", "--limits", "--memory-limit", "256M")
        with started("livelog", *options, cores=CORES) as server:
            ready = server.memory()
            attacker = Attacker(server.url)
            attacker.seed()
            attacker.large_messages()
            over = SPAWN.Event()
            # Of its own, or the honest clients would be timed while they wait for its threads.
            process = SPAWN.Process(target=_attack, args=(server.url, over), daemon=True)
            process.start()
            try:
                found = Honest(server.url, clients).run(rounds)
            finally:
                over.set()
                process.join(PATIENCE)
                process.terminate()
            return found | {"memory more MB": (server.peak_memory() - ready) / 1e6}


def _attack(url: str, over: Event) -> None:
    """Send costly requests of all kinds at a time, until it is over."""
    attacker = Attacker(url)
    threads = [threading.Thread(target=_again, args=(kind, attacker, over)) for kind in KINDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    attacker.close()


def _again(kind: Callable[[Attacker], None], attacker: Attacker, over: Event) -> None:
    while not over.is_set():
        with suppress(OSError):
            kind(attacker)


class Honest:
    """Clients that ask as the API intends, one at a time, and time each answer.

    Each has an address of its own, as the attackers have.
    """

    def __init__(self, url: str, clients: int) -> None:
        sources = [f"127.0.3.{number}" for number in range(1, clients + 1)]
        self._clients = [Client(url, PATIENCE, source) for source in sources]
        self._taken: dict[str, list[int]] = {"ping": [], "publish": [], "search": []}
        self._refused = 0

    def run(self, rounds: int) -> Figures:
        for number, client in zip(range(rounds), cycle(self._clients), strict=False):
            message = user(f"honest message {number}")
            self._ask("ping", client, {"action": "ping"})
            self._ask("publish", client, {"action": "publish", "message": message})
            self._ask("search", client, {"action": "search", "query": f"number {number}"})
            time.sleep(HONEST_PAUSE)
        for client in self._clients:
            client.sock.close()
        found: Figures = {"samples of each": float(rounds), "refused": float(self._refused)}
        for kind, taken in self._taken.items():
            found |= Percentiles.of(taken).figures(f"{kind} ")
        return found

    def _ask(self, kind: str, client: Client, command: Json) -> None:
        began = clock()
        try:
            client.ask(command)
        except RefusedError:
            self._refused += 1
        self._taken[kind].append(clock() - began)


def distinct_filters(few: int, many: int) -> Figures:
    """CPU of a message, by the number of filters that it does not match."""
    cost = {number: _cost_of_a_message(number) for number in (few, many)}
    return {
        f"CPU us/message, {few} filters": cost[few],
        f"CPU us/message, {many} filters": cost[many],
        "CPU many / few": cost[many] / cost[few],
    }


def _cost_of_a_message(filters: int, rate: float = 500, seconds: float = 10) -> float:
    with started("livelog", "--store", "memory") as server:
        pump = Pump()
        listening = [_with_filter(server.url, number) for number in range(filters)]
        publisher = Publisher(Client(server.url), Traffic(TEXT_LENGTH))
        pump.watch(publisher, [])
        publisher.plan(clock(), rate, round(rate * seconds))
        pump.run(clock() + SECOND)
        began, sent = server.cpu_ns(), publisher.acknowledged
        pump.run(clock() + round((seconds - 1) * SECOND))
        spent, done = server.cpu_ns() - began, publisher.acknowledged - sent
        for client in listening:
            client.sock.close()
    return spent / 1000 / done


def _with_filter(url: str, number: int) -> Client:
    client = Client(url)
    filters = (
        {"channel": f"channel_{number}", "severity": "info"}
        if number % 2
        else {"text": f"w{number}x"}
    )
    client.ask({"action": "subscribe", "message_types": ["user"], "filters": filters})
    return client


def token_check(connections: int) -> Figures:
    """CPU of a connection from the handshake to the greeting, with and without a token."""
    secret, key = secrets.token_hex(32), ec.generate_private_key(ec.SECP256R1())
    opened = _cost_of_a_connection(connections, "", ())
    hs256 = _cost_of_a_connection(connections, "HS256", ("--jwt-secret", secret), secret)
    with _public(key) as file:
        es256 = _cost_of_a_connection(connections, "ES256", ("--jwt-public-key", file), key)
    return {
        "CPU ms, open": opened,
        "CPU ms more, HS256": hs256 - opened,
        "CPU ms more, ES256": es256 - opened,
    }


@contextmanager
def _public(key: ec.EllipticCurvePrivateKey) -> Iterator[str]:
    with NamedTemporaryFile(suffix=".pem") as file:
        public = key.public_key()
        file.write(
            public.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        file.flush()
        yield file.name


def _cost_of_a_connection(
    connections: int, algorithm: str, options: tuple[str, ...], key: Any = None
) -> float:
    with started("livelog", "--store", "memory", *options) as server:
        urls = [server.url] * connections
        if algorithm:
            urls = [f"{url}?token={_token(n, key, algorithm)}" for n, url in enumerate(urls)]
        Client(urls[0]).close()
        began = server.cpu_ns()
        clients = []
        for url in urls:
            client = Client(url)
            if algorithm:
                client.read_until(b'"authenticated"')
            clients.append(client)
        spent = server.cpu_ns() - began
        for client in clients:
            client.sock.close()
    return spent / 1e6 / connections


def _token(number: int, key: Any, algorithm: str) -> str:
    claims = {"sub": f"user_{number}", "scope": "read", "exp": int(time.time()) + HOUR}
    return jwt.encode(claims, key, algorithm)
