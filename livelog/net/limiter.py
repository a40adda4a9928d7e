"""The limiter: what a connection, a user and an address may have of the server.

There are quotas of three kinds: a connection's own, one for all connections and requests of a user,
and one for all of an address. An address that keeps failing is blocked for a time; `HELD_AGAINST`
says which refusals count as failures. Open connections are counted in the `registry`. The rule:
what is kept of unknown clients is bounded. An address or a user is forgotten once its quota is full
again, and beyond a number the least recently active one is.

Never blocked are this machine itself and trusted proxies: all clients behind them would be, too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from msgspec.structs import replace as changed

from livelog.auth.principal import NOBODY, Principal
from livelog.config import Config
from livelog.config.access import Limits
from livelog.errors import (
    AUTHENTICATION_FAILED,
    INVALID_TOKEN,
    RATE_LIMIT_EXCEEDED,
    RefusedError,
)
from livelog.net.addresses import Networks, is_loopback, limited_as
from livelog.net.audit import Audit
from livelog.net.blocks import Blocks
from livelog.net.quotas import (
    AddressQuota,
    ConnectionQuota,
    Quota,
    Quotas,
    Scope,
    too_many,
)
from livelog.net.registry import Peer, Registry, Waiting
from livelog.net.tokenbucket import Rate
from livelog.wire.events import RateLimit

HELD_AGAINST = frozenset({AUTHENTICATION_FAILED, INVALID_TOKEN, RATE_LIMIT_EXCEEDED})
"""Codes that lead to a block of the address when there are many, the same at both doors: guessed
credentials, and going on over a limit. Bytes that are not HTTP, and frames that break RFC 6455,
count too (`Limiter.failed`). All else happens to clients that mean no harm, perhaps to one of many
behind the same address: expired tokens, missing scopes, pages of a foreign origin, paths that do
not exist, slow connections, messages that are too big."""

_SERVICES = {"publish:any", "admin"}
"""Scopes of programs that work for many users; their address is limited, their user is not."""
_RETRY_UPGRADE = 60.0


_RATES = (
    "message_limit",
    "command_limit",
    "user_message_limit",
    "user_command_limit",
    "address_message_limit",
    "address_command_limit",
    "block_after",
)
"""Settings that are numbers of events in each `limit_window`."""


class ExhaustedError(Exception):
    """A connection was refused so often that it has to be closed."""


class Limiter:
    """Keeps all limits. `clock` is the loop's."""

    def __init__(
        self,
        config: Config,
        proxies: Networks,
        clock: Callable[[], float],
        audit: Audit,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._limits = config.limits
        self._proxies = proxies
        self._clock = clock
        self._audit = audit
        self.connections = Registry()
        self.blocked = Blocks(unix_time)
        """The users and networks that moderators have blocked."""
        self.hits: Counter[tuple[str, str]] = Counter()
        """Scope and owner of a quota → how often it was exceeded so far."""
        self.blocks = 0
        """How often an address was blocked so far."""
        self._rates = {name: Rate(1, 1) for name in _RATES}
        self.change(config.limits)
        rates = self._rates
        self._of_connection = rates["message_limit"], rates["command_limit"]
        of_user = rates["user_message_limit"], rates["user_command_limit"]
        of_address = (
            rates["address_message_limit"],
            rates["address_command_limit"],
            rates["block_after"],
        )
        self._users = Quotas(lambda: Quota(*of_user))
        self._addresses = Quotas(lambda: AddressQuota(*of_address))

    def change(self, limits: Limits) -> None:
        """Keep other limits from now on, also those of open connections.

        A part of a limit that is used is used of the new one, too. Whether there are any stays as
        it was.
        """
        self._limits = changed(limits, enforced=self._limits.enforced)
        for name, rate in self._rates.items():
            rate.limit, rate.window = getattr(limits, name), limits.limit_window

    # Connections.

    def enter(self, connection: Waiting, address: str) -> None:
        """Count a connection that was accepted.

        With too many waiting in all, the least recently active one is evicted. Raises
        `RefusedError` when `waiting_per_ip` connections of its address wait already.
        """
        here, limit = self._limited(address), self._limits.waiting_per_ip
        waiting = self.connections.waiting
        if address:
            self.check(address)
        if here and waiting.by_address[here] >= limit:
            raise too_many("address", f"{limit} connections from there wait already", 1)
        waiting.add(connection, address)
        if len(waiting) > self._limits.waiting_connections:
            self._evict_one()

    def heard(self, connection: Waiting) -> None:
        """Note that a waiting connection has made a request."""
        self.connections.waiting.touch(connection)

    def check_upgrade(self, address: str) -> None:
        """Raise `RefusedError` when `address` has its maximum of open WebSockets."""
        here, limit = self._limited(address), self._limits.connections_per_ip
        if here and self.connections.websockets.by_address[here] >= limit:
            issue = f"{limit} connections are open from {address}"
            raise RefusedError(RATE_LIMIT_EXCEEDED, "address", issue, retry_after=_RETRY_UPGRADE)

    def upgraded(self, connection: Peer, address: str) -> None:
        """Count a WebSocket whose handshake is done."""
        self.connections.websockets.add(connection, address)

    def leave(self, connection: Peer) -> None:
        """Stop counting a connection that has gone or has become a WebSocket."""
        self.connections.discard(connection)

    def _evict_one(self) -> None:
        waiting = self.connections.waiting
        oldest = waiting.oldest
        if oldest.give_way():
            what = "is evicted: too many connections are waiting"
            self._audit.report("evicted", waiting.address_of(oldest), what)
            waiting.discard(oldest)
        else:
            waiting.touch(oldest)

    # Frames, commands and messages.

    def quota(self) -> ConnectionQuota | None:
        """Return a full quota for a new WebSocket; None without limits."""
        return ConnectionQuota(*self._of_connection) if self._limits.enforced else None

    def spend(
        self,
        scope: Scope,
        address: str,
        principal: Principal,
        own: ConnectionQuota | None = None,
    ) -> RateLimit | None:
        """Take one of `scope` from the connection's `own` quota, the address and the user.

        Returns the warning that is due. Raises `RefusedError`, or `ExhaustedError` when the
        connection was refused too often.
        """
        now = self._clock()
        try:
            warning = self._spend_own(scope, own, now) if own is not None else None
            self._spend_shared(scope, address, principal, now)
        except RefusedError as refused:
            if own is not None and not own.refusals.take(now):
                raise ExhaustedError(f"went on over the limit of {refused.field}") from None
            raise
        return warning

    def charge(self, count: int, address: str, principal: Principal) -> None:
        """Take `count` messages more of a request that was admitted, even if that overdraws the
        quota."""
        now = self._clock()
        for _, quota in self._shared(address, principal):
            quota.messages.charge(now, count)

    def _spend_own(self, scope: Scope, own: ConnectionQuota, now: float) -> RateLimit | None:
        try:
            return own.spend(scope, now)
        except RefusedError:
            self.hits[scope, "connection"] += 1
            raise

    def _spend_shared(self, scope: Scope, address: str, principal: Principal, now: float) -> None:
        for owner, quota in self._shared(address, principal):
            bucket = quota.messages if scope == "messages" else quota.commands
            if not bucket.take(now):
                self.hits[scope, owner] += 1
                limit = f"{bucket.rate.limit} {scope} in {bucket.rate.window:g} seconds"
                issue = f"over the limit of {limit} of this {owner}"
                raise too_many(scope, issue, bucket.retry_after(now))

    def _shared(self, address: str, principal: Principal) -> list[tuple[str, Quota]]:
        shared: list[tuple[str, Quota]] = []
        if here := self._limited(address):
            shared.append(("address", self._addresses.of(here)))
        named = not principal.open and principal is not NOBODY
        if self._limits.enforced and named and not principal.scopes & _SERVICES:
            shared.append(("user", self._users.of(principal.id)))
        return shared

    # Failures and blocks.

    def check(self, address: str) -> None:
        """Raise `RefusedError` when the address is blocked, by a moderator or for its failures."""
        self.blocked.check_address(address)
        quota = self._addresses.known(limited_as(address))
        if quota is not None and quota.blocked_until > (now := self._clock()):
            issue = "this address is blocked for a while, it has failed too often"
            raise too_many("address", issue, quota.blocked_until - now)

    def refused(self, address: str, refused: RefusedError) -> None:
        """Note that a request, or a connection before its upgrade, was refused."""
        known = refused.code == RATE_LIMIT_EXCEEDED and refused.field == "address"
        if not known:
            self.closed(address, refused.code)

    def closed(self, address: str, code: int) -> None:
        """Note that the server closes a WebSocket with `code`."""
        if code in HELD_AGAINST:
            self.failed(address)

    def failed(self, address: str) -> None:
        """Count a failure of `address`, or a breach of HTTP's or WebSocket's syntax.

        With too many, the address is blocked.
        """
        here = self._limited(address)
        if not here or is_loopback(address) or self._proxies.trusts(address):
            return
        now, quota = self._clock(), self._addresses.of(here)
        quota.failures.charge(now)
        if quota.failures.retry_after(now) > 0 and quota.blocked_until <= now:
            seconds = self._limits.block_seconds
            quota.blocked_until = now + seconds
            what = f"is blocked for {seconds:g} seconds, it has failed too often"
            self.blocks += 1
            self._audit.report("block", address, what)

    # Time.

    def sweep(self) -> None:
        """Forget some addresses and users that have been quiet; called now and then."""
        now = self._clock()
        self._addresses.sweep(now)
        self._users.sweep(now)

    def _limited(self, address: str) -> str:
        """Return what the limits of `address` are kept by; empty when there are none."""
        return limited_as(address) if self._limits.enforced and address else ""

    def _check(self) -> None:
        """Assert that what is kept is bounded, and the connections are counted right."""
        self._addresses._check()
        self._users._check()
        self.connections._check()
        self.blocked._check()
