"""Users with tokens, who read public messages and their own direct ones, beside an open server.

On the open server as many users read the public messages only. The same messages are published to
both at the same moments, on the same core one after the other, and the CPU of the server over the
same time is compared. So the ratio holds all that privacy costs while messages flow: finding the
two users of a direct message, and its two deliveries. Authentication is left out; `bench.attack`
measures it. The bytes of every user are counted, so a direct message sent to a wrong user shows as
surplus.
"""

from __future__ import annotations

import gc
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import jwt

from bench.clients import SECOND, Publisher, Pump, Sampled, Subscriber, clock
from bench.latency import Percentiles
from bench.load import HEADER
from bench.report import Figures
from bench.server import Server, started
from bench.traffic import STAMP, Traffic
from bench.websocket import Client, command

DRAIN_SECONDS = 15
TEXT = "x" * 150
TEXT_LENGTH = 100
SAMPLE = 32
HOUR = 3600


@dataclass(frozen=True)
class PrivateLoad:
    """Number of users, and how many of `rate` messages a second are public."""

    users: int = 10_000
    rate: float = 500.0
    public: float = 5.0
    seconds: float = 20.0
    warmup: float = 3.0

    @property
    def messages(self) -> int:
        return round((self.warmup + self.seconds) * self.rate)

    @property
    def every(self) -> int:
        """Distance between two public messages."""
        return round(self.rate / self.public)

    def concerned(self, number: int) -> tuple[int, int]:
        """Return sender and recipient of a direct message; every user gets a turn."""
        sender = number * 7919 % self.users
        return sender, (sender + 1 + number % 97) % self.users


class Mixture:
    """Publish commands of a load."""

    def __init__(self, load: PrivateLoad) -> None:
        self._load = load
        self._public = Traffic(TEXT_LENGTH)

    def frame(self, number: int, due: int) -> bytes:
        if number % self._load.every == 0:
            return self._public.frame(number, due)
        sender, recipient = map(name, self._load.concerned(number))
        message = {
            "type": "dm",
            "from_user_id": sender,
            "from_username": sender,
            "to_user_id": recipient,
            "content": TEXT,
        }
        return command({"action": "publish", "message": message})


def name(user: int) -> str:
    return f"user_{user:05}"


class Access:
    """Connections to a server, with a token for each user if the server has a secret."""

    def __init__(self, url: str, secret: str) -> None:
        self._url, self._secret = url, secret

    def client(self, user: str, types: str = "", scope: str = "read") -> Client:
        made = Client(f"{self._url}?message_types={types}{self._token(user, scope)}")
        if types:
            made.read_until(b'"subscribed"')
        elif self._secret:
            made.read_until(b'"authenticated"')
        return made

    def _token(self, user: str, scope: str) -> str:
        if not self._secret:
            return ""
        claims = {"sub": user, "scope": scope, "exp": int(time.time()) + HOUR}
        return f"&token={jwt.encode(claims, self._secret, 'HS256')}"


def beside_the_open_server(load: PrivateLoad) -> Figures:
    """Measure both servers and compare them."""
    with _server("") as (server, access):
        without = Run(load, server, access, "user").figures()
    with _server(secrets.token_hex(32)) as (server, access):
        found = Run(load, server, access, "user,dm").figures()
    return {
        **found,
        "open: p95 ms": without["p95 ms"],
        "open: core %": without["core %"],
        "CPU / open": found["core %"] / without["core %"],
    }


@contextmanager
def _server(secret: str) -> Iterator[tuple[Server, Access]]:
    options = ("--jwt-secret", secret) if secret else ()
    with started("livelog", "--store", "memory", *options) as server:
        yield server, Access(server.url, secret)


class Run:
    """Load on one server whose users subscribe to `types`."""

    def __init__(self, load: PrivateLoad, server: Server, access: Access, types: str) -> None:
        self._load, self._server, self._pump = load, server, Pump()
        self._private = "dm" in types
        publishing = access.client("game", scope="publish:any")
        mixture = Mixture(load)
        self._learn_sizes(publishing, access.client(name(load.concerned(1)[0]), types), mixture)
        samples = [access.client(f"sample_{n}", "user") for n in range(SAMPLE)]
        self._samples = [Sampled(each, self._public_size, self._stamp_at) for each in samples]
        self._users = [Subscriber(access.client(name(n), types)) for n in range(load.users)]
        self._publisher = Publisher(publishing, mixture)
        self._pump.watch(self._publisher, [*self._samples, *self._users])

    def _learn_sizes(self, publishing: Client, sender: Client, mixture: Mixture) -> None:
        """Measure both kinds of frames: ids, timestamps and seqs always have one length."""
        publishing.sock.sendall(mixture.frame(0, 0))
        public = sender.read_until(STAMP)
        self._public_size = HEADER + len(public)
        self._stamp_at = HEADER + public.index(STAMP) + len(STAMP)
        self._private_size = 0
        if self._private:
            publishing.sock.sendall(mixture.frame(1, 0))
            self._private_size = HEADER + len(sender.read_until(b'"dm"'))
            publishing.read_until(b'"published"')
        publishing.read_until(b'"published"')
        sender.close()

    def figures(self) -> Figures:
        gc.collect()
        gc.disable()
        load, start = self._load, clock() + SECOND // 10
        self._publisher.plan(start, load.rate, load.messages)
        self._pump.run(start + round(load.warmup * SECOND))
        began, cpu = clock(), self._server.cpu_ns()
        self._pump.run(start + round((load.warmup + load.seconds) * SECOND))
        core = 100 * (self._server.cpu_ns() - cpu) / (clock() - began)
        missing, surplus = self._drained()
        gc.enable()
        latencies = [ns for each in self._samples for ns in each.latencies]
        return {
            **Percentiles.of(latencies).figures(),
            "core %": core,
            "missing bytes": float(missing),
            "surplus bytes": float(surplus),
            "unacknowledged": float(load.messages - self._publisher.acknowledged),
        }

    def _drained(self) -> tuple[int, int]:
        """Return missing and surplus bytes, after a while for the rest to come."""
        expected = self._expected()
        deadline = clock() + DRAIN_SECONDS * SECOND
        while clock() < deadline and not self._complete(expected):
            self._pump.run(clock() + SECOND // 100)
        differences = [each.received - expected[n] for n, each in enumerate(self._users)]
        missing = sum(-difference for difference in differences if difference < 0)
        return missing, sum(difference for difference in differences if difference > 0)

    def _complete(self, expected: Counter[int]) -> bool:
        acknowledged = self._publisher.acknowledged >= self._load.messages
        return acknowledged and all(
            each.received >= expected[n] for n, each in enumerate(self._users)
        )

    def _expected(self) -> Counter[int]:
        """Number of bytes that each user has to get."""
        load = self._load
        publics = len(range(0, load.messages, load.every))
        expected = Counter(dict.fromkeys(range(load.users), publics * self._public_size))
        for number in range(load.messages):
            if number % load.every:
                for user in load.concerned(number):
                    expected[user] += self._private_size
        return expected
