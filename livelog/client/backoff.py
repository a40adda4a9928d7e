"""Backoff between attempts to connect, pacing of commands, and the client's clock.

The first attempt after a loss comes at once; later ones wait a random part of the table's delay
(full jitter), so that thousands of clients of a server that restarts do not come back together. A
connection that lasted starts the table anew; one that did not goes on in it. Servers that shut down
one after the other are each left for the next at once, outside of the table.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 60.0)
"""Seconds before attempts 1, 2, 3, …; the last one holds for all later attempts."""
LASTED = 10.0
"""Seconds a connection must live to count as a success."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Sources of time and randomness; tests replace them."""

    now: Callable[[], float] = time.monotonic
    """Return seconds since an arbitrary moment."""
    wall: Callable[[], float] = time.time
    """Return Unix time in seconds, which goes on while the machine sleeps."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    random: Callable[[], float] = random.random
    """Return a number from 0 up to 1."""


class Backoff:
    """Waiting times between attempts to connect.

    >>> backoff = Backoff(Clock(random=lambda: 1.0))
    >>> [backoff.next() for _ in range(4)]
    [0.0, 1.0, 2.0, 4.0]
    """

    def __init__(self, clock: Clock, servers: int = 1) -> None:
        self._clock = clock
        self._failures = 0
        self._moves = self._moves_left = servers if servers > 1 else 0

    def lived(self, seconds: float) -> None:
        """Note for how long a connection was open."""
        if seconds >= LASTED:
            self._failures = 0
            self._moves_left = self._moves

    def next(self, *, planned: bool = False) -> float:
        """Return the seconds to wait before the next attempt; none after a `planned` end, which
        another server makes up for, as often as there are servers."""
        if planned and self._moves_left:
            self._moves_left -= 1
            return 0.0
        delay = DELAYS[min(self._failures, len(DELAYS) - 1)]
        self._failures += 1
        return delay * self._clock.random()


FORGET = 60.0
"""Seconds without a command after which a limit is taken to be fresh again."""


class Pace:
    """Spacing of commands under one of the server's rate limits.

    Commands do not wait until one was refused over the limit. From then on they are sent one after
    the other, as far apart as the server asked for: commands that were refused together would
    otherwise be sent again at the same moment and be refused again, until the server closes the
    connection.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._interval = 0.0
        self._free_at = 0.0

    def refused(self, retry_after: float) -> None:
        """Note that the server asked for `retry_after` seconds of silence."""
        self._interval = max(self._interval, retry_after)
        self._free_at = max(self._free_at, self._clock.now() + retry_after)

    async def wait(self) -> None:
        """Wait until the next command may be sent."""
        now = self._clock.now()
        if now >= self._free_at + FORGET:
            self._interval = 0.0
        if not self._interval:
            return
        begin = max(now, self._free_at)
        self._free_at = begin + self._interval
        if begin > now:
            await self._clock.sleep(begin - now)
