"""A column: the values of one field, in two forms in which they are counted.

Each value has a number, and the list of its positions. To count the values of very many messages,
each list is intersected with their positions, however many they are. Where there are fewer, or many
values are counted in many buckets, the number at each position is looked up instead; those are made
of the lists when they are first needed. Most messages have one value, so the others stand in a
table of their own.

Work is done in steps: an iterator pauses after each item, which may be empty.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from itertools import compress, islice, repeat
from typing import Any, TypeVar

from pyroaring import BitMap

LISTED = 1 << 15
"""Values up to which their lists are kept."""

_COUNTED = 500
"""Lists that are intersected in one step, and values whose counts are returned in one."""

_NUMBERED = 64
"""Lists of which numbers are made in one step."""

_PICKED = 1 << 13
"""Positions whose numbers are looked up in one step: about a millisecond."""

_FEW_LISTS = 64
"""Lists up to which numbers are not made, however few messages or many buckets there are."""

_LOOK_UP = 1
"""Positions whose numbers are looked up and counted in the time in which a list is intersected with
positions in one container that is an array; and about the time that the list takes by itself."""

_DENSE, _DENSER = 4096, 8
"""Positions from which on a container is a set of bits, and how many of those are intersected
in the time in which it is done with one array."""

_VALUE_BYTES = 300
_CONTAINER_BYTES, _CONTAINED = 70, 1 << 16
_POSITION_BYTES = 2
"""Memory of a value, of each container of a list, which is for so many positions, and of a position
in it."""


class TooManyValuesError(Exception):
    """A field has too many values for a column."""


class Column:
    """Values of the messages at the positions from `first` to before `end`."""

    def __init__(self, first: int = 0) -> None:
        self.first = self.end = first
        self.values = [""]
        """By number; 0 is that of no value."""
        self.lists = [BitMap()]
        """Positions of each value, which may have others behind `end`; without any in a column that
        has numbers alone."""
        self.having = BitMap()
        """Positions of the messages with a value."""
        self.numbers = array("I")
        """By position, from `first` on: the number of a value."""
        self._several, self._further = array("I"), array("I")
        """Numbers of all further values of messages that have several, and before them, place by
        place, the positions of these messages, which rise."""
        self._known: dict[str, int] = {}

    @classmethod
    def of(cls, lists: Iterable[tuple[str, BitMap]]) -> Column:
        """Make a column of lists, which are not copied; each value comes once."""
        made = cls()
        for value, places in lists:
            made.values.append(value)
            made.lists.append(places)
        made.having = BitMap.union(*made.lists)
        return made

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly."""
        places = len(self.having)
        containers = len(self.values) * (1 + (self.end - self.first) // _CONTAINED)
        lists = _POSITION_BYTES * places + _CONTAINER_BYTES * min(places, containers)
        return _VALUE_BYTES * len(self.values) + lists + self.memory_of_numbers

    @property
    def memory_of_numbers(self) -> int:
        """Bytes of memory of the numbers."""
        return self.numbers.itemsize * (len(self.numbers) + 2 * len(self._several))

    def add(self, value: str, places: BitMap) -> None:
        """Add positions of a value, which become the column's own."""
        number = self._known.setdefault(value, len(self.values))
        if number == len(self.values):
            if number > LISTED:
                raise TooManyValuesError
            self.values.append(value)
            self.lists.append(places)
        else:
            self.lists[number] |= places
        self.having |= places

    def append(self, messages: Iterable[list[str]]) -> None:
        """Add the values of the next messages, with their numbers if all others have theirs."""
        is_numbered = self.is_numbered
        for values in messages:
            for value in values:
                self.add(value, BitMap([self.end]))
            if is_numbered:
                first, *others = dict.fromkeys(map(self._known.__getitem__, values)) or [0]
                self.add_numbers(array("I", [first]), {self.end: others} if others else {})
            self.end += 1

    def counted(self, among: BitMap) -> Iterator[list[tuple[int, int]]]:
        """Count the messages at some positions: yield numbers of values, each with its count."""
        if (yield from self._looked_up(among)):
            yield from self._counted_by_number(among)
            return
        for start in range(0, len(self.lists), _COUNTED):
            matches = map(among.intersection_cardinality, self.lists[start : start + _COUNTED])
            yield [(number, count) for number, count in enumerate(matches, start) if count]

    def _looked_up(self, among: BitMap) -> Generator[Any, None, bool]:
        """Tell whether to look up numbers for some positions, as `is_looked_up` does."""
        containers = 1 + ((among.max() - among.min()) // _CONTAINED if among else 0)
        is_dense = len(among) > _DENSE * containers
        each = min(containers, 1 + len(self.having) // max(1, len(self.lists)))
        effort = len(self.lists) * (1 + each // (_DENSER if is_dense else 1))
        steps = self.is_looked_up(is_worth_it=_LOOK_UP * effort > len(among))
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return bool(stop.value)
            yield []

    def _counted_by_number(self, among: BitMap) -> Iterator[list[tuple[int, int]]]:
        counts = Counter[int]()
        for some in picked(among):
            self.count(some, counts)
            yield []
        yield from batched(counts.items())

    def is_looked_up(self, *, is_worth_it: bool) -> Generator[None, None, bool]:
        """Tell whether to look up numbers, and make them, in steps, if that is worth it."""
        if is_worth_it and self.is_lasting and len(self.lists) > _FEW_LISTS:
            yield from self.number()
        return self.is_numbered and (is_worth_it or not self.lists)

    # The numbers.

    @property
    def is_lasting(self) -> bool:
        """Tell whether it is kept, so that numbers are worth to be made."""
        return self.end > self.first

    @property
    def is_numbered(self) -> bool:
        """Tell whether there are numbers up to the end."""
        return 0 < len(self.numbers) == self.end - self.first

    def number(self) -> Iterator[None]:
        """Make numbers of the lists up to the end."""
        while not self.is_numbered:
            begin, end = self.first + len(self.numbers), self.end
            numbers, several = array("I", bytes(4 * (end - begin))), dict[int, list[int]]()
            within = BitMap(range(begin, end))
            for number, places in enumerate(list(self.lists)):
                if places and places.max() >= begin:
                    enter(number, (places & within).shift(-begin), numbers, several)
                if number % _NUMBERED == 0:
                    yield
            if begin == self.first + len(self.numbers):  # they have not been made meanwhile
                self.add_numbers(numbers, {at + begin: more for at, more in several.items()})

    def add_numbers(self, numbers: array[int], several: dict[int, list[int]]) -> None:
        """Add the numbers of the next positions, and further ones of messages with several."""
        self.numbers += numbers
        for position in sorted(several):
            self._several.extend([position] * len(several[position]))
            self._further.extend(several[position])

    def count(self, inside: BitMap, counts: Counter[int]) -> None:
        """Add up numbers of the values of the messages at some positions."""
        counts.update(map(self.numbers.__getitem__, self._places(inside)))
        counts.update(self._others(inside))
        del counts[0]

    def collect(self, inside: BitMap, found: BitMap) -> None:
        """Add to `found` the numbers of the values of the messages at some positions."""
        others = (BitMap(range(inside.min(), inside.max() + 1)) - inside) & self.having
        places = inside
        if self.first:
            places, others = inside.shift(-self.first), others.shift(-self.first)
        found.update(taken(self.numbers, places, others))
        found.update(array("I", self._others(inside)))
        found.discard(0)

    def _places(self, inside: BitMap) -> array[int]:
        """Return the places in `numbers` of some positions."""
        return (inside.shift(-self.first) if self.first else inside).to_array()

    def _others(self, inside: BitMap) -> Iterator[int]:
        """Iterate over the numbers of all further values of the messages at some positions."""
        begin, end = inside.min(), inside.max() + 1
        some = slice(bisect_left(self._several, begin), bisect_left(self._several, end))
        return compress(self._further[some], map(inside.__contains__, self._several[some]))

    def _check(self) -> None:
        """Assert that the lists and the numbers agree."""
        assert self.having == BitMap.union(*self.lists)
        if self.is_numbered:
            expected: dict[int, set[int]] = {}
            for number, places in enumerate(self.lists):
                for position in places & BitMap(range(self.first, self.end)):
                    expected.setdefault(position, set()).add(number)
            assert list(self._several) == sorted(self._several)
            further: dict[int, list[int]] = {}
            for position, number in zip(self._several, self._further, strict=True):
                further.setdefault(position, []).append(number)
            for position, one in enumerate(self.numbers, self.first):
                others = further.get(position, [])
                assert {one, *others} - {0} == expected.get(position, set())
                assert len({one, *others}) == 1 + len(others)


def enter(
    number: int, places: Iterable[int], numbers: array[int], several: dict[int, list[int]]
) -> None:
    """Enter the number of a value at its places in `numbers`; further ones go to `several`."""
    for place in places:
        if numbers[place]:
            several.setdefault(place, []).append(number)
        else:
            numbers[place] = number


def taken(numbers: array[int], places: BitMap, others: BitMap) -> array[int]:
    """Return the numbers at some places, in any order and some of them more than once.

    `others` are all other places between the first and the last, but for those of numbers that may
    be among the result, too.
    """
    if len(others) >= len(places):
        return array("I", map(numbers.__getitem__, places.to_array()))
    # The numbers of all places are taken at once, and those of the others overwritten.
    begin = places.min()
    some = numbers[begin : places.max() + 1]
    deque(map(some.__setitem__, others.shift(-begin).to_array(), repeat(some[0])), maxlen=0)
    return some


Item = TypeVar("Item")


def batched(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Divide what is counted into as much as is taken in one step."""
    remaining = iter(items)
    while some := list(islice(remaining, _COUNTED)):
        yield some


def picked(among: BitMap) -> Iterator[BitMap]:
    """Divide positions into as many as are looked up in one step."""
    left = among
    while left:
        begin = left.min()
        yield left & BitMap(range(begin, begin + _PICKED))
        left = left & BitMap(range(begin + _PICKED, left.max() + 1))
