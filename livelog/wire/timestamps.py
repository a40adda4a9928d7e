"""Moments in time: RFC 3339 text on the wire, microseconds since 1970 inside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from livelog.errors import PROTOCOL_ERROR, RefusedError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The first second of the year 1, and the last one of the year 9999."""
_Moment = Annotated[datetime, Meta(tz=True)]


def parse_moment(text: str, field: str) -> int:
    """Parse an RFC 3339 date and time with a zone to microseconds since 1970.

    Raises `RefusedError`, which names `field`, for anything else.
    """
    try:
        return microseconds(msgspec.convert(text, _Moment))
    except (msgspec.ValidationError, OverflowError):
        raise RefusedError(
            PROTOCOL_ERROR,
            field,
            "not an RFC 3339 date and time",
            allowed="2025-12-03T12:00:00.000Z",
        ) from None


def microseconds(moment: datetime) -> int:
    """Return the microseconds from 1970 to `moment`, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def timestamp(now: float) -> str:
    """Format Unix time, in seconds, as RFC 3339 in UTC with milliseconds.

    RFC 3339 has years of four digits: an earlier or later time is shown as the nearest that has.
    """
    seconds, milliseconds = divmod(int(min(max(now, _FIRST), _LAST) * 1000), 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4)  # thousands of messages share a second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
