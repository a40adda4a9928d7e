"""The buckets of one part of the messages: which of its matches lie in which bucket of time.

Most messages stand in the order of their timestamps, so a bucket is a run of positions, and the
matches in it are a difference of two ranks; strays are added singly.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import compress
from operator import sub

from pyroaring import BitMap

from livelog.index.column import Column, batched, picked
from livelog.index.plan import Steps

_FEW_LISTS = 64
"""Lists up to which numbers are not made, however many buckets there are."""

_LOOK_UP = 10
"""Positions whose numbers are looked up in the time in which a list is counted in one bucket."""

_SPREAD = 8
"""Lists that are divided into buckets in one step."""

Spread = tuple[int, "array[int]"]
"""Number of a value, and numbers of buckets, each followed by the matches with the value in it."""


class Cells:
    """The matches of one part in each bucket."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        """Numbers of the buckets that are runs, with their first and last positions."""
        self._strays: dict[int, BitMap] = {}
        """Strays by the number of their bucket."""
        self._all_strays = BitMap()

    def __len__(self) -> int:
        return len(self._numbers) + len(self._strays)

    def add_run(self, number: int, first: int, end: int) -> None:
        """Add a bucket that has all positions from `first` to before `end`, but for strays."""
        self._numbers.append(number)
        self._firsts.append(first)
        self._lasts.append(end - 1)

    def add_strays(self, places: dict[int, list[int]]) -> None:
        """Add strays, by the number of their bucket."""
        for number, strays in places.items():
            self._strays.setdefault(number, BitMap()).update(strays)
            self._all_strays.update(strays)

    def __iter__(self) -> Iterator[tuple[int, BitMap]]:
        """Iterate over numbers of buckets and their positions."""
        for number, first, last in zip(self._numbers, self._firsts, self._lasts, strict=True):
            run = BitMap(range(first, last + 1))
            yield number, run - self._all_strays if self._strays else run
        yield from self._strays.items()

    def counted(self, places: BitMap) -> array[int]:
        """Return the numbers of the buckets with some of these matches, each with their count."""
        regular = places - self._all_strays if self._strays else places
        if len(regular) < len(self._numbers):
            runs = Counter([bisect_right(self._firsts, place) - 1 for place in regular])
            numbers, counts = [self._numbers[run] for run in runs], list(runs.values())
        else:
            ranks = list(map(regular.rank, self._lasts))
            differences = list(map(sub, ranks, [0, *ranks]))
            numbers = list(compress(self._numbers, differences))
            counts = list(filter(None, differences))
        if len(regular) < len(places):
            shares = [inside.intersection_cardinality(places) for inside in self._strays.values()]
            numbers += compress(self._strays, shares)
            counts += filter(None, shares)
        pairs = array("I", bytes(8 * len(numbers)))
        pairs[::2], pairs[1::2] = array("I", numbers), array("I", counts)
        return pairs


def is_by_number(column: Column, among: BitMap, cells: Cells) -> Steps[bool]:
    """Tell whether to count by number, and prepare to, in steps; otherwise it is done by list."""
    lists = len(column.lists)
    is_worth_it = _LOOK_UP * lists * len(cells) > len(among)
    if column.is_lasting and lists > _FEW_LISTS and is_worth_it:
        yield from column.number()
    return column.is_numbered and (not lists or is_worth_it)


def by_list(column: Column, among: BitMap, cells: Cells) -> Iterator[list[Spread]]:
    """Count matches by value and bucket, in steps; each value comes once."""
    for start in range(0, len(column.lists), _SPREAD):
        some = enumerate(column.lists[start : start + _SPREAD], start)
        shares = ((number, places & among) for number, places in some)
        yield [(number, cells.counted(inside)) for number, inside in shares if inside]


def by_number(column: Column, among: BitMap, cells: Cells) -> Iterator[list[Spread]]:
    """Do the same by the numbers of the values at each position."""
    found: dict[int, array[int]] = {}
    for bucket, inside in cells:
        counts = Counter[int]()
        for some_matches in picked(inside & among):
            column.count(some_matches, counts)
            yield []
        for some in batched(counts.items()):
            for number, matches in some:
                found.setdefault(number, array("I")).extend((bucket, matches))
            yield []
    yield from batched(found.items())
