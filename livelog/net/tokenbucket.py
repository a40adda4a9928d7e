"""Token buckets: how often something may happen.

A bucket holds up to `limit` tokens and is refilled evenly within `window` seconds. Its whole
state is the moment at which it will be full again: tokens missing = (full_at - now) / interval.
One float per bucket keeps ten thousand connections cheap, and nothing has to be refilled by a
timer. The form is known as the generic cell rate algorithm (ITU-T I.371).
"""

from __future__ import annotations

import math
from typing import NamedTuple

_SLACK = 1e-3
"""Part of an interval that is overlooked: the rounding of many small additions to a large clock."""


class Rate(NamedTuple):
    """`limit` events per `window` seconds."""

    limit: int
    window: float

    @property
    def interval(self) -> float:
        """Seconds in which one token comes back."""
        return self.window / self.limit


class TokenBucket:
    """One caller's tokens. `now` is any clock that does not go backwards, in seconds."""

    __slots__ = ("full_at", "rate", "warned")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.full_at = -math.inf
        self.warned = False

    def take(self, now: float) -> bool:
        """Take one token; False, and nothing taken, when there is none."""
        if self.retry_after(now) > 0:
            return False
        self.charge(now)
        return True

    def charge(self, now: float, count: int = 1) -> None:
        """Take `count` tokens, even more than there are: what is owed has to come back first."""
        self.full_at = max(self.full_at, now) + self.rate.interval * count

    def used(self, now: float) -> int:
        """How many tokens are missing, a token that is partly back counted as missing."""
        missing = (self.full_at - now) / self.rate.interval
        return max(0, math.ceil(missing - _SLACK)) if missing > 0 else 0

    def nearly_empty(self, now: float) -> bool:
        """True once each time use reaches 95 % of the limit, False until it has been below."""
        reached = self.used(now) >= 0.95 * self.rate.limit
        first = reached and not self.warned
        self.warned = reached
        return first

    def reset_in(self, now: float) -> float:
        """Seconds until the bucket is full."""
        return max(0.0, self.full_at - now)

    def retry_after(self, now: float) -> float:
        """Seconds until there is a token to take; 0 when there is one."""
        wait = self.full_at - now - self.rate.interval * (self.rate.limit - 1)
        return wait if wait > self.rate.interval * _SLACK else 0.0
