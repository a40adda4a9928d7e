"""Buckets of time: stretches of one length that begin where the clocks of a time zone say so.

In UTC a bucket begins at a multiple of its length since 1970. In a time zone it is a multiple on
the wall clock there: whole days begin at local midnight, also where a change of the clock makes one
of them shorter or longer. A bucket of less than a day ends at such a change if its length has
passed on the wall clock or if the clock leaps into another; otherwise it lasts as much shorter or
longer. A zone is read from the system's data once, by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from livelog.errors import PROTOCOL_ERROR, RefusedError

SECOND = 1_000_000
DAY = 86_400 * SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN_EPOCH = datetime(1970, 1, 1)
_FIRST = (datetime(2, 1, 1) - _PLAIN_EPOCH) // timedelta(microseconds=1)
_LAST = (datetime(9998, 12, 31) - _PLAIN_EPOCH) // timedelta(microseconds=1)
"""Moments that have a local time in every zone; before and after the offset is that of these."""

_NAME = re.compile(r"(?!posix|right/|localtime)[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_EXAMPLES = "an IANA name such as UTC, Europe/Berlin or America/New_York"

COARSER = (
    1, 2, 10, 30, 60, 120, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 2 * 86_400, 4 * 86_400,
)  # fmt: skip
"""Lengths in seconds that are offered instead of one that makes too many buckets: each is a
multiple of the one before it."""


class Span(NamedTuple):
    """A bucket: its first microsecond since 1970, and that behind it."""

    start: int
    end: int


Buckets = Callable[[int], Span]
"""Return the bucket that a moment is in."""


def coarser(interval: int) -> int:
    """Return the next greater length, in microseconds: a multiple of `interval`."""
    longer = (seconds * SECOND for seconds in COARSER)
    twice = 2 * interval if 2 * interval <= DAY else -(-2 * interval // DAY) * DAY
    return next((one for one in longer if one > interval and not one % interval), twice)


def zone_named(name: str) -> tzinfo:
    """Return a time zone. Raises `RefusedError` for one that is unknown."""
    from zoneinfo import ZoneInfo  # looks for the zones of the system, and few ask for one

    try:
        if _NAME.fullmatch(name):
            return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown, another file, a folder
        pass
    raise RefusedError(PROTOCOL_ERROR, "timezone", "unknown time zone", allowed=_EXAMPLES)


def buckets(interval: int, zone: str) -> Buckets:
    """Return the buckets of this length, in microseconds, in a time zone; UTC if it is empty.

    Raises `RefusedError` for an unknown zone, and for a length of more than a day that is not whole
    days.
    """
    local = zone_named(zone) if zone else None
    if local is None or zone == "UTC":
        return _Even(interval).bucket
    if interval % DAY == 0:
        return _Days(local, interval).bucket
    if interval > DAY:
        issue = "in a time zone it must be at most a day, or whole days"
        allowed = [86_400, interval // DAY * 86_400 + 86_400]
        raise RefusedError(PROTOCOL_ERROR, "interval_seconds", issue, allowed=allowed)
    return _Parts(local, interval).bucket


class _Even(NamedTuple):
    """Buckets of UTC."""

    interval: int

    def bucket(self, moment: int) -> Span:
        start = moment - moment % self.interval
        return Span(start, start + self.interval)


class _Clock:
    """The wall clock of a zone, in microseconds since 1970 as it shows them."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def offset(self, moment: int) -> int:
        """Return how far the clock is ahead of UTC at a moment."""
        known = min(max(moment, _FIRST), _LAST)
        at = (_EPOCH + timedelta(microseconds=known)).astimezone(self._zone)
        return _ahead(at)

    def moment(self, shown: int) -> int:
        """Return the moment at which the clock first shows a time, or leaps over it."""
        known = min(max(shown, _FIRST), _LAST)
        return shown - _ahead(
            (_PLAIN_EPOCH + timedelta(microseconds=known)).replace(tzinfo=self._zone)
        )

    def change(self, first: int, last: int) -> int:
        """Return the moment up to `last` from which on the clock has the offset that it has then.

        At `first` it has another.
        """
        after = self.offset(last)
        while last - first > 1:
            middle = (first + last) // 2
            first, last = (first, middle) if self.offset(middle) == after else (middle, last)
        return last


def _ahead(at: datetime) -> int:
    offset = at.utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1)


class _Days(_Clock):
    """Buckets of whole days."""

    def __init__(self, zone: tzinfo, interval: int) -> None:
        super().__init__(zone)
        self._interval = interval
        self._start = lru_cache(maxsize=4096)(self._start_of)

    def bucket(self, moment: int) -> Span:
        number = (moment + self.offset(moment)) // self._interval
        # Where the clock is put back over midnight, it shows the day before again.
        number += moment >= self._start(number + 1)
        return Span(self._start(number), self._start(number + 1))

    def _start_of(self, number: int) -> int:
        return self.moment(number * self._interval)


class _Parts(_Clock):
    """Buckets of at most a day that are not whole days."""

    def __init__(self, zone: tzinfo, interval: int) -> None:
        super().__init__(zone)
        self._interval = interval

    def bucket(self, moment: int) -> Span:
        offset = self.offset(moment)
        start = self._floor(moment, offset)
        end = start + self._interval
        if self.offset(start - 1) == offset == self.offset(end - 1):  # nearly always
            return Span(start, end)
        return Span(self._start(moment), self._end(moment))

    def _start(self, moment: int) -> int:
        offset = self.offset(moment)
        start = self._floor(moment, offset)
        if self.offset(start - 1) == offset:
            return start
        change = self.change(start - 1, moment)
        return change if self._divides(change) else self._start(change - 1)

    def _end(self, moment: int) -> int:
        offset = self.offset(moment)
        end = self._floor(moment, offset) + self._interval
        if self.offset(end - 1) == offset:
            return end
        change = self.change(moment, end - 1)
        return change if self._divides(change) else self._end(change)

    def _floor(self, moment: int, offset: int) -> int:
        return moment - (moment + offset) % self._interval

    def _divides(self, change: int) -> bool:
        """Tell whether a bucket ends where the clock changes."""
        before, after = change + self.offset(change - 1), change + self.offset(change)
        return before % self._interval == 0 or after // self._interval > before // self._interval
