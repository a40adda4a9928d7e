"""Keepalive: when to ping a connection, when to close it, and when to look again.

A client that reads nothing is stalled; one that sends nothing is pinged, and dead if it does not
answer. Times are those of the loop, in seconds.
"""

from __future__ import annotations

from enum import Enum

from livelog.config import Config


class Due(Enum):
    """The thing to do now; for an end, the reason that the client is told."""

    NOTHING = ""
    PING = "ping"
    END_STALLED = "did not read what it asked for"
    END_SILENT = "did not answer a ping"


class Keepalive:
    """The signs of life of one connection."""

    __slots__ = ("_config", "blocked_since", "heard", "pinged")

    def __init__(self, config: Config, now: float) -> None:
        self._config = config
        self.heard = self.pinged = now
        """Times at which it last sent or took something, and at which it was last pinged."""
        self.blocked_since = now
        """Time since which its send buffer is full; has no meaning while it is not."""

    def due(self, now: float, *, blocked: bool, held: bool = False) -> Due:
        """Return what is to be done.

        `blocked` tells that the send buffer is full; `held` that the server does not read from the
        client, whose silence then means nothing.
        """
        net = self._config.net
        if blocked:
            stalled = now >= self.blocked_since + net.stall_seconds
            return Due.END_STALLED if stalled else Due.NOTHING
        if held:
            return Due.NOTHING
        if self.pinged > self.heard:
            return Due.END_SILENT if now >= self.pinged + net.ping_timeout else Due.NOTHING
        return Due.PING if now >= self.heard + net.ping_interval else Due.NOTHING

    def deadline(self, now: float, *, blocked: bool, held: bool = False) -> float:
        """Return when to look again."""
        net = self._config.net
        if blocked:
            return self.blocked_since + net.stall_seconds
        if held:
            return now + min(net.ping_interval, net.ping_timeout)
        if self.pinged <= self.heard:
            return self.heard + net.ping_interval
        # An answer sets no timer, so look in time for the next ping.
        soon = self.pinged + min(net.ping_interval, net.ping_timeout)
        return soon if soon > now else self.pinged + net.ping_timeout
