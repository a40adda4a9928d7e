"""Tallies: the messages at some positions, counted by the values of a field, again and again.

Watches count what has come since their last tick: few messages, for many watches. Where a field has
few values, their posting lists are counted; otherwise the messages are read, each once for all
watches of a tick: `Columns` keeps their values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import chain, islice
from operator import itemgetter
from typing import NamedTuple, Protocol

from pyroaring import BitMap

from livelog.index.analysis.values import Values
from livelog.index.plan import Read, Source, Steps
from livelog.index.terms import message_in
from livelog.index.where.fields import compared_as_id

TOP = 100
"""Values that a summary names."""

MAX_VALUE = 256
"""Characters of a value that a summary names."""

_KEPT = 1 << 14
"""Values of messages that are kept for the next watch."""

_COUNTED = 64
"""Values that are counted, or messages whose values are known, in one step."""

_RANKED = 2048
"""Values that are compared in one step."""


class Counted(Source, Protocol):
    """Posting lists that know how many values a field has."""

    def number_of_values(self, field: str) -> int | None:
        """Return how many values of a field are indexed; None if some are not."""


class Tally(NamedTuple):
    """Messages counted by the values of a field."""

    total: int = 0
    """Number of messages."""
    counts: Mapping[str, int] = {}
    """Value, in the form in which it is compared → number of messages with it."""
    missing: int = 0
    """Number of messages without a value."""
    spelled: Mapping[str, str] = {}
    """Some of the values → as one of the newest messages has it."""
    incomplete: bool = False
    """Some messages had been evicted."""


class Column:
    """Values of one field, by the position of the message."""

    def __init__(self, field: str) -> None:
        self._values = Values(field)
        self._by_position: dict[int, tuple[str, ...]] = {}
        self._size = 0
        self.spelled: dict[str, str] = {}

    def get(self, position: int) -> tuple[str, ...] | None:
        """Return the values of a message that has been read and kept, else None."""
        return self._by_position.get(position)

    def read(self, position: int, payload: bytes) -> tuple[str, ...]:
        """Read the values of a message, and keep them while there is room.

        One that is too long to be named is cut, so that it takes little memory.
        """
        found = self._values.spelled(message_in(payload)) if payload else {}
        values = tuple(value[: MAX_VALUE + 1] for value in found)
        if self._size < _KEPT:
            self._size += 1 + len(values)
            self._by_position[position] = values
            self.spelled.update(_short(found))
        return values


class Columns:
    """Columns of the messages in one index."""

    def __init__(self) -> None:
        self._source: object = None
        self._by_field: dict[str, Column] = {}

    def of(self, source: object, field: str) -> Column:
        """Return the column of a field; of another source than before it is empty."""
        if source is not self._source:
            self._source, self._by_field = source, {}
        return self._by_field.get(field) or self._by_field.setdefault(field, Column(field))


def tally(source: Counted, columns: Columns, field: str, among: BitMap, read: Read) -> Steps[Tally]:
    """Count the messages at positions `among` by the values of a field, in steps."""
    values = source.number_of_values(field)
    if values is None or values > 2 * len(among):
        return (yield from _read(columns.of(source, field), among, read))
    return (yield from _looked_up(source, field, among, read))


def _read(column: Column, among: BitMap, read: Read) -> Steps[Tally]:
    counts: dict[str, int] = {}
    missing = 0
    for number, position in enumerate(among):
        values = column.get(position)
        if values is None:
            values = column.read(position, read(position))
            yield
        elif number % _COUNTED == 0:
            yield
        for value in values:
            counts[value] = counts.get(value, 0) + 1
        missing += not values
    return Tally(len(among), counts, missing, column.spelled)


def _looked_up(source: Source, field: str, among: BitMap, read: Read) -> Steps[Tally]:
    newest: dict[str, int] = {}
    counts: dict[str, int] = {}
    having = BitMap()
    for number, (value, positions) in enumerate(source.values(field) or ()):
        found = positions & among
        if found:
            counts[value] = len(found)
            newest[value] = found.max()
            having |= found
        if number % _COUNTED == 0:
            yield
    spelled: dict[str, str] = {}
    if field != "type" and not compared_as_id(field):
        values = Values(field)
        for value in nlargest(TOP, counts, key=counts.__getitem__):
            payload = read(newest[value])
            if payload:
                spelled.update(_short(values.spelled(message_in(payload))))
            yield
    return Tally(len(among), counts, len(among) - len(having), spelled)


def _short(spelled: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Leave out what is too long to be named; the value is short if its text has much to fold."""
    return (one for one in spelled.items() if max(map(len, one)) <= MAX_VALUE)


class Summary(NamedTuple):
    """The numbers of several tallies together."""

    total: int
    top: dict[str, int]
    """The values in the most messages."""
    others: int
    """Sum of the counts of all other values."""
    missing: int
    incomplete: bool


def summary(tallies: Sequence[Tally]) -> Steps[Summary]:
    """Sum up tallies, in steps."""
    best: list[tuple[str, int]] = []
    total = 0
    items = _added([each.counts for each in tallies])
    while some := list(islice(items, _RANKED)):
        total += sum(count for _, count in some)
        named = (item for item in some if len(item[0]) <= MAX_VALUE)
        best = nlargest(TOP, chain(best, named), key=itemgetter(1))
        yield
    spelled = {value: text for each in tallies for value, text in each.spelled.items()}
    return Summary(
        sum(each.total for each in tallies),
        {spelled.get(value, value): count for value, count in best},
        total - sum(count for _, count in best),
        sum(each.missing for each in tallies),
        any(each.incomplete for each in tallies),
    )


def _added(several: Sequence[Mapping[str, int]]) -> Iterator[tuple[str, int]]:
    """Iterate over the sums; of all but the largest mapping a copy is made."""
    largest, *others = sorted(several, key=len, reverse=True) or [{}]
    added: Counter[str] = Counter()
    for each in others:
        added.update(each)
    yield from ((value, count + added.pop(value, 0)) for value, count in largest.items())
    yield from added.items()
