"""Pieces of the numbers of a segment, and the directory of them, as they are stored.

A piece with one value is the bitmap of its positions; any other is its positions, four bytes each,
and then their values, eight bytes each. The directory tells where the pieces of each path lie, so
that only those within a range are read, and one that is missing is noticed.
"""

from __future__ import annotations

from array import array
from operator import itemgetter

import msgspec
from msgspec import Struct
from pyroaring import BitMap

from livelog.index.numbers import Block, Piece

_ENTRY = 12
"""Bytes of a position and its value."""


class Row(Struct, frozen=True, array_like=True):
    """Where a piece stands, and its lowest and highest value."""

    number: int
    low: float
    high: float


Directory = dict[str, list[Row]]
"""The pieces of each path."""

_decoder = msgspec.msgpack.Decoder(Directory)


def encoded(directory: Directory) -> bytes:
    """Return a directory as it is stored."""
    return msgspec.msgpack.encode(directory)


def decoded(data: bytes) -> Directory:
    """Return a directory that was stored."""
    return _decoder.decode(data)


def packed(piece: Piece) -> bytes:
    """Return the content of a piece as it is stored."""
    if piece.low == piece.high:
        found = BitMap([position for _, position in piece.pairs()])
        found.run_optimize()
        return found.serialize()
    pairs = sorted(piece.pairs(), key=itemgetter(1))  # in order they are joined faster
    positions, values = array("I", [p for _, p in pairs]), array("d", [v for v, _ in pairs])
    return positions.tobytes() + values.tobytes()


def unpacked(row: Row, data: bytes) -> Piece:
    """Return a piece that was stored."""
    if row.low == row.high:
        return Piece(row.low, row.high, BitMap.deserialize(data))
    middle = 4 * (len(data) // _ENTRY)
    block = Block(array("d", data[middle:]), array("I", data[:middle]))
    return Piece(row.low, row.high, block)
