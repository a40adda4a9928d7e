"""The limiter in whatever order things happen, against a model that forgets nothing."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from livelog import Config
from livelog.auth.principal import ANYBODY, Principal
from livelog.config.check import networks
from livelog.errors import RefusedError
from livelog.net.addresses import Networks, limited_as
from livelog.net.audit import Audit
from livelog.net.limiter import ExhaustedError, Limiter
from livelog.net.quotas import ConnectionQuota, Scope
from livelog.net.tokenbucket import Rate, TokenBucket
from tests.support.clock import Clock
from tests.support.peer import Peer

ADDRESSES = ["203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8::2", "127.0.0.1", ""]
PRINCIPALS = [ANYBODY, Principal("ann"), Principal("bob"), Principal("bot", frozenset({"admin"}))]
CONFIG = Config(
    limit_window=60,
    message_limit=6,
    command_limit=4,
    address_message_limit=12,
    address_command_limit=8,
    user_message_limit=9,
    user_command_limit=5,
    block_after=3,
    block_seconds=100,
    waiting_per_ip=2,
    waiting_connections=4,
    connections_per_ip=2,
)
LIMITS = CONFIG.limits
RATES: dict[tuple[str, str], int] = {
    ("connection", "messages"): LIMITS.message_limit,
    ("connection", "commands"): LIMITS.command_limit,
    ("connection", "refusals"): LIMITS.message_limit,
    ("address", "messages"): LIMITS.address_message_limit,
    ("address", "commands"): LIMITS.address_command_limit,
    ("address", "failures"): LIMITS.block_after,
    ("user", "messages"): LIMITS.user_message_limit,
    ("user", "commands"): LIMITS.user_command_limit,
}

addresses = st.sampled_from(ADDRESSES)
principals = st.sampled_from(PRINCIPALS)
scopes: st.SearchStrategy[Scope] = st.sampled_from(["messages", "commands"])


class Socket(Peer):
    """A connection with an address."""

    def __init__(self, address: str, *, busy: bool) -> None:
        super().__init__(busy=busy)
        self.address = address
        self.quota: ConnectionQuota | None = None


class LimiterMachine(RuleBasedStateMachine):
    """Every rule is done to the limiter and to the model, which must agree."""

    waiting = Bundle("waiting")
    upgraded = Bundle("upgraded")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        proxies = Networks(networks("10.0.0.0/8"))
        self.limiter = Limiter(CONFIG, proxies, self.clock, Audit(self.clock))
        # The model: each bucket there ever was, when blocks end, and connections in their order.
        self.buckets: dict[tuple[str, object, str], TokenBucket] = {}
        self.blocked_until: dict[str, float] = {}
        self.queue: list[Socket] = []
        self.open: list[Socket] = []

    # The model.

    def take(self, kind: str, name: object, scope: str) -> bool:
        return self.bucket(kind, name, scope).take(self.clock.now)

    def bucket(self, kind: str, name: object, scope: str) -> TokenBucket:
        rate = Rate(RATES[kind, scope], LIMITS.limit_window)
        return self.buckets.setdefault((kind, name, scope), TokenBucket(rate))

    def take_shared(self, scope: Scope, address: str, principal: Principal) -> bool:
        if address and not self.take("address", limited_as(address), scope):
            return False
        limited = principal.id in ("ann", "bob")
        return not limited or self.take("user", principal.id, scope)

    def is_blocked(self, address: str) -> bool:
        return self.blocked_until.get(limited_as(address), -math.inf) > self.clock.now

    def count(self, sockets: list[Socket], address: str) -> int:
        return sum(limited_as(each.address) == limited_as(address) for each in sockets)

    # Connections.

    @rule(target=waiting, address=addresses, busy=st.booleans())
    def enter(self, address: str, busy: bool) -> Socket:
        socket = Socket(address, busy=busy)
        crowded = self.count(self.queue, address) >= LIMITS.waiting_per_ip
        if address and (self.is_blocked(address) or crowded):
            with pytest.raises(RefusedError):
                self.limiter.enter(socket, address)
            return socket
        self.limiter.enter(socket, address)
        self.queue.append(socket)
        if len(self.queue) > LIMITS.waiting_connections:
            oldest = self.queue.pop(0)
            self.queue.extend([oldest] if oldest.busy else [])
        return socket

    @rule(socket=waiting)
    def request(self, socket: Socket) -> None:
        self.limiter.heard(socket)
        if socket in self.queue:
            self.queue.remove(socket)
            self.queue.append(socket)

    @rule(target=upgraded, socket=consumes(waiting))
    def upgrade(self, socket: Socket) -> Socket:
        full = self.count(self.open, socket.address) >= LIMITS.connections_per_ip
        if socket.address and full:
            with pytest.raises(RefusedError, match="connections are open"):
                self.limiter.check_upgrade(socket.address)
        else:
            self.limiter.check_upgrade(socket.address)
            self.limiter.leave(socket)
            self.queue = [each for each in self.queue if each is not socket]
            websocket = Socket(socket.address, busy=False)
            websocket.quota = self.limiter.quota()
            self.limiter.upgraded(websocket, websocket.address)
            self.open.append(websocket)
            return websocket
        return socket

    @rule(socket=consumes(waiting) | consumes(upgraded))
    def leave(self, socket: Socket) -> None:
        for _ in range(2):  # once more does no harm
            self.limiter.leave(socket)
        self.queue = [each for each in self.queue if each is not socket]
        self.open = [each for each in self.open if each is not socket]

    # What is sent.

    @rule(scope=scopes, address=addresses, principal=principals)
    def spend(self, scope: Scope, address: str, principal: Principal) -> None:
        if self.take_shared(scope, address, principal):
            self.limiter.spend(scope, address, principal)
        else:
            with pytest.raises(RefusedError) as refused:
                self.limiter.spend(scope, address, principal)
            assert 0 < refused.value.details["retry_after_seconds"] <= LIMITS.limit_window * 50

    @rule(socket=upgraded, scope=scopes, principal=principals)
    def send(self, socket: Socket, scope: Scope, principal: Principal) -> None:
        if socket.quota is None:
            return  # was not upgraded
        granted = self.take("connection", socket, scope) and self.take_shared(
            scope, socket.address, principal
        )
        spend = self.limiter.spend
        if granted:
            spend(scope, socket.address, principal, socket.quota)
        elif self.take("connection", socket, "refusals"):
            with pytest.raises(RefusedError):
                spend(scope, socket.address, principal, socket.quota)
        else:
            with pytest.raises(ExhaustedError):
                spend(scope, socket.address, principal, socket.quota)

    @rule(count=st.integers(0, 20), address=addresses, principal=principals)
    def charge(self, count: int, address: str, principal: Principal) -> None:
        self.limiter.charge(count, address, principal)
        if address:
            self.bucket("address", limited_as(address), "messages").charge(self.clock.now, count)
        if principal.id in ("ann", "bob"):
            self.bucket("user", principal.id, "messages").charge(self.clock.now, count)

    # Failures and time.

    @rule(address=addresses)
    def fail(self, address: str) -> None:
        self.limiter.failed(address)
        if address in ("", "127.0.0.1"):
            return
        failures = self.bucket("address", limited_as(address), "failures")
        failures.charge(self.clock.now)
        if failures.retry_after(self.clock.now) > 0 and not self.is_blocked(address):
            self.blocked_until[limited_as(address)] = self.clock.now + LIMITS.block_seconds

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0, 61.0, 101.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def sweep(self) -> None:
        self.limiter.sweep()

    # What always holds.

    @invariant()
    def everything_agrees(self) -> None:
        self.limiter._check()
        connections = self.limiter.connections
        assert [*connections.waiting] == self.queue
        assert [*connections.websockets] == self.open
        assert len(connections) == len([*connections]) == len(self.queue) + len(self.open)
        for address in ADDRESSES:
            if self.is_blocked(address):
                with pytest.raises(RefusedError, match="blocked"):
                    self.limiter.check(address)
            else:
                self.limiter.check(address)


LimiterMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestLimiter = LimiterMachine.TestCase
