"""Values in an expression: numbers, moments and quoted text.

A number is one of JSON. A moment is RFC 3339, a date, which is its whole day in UTC, or a time
before now, such as `-15m`.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import NamedTuple

import msgspec

from livelog.errors import RefusedError
from livelog.index.where.bounds import FIELD, refused
from livelog.wire.timestamps import format_moment, parse_moment

Number = int | float

QUOTES = '"“”„'  # the marks of several languages are meant
QUOTED = rf"[{QUOTES}](?:[^{QUOTES}\\]|\\.)*+[{QUOTES}]"
"""Pattern of text in quotes, for `re.DOTALL`."""

ONE_BOUND = "40, 2025-12-03T12:00:00Z, 2025-12-03 or -15m"

_ESCAPE = re.compile(rf"\\([{QUOTES}\\])")
_ESCAPED = re.compile(rf"[{QUOTES}\\]")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].*", re.DOTALL)
_BEFORE_NOW = re.compile(r"-([0-9]+)([smhdw])")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DAY = 86_400_000_000


def unquote(text: str) -> str:
    """Return what stands between quotes."""
    return _ESCAPE.sub(r"\1", text[1:-1])


def quote(text: str) -> str:
    r"""Return `text` in quotes, with a `\` before quotes and backslashes in it."""
    return f'"{_ESCAPED.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    return "\\" + found[0]


class Span(NamedTuple):
    """The first and the last microsecond of a day, or a moment twice."""

    first: int
    last: int


def is_number(text: str) -> bool:
    """Tell whether `text` is a number of JSON."""
    return _NUMBER.fullmatch(text) is not None


def number(text: str) -> Number:
    """Return a number of JSON. Raises `RefusedError` for one that no float can be."""
    try:
        value: Number = msgspec.json.decode(text)
    except msgspec.ValidationError:
        raise _too_large() from None
    return whole(value)


def whole(value: Number) -> Number:
    """Return an int if `value` is one, so that each number has one form.

    Raises `RefusedError` for one that no float can be.
    """
    try:
        if isfinite(value):
            return int(value) if float(value).is_integer() else value
    except OverflowError:  # an int
        pass
    raise _too_large()


def _too_large() -> RefusedError:
    return refused("a number is too large", "numbers up to 1.7e308; in quotes it is text")


def number_text(value: Number) -> str:
    """Return a number as JSON has it."""
    return msgspec.json.encode(value).decode()


def moments(text: str, now: float) -> Span | None:
    """Return the moments that `text` stands for when it arrives at `now`, in Unix seconds.

    None if it has no form of a moment. Raises `RefusedError` for a day or time that does not exist,
    and for years that RFC 3339 does not have.
    """
    if _DATE.fullmatch(text):
        first = parse_moment(f"{text}T00:00:00Z", FIELD)
        return Span(first, first + _DAY - 1)
    if _MOMENT.fullmatch(text):
        moment = parse_moment(text, FIELD)
    elif found := _BEFORE_NOW.fullmatch(text):
        moment = int(now * 1000) * 1000 - int(found[1]) * _SECONDS[found[2]] * 1_000_000
    else:
        return None
    moment_text(moment)
    return Span(moment, moment)


def moment_text(moment: int) -> str:
    """Format a moment. Raises `RefusedError` where it has no year of four digits in UTC."""
    try:
        return format_moment(moment)
    except (ValueError, OverflowError):
        raise refused("a moment is outside of the calendar", "years 0000 to 9999, in UTC") from None


def moment_of(value: str) -> int | None:
    """Return the moment that a string of a message is, the first one of a date; None if neither."""
    if not _DATE.match(value):  # most strings are neither, and an exception takes longer
        return None
    try:
        return parse_moment(f"{value}T00:00:00Z" if len(value) == 10 else value, FIELD)
    except RefusedError:
        return None
