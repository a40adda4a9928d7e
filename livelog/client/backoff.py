"""When to try again: the API's table, and the only places where the client meets time and chance.

The first attempt after a loss comes at once; those after it wait a random part of the table's delay
(full jitter), so that thousands of clients of a server that restarts do not come back together. A
connection that lasted starts the table anew; one that did not goes on in it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 60.0)
"""Seconds before attempts 1, 2, 3, …; the last one holds for all that follow."""
LASTED = 10.0
"""Seconds a connection must live to count as a success."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance; tests bring their own."""

    now: Callable[[], float] = time.monotonic
    """Seconds since some moment."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    random: Callable[[], float] = random.random
    """From 0 up to 1."""


class Backoff:
    """How long to wait before the next attempt."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0

    def lived(self, seconds: float) -> None:
        """A connection was open for so long."""
        if seconds >= LASTED:
            self._failures = 0

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        delay = DELAYS[min(self._failures, len(DELAYS) - 1)]
        self._failures += 1
        return delay * self._clock.random()


FORGET = 60.0
"""Seconds without a turn after which a limit is taken to be fresh again."""


class Pace:
    """Keeps to a limit of the server once that has shown itself, one caller after the other.

    Nothing waits until a command was refused for haste. From then on callers get their turns as
    far apart as the server asked for: each of the many that were refused together would otherwise
    come back at the same moment and be refused again, until the server closes the connection.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._interval = 0.0
        self._free_at = 0.0

    def refused(self, retry_after: float) -> None:
        """The server wants `retry_after` seconds to pass."""
        self._interval = max(self._interval, retry_after)
        self._free_at = max(self._free_at, self._clock.now() + retry_after)

    async def turn(self) -> None:
        """Wait for a turn."""
        now = self._clock.now()
        if now >= self._free_at + FORGET:
            self._interval = 0.0
        if not self._interval:
            return
        begin = max(now, self._free_at)
        self._free_at = begin + self._interval
        if begin > now:
            await self._clock.sleep(begin - now)
