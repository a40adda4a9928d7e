"""The ticker: the timer of the watches, and the background work of their counting.

A timer is set while anybody watches. Ticks are at multiples of each interval in Unix time, which
may be set anew; the timer is that of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from livelog.budget.slices import in_background
from livelog.fanout.watches import Watches

_EARLY = 0.001
"""Seconds that are added to each wait, as the two clocks do not run alike."""


class Ticker:
    """The driver of `watches` on `loop`; `clock` tells Unix time."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, watches: Watches, clock: Callable[[], float]
    ) -> None:
        self._loop = loop
        self._watches = watches
        self._clock = clock
        self._next: asyncio.TimerHandle | None = None
        self._counting: asyncio.Task[None] | None = None
        watches.on_interval = self._set
        watches.on_work = self._count

    def close(self) -> None:
        """Tick no more."""
        self._stop()
        if self._counting is not None:
            self._counting.cancel()

    def _stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _set(self) -> None:
        """Set the timer to the next tick."""
        self._stop()
        wait = self._watches.next_in(self._clock())
        if wait is not None:
            self._next = self._loop.call_later(wait + _EARLY, self._tick)

    def _tick(self) -> None:
        self._watches.tick(self._clock())
        self._set()

    def _count(self) -> None:
        self._counting = in_background(self._watches.counting(), "counting for watches")
