"""Columns of fields with many values, as they are stored beside the posting lists of a segment.

To read a posting list for each value would take hundreds of milliseconds. A column is made while
the keys of a segment are written, which come field by field.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import count

import msgspec
from msgspec import Struct
from pyroaring import BitMap

from livelog.index.column import Column, enter
from livelog.index.columns import has_one_name

FEW = 64
"""Values up to which a field has no column: its posting lists are read."""

MOST = 100_000
"""Values up to which it has one; more take too much memory."""

_VALUE_BYTES = 200
"""Memory of a value and its number."""

_NUMBERED = 1 << 16
"""Values that two bytes can number, with that of no value."""


class Stored(Struct, array_like=True):
    """A column in its stored form."""

    values: list[str]
    width: str
    """Type of the array of numbers."""
    numbers: bytes
    several: dict[int, list[int]]
    having: bytes
    """The positions of the messages with a value."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Stored)


class StoredColumn(Column):
    """A column of one segment, which has numbers alone; its values are those of a `Numbering`."""

    def __init__(self, numbering: list[str], fresh: int) -> None:
        super().__init__()
        self.values, self.lists = numbering, []
        self._fresh = fresh
        """Values that were numbered for this column."""

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly, with the values that no column had before."""
        return _VALUE_BYTES * self._fresh + self.memory_of_numbers + len(self.having) // 8


class Numbering:
    """The numbers of the values of one field, the same in the columns of many segments.

    So nothing has to be translated where the values of several segments are joined, and each value
    is in memory once, however many segments have it.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._values = [""]
        """By number, 0 is that of no value; columns that have been made keep theirs."""
        self._numbers: dict[str, int] = {}

    def column_of(self, data: bytes) -> StoredColumn:
        """Return a column that was stored."""
        stored = _decoder.decode(data)
        if len(self._values) + len(stored.values) > 2 * MOST:
            self._begin()
        known, values = self._numbers, stored.values[1:]
        fresh = [value for value in values if value not in known]
        known.update(zip(fresh, count(len(self._values))))
        self._values += fresh
        number_of = [0, *map(known.__getitem__, values)]
        column = StoredColumn(self._values, len(fresh))
        column.having = BitMap.deserialize(stored.having)
        local = array(stored.width, stored.numbers)
        column.end = len(local)
        several = {at: [number_of[one] for one in those] for at, those in stored.several.items()}
        column.add_numbers(array("I", map(number_of.__getitem__, local)), several)
        return column


class Columns:
    """The columns of a segment of `count` messages that is being written."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._field = ""
        self._begin("")

    def _begin(self, field: str) -> None:
        self._field = field
        self._values = [""]
        self._few: list[BitMap] = []
        """Lists that have not been entered yet."""
        self._numbers = array("H")
        self._having = BitMap()
        self._several: dict[int, list[int]] = {}

    def add(self, key: str, places: BitMap) -> Iterable[tuple[str, bytes]]:
        """Add the next key with its positions; return the column that ends before it, by field."""
        field, _, value = key.partition("=")
        ended: Iterable[tuple[str, bytes]] = ()
        if field != self._field:
            ended = list(self.end())
            self._begin(field)
        if has_one_name(field) and len(self._values) <= MOST + 1:
            self._take(value, places)
        return ended

    def _take(self, value: str, places: BitMap) -> None:
        self._values.append(value)
        self._few.append(places)
        if len(self._values) <= FEW + 1:
            return
        if not self._numbers:
            self._numbers = array("H", bytes(2 * self._count))
        elif len(self._values) == _NUMBERED:
            self._numbers = array("I", self._numbers)
        self._having |= BitMap.union(*self._few)
        for number, some in enumerate(self._few, len(self._values) - len(self._few)):
            enter(number, some, self._numbers, self._several)
        self._few = []

    def end(self) -> Iterator[tuple[str, bytes]]:
        """Yield the last column, by field."""
        if self._numbers and len(self._values) <= MOST + 1:
            numbers, having = self._numbers, self._having
            having.run_optimize()
            width, packed = numbers.typecode, numbers.tobytes()
            stored = Stored(self._values, width, packed, self._several, having.serialize())
            yield self._field, _encoder.encode(stored)
