"""The buckets of one part of the messages: which of its matches lie in which bucket of time.

Most messages stand in the order of their timestamps, so a bucket is a run of positions, and the
matches in it are a difference of two ranks; strays are added singly.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import compress

from pyroaring import BitMap

from livelog.index.column import Column, batched, picked
from livelog.index.plan import Steps

_LISTED, _LISTED_EACH = 100, 3
"""Positions whose numbers are looked up in the time in which a list is divided into buckets: those
for each list, and for each bucket."""

_SOUGHT = 3
"""Buckets in which a list is counted in the time in which the bucket of a position is sought."""

_SPREAD = 2048
"""Lists times buckets that are counted in one step: about half a millisecond."""

Spread = tuple[int, "array[int]"]
"""Number of a value, and numbers of buckets, each followed by the matches with the value in it."""


class Cells:
    """The matches of one part in each bucket."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._firsts: list[int] = []
        self._runs: list[BitMap] = []
        """Numbers of the buckets that are runs, with their first positions, and all of them."""
        self._strays: dict[int, BitMap] = {}
        """Strays by the number of their bucket."""
        self._all_strays = BitMap()

    def __len__(self) -> int:
        return len(self._numbers) + len(self._strays)

    def add_runs(
        self, numbers: Iterable[int], firsts: Iterable[int], runs: Iterable[BitMap]
    ) -> None:
        """Add buckets that have all positions of a run, but for strays; `firsts` are the first."""
        self._numbers += numbers
        self._firsts += firsts
        self._runs += runs

    def add_strays(self, places: dict[int, list[int]]) -> None:
        """Add strays, by the number of their bucket."""
        for number, strays in places.items():
            self._strays.setdefault(number, BitMap()).update(strays)
            self._all_strays.update(strays)

    def __iter__(self) -> Iterator[tuple[int, BitMap]]:
        """Iterate over numbers of buckets and their positions."""
        for number, run in zip(self._numbers, self._runs, strict=True):
            yield number, run - self._all_strays if self._strays else run
        yield from self._strays.items()

    def counted(self, places: BitMap) -> array[int]:
        """Return the numbers of the buckets with some of these matches, each with their count."""
        regular = places - self._all_strays if self._strays else places
        if _SOUGHT * len(regular) < len(self._numbers):
            runs = Counter([bisect_right(self._firsts, place) - 1 for place in regular])
            numbers, counts = [self._numbers[run] for run in runs], list(runs.values())
        else:
            shares = list(map(regular.intersection_cardinality, self._runs))
            numbers, counts = list(compress(self._numbers, shares)), list(filter(None, shares))
        if len(regular) < len(places):
            shares = [inside.intersection_cardinality(places) for inside in self._strays.values()]
            numbers += compress(self._strays, shares)
            counts += filter(None, shares)
        pairs = array("I", bytes(8 * len(numbers)))
        pairs[::2], pairs[1::2] = array("I", numbers), array("I", counts)
        return pairs


def is_by_number(column: Column, among: BitMap, cells: Cells) -> Steps[bool]:
    """Tell whether to count by number, and prepare to, in steps; otherwise it is done by list."""
    effort = len(column.lists) * (_LISTED + _LISTED_EACH * len(cells))
    return (yield from column.is_looked_up(is_worth_it=effort > len(among)))


def by_list(column: Column, among: BitMap, cells: Cells) -> Iterator[list[Spread]]:
    """Count matches by value and bucket, in steps; each value comes once."""
    size = max(1, _SPREAD // max(1, len(cells)))
    for start in range(0, len(column.lists), size):
        some = enumerate(column.lists[start : start + size], start)
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
