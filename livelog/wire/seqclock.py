"""The clock that new seqs follow: the wall clock, as far as it can be right.

A seq is the time in microseconds where that is free. A wall clock that is wrong by years for one
moment would carry all later seqs along, since they never fall; beyond 2**53 JavaScript cannot tell
them apart. So the wall clock is followed for less than a day ahead of what is known: the highest
seq given out before the start, and the time that has passed since.
"""

from __future__ import annotations

from collections.abc import Callable

HOUR = 3600 * 1_000_000
"""Microseconds."""

AHEAD = 23 * HOUR
"""Microseconds that the wall clock may be ahead. With the hour that a store leaves for seqs that
were given out and lost in a crash it is a day."""

LATEST_BEGIN = 2**52
"""Seq at which a new log begins at the latest, the year 2112: as many are left above."""


class SeqClock:
    """The time in microseconds since 1970, as new seqs follow it.

    `known` is the highest seq that may have been given out; `clock` tells Unix time, and
    `monotonic` a time that is never set, both in seconds.
    """

    def __init__(
        self, known: int, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._known = known
        self._clock = clock
        self._monotonic = monotonic
        self._began = monotonic()

    def now(self) -> int:
        """Return the time; it can fall, as the wall clock can."""
        passed = int((self._monotonic() - self._began) * 1_000_000)
        return min(int(self._clock() * 1_000_000), self._known + passed + AHEAD)


def resumed(last: int, now: float) -> int:
    """Return a seq that is above all given out so far, of which `last` is the highest known.

    What was lost in a crash was given out within the last hour of `last`, and before `now` (Unix
    time in seconds) unless the clock has been set back.
    """
    before = int(now * 1_000_000) - 1
    return before if last < before <= last + HOUR else last + HOUR
