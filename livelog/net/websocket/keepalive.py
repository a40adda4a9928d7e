"""Signs of life: whether a connection is to be pinged, or given up, and when to look again.

A client that reads nothing is stalled; one that sends nothing is pinged, and dead if it does not
answer. Timestamps are those of the loop, in seconds.
"""

from __future__ import annotations

from enum import Enum

from livelog.config import Config


class Due(Enum):
    """What is to be done now."""

    NOTHING = 0
    PING = 1
    END_STALLED = 2
    END_SILENT = 3


class Keepalive:
    """Of one connection."""

    __slots__ = ("_config", "blocked_since", "heard", "pinged")

    def __init__(self, config: Config, now: float) -> None:
        self._config = config
        self.heard = self.pinged = now
        """When it last sent or took something, and when it was last pinged."""
        self.blocked_since = now
        """Since when its send buffer is full; has no meaning while it is not."""

    def due(self, now: float, *, blocked: bool) -> Due:
        """What is to be done; `blocked` tells that the send buffer is full."""
        config = self._config
        if blocked:
            stalled = now >= self.blocked_since + config.net.stall_seconds
            return Due.END_STALLED if stalled else Due.NOTHING
        if self.pinged > self.heard:
            return Due.END_SILENT if now >= self.pinged + config.net.ping_timeout else Due.NOTHING
        return Due.PING if now >= self.heard + config.net.ping_interval else Due.NOTHING

    def deadline(self, now: float, *, blocked: bool) -> float:
        """When to look again."""
        config = self._config
        if blocked:
            return self.blocked_since + config.net.stall_seconds
        if self.pinged <= self.heard:
            return self.heard + config.net.ping_interval
        # An answer sets no timer, so look in time for the next ping.
        soon = self.pinged + min(config.net.ping_interval, config.net.ping_timeout)
        return soon if soon > now else self.pinged + config.net.ping_timeout
