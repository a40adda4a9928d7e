"""The buckets of time of a tally. If there are too many, they are made longer."""

from __future__ import annotations

from itertools import compress, islice

from pyroaring import BitMap

from livelog.index.analysis.calendar import Span, buckets, coarser
from livelog.index.analysis.cells import Cells
from livelog.index.plan import Steps
from livelog.index.timeindex import TimeIndex

MAX_BUCKETS = 2000
"""Buckets in an answer."""

_WALKED = 32
_COUNTED = 512
"""Buckets that are made in one step, and those that are only counted."""

_SPARSE = 8
"""Buckets that are counted in the time in which one is found."""

_STRAYS = 64
"""Strays that are assigned to their buckets in one step."""


class Timeline:
    """Buckets, numbered as they come, and the matches in them; none where `interval` is 0."""

    def __init__(self, interval: int, zone: str) -> None:
        self.interval = interval
        """Microseconds; more than was asked for once there are too many buckets."""
        self.counts: list[int] = []
        """Matches in each bucket, by its number."""
        self._zone = zone
        self._bucket = buckets(interval, zone) if interval else None
        self._numbers: dict[int, int] = {}
        """Start of a bucket → its number."""

    def starts(self) -> list[int]:
        """Return the starts of the buckets, in the order of their numbers."""
        return list(self._numbers)

    def divide(self, found: BitMap, times: TimeIndex) -> Steps[Cells]:
        """Divide matches into buckets, and count them there, in steps."""
        cells = Cells()
        if self._bucket is None:
            return cells
        strays = found & times.strays
        regular = found - strays
        if regular:
            are_many = self._are_many(regular, times)
            yield from (self._count_all if are_many else self._walk)(regular, times, cells)
        remaining = iter(strays)
        while some := list(islice(remaining, _STRAYS)):
            cells.add_strays(self._divided(times, some))
            yield
        return cells

    def _are_many(self, regular: BitMap, times: TimeIndex) -> bool:
        """Tell whether to look into all buckets from the first match to the last."""
        stretch = times.latest(regular.max()) - times.latest(regular.min())
        return stretch // self.interval < min(MAX_BUCKETS, _SPARSE * len(regular))

    def _count_all(self, regular: BitMap, times: TimeIndex, cells: Cells) -> Steps[None]:
        """Count matches in all buckets from the first to the last."""
        assert self._bucket
        first, last = regular.min(), regular.max()
        kind = self.interval, self._zone
        runs = yield from times.runs.of(kind, self._bucket, times, range(first, last + 1))
        within = runs.within(first, last)
        for begin in range(within.start, within.stop, _COUNTED):
            some = slice(begin, min(begin + _COUNTED, within.stop))
            places = runs.places[some]
            counts = list(map(regular.intersection_cardinality, places))
            numbers = [
                self.add(start, matches) if matches else 0
                for start, matches in zip(runs.starts[some], counts, strict=True)
            ]
            cells.add_runs(
                compress(numbers, counts),
                compress(runs.firsts[some], counts),
                compress(places, counts),
            )
            yield

    def _walk(self, regular: BitMap, times: TimeIndex, cells: Cells) -> Steps[None]:
        """Go from match to match, since most buckets have none."""
        last = regular.max()
        position, rank = regular.min(), 0
        while position <= last:
            span, number = self._numbered(times.latest(position))
            behind = times.first_at(span.end, position)
            before, rank = rank, regular.rank(behind - 1)
            self.counts[number] += rank - before
            cells.add_runs([number], [position], [BitMap(range(position, behind))])
            position = (
                behind if behind > last or behind in regular else regular.next_set_bit(behind)
            )
            if number % _WALKED == 0:
                yield

    def _divided(self, times: TimeIndex, positions: list[int]) -> dict[int, list[int]]:
        """Divide strays into buckets."""
        places: dict[int, list[int]] = {}
        span, number = Span(0, 0), 0
        for position in positions:
            time = times.at(position)
            if not span.start <= time < span.end:
                span, number = self._numbered(time)
            self.counts[number] += 1
            places.setdefault(number, []).append(position)
        return places

    def add(self, time: int, matches: int) -> int:
        """Add matches to the bucket of a time; return its number."""
        known = self._numbers.get(time)  # as it is nearly always, where times are starts
        number = self._numbered(time)[1] if known is None else known  # may make the buckets longer
        self.counts[number] += matches
        return number

    def _numbered(self, time: int) -> tuple[Span, int]:
        """Return the bucket of a time, and its number."""
        assert self._bucket
        span = self._bucket(time)
        number = self._numbers.setdefault(span.start, len(self._numbers))
        if number == len(self.counts):
            self.counts.append(0)
            if number == MAX_BUCKETS:
                self.coarsen()
                return self._numbered(time)
        return span, number

    def coarsen(self) -> None:
        """Make the buckets longer."""
        counts = dict(zip(self._numbers, self.counts, strict=True))
        self.interval = coarser(self.interval)
        self._bucket = buckets(self.interval, self._zone)
        self._numbers, self.counts = {}, []
        for start, matches in counts.items():
            self.add(start, matches)
