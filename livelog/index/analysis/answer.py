"""The result of a tally: the values in the most messages, and the buckets in their order."""

from __future__ import annotations

from array import array
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.analysis.calendar import SECOND
from livelog.index.analysis.tally import MAX_VALUE_BYTES, Tally
from livelog.index.analysis.timeline import MAX_BUCKETS
from livelog.index.plan import Steps

MAX_CELLS = 20_000
"""Values times buckets in an answer."""

_SUMMED = 500
"""Values that are summed up in one step."""

_CELL_BYTES = 24
_BUCKET_BYTES = 80
"""Bytes of a value in an answer besides its text, and of a bucket."""


class Stretch(NamedTuple):
    """A bucket with matches."""

    start: int
    """Microseconds since 1970."""
    total: int
    groups: dict[str, int]
    distinct: int


class Answer(NamedTuple):
    """The result of an analysis; of what was not asked for it is empty or 0."""

    total: int
    groups: list[tuple[str, int]]
    """Values as they are compared, those in the most messages first."""
    others: int
    missing: int
    distinct: int
    stretches: list[Stretch]
    """In the order of time."""
    spelled: dict[str, str]
    """Value → how its newest message spells it, where the two differ or might."""
    size: int
    """Bytes of the answer as JSON, about."""
    incomplete: bool = False


def answer(tally: Tally) -> Steps[Answer]:
    """Draw up the answer, in steps. Raises `RefusedError` when it would be too long."""
    question = tally.question
    shown = yield from tally.most()
    _check_values(tally)
    _check_buckets(tally, len(shown))
    grouped, size = yield from _grouped(tally, shown)
    distinct = yield from _distinct(tally)
    yield
    stretches = map(Stretch, tally.timeline.starts(), tally.timeline.counts, grouped, distinct)
    is_grouped = question.distinct == question.group_by
    values = len(tally.groups if is_grouped else tally.distinct.values)
    return Answer(
        tally.total,
        shown,
        sum(tally.groups.values()) - sum(count for _, count in shown),
        tally.missing,
        values if question.distinct else 0,
        sorted(stretches, key=itemgetter(0)),
        tally.spelled,
        size,
    )


def _check_values(tally: Tally) -> None:
    if tally.too_many:
        issue = "has too many different values among these messages"
        allowed = f"values that take up to {MAX_VALUE_BYTES >> 20} MiB; narrow the filters"
        raise RefusedError(PROTOCOL_ERROR, tally.too_many, issue, allowed=allowed)


def _check_buckets(tally: Tally, groups: int) -> None:
    """Raise `RefusedError` when there are too many buckets for this number of groups."""
    most = min(MAX_BUCKETS, MAX_CELLS // max(1, groups))
    while len(tally.timeline.counts) > most:
        tally.timeline.coarsen()
    if tally.is_too_fine:
        issue = f"makes more than {most} buckets with messages"
        allowed = tally.timeline.interval // SECOND
        raise RefusedError(PROTOCOL_ERROR, "interval_seconds", issue, allowed=allowed)


def _grouped(tally: Tally, shown: list[tuple[str, int]]) -> Steps[tuple[list[dict[str, int]], int]]:
    """Return, by the number of the bucket, the counts of the values shown; and all their bytes."""
    grouped: list[dict[str, int]] = [{} for _ in tally.timeline.counts]
    size = _BUCKET_BYTES * len(grouped)
    for value, _ in shown:
        spread = tally.spreads.get(value, array("I"))
        for counts, count in zip(map(grouped.__getitem__, spread[::2]), spread[1::2], strict=True):
            counts[value] = counts.get(value, 0) + count
        size += (len(value.encode()) + _CELL_BYTES) * (1 + len(spread) // 2)
        yield
    return grouped, size


def _distinct(tally: Tally) -> Steps[list[int]]:
    """Return, by the number of the bucket, how many different values are in it."""
    found, question = [0] * len(tally.timeline.counts), tally.question
    if not question.distinct:
        return found
    if question.distinct != question.group_by:
        for number, values in tally.distinct.buckets.items():
            found[number] = len(values)
        return found
    remaining = iter(tally.spreads.values())
    while some := list(islice(remaining, _SUMMED)):
        for spread in some:
            for number in set(spread[::2]):
                found[number] += 1
        yield
    return found
