"""Quotas: the token buckets of one connection, one user, one address; the `limiter` asks them.

`now` is the loop's time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

from livelog.errors import RATE_LIMIT_EXCEEDED, RefusedError
from livelog.net.tokenbucket import Rate, TokenBucket
from livelog.wire.events import RateLimit

Scope = Literal["messages", "commands"]

REMEMBERED = 50_000
"""Maximum of addresses, and of users, that are remembered; about 600 bytes each."""
_SWEPT = 500
"""Addresses, and users, that are looked at in one sweep."""


class ConnectionQuota:
    """Token buckets of one connection. A refusal takes a token, too, so refusals come to an end."""

    __slots__ = ("commands", "messages", "refusals")

    def __init__(self, messages: Rate, commands: Rate) -> None:
        self.messages = TokenBucket(messages)
        self.refusals = TokenBucket(messages)
        self.commands = TokenBucket(commands)

    def spend(self, scope: Scope, now: float) -> RateLimit | None:
        """Take one of `scope`; returns the warning that is due. Raises `RefusedError`."""
        bucket = self.messages if scope == "messages" else self.commands
        if bucket.take(now):
            return _warning(scope, bucket, now) if bucket.nearly_empty(now) else None
        rate = bucket.rate
        issue = f"over the limit of {rate.limit} {scope} in {rate.window:g} seconds"
        raise too_many(scope, issue, bucket.retry_after(now))


class Quota:
    """Token buckets of one user."""

    __slots__ = ("commands", "messages")

    def __init__(self, messages: Rate, commands: Rate) -> None:
        self.messages = TokenBucket(messages)
        self.commands = TokenBucket(commands)

    def idle(self, now: float) -> bool:
        """Return whether nothing would be lost by forgetting it."""
        return max(self.messages.full_at, self.commands.full_at) <= now


class AddressQuota(Quota):
    """Token buckets of one address, its failures, and until when it is blocked."""

    __slots__ = ("blocked_until", "failures")

    def __init__(self, messages: Rate, commands: Rate, failures: Rate) -> None:
        super().__init__(messages, commands)
        self.failures = TokenBucket(failures)
        self.blocked_until = -math.inf

    def idle(self, now: float) -> bool:
        """Return whether nothing would be lost by forgetting it."""
        return super().idle(now) and max(self.failures.full_at, self.blocked_until) <= now


AnyQuota = TypeVar("AnyQuota", bound=Quota)


class Quotas(Generic[AnyQuota]):
    """Quotas by name, the least recently used first."""

    def __init__(self, new: Callable[[], AnyQuota]) -> None:
        self._new = new
        self._quota_of: OrderedDict[str, AnyQuota] = OrderedDict()

    def __len__(self) -> int:
        return len(self._quota_of)

    def of(self, name: str) -> AnyQuota:
        """Return the quota of `name`, a full one if it is not known."""
        quota = self._quota_of.get(name)
        if quota is None:
            quota = self._quota_of[name] = self._new()
            if len(self._quota_of) > REMEMBERED:
                self._quota_of.popitem(last=False)
        else:
            self._quota_of.move_to_end(name)
        return quota

    def known(self, name: str) -> AnyQuota | None:
        """Return the quota of `name`, if there is one."""
        return self._quota_of.get(name)

    def sweep(self, now: float) -> None:
        """Check the least recently used ones, `_SWEPT` of them, and forget the idle."""
        for _ in range(min(_SWEPT, len(self._quota_of))):
            name, quota = self._quota_of.popitem(last=False)
            if not quota.idle(now):
                self._quota_of[name] = quota

    def _check(self) -> None:
        """Assert that the number of quotas is bounded."""
        assert len(self._quota_of) <= REMEMBERED


def _warning(scope: Scope, bucket: TokenBucket, now: float) -> RateLimit:
    return RateLimit(
        scope=scope,
        current_requests=bucket.used(now),
        limit=bucket.rate.limit,
        window_seconds=bucket.rate.window,
        reset_in_seconds=round(bucket.reset_in(now), 3),
    )


def too_many(field: str, issue: str, retry_after: float) -> RefusedError:
    """Build the refusal of a request that is over a limit, for so many seconds."""
    return RefusedError(RATE_LIMIT_EXCEEDED, field, issue, retry_after=retry_after)
