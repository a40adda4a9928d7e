"""Numbers of messages by path: they find the messages with one within a range.

A value that very many messages have keeps its positions in a bitmap. All others stand in blocks,
each for a range of values, in the order in which they came: the ends of what is looked for lie in
two blocks at most, which are read number by number; those between count as a whole. A block that
is full is divided at its middle value, which takes a third of a millisecond. So nothing is ever
sorted, and a number takes twelve bytes.

Numbers are floats, in which integers beyond 2**53 are rounded: the planner knows.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import compress
from math import inf
from operator import itemgetter
from typing import NamedTuple

from pyroaring import BitMap

from livelog.index.plan import Steps
from livelog.index.positions import shifted

_BLOCK = 1024
"""Numbers in a block that is full."""

_FREQUENT = 64
"""Numbers in such a block with one value, from which on it gets a bitmap."""

_JOINED = 8
_SWEPT = 32
"""Blocks or bitmaps that are joined in one step of a search, and swept in one."""

MAX_PATHS = 1000
"""Paths into free objects whose numbers are kept: each has tables of its own."""

_PATH_BYTES = 2000
_ENTRY_BYTES = 14
"""Memory of a path, and of a number with its share of a block; in a bitmap it takes less."""


class Block(NamedTuple):
    """Numbers whose values lie in a range, and their positions, which rise."""

    values: array[float]
    positions: array[int]

    def within(self, some: range) -> list[tuple[float, BitMap]]:
        """Return its values, each with its positions among `some`, where there are any."""
        found = dict[float, BitMap]()
        if self.positions and self.positions[-1] >= some.start:
            for value, position in zip(self.values, self.positions, strict=True):
                if position in some:
                    found.setdefault(value, BitMap()).add(position)
        return list(found.items())

    def picked(self, which: list[bool]) -> Block:
        """Return those of its numbers."""
        values, positions = compress(self.values, which), compress(self.positions, which)
        return Block(array("d", values), array("I", positions))


class Piece(NamedTuple):
    """Part of the numbers of a path: those from `low` to `high`, or one value."""

    low: float
    high: float
    content: Block | BitMap

    def pairs(self) -> Iterator[tuple[float, int]]:
        """Iterate over values and positions."""
        if isinstance(self.content, Block):
            return zip(*self.content, strict=True)
        return ((self.low, position) for position in self.content)

    def between(self, low: float, high: float) -> BitMap | array[int] | list[int]:
        """Return the positions with a value from `low` to `high`, both included."""
        if not isinstance(self.content, Block):
            return self.content if low <= self.low <= high else []
        if low <= self.low and self.high <= high:
            return self.content.positions
        return [position for value, position in self.pairs() if low <= value <= high]


def _empty() -> Block:
    return Block(array("d"), array("I"))


class Values:
    """The numbers of one path."""

    __slots__ = ("_blocks", "_lows", "_order", "frequent")

    def __init__(self) -> None:
        self.frequent: dict[float, BitMap] = {}
        self._order: list[float] = []
        """The frequent values, sorted."""
        self._blocks = [_empty()]
        self._lows = [-inf]
        """Lowest value that belongs into each block."""

    def add(self, value: float, position: int) -> None:
        """Add a number of the newest message that is not frequent."""
        at = bisect_right(self._lows, value) - 1
        values, positions = self._blocks[at]
        values.append(value)
        positions.append(position)
        if len(values) >= _BLOCK:
            self._divide(at)

    def add_all(self, value: float, positions: BitMap) -> None:
        """Add a value that all these messages have."""
        if value not in self.frequent:
            self.frequent[value] = BitMap()
            insort(self._order, value)
        self.frequent[value] |= positions

    def extend(self, piece: Piece, offset: int) -> None:
        """Add the numbers of a piece, with each position higher by `offset`."""
        if isinstance(piece.content, BitMap) and len(piece.content) >= _FREQUENT:
            self.add_all(piece.low, piece.content.shift(offset))
            return
        for value, position in piece.pairs():
            if value in self.frequent:
                self.frequent[value].add(position + offset)
            else:
                self.add(value, position + offset)

    def _divide(self, at: int) -> None:
        """Take the frequent values out of a block, and divide the others if they are many."""
        # Into new ones: a search may be reading the old one.
        block = self._blocks[at]
        often = [v for v, count in Counter(block.values).items() if count >= _FREQUENT]
        for value in often:
            _, those = block.picked([v == value for v in block.values])
            self.add_all(value, BitMap(those))
        if often:
            block = self._blocks[at] = block.picked([v not in often for v in block.values])
        if len(block.values) > _BLOCK // 2:
            middle = sorted(block.values)[len(block.values) // 2]
            lower = [v < middle for v in block.values]
            upper = block.picked([not is_lower for is_lower in lower])
            self._blocks[at : at + 1] = [block.picked(lower), upper]
            self._lows.insert(at + 1, middle)

    def between(self, low: float, high: float) -> Steps[BitMap]:
        """Return the positions with a number from `low` to `high`, both included, in steps."""
        first, last = bisect_left(self._order, low), bisect_right(self._order, high)
        common = [self.frequent[value] for value in self._order[first:last]]
        begin, end = bisect_right(self._lows, low) - 1, bisect_right(self._lows, high)
        blocks = self._blocks[begin:end]
        joined = BitMap()
        for start in range(0, len(common), _JOINED):
            joined = BitMap.union(joined, *common[start : start + _JOINED])
            yield
        for number, block in enumerate(blocks):
            if number in (0, len(blocks) - 1):
                pairs = zip(*block, strict=True)
                joined.update([position for value, position in pairs if low <= value <= high])
            else:
                joined.update(block.positions)
            if not number % _JOINED:
                yield
        return joined

    def within(self, some: range) -> Iterator[list[tuple[float, BitMap]]]:
        """Yield all numbers in steps, each with its positions among `some`, where there are any."""
        # Those that there are now: in a pause a block may be divided.
        common, blocks, same = list(self.frequent.items()), list(self._blocks), BitMap(some)
        for value, positions in common:
            yield [(value, inside)] if (inside := positions & same) else []
        for block in blocks:
            yield block.within(some)

    def pieces(self) -> Iterator[Piece]:
        """Iterate over all numbers, in pieces."""
        for value in self._order:
            yield Piece(value, value, self.frequent[value])
        for block in self._blocks:
            if block.values:
                yield Piece(min(block.values), max(block.values), block)

    def sweep(self, start: int) -> Steps[None]:
        """Remove the positions below `start`, in steps."""
        for number, value in enumerate(list(self._order), 1):
            places = self.frequent[value]
            places.remove_range(0, start)
            if not places:
                del self.frequent[value]
                self._order.remove(value)
            if not number % _SWEPT:
                yield
        at = 0
        while at < len(self._blocks):  # one that is divided in a pause may be looked at again
            values, positions = self._blocks[at]
            gone = bisect_left(positions, start)
            del values[:gone], positions[:gone]
            at += not self._is_joined(at)
            if not at % _SWEPT:
                yield

    def _is_joined(self, at: int) -> bool:
        """Join a block with the one before it if both are small."""
        before, block = self._blocks[max(0, at - 1)], self._blocks[at]
        if at == 0 or len(before.values) + len(block.values) > _BLOCK // 4:
            return False
        pairs = [*zip(*before, strict=True), *zip(*block, strict=True)]
        # A new one: a search may be reading the old ones.
        self._blocks[at - 1 : at + 1] = [_block(sorted(pairs, key=itemgetter(1)))]
        del self._lows[at]
        return True

    def __len__(self) -> int:
        return sum(map(len, self.frequent.values())) + sum(len(b.values) for b in self._blocks)

    def shifted(self, distance: int) -> Values:
        """Return the same with every position lower by `distance`, without those below 0."""
        fresh = Values()
        for value, positions in self.frequent.items():
            if left := shifted(positions, distance):
                fresh.add_all(value, left)
        fresh._blocks = [
            _block([(v, p - distance) for v, p in zip(*block, strict=True) if p >= distance])
            for block in self._blocks
        ]
        fresh._lows = list(self._lows)
        return fresh

    def _check(self) -> None:
        """Assert that each block has the numbers that belong into it, in their order."""
        assert self._order == sorted(self.frequent)
        assert all(self.frequent.values())
        assert self._lows == sorted(set(self._lows))
        for low, high, block in zip(self._lows, [*self._lows[1:], inf], self._blocks, strict=True):
            assert len(block.values) == len(block.positions) < _BLOCK
            assert all(low <= value < high for value in block.values)
            assert list(block.positions) == sorted(block.positions)


def _block(pairs: Iterable[tuple[float, int]]) -> Block:
    made = _empty()
    for value, position in pairs:
        made.values.append(value)
        made.positions.append(position)
    return made


class Numbers:
    """The numbers of all paths."""

    def __init__(self) -> None:
        self._of: dict[str, Values] = {}
        self._count = 0
        """About as many numbers as there are; the sweep counts them again."""

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly."""
        return self._count * _ENTRY_BYTES + len(self._of) * _PATH_BYTES

    def add(self, numbers: Collection[tuple[str, float]], position: int) -> set[str]:
        """Add the numbers of the newest message; return the paths for which there is no room."""
        left: set[str] = set()
        self._count += len(numbers)
        for path, value in numbers:
            values = self._of.get(path)
            if values is None:
                if "." in path and len(self._of) >= MAX_PATHS:
                    left.add(path)
                    continue
                values = self._of[path] = Values()
            frequent = values.frequent.get(value)
            if frequent is not None:
                frequent.add(position)
            else:
                values.add(value, position)
        return left

    def between(self, path: str, low: float, high: float) -> Steps[BitMap]:
        """Return the positions with a number from `low` to `high`, both included, in steps."""
        values = self._of.get(path)
        return BitMap() if values is None else (yield from values.between(low, high))

    def within(self, path: str, some: range) -> Iterator[list[tuple[float, BitMap]]]:
        """Yield, in steps, the numbers at a path and their positions among `some`, in bitmaps of
        the caller's own; a number may come several times.
        """
        values = self._of.get(path)
        return iter(()) if values is None else values.within(some)

    def below(self, path: str) -> Steps[BitMap]:
        """Return the positions with any number at a path or one in it, in steps."""
        found, inside = BitMap(), f"{path}."
        for one in [one for one in self._of if one == path or one.startswith(inside)]:
            found |= yield from self.between(one, -inf, inf)
        return found

    def pieces(self) -> Iterator[tuple[str, Piece]]:
        """Iterate over all numbers, in pieces, in the order of the paths."""
        for path in sorted(self._of):
            yield from ((path, piece) for piece in self._of[path].pieces())

    def sweep(self, start: int) -> Steps[None]:
        """Remove the positions below `start`, in steps."""
        for path, values in list(self._of.items()):
            yield from values.sweep(start)
            if not len(values):
                del self._of[path]
            yield
        self._count = len(self)

    def renumbered(self, distance: int) -> Numbers:
        """Return the same with every position lower by `distance`, without those below 0."""
        fresh = Numbers()
        left = {path: values.shifted(distance) for path, values in self._of.items()}
        fresh._of = {path: values for path, values in left.items() if len(values)}
        fresh._count = len(fresh)
        return fresh

    def _check(self) -> None:
        """Assert that the numbers of each path hold."""
        for values in self._of.values():
            values._check()
