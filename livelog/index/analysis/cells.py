"""The buckets of one part of the messages: which of its matches lie in which bucket of time.

Most messages stand in the order of their timestamps, so a bucket is a run of positions; strays are
added singly. A bucket is a bitmap of its matches; for values with few matches the number of the
bucket is looked up by position instead.
"""

from __future__ import annotations

from array import array
from functools import cached_property
from operator import itemgetter

from pyroaring import BitMap

from livelog.index.plan import Steps

_WALKED = 32
"""Buckets that are numbered in one step."""

_LOOKED_INTO = 16
"""Buckets that are looked into in the time that it takes to begin to look up those of matches."""

_CELLS = 500
"""Buckets in which the matches of a value are counted in one step."""


class Cells:
    """The matches of one part in each bucket."""

    def __init__(self, found: BitMap) -> None:
        self._found = found
        self._cells: dict[int, BitMap] = {}
        self._runs: list[tuple[int, int, int]] = []
        """Number of a bucket, its first position and that behind it, but for strays."""
        self._strays: list[dict[int, list[int]]] = []
        self._base = 0
        self._numbers = array("H")
        """Numbers of the buckets by position, from the base on."""
        self.are_numbered = False
        """Buckets can be looked up by position."""

    def are_many_for(self, matches: int) -> bool:
        """Tell whether to look up the bucket of each match is cheaper than to look into each."""
        return len(self._cells) > matches + _LOOKED_INTO

    def add_run(self, number: int, first: int, end: int, inside: BitMap) -> None:
        """Add the matches in a bucket that are no strays: those `inside`, from `first` to `end`."""
        self._runs.append((number, first, end))
        self._cells[number] = inside

    def add_strays(self, places: dict[int, list[int]]) -> None:
        """Add strays, by the number of their bucket."""
        self._strays.append(places)
        for number, strays in places.items():
            known = self._cells.setdefault(number, BitMap())
            self._cells[number] = known | BitMap(strays)

    @cached_property
    def batches(self) -> list[list[tuple[int, BitMap]]]:
        """Numbers and matches of the buckets, some for each step. Made once all are added."""
        cells = list(self._cells.items())
        return [cells[at : at + _CELLS] for at in range(0, len(cells), _CELLS)]

    def number(self) -> Steps[None]:
        """Prepare to look up buckets by position."""
        self._base, end = self._found.min(), self._found.max() + 1
        numbers = array("H")
        for done, (number, first, behind) in enumerate(self._runs):
            # What lies between two buckets is not looked up; the last may end behind the matches.
            numbers.extend(array("H", [0]) * (first - self._base - len(numbers)))
            numbers.extend(array("H", [number]) * (min(behind, end) - first))
            if done % _WALKED == 0:
                yield
        numbers.extend(array("H", [0]) * (end - self._base - len(numbers)))
        for places in self._strays:
            yield
            for number, strays in places.items():
                for position in strays:
                    numbers[position - self._base] = number
        self._numbers, self.are_numbered = numbers, True

    def picked(self, positions: BitMap) -> tuple[int, ...]:
        """Return the number of the bucket of each match among `positions`."""
        inside = (positions & self._found).shift(-self._base)
        if len(inside) < 2:  # `itemgetter` of one gives no tuple
            return tuple(self._numbers[position] for position in inside)
        picked: tuple[int, ...] = itemgetter(*inside)(self._numbers)
        return picked
