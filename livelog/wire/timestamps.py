"""Moments in time: RFC 3339 text on the wire, microseconds since 1970 inside."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from livelog.errors import PROTOCOL_ERROR, RefusedError

_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]"
    r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):?([0-5][0-9]))"
)
"""RFC 3339 section 5.6, with the space that its note allows, and an offset without a colon."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The first second of the year 1, and the last one of the year 9999."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_SECOND = 1_000_000
_DAY = 24 * 60 * 60 * _SECOND
_DAYS_OF_400_YEARS = 146_097
"""After 400 years the calendar repeats itself, so year 0, which `date` lacks, is like year 400."""


def parse_moment(text: str, field: str) -> int:
    """Parse an RFC 3339 date and time with a zone to microseconds since 1970.

    Digits beyond microseconds are cut off, never rounded: a moment stays within its second. A leap
    second (section 5.7), which has no number of its own in Unix time, is the last microsecond of
    its day, so that it belongs to that day. Raises `RefusedError`, which names `field`, for
    anything else.
    """
    found = _MOMENT.fullmatch(text)
    try:
        moment = None if found is None else _microseconds(found)
    except ValueError:  # a day that its month does not have
        moment = None
    if moment is None:
        issue = "not an RFC 3339 date and time"
        raise RefusedError(PROTOCOL_ERROR, field, issue, allowed="2025-12-03T12:00:00.000Z")
    return moment


def _microseconds(found: re.Match[str]) -> int | None:
    """Return the moment that the parts of a text say, None for a second 60 that never was."""
    day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    clock = (int(hour) * 60 + int(minute)) * 60 + int(second)
    offset = (int(hours) * 60 + int(minutes)) * 60 if sign else 0
    seconds = clock - (-offset if sign == "-" else offset)
    start = _days(day) * _DAY
    if second != "60":
        return start + seconds * _SECOND + int((fraction or "")[:6].ljust(6, "0"))
    end = start + seconds * _SECOND
    return end - 1 if end % _DAY == 0 and _begins_a_month(end // _DAY) else None


@lru_cache(maxsize=64)  # messages of one time share their day
def _days(day: str) -> int:
    """Return the days from 1970 to a date. Raises `ValueError` for one that does not exist."""
    if day.startswith("0000"):
        return _days(f"0400{day[4:]}") - _DAYS_OF_400_YEARS
    return date.fromisoformat(day).toordinal() - _EPOCH_DAY


def _begins_a_month(days: int) -> bool:
    """Return whether the day before this one, counted from 1970, was the last of a month in UTC:
    leap seconds are inserted only there."""
    return date.fromordinal((days + _EPOCH_DAY - 1) % _DAYS_OF_400_YEARS + 1).day == 1


FIRST_MOMENT = parse_moment("0000-01-01T00:00:00Z", "")
"""The first moment that has a year of four digits."""


def format_moment(moment: int) -> str:
    """Format microseconds since 1970 as RFC 3339 in UTC, exactly: `parse_moment` gives them back.

    Raises `ValueError` outside of the years 0000 to 9999.

    >>> format_moment(1_764_763_200_500_000)
    '2025-12-03T12:00:00.5Z'
    """
    days, rest = divmod(moment, _DAY)
    seconds, fraction = divmod(rest, _SECOND)
    minutes, second = divmod(seconds, 60)
    clock = f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
    digits = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{_date(days)}T{clock}{digits}Z"


@lru_cache(maxsize=64)  # an answer has many moments of one day
def _date(days: int) -> str:
    """Return the date that is some days after 1970. Raises `ValueError`, as `format_moment`."""
    cycles, day = divmod(days + _EPOCH_DAY - 1, _DAYS_OF_400_YEARS)
    calendar = date.fromordinal(day + 1)
    year = calendar.year + 400 * cycles
    if not 0 <= year <= 9999:
        raise ValueError("not a year of four digits")
    return f"{year:04d}-{calendar:%m-%d}"


def microseconds(moment: datetime) -> int:
    """Return the microseconds from 1970 to `moment`, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def timestamp(now: float) -> str:
    """Format Unix time, in seconds, as RFC 3339 in UTC with milliseconds.

    RFC 3339 has years of four digits: an earlier or later time is shown as the nearest that has.
    """
    known = now if _FIRST <= now <= _LAST else min(max(now, _FIRST), _LAST)
    return _millisecond(int(known * 1000))


@lru_cache(maxsize=4)  # the messages of a batch share a millisecond
def _millisecond(moment: int) -> str:
    seconds, milliseconds = divmod(moment, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4)  # thousands of messages share a second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
