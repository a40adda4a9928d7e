"""Columns of fields with many values, as they are stored beside the posting lists of a segment.

To read a posting list for each value would take hundreds of milliseconds. A column is made while
the keys of a segment are written, which come field by field.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct
from pyroaring import BitMap

from livelog.index.column import Column, enter
from livelog.index.columns import has_one_name

FEW = 64
"""Values up to which a field has no column: its posting lists are read."""

MOST = 100_000
"""Values up to which it has one; more take too much memory."""


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


def column_of(data: bytes) -> Column:
    """Return a column that was stored."""
    stored, column = _decoder.decode(data), Column()
    column.values, column.lists = stored.values, []
    column.having = BitMap.deserialize(stored.having)
    numbers = array("I", array(stored.width, stored.numbers))
    column.end = len(numbers)
    column.add_numbers(numbers, stored.several)
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
