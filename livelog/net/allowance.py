"""What one connection may still send: the limits of the API, kept with token buckets.

Every frame takes one of `messages`, most commands take one of `commands` besides. Near the limit
comes a warning, over it a refusal; whoever goes on regardless uses up its refusals as well and is
closed.
"""

from __future__ import annotations

from livelog.config import Config
from livelog.errors import RATE_LIMIT_EXCEEDED, RefusedError
from livelog.net.limiter import Scope
from livelog.net.tokenbucket import Rate, TokenBucket
from livelog.wire.events import RateLimit


class Exhausted(Exception):
    """The refusals are used up too: the connection has to go."""


class Allowance:
    """The buckets of one connection."""

    __slots__ = ("commands", "messages", "refusals")

    def __init__(self, config: Config) -> None:
        messages = Rate(config.limits.message_limit, config.limits.limit_window)
        self.messages = TokenBucket(messages)
        self.refusals = TokenBucket(messages)
        self.commands = TokenBucket(Rate(config.limits.command_limit, config.limits.limit_window))

    def spend(self, scope: Scope, now: float) -> RateLimit | None:
        """Take one of `scope`; returns the warning that is due, if one is.

        Raises `RefusedError` when there is none left, `Exhausted` when that has happened too often.
        """
        bucket = self.messages if scope == "messages" else self.commands
        limit, window = bucket.rate
        if bucket.take(now):
            return _warning(scope, bucket, now) if bucket.nearly_empty(now) else None
        issue = f"over the limit of {limit} {scope} in {window:g} seconds"
        wait = round(bucket.retry_after(now), 3)
        refused = RefusedError(RATE_LIMIT_EXCEEDED, scope, issue, retry_after_seconds=wait)
        raise self.refusal(refused, now)

    def refusal(self, refused: RefusedError, now: float) -> RefusedError:
        """`refused`, if it may still be said. Raises `Exhausted` when it was said too often."""
        if not self.refusals.take(now):
            raise Exhausted(f"went on over the limit of {refused.field}")
        return refused


def _warning(scope: Scope, bucket: TokenBucket, now: float) -> RateLimit:
    return RateLimit(
        scope=scope,
        current_requests=bucket.used(now),
        limit=bucket.rate.limit,
        window_seconds=bucket.rate.window,
        reset_in_seconds=round(bucket.reset_in(now), 3),
    )
