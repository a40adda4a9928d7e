"""Places in the log, as a user writes them: a seq, how long ago, or a date and time.

1764763200000000            a seq
10m, 2h, 7d                 so long ago
2025-12-03, 2025-12-03T10:00, 2025-12-03T10:00:00Z
                            a date, or a time; local without a time zone
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"(\d{1,9})(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SEQ = re.compile(r"\d{1,16}")

Place = int | datetime
"""A seq, or a moment with a time zone."""


def place(text: str, now: datetime | None = None) -> Place:
    """Return the place that a text names. Raises `ArgumentTypeError`.

    >>> place("1764763200000000")
    1764763200000000
    >>> place("10m", datetime(2025, 12, 3, 10, tzinfo=UTC))
    datetime.datetime(2025, 12, 3, 9, 50, tzinfo=datetime.timezone.utc)
    """
    if _SEQ.fullmatch(text):
        return int(text)
    try:
        if ago := _AGO.fullmatch(text):
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return _in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f"{text!r} is invalid: must be a seq, such as 10m or 2h for so long ago, or such as"
            " 2025-12-03 or 2025-12-03T10:00"
        ) from None


def _in_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC, or the nearest that there is at the ends of the calendar."""
    try:
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return moment.replace(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """Return a moment as the filters `date_from` and `date_to` take it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
