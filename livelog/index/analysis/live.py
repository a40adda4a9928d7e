"""Live counts: the messages at some positions by the values of a field, again and again.

Watches count what has come since their last tick: few messages, for many watches. Where a field has
few values, their posting lists are counted; otherwise each message is looked at, once for all
watches of a tick: `Findings` keeps its values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import chain, islice
from operator import itemgetter
from typing import NamedTuple, Protocol

from pyroaring import BitMap

from livelog.index.analysis.values import Values
from livelog.index.paths import long_key
from livelog.index.plan import Read, Source, Steps
from livelog.index.terms import message_in
from livelog.index.where.fields import compared_as_id
from livelog.wire.commands import KEY_FILTERS

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


class Lists(Source, Protocol):
    """Posting lists that know more about the newest messages and the values of fields."""

    def values(self, field: str) -> Iterator[tuple[str, BitMap]] | None:
        """Iterate over the values of a field and their positions; None if some are not indexed.

        What is added meanwhile need not come.
        """

    def number_of_values(self, field: str) -> int | None:
        """Return how many values of a field are indexed; None if some are not."""

    def keys_at(self, position: int) -> tuple[str, ...] | None:
        """Return the keys of a message if it is one of the newest and has few, else None."""


class Count(NamedTuple):
    """Messages counted by the values of a field."""

    total: int = 0
    """Number of messages."""
    values: Mapping[str, int] = {}
    """Value, in the form in which it is compared → number of messages with it."""
    missing: int = 0
    """Number of messages without a value."""
    spelled: Mapping[str, str] = {}
    """Some of the values → as one of the newest messages has it."""
    incomplete: bool = False
    """Some messages had been evicted."""


class Column:
    """Values of one field, by the position of the message, and how they are spelled."""

    def __init__(self, source: Lists, field: str) -> None:
        self._source = source
        self._values = Values(field)
        self._prefix = f"{field}=" if field in KEY_FILTERS else None
        self._unknown = long_key(field)
        self._by_position: dict[int, tuple[str, ...]] = {}
        self._size = 0
        self.spelled: dict[str, str] = {}
        self.is_as_compared = field == "type" or compared_as_id(field)

    def get(self, position: int) -> tuple[str, ...] | None:
        """Return the values of a message, if it need not be read."""
        if position in self._source.void or position in self._source.stale:
            return None
        return self._by_position.get(position)

    def read(self, position: int, read: Read) -> tuple[str, ...]:
        """Find the values of a message, and keep them while there is room.

        One that is too long to be named is cut, so that it takes little memory.
        """
        values = tuple([value[: MAX_VALUE + 1] for value in self._found(position, read)])
        if self._size < _KEPT:
            self._size += 1 + len(values)
            self._by_position[position] = values
        return values

    def _found(self, position: int, read: Read) -> Iterable[str]:
        prefix = self._prefix
        keys = None if prefix is None else self._source.keys_at(position)
        if prefix is None or keys is None or self._unknown in keys:
            payload = read(position)
            return self._values.of(message_in(payload)) if payload else ()
        return [key[len(prefix) :] for key in keys if key.startswith(prefix)]

    def spell(self, payload: bytes) -> None:
        """Note how a message spells its values; of one that is short the text may be long."""
        found = self._values.spelled(message_in(payload)) if payload else {}
        self.spelled.update(one for one in found.items() if max(map(len, one)) <= MAX_VALUE)


class Findings:
    """Things found for one watch that serve the next ones: values, and the last matches."""

    def __init__(self) -> None:
        self._source: Lists | None = None
        self._columns: dict[str, Column] = {}
        self._matches: tuple[Hashable, BitMap] | None = None
        self.dms: dict[range, BitMap] = {}
        """Positions of the direct messages in a range."""

    def of(self, source: Lists) -> Findings:
        """Return the same, empty if it is of another source: positions hold for one."""
        if source is not self._source:
            self._source, self._columns, self._matches, self.dms = source, {}, None, {}
        return self

    def column(self, field: str) -> Column:
        """Return the column of a field."""
        assert self._source is not None
        if field not in self._columns:
            self._columns[field] = Column(self._source, field)
        return self._columns[field]

    def matches(self, question: Hashable) -> BitMap | None:
        """Return the answer to a question if it is the last that was noted, else None."""
        return self._matches[1] if self._matches and self._matches[0] == question else None

    def note(self, question: Hashable, positions: BitMap) -> None:
        """Note an answer."""
        self._matches = question, positions


def count(source: Lists, found: Findings, field: str, among: BitMap, read: Read) -> Steps[Count]:
    """Count the messages at positions `among` by the values of a field, in steps."""
    column, indexed = found.of(source).column(field), source.number_of_values(field)
    newest: dict[str, int] = {}
    if indexed is None or indexed > 2 * len(among) or source.stale:
        values, missing = yield from _read(column, among, read, newest)
    else:
        values, missing = yield from _looked_up(source, field, among, newest)
    if not column.is_as_compared:
        for value in nlargest(TOP, values, key=values.__getitem__):
            if value not in column.spelled:
                column.spell(read(newest[value]))
                yield
    return Count(len(among), values, missing, column.spelled)


def _read(
    column: Column, among: BitMap, read: Read, newest: dict[str, int]
) -> Steps[tuple[dict[str, int], int]]:
    counts: dict[str, int] = {}
    missing = 0
    for number, position in enumerate(among):
        values = column.get(position)
        if values is None:
            values = column.read(position, read)
            yield
        elif number % _COUNTED == 0:
            yield
        for value in values:
            counts[value] = counts.get(value, 0) + 1
            newest[value] = position
        missing += not values
    return counts, missing


def _looked_up(
    source: Lists, field: str, among: BitMap, newest: dict[str, int]
) -> Steps[tuple[dict[str, int], int]]:
    counts: dict[str, int] = {}
    having, known = BitMap(), among - source.void
    for number, (value, positions) in enumerate(source.values(field) or ()):
        found = positions & known
        if found:
            counts[value] = len(found)
            newest[value] = found.max()
            having |= found
        if number % _COUNTED == 0:
            yield
    return counts, len(among) - len(having)


class Summary(NamedTuple):
    """The numbers of several counts together."""

    total: int
    top: dict[str, int]
    """The values in the most messages."""
    others: int
    """Sum of the counts of all other values."""
    missing: int
    incomplete: bool


def summary(several: Sequence[Count]) -> Steps[Summary]:
    """Sum up counts, in steps."""
    best: list[tuple[str, int]] = []
    total = 0
    items = _added([each.values for each in several])
    while some := list(islice(items, _RANKED)):
        total += sum(count for _, count in some)
        named = (item for item in some if len(item[0]) <= MAX_VALUE)
        best = nlargest(TOP, chain(best, named), key=itemgetter(1))
        yield
    spelled = {value: text for each in several for value, text in each.spelled.items()}
    return Summary(
        sum(each.total for each in several),
        {spelled.get(value, value): count for value, count in best},
        total - sum(count for _, count in best),
        sum(each.missing for each in several),
        any(each.incomplete for each in several),
    )


def _added(several: Sequence[Mapping[str, int]]) -> Iterator[tuple[str, int]]:
    """Iterate over the sums; of all but the largest mapping a copy is made."""
    largest, *others = sorted(several, key=len, reverse=True) or [{}]
    added: Counter[str] = Counter()
    for each in others:
        added.update(each)
    yield from ((value, count + added.pop(value, 0)) for value, count in largest.items())
    yield from added.items()
