"""Columns made of keys and numbers: which of them hold the values of a field.

Values count as one where filters take them for one: ids byte for byte, other strings as
`folding.normalized` makes them, numbers and booleans by their JSON. Some messages have values that
no key or number tells exactly: those are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Protocol

from pyroaring import BitMap

from livelog.index.column import Column, TooManyValuesError
from livelog.index.paths import boolean_key, long_key
from livelog.index.plan import Source, Steps, finish
from livelog.index.where.expression import Equals
from livelog.index.where.lookup import EXACT, cuts, names_of
from livelog.index.where.values import is_number, number_text
from livelog.wire.commands import KEY_FILTERS

_APPENDED = 128
"""Messages whose values are added in one step, where their keys are known."""

_KEPT = 4
"""Columns that are kept for the next question."""


class Entries(Source, Protocol):
    """A source that tells which values there are."""

    def strings(self, start: str, within: range) -> Iterator[list[tuple[str, BitMap]]]:
        """Yield, in steps, what follows `start` in each key that begins so, and its positions.

        Those that are `within` a range, in bitmaps of the caller's own; those without any may be
        left out.
        """

    def numbers(self, path: str, within: range) -> Iterator[list[tuple[float, BitMap]]]:
        """Yield the numbers at a path in the same way; each may come several times."""


KeysAt = Callable[[int], tuple[str, ...] | None]
"""Return the keys of a message if it is one of the newest and has few, else None."""


def has_one_name(field: str) -> bool:
    """Tell whether strings alone are values of a field, each under one key."""
    return field in KEY_FILTERS or field == "author_id"


def unsure(source: Source, field: str) -> Steps[BitMap]:
    """Find the positions of the messages that have to be read for the values of a field."""
    found = BitMap()
    for name, kept in _names(source, field):
        found |= _kept(source.of_key(long_key(name)), kept)
    if not has_one_name(field):
        for key in cuts(field):
            found |= source.of_key(key)
        for low, high in ((-inf, -EXACT), (EXACT, inf)):
            found |= yield from source.with_numbers(field, low, high)
    return found


def extend(column: Column, source: Entries, field: str, end: int) -> Steps[None]:
    """Extend a column to the messages before `end`, in steps.

    Raises `TooManyValuesError`.
    """
    within = range(column.end, end)
    for name, kept in _names(source, field):
        for some in source.strings(f"{name}=", within):
            for value, places in some:
                column.add(value, _kept(places, kept))
            yield
    if not has_one_name(field):
        for truth in (True, False):
            places = source.of_key(boolean_key(field, truth)) & BitMap(within)
            if places:
                column.add(number_text(truth), places)
        for some_numbers in source.numbers(field, within):
            for number, places in some_numbers:
                column.add(_text(number), places)
            yield
    column.end = max(column.end, end)


def _append_newest(column: Column, keys_at: KeysAt, field: str, end: int) -> Steps[None]:
    """Extend a column, in steps, by messages whose keys are still there as they came.

    To look through the keys of all messages for those of a few takes longer than to count.
    """
    start = f"{field}="
    while column.first < column.end < end:
        newest = range(column.end, min(end, column.end + _APPENDED))
        keys = [some for some in map(keys_at, newest) if some is not None]
        if len(keys) < len(newest):
            return
        column.append([key[len(start) :] for key in some if key.startswith(start)] for some in keys)
        yield


def having(source: Source, field: str, value: str) -> Steps[BitMap]:
    """Find the positions of the messages with a value, in steps, but for those to be read."""
    found = BitMap()
    for name, kept in _names(source, field):
        found |= _kept(source.of_key(f"{name}={value}"), kept)
    if not has_one_name(field):
        if value in ("true", "false"):
            found |= source.of_key(boolean_key(field, value == "true"))
        if is_number(value):
            found |= yield from source.with_numbers(field, float(value), float(value))
    return found


def passing(source: Entries, field: str, within: range) -> Iterator[Column]:
    """Yield columns of a few values each, which are not kept, of a field with very many."""
    for some in source.strings(f"{field}=", within):
        yield Column.of(some)


def _names(source: Source, field: str) -> list[tuple[str, BitMap | None]]:
    """Return the names under which there are values, with the messages in which there are."""
    return [
        (name, None if types is None else BitMap.union(BitMap(), *map(source.of_type, types)))
        for name, types in names_of(Equals(field, ""))
    ]


def _kept(places: BitMap, kept: BitMap | None) -> BitMap:
    return places if kept is None else places & kept


def _text(number: float) -> str:
    return number_text(int(number) if number.is_integer() else number)


class Columns:
    """The columns of fields that have been asked for lately."""

    def __init__(self) -> None:
        self._kept: dict[str, Column] = {}
        """The last that was asked for is the last."""
        self._asked_for = set[str]()
        """Fields that have been asked for since the last sweep."""

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly."""
        return sum(column.memory for column in self._kept.values())

    def of(
        self, source: Entries, field: str, within: range, keys_at: KeysAt | None = None
    ) -> Steps[Iterable[Column] | None]:
        """Return the columns of a field, in steps: one, or several that pass.

        None if there are too many values and they have to be read.
        """
        column = self._kept.get(field) or Column(within.start)
        try:
            if keys_at is not None and has_one_name(field):
                yield from _append_newest(column, keys_at, field, within.stop)
            if column.end < within.stop:
                yield from extend(column, source, field, within.stop)
        except TooManyValuesError:
            self._kept.pop(field, None)
            return passing(source, field, within) if has_one_name(field) else None
        self._kept.pop(field, None)
        self._kept[field] = column
        self._asked_for.add(field)
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return [column]

    def _check(self, source: Entries) -> None:
        """Assert that each column has what there is in the source."""
        for field, column in self._kept.items():
            column._check()
            fresh = Column(column.first)
            finish(extend(fresh, source, field, column.end))
            kept = BitMap(range(source.positions.start, column.end))
            for value, places in zip(fresh.values[1:], fresh.lists[1:], strict=True):
                own = column.lists[column._known.get(value, 0)]
                assert places & kept == own & kept
            assert fresh.having & kept == column.having & kept

    def sweep(self, start: int) -> None:
        """Drop columns that nobody has asked for since the last sweep, and those of which more than
        half lies below `start`.
        """
        asked = ((field, self._kept[field]) for field in self._kept if field in self._asked_for)
        self._kept = {f: one for f, one in asked if 2 * start <= one.first + one.end}
        self._asked_for = set()
