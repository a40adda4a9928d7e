"""Token buckets: rate limits in one float.

A bucket holds up to `limit` tokens and is refilled evenly within `window` seconds. Its whole state
is the time at which it will be full again: tokens missing = (full_at - now) / interval. One float
per bucket keeps ten thousand connections cheap, and no timer has to refill them. This is the
generic cell rate algorithm (ITU-T I.371).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_SLACK = 1e-3
"""Part of an interval that is ignored: many small additions to a large clock round up to it."""


@dataclass(slots=True)
class Rate:
    """`limit` events per `window` seconds.

    All buckets of a kind share one, so that a change of it holds for all of them at once.
    """

    limit: int
    window: float

    @property
    def interval(self) -> float:
        """Seconds in which one token comes back."""
        return self.window / self.limit


class TokenBucket:
    """One caller's tokens. `now` is the time of any monotonic clock, in seconds."""

    __slots__ = ("full_at", "rate", "warned")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.full_at = -math.inf
        self.warned = False

    def take(self, now: float) -> bool:
        """Take one token; return False, and take none, when the bucket is empty."""
        if self.retry_after(now) > 0:
            return False
        self.charge(now)
        return True

    def charge(self, now: float, count: int = 1) -> None:
        """Take `count` tokens, even more than there are; the debt is refilled first."""
        self.full_at = max(self.full_at, now) + self.rate.interval * count

    def used(self, now: float) -> int:
        """Return the number of tokens that are missing; a partly refilled one is missing."""
        missing = (self.full_at - now) / self.rate.interval
        return max(0, math.ceil(missing - _SLACK)) if missing > 0 else 0

    def nearly_empty(self, now: float) -> bool:
        """Return True when use reaches 95 % of the limit; again only after it has been below."""
        reached = self.used(now) >= 0.95 * self.rate.limit
        first = reached and not self.warned
        self.warned = reached
        return first

    def reset_in(self, now: float) -> float:
        """Return the seconds until the bucket is full."""
        return max(0.0, self.full_at - now)

    def retry_after(self, now: float) -> float:
        """Return the seconds until there is a token; 0 when there is one now."""
        wait = self.full_at - now - self.rate.interval * (self.rate.limit - 1)
        return wait if wait > self.rate.interval * _SLACK else 0.0
