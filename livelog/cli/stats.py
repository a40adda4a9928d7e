"""`livelog stats`: exact counts of past messages, as a table with bars."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any
from zoneinfo import ZoneInfo

from livelog.cli import options
from livelog.cli.exit import outcome, say
from livelog.cli.format import counted, print_json, time_of
from livelog.cli.sanitize import sanitized
from livelog.cli.width import cut, padded, width
from livelog.client.client import connect
from livelog.client.decoding import Analysis
from livelog.client.url import shown
from livelog.wire.events import Bucket

_EXAMPLES = """\
  livelog stats
  livelog stats --by channel --where 'type:user timestamp:>-1d' --limit 10
  livelog stats --interval 1h --distinct user_id --timezone Europe/Berlin
  livelog stats --by severity --interval 1m --json | jq .buckets
"""
_TIMEOUT = 30
"""Seconds for the answer, reconnects included."""

_BAR = 40
_VALUE = 40
"""Columns of the longest bar, and of the longest value."""

_NAMED = 3
"""Values that are named beside a stretch of time."""

_INTERVAL = re.compile(r"([1-9][0-9]{0,9})(s|m|h|d|w)?")
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def main(arguments: Sequence[str]) -> int:
    """Print counts and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    if given.by is None and given.interval is None and given.distinct is None:
        given.by = "type"

    def act() -> int:
        counts = asyncio.run(_fetch(given))
        if given.json:
            print_json(_as_event(counts))
        else:
            for line in _table(counts, given):
                print(line)
            say(_summary(counts, given))
        return 0

    return outcome(act)


def make_parser(name: str) -> options.Parser:
    """Make the parser of the command."""
    parser = options.parser(name, "Count past messages exactly.", _EXAMPLES)
    options.add_selection(parser, json="Print the counts as one line of JSON.")
    parser.add_argument(
        "--by",
        metavar="FIELD",
        help="Count by the values of this field: type, channel, user_id, metadata.level, …"
        " (default: type, unless --interval or --distinct is given).",
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=20,
        metavar="N",
        help="Number of values to print, those in the most messages, 1 to 1000 (default: 20).",
    )
    parser.add_argument(
        "--interval",
        type=_interval,
        metavar="SECONDS",
        help="Count over time, in stretches of this many seconds, or of 5m, 1h, 1d.",
    )
    parser.add_argument(
        "--timezone",
        metavar="ZONE",
        help="Let stretches begin, and show them, in this time zone: Europe/Berlin (default: they"
        " begin in UTC and are shown in local time).",
    )
    parser.add_argument(
        "--distinct", metavar="FIELD", help="Count the different values of this field: user_id."
    )
    return parser


def _interval(text: str) -> int:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is invalid: must be such as 30s, 5m, 1h or 1d")
    return int(found[1]) * _SECONDS[found[2]]


async def _fetch(given: argparse.Namespace) -> Analysis:
    filters: dict[str, Any] = options.filters(given)
    if types := options.types(given.type):
        filters["type"] = types
    try:
        async with asyncio.timeout(_TIMEOUT), connect(given.url, token=given.token) as log:
            return await log.analyze(
                filters=filters,
                group_by=given.by,
                limit=given.limit,
                interval_seconds=given.interval,
                timezone=given.timezone,
                distinct=given.distinct,
            )
    except TimeoutError:
        raise TimeoutError(f"no answer from {shown(given.url)} in {_TIMEOUT} seconds") from None


def _as_event(counts: Analysis) -> dict[str, Any]:
    """Return the counts under the names that they have in the protocol."""
    named = {each.name: getattr(counts, each.name) for each in fields(counts)}
    return {"total_count": named.pop("total"), **named}


def _table(counts: Analysis, given: argparse.Namespace) -> Iterator[str]:
    """Return the lines of the table: values first, then stretches of time."""
    if given.by is not None:
        rest = [("(others)", counts.others), ("(none)", counts.missing)]
        rows = [(_cut(group.value), group.count) for group in counts.groups]
        yield from _bars(rows + [row for row in rest if row[1]])
    if given.by is not None and counts.buckets:
        yield ""
    zone = ZoneInfo(given.timezone) if given.timezone else None
    starts = [time_of(bucket.start, zone) for bucket in counts.buckets]
    bars = _bars(list(zip(starts, [bucket.count for bucket in counts.buckets], strict=True)))
    for bucket, bar in zip(counts.buckets, bars, strict=True):
        yield f"{bar:<{_BAR + 40}}{_inside(bucket, given)}".rstrip()


def _bars(rows: list[tuple[str, int]]) -> Iterator[str]:
    """Return a line for each name and count, with a bar as long as the count is great."""
    names = max((width(name) for name, _ in rows), default=0)
    most = max((count for _, count in rows), default=0)
    block = _block()
    for name, count in rows:
        bar = block * max(1, round(_BAR * count / most))
        yield f"{padded(name, names)}  {count:>{len(str(most))}}  {bar}"


def _inside(bucket: Bucket, given: argparse.Namespace) -> str:
    """Describe what is in a stretch of time."""
    parts: list[str] = []
    if given.distinct is not None:
        parts.append(f"{bucket.distinct} different")
    groups = sorted((bucket.groups or {}).items(), key=lambda one: -one[1])
    parts += [f"{_cut(value)} {count}" for value, count in groups[:_NAMED]]
    return ", ".join(parts)


def _cut(value: str) -> str:
    return cut(sanitized(value), _VALUE)


def _block() -> str:
    """Return the character of a bar that the output can show."""
    try:
        "█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"


def _summary(counts: Analysis, given: argparse.Namespace) -> str:
    verb = "matches" if counts.total == 1 else "match"
    parts = [f"{counted(counts.total, 'message')} {verb}"]
    if given.distinct is not None:
        parts.append(f"with {counts.distinct} different values of {given.distinct}")
    if counts.incomplete:
        parts.append("older ones are not counted, as the server's store did not answer")
    return ", ".join(parts)
