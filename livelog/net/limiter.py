"""How much one address and one user may have of the server, and who is kept out for a while.

Besides what a connection may send there is one bucket for all of a user's connections and requests,
and one for all of an address's. An address that keeps failing is blocked for a time. The rule: what
is known of strangers is bounded. Whoever has been quiet until all of his buckets are full again is
forgotten, and beyond so many the one who has been quiet longest.

Never blocked are this machine itself and trusted proxies: everybody behind them would be, too.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from livelog.auth.principal import ANYBODY, NOBODY, Principal
from livelog.config import Config
from livelog.errors import (
    AUTHENTICATION_FAILED,
    INVALID_TOKEN,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    RATE_LIMIT_EXCEEDED,
    TOKEN_EXPIRED,
    RefusedError,
)
from livelog.net.addresses import Networks, is_loopback, limited_as
from livelog.net.audit import Audit
from livelog.net.tokenbucket import Rate, TokenBucket

Scope = Literal["messages", "commands"]

_REMEMBERED = 50_000
"""Addresses, and users; some 600 bytes each."""
_SWEPT = 500
"""Of them that are looked at in one turn."""
_SERVICES = {"publish:any", "admin"}
"""Scopes of programs that work for many users; their address is limited, not they."""
_HELD_AGAINST = {
    AUTHENTICATION_FAILED,
    INVALID_TOKEN,
    TOKEN_EXPIRED,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    RATE_LIMIT_EXCEEDED,
}
"""Refusals that lead to a block when there are many; faults of ours and big bodies do not."""


class Waiting(Protocol):
    """A connection that is no WebSocket, or not yet."""

    def give_way(self) -> bool:
        """Go, to make room for a new one; False when there is something left to answer."""

    def __hash__(self) -> int: ...


class _Share:
    """What is left of the limits of a user."""

    __slots__ = ("commands", "messages")

    def __init__(self, messages: Rate, commands: Rate) -> None:
        self.messages = TokenBucket(messages)
        self.commands = TokenBucket(commands)

    def idle(self, now: float) -> bool:
        """Nothing would be lost by forgetting it."""
        return max(self.messages.full_at, self.commands.full_at) <= now


class _Visitor(_Share):
    """What is left of those of an address, and what speaks against it."""

    __slots__ = ("blocked_until", "failures")

    def __init__(self, messages: Rate, commands: Rate, failures: Rate) -> None:
        super().__init__(messages, commands)
        self.failures = TokenBucket(failures)
        self.blocked_until = -math.inf

    def idle(self, now: float) -> bool:
        """Nothing would be lost by forgetting it."""
        return super().idle(now) and max(self.failures.full_at, self.blocked_until) <= now


AnyShare = TypeVar("AnyShare", bound=_Share)


class _Book(Generic[AnyShare]):
    """Shares by name, the longest untouched first."""

    def __init__(self, new: Callable[[], AnyShare]) -> None:
        self._new = new
        self._shares: OrderedDict[str, AnyShare] = OrderedDict()

    def __len__(self) -> int:
        return len(self._shares)

    def of(self, name: str) -> AnyShare:
        """The share of `name`, a full one if it is not known."""
        share = self._shares.get(name)
        if share is None:
            share = self._shares[name] = self._new()
            if len(self._shares) > _REMEMBERED:
                self._shares.popitem(last=False)
        else:
            self._shares.move_to_end(name)
        return share

    def known(self, name: str) -> AnyShare | None:
        """The share of `name`, if there is one."""
        return self._shares.get(name)

    def sweep(self, now: float) -> None:
        """Look at some, and forget those that are idle."""
        for _ in range(min(_SWEPT, len(self._shares))):
            name, share = self._shares.popitem(last=False)
            if not share.idle(now):
                self._shares[name] = share


class Limiter:
    """Keeps the limits of addresses and users. `clock` is the loop's."""

    def __init__(
        self, config: Config, proxies: Networks, clock: Callable[[], float], incidents: Audit
    ) -> None:
        self._config = config
        self._proxies = proxies
        self._clock = clock
        self._audit = incidents
        window = config.limits.limit_window
        self._of_user = (
            Rate(config.limits.user_message_limit, window),
            Rate(config.limits.user_command_limit, window),
        )
        self._of_address = (
            Rate(config.limits.address_message_limit, window),
            Rate(config.limits.address_command_limit, window),
            Rate(config.limits.block_after, window),
        )
        self._users = _Book(lambda: _Share(*self._of_user))
        self._addresses = _Book(lambda: _Visitor(*self._of_address))
        self._waiting: OrderedDict[Waiting, str] = OrderedDict()  # the longest silent first
        self._waiting_from: Counter[str] = Counter()

    # Connections that are no WebSockets (yet).

    def enter(self, connection: Waiting, address: str) -> None:
        """Count a new connection. Raises `RefusedError` when too many of `address` are waiting.

        When too many of all are, the one that has been silent longest has to go.
        """
        here, limit = self._limited(address), self._config.limits.waiting_per_ip
        if here:
            self.check(address)
            if self._waiting_from[here] >= limit:
                raise _too_many("address", f"{limit} connections from there wait already", 1)
        self._waiting[connection] = here
        self._waiting_from[here] += 1
        if len(self._waiting) > self._config.limits.waiting_connections:
            self._make_room()

    def leave(self, connection: Waiting) -> None:
        """The connection has gone, or has become a WebSocket."""
        here = self._waiting.pop(connection, None)
        if here is not None:
            self._waiting_from[here] -= 1
            if not self._waiting_from[here]:
                del self._waiting_from[here]

    def heard(self, connection: Waiting) -> None:
        """The connection has made a request."""
        if connection in self._waiting:
            self._waiting.move_to_end(connection)

    def _make_room(self) -> None:
        oldest = next(iter(self._waiting))
        if oldest.give_way():
            self._audit.report("room", self._waiting[oldest], "had to make room for others")
            self.leave(oldest)
        else:
            self._waiting.move_to_end(oldest)

    # What is sent.

    def spend(self, scope: Scope, address: str, principal: Principal = ANYBODY) -> None:
        """Take one of `scope` from the address and from the user. Raises `RefusedError`."""
        now = self._clock()
        for whose, share in self._shares(address, principal):
            bucket: TokenBucket = getattr(share, scope)
            if not bucket.take(now):
                limit, window = bucket.rate
                issue = f"over the limit of {limit} {scope} in {window:g} seconds of this {whose}"
                raise _too_many(scope, issue, bucket.retry_after(now))

    def charge(self, count: int, address: str, principal: Principal = ANYBODY) -> None:
        """Take `count` messages more of a request that was let in, though it be on credit."""
        now = self._clock()
        for _, share in self._shares(address, principal):
            share.messages.charge(now, count)

    def _shares(self, address: str, principal: Principal) -> list[tuple[str, _Share]]:
        shares: list[tuple[str, _Share]] = []
        if here := self._limited(address):
            shares.append(("address", self._addresses.of(here)))
        somebody = not principal.open and principal is not NOBODY
        if self._config.limits.enforced and somebody and not principal.scopes & _SERVICES:
            shares.append(("user", self._users.of(principal.id)))
        return shares

    # Those who fail.

    def check(self, address: str) -> None:
        """Raises `RefusedError` when the address is blocked."""
        visitor = self._addresses.known(limited_as(address))
        if visitor is not None and visitor.blocked_until > (now := self._clock()):
            issue = "this address is blocked for a while, it has failed too often"
            raise _too_many("address", issue, visitor.blocked_until - now)

    def refused(self, address: str, refused: RefusedError) -> None:
        """A request or a connection of `address` was refused."""
        known = refused.code == RATE_LIMIT_EXCEEDED and refused.field == "address"
        if refused.code in _HELD_AGAINST and not known:
            self.failed(address)

    def failed(self, address: str) -> None:
        """`address` has failed to say who it is, or was refused: too often, and it is blocked."""
        here = self._limited(address)
        if not here or is_loopback(address) or self._proxies.trusts(address):
            return
        now, visitor = self._clock(), self._addresses.of(here)
        visitor.failures.charge(now)
        if visitor.failures.retry_after(now) > 0 and visitor.blocked_until <= now:
            seconds = self._config.limits.block_seconds
            visitor.blocked_until = now + seconds
            what = f"is blocked for {seconds:g} seconds, it has failed too often"
            self._audit.report("block", address, what)

    # Time.

    def sweep(self) -> None:
        """Forget some of those who have been quiet; called now and then."""
        now = self._clock()
        self._addresses.sweep(now)
        self._users.sweep(now)

    def _limited(self, address: str) -> str:
        """What the limits of `address` are kept by; empty when there are none."""
        return limited_as(address) if self._config.limits.enforced and address else ""


def _too_many(field: str, issue: str, retry_after: float) -> RefusedError:
    return RefusedError(RATE_LIMIT_EXCEEDED, field, issue, retry_after=retry_after)
