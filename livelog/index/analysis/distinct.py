"""The different values of a field, in all matches and in each bucket.

Each has a number, and a bucket is the bitmap of those that occur in it. The values of the first
column, and of all that number theirs as it does, keep the numbers that they have there, so that the
bitmaps of their buckets are taken as they are; those of others are translated.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Iterable
from itertools import count, islice

import msgspec
from pyroaring import BitMap

from livelog.index.analysis.cells import Cells, by_list, is_by_number
from livelog.index.column import Column, picked, taken
from livelog.index.plan import Steps

VALUE_BYTES = 150
"""Memory of a value besides its text."""

_PACKED = 500
"""Values that are packed in one step."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[int, str])


class Distinct:
    """Different values of the matches so far, which may take `room` bytes of memory."""

    def __init__(self, room: int) -> None:
        self.values: dict[str, int] = {}
        """Value → its number."""
        self.buckets: dict[int, BitMap] = {}
        """Number of a bucket → numbers of the values that occur in it."""
        self.kept = BitMap()
        """Numbers that are those of a column."""
        self._kept_values: list[str] | None = None
        """The values of that column; None when none keeps its numbers any more."""
        self._free = 0
        """All numbers lie below."""
        self._room = room

    @property
    def are_too_many(self) -> bool:
        """Tell whether there was no room for all values."""
        return self._room < 0

    def add(self, column: Column, among: BitMap, cells: Cells | None) -> Steps[None]:
        """Add the values of the matches `among` some messages, by bucket if there are `cells`."""
        numbers = _Numbers(self, column)
        if cells is None:
            for some in column.counted(among):
                numbers.translated(BitMap([number for number, _ in some]))
                yield
        elif (yield from is_by_number(column, among, cells)):
            for bucket, inside in cells:
                found = BitMap()
                for matches in picked(inside & among):
                    column.collect(matches, found)
                    yield
                for some_found in picked(found):
                    self._touch(bucket, numbers.translated(some_found))
                    yield
        else:
            for spread in by_list(column, among, cells):
                for number, counts in spread:
                    own = numbers.translated(BitMap([number]))
                    for bucket in counts[::2]:
                        self._touch(bucket, own)
                yield

    def numbered(self, values: Collection[str]) -> list[int]:
        """Return the numbers of values, which new ones are given; empty if there is no room."""
        fresh = [value for value in values if value not in self.values]
        if self._has_room(fresh):
            if fresh:
                self._kept_values = None
            self.values.update(zip(fresh, count(self._free)))
            self._free += len(fresh)
            return [self.values[value] for value in values]
        return []

    def keeps(self, column: Column) -> bool:
        """Tell whether the values of a column keep the numbers that they have there."""
        if not self.values:
            self._kept_values = column.values
        return column.values is self._kept_values

    def take(self, column: Column, numbers: BitMap) -> None:
        """Note more values of a column, which keep their numbers."""
        values = [column.values[number] for number in numbers]
        if self._has_room(values):
            self.values.update(zip(values, numbers, strict=True))
            self._free = len(column.values)

    def _has_room(self, values: list[str]) -> bool:
        self._room -= sum(map(len, values)) + VALUE_BYTES * len(values)
        return not self.are_too_many

    def _touch(self, bucket: int, numbers: BitMap) -> None:
        known = self.buckets.setdefault(bucket, BitMap())
        known |= numbers

    # Between processes.

    def packed(self) -> Steps[list[bytes]]:
        """Pack the values, in steps."""
        packed, remaining = list[bytes](), iter(list(self.values.items()))
        while some := list(islice(remaining, _PACKED)):
            packed.append(_encoder.encode({number: value for value, number in some}))
            yield
        return packed

    def merge(self, packed: Iterable[bytes], buckets: dict[int, bytes]) -> Steps[None]:
        """Add what another process has found in buckets with these numbers, in steps."""
        own = array("I")  # number there → number here
        for values in packed:
            some = _decoder.decode(values)
            own.frombytes(bytes(own.itemsize * max(0, max(some, default=0) + 1 - len(own))))
            deque(map(own.__setitem__, some, self.numbered(some.values())), maxlen=0)
            if self.are_too_many:
                return
            yield
        for bucket, packed_numbers in buckets.items():
            for numbers in picked(BitMap.deserialize(packed_numbers)):
                self._touch(bucket, _translated(own, numbers))
                yield


def _translated(table: array[int], numbers: BitMap) -> BitMap:
    """Return what stands in a table at the places of some numbers."""
    others = BitMap(range(numbers.min(), numbers.max() + 1)) - numbers
    return BitMap(taken(table, numbers, others))


class _Numbers:
    """The numbers of the values of a column, and those of the same values among all."""

    def __init__(self, distinct: Distinct, column: Column) -> None:
        self._distinct, self._column = distinct, column
        self._keeps = distinct.keeps(column)
        self._known = distinct.kept if self._keeps else BitMap()
        self._of = array("I", bytes(0 if self._keeps else 4 * len(column.values)))

    def translated(self, numbers: BitMap) -> BitMap:
        """Return the numbers among all; none if there is no room for new values."""
        fresh = numbers - self._known
        self._known |= fresh
        if fresh and self._keeps:
            self._distinct.take(self._column, fresh)
        elif fresh:
            values = [self._column.values[number] for number in fresh]
            deque(map(self._of.__setitem__, fresh, self._distinct.numbered(values)), maxlen=0)
        if self._distinct.are_too_many:
            return BitMap()
        if self._keeps or not numbers:
            return numbers
        return _translated(self._of, numbers)
