"""Timestamps by position: they find the positions with a timestamp within a range.

Timestamps nearly always rise, since the server makes them; then an array of them is sorted, too,
and searched by bisection. A producer may send one that is earlier than one before it: such a stray
goes into a sorted list of its own, and the array repeats the latest time instead.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Generator
from itertools import accumulate, compress, count, islice
from operator import lt

from pyroaring import BitMap

from livelog.index.ordered import Ordered
from livelog.index.runs import KeptRuns

_GRAIN = 128
"""Strays that are dropped in one step."""

_LISTED = 2048
"""Strays whose positions are listed in one step: some tenths of a millisecond."""

_NEAR = 2048
"""Positions among which a later time is sought first."""

_STRAY_BYTES = 300
"""Memory of one stray."""

_POSITION_BITS = 32
_POSITION = (1 << _POSITION_BITS) - 1
_BEYOND = 1 << 128
"""More than any stray, and its negative less."""


def _stray(time: int, position: int) -> int:
    """Return time and position in one number: strays in order of time."""
    return time << _POSITION_BITS | position


class TimeIndex:
    """Timestamps (microseconds since 1970) by position; positions are added in rising order."""

    def __init__(self, first: int = 0) -> None:
        self._first = first  # position of the first entry of the array
        self._latest = array("q")
        """The latest time up to each position."""
        self._strays = Ordered[int]()
        """Time and position of each stray, in one number."""
        self._stray_times: dict[int, int] = {}
        self._stray_positions = BitMap()
        self.runs = KeptRuns()
        """The runs of positions in buckets of time."""

    def __len__(self) -> int:
        return len(self._latest)

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly."""
        each = self._latest.itemsize * len(self._latest) + _STRAY_BYTES * len(self._stray_times)
        return each + self.runs.memory

    @classmethod
    def of(cls, times: array[int]) -> TimeIndex:
        """Make them of the times of the positions from 0 on."""
        made = cls()
        made._latest = array("q", sorted(times))
        if made._latest == times:  # the usual case takes a fifth of the work
            return made
        made._latest = array("q", accumulate(times, max))
        strays = compress(count(), map(lt, times, made._latest))
        made._stray_times = {p: times[p] for p in strays}
        made._strays = Ordered(_stray(time, p) for p, time in made._stray_times.items())
        made._stray_positions = BitMap(made._stray_times)
        return made

    @classmethod
    def of_few(cls, times: dict[int, int]) -> TimeIndex:
        """Make them of the times of some positions, all of them as strays."""
        made = cls()
        made._stray_times = times
        made._stray_positions = BitMap(times)
        return made

    @property
    def first(self) -> int:
        """The first position that has not been swept."""
        return self._first

    @property
    def strays(self) -> BitMap:
        """Positions of the messages whose time is earlier than one before them; not to change."""
        return self._stray_positions

    def at(self, position: int) -> int:
        """Return the time of a position."""
        time = self._stray_times.get(position)
        return self._latest[position - self._first] if time is None else time

    def latest(self, position: int) -> int:
        """Return the latest time up to a position."""
        return self._latest[position - self._first]

    def first_at(self, time: int, after: int) -> int:
        """Return the first position behind `after` with this time or a later one, strays aside."""
        latest, first = self._latest, self._first
        near = after - first + _NEAR
        high = near if near < len(latest) and latest[near] >= time else len(latest)
        return first + bisect_left(latest, time, after - first + 1, high)

    def add(self, time: int) -> None:
        """Add the time of the next position."""
        latest = self._latest[-1] if self._latest else time
        if time < latest:
            position = self._first + len(self._latest)
            self._strays.add(_stray(time, position))
            self._stray_times[position] = time
            self._stray_positions.add(position)
        self._latest.append(max(time, latest))

    def between(self, first: int, last: int) -> Generator[None, None, BitMap]:
        """Return the positions with a time from `first` to `last`, both included, in steps.

        Of positions that come or go in a pause some may be there and others not.
        """
        strays = yield from self._strays_between(_stray(first, 0), _stray(last + 1, 0))
        low, high = bisect_left(self._latest, first), bisect_right(self._latest, last)
        found = BitMap(range(self._first + low, self._first + max(low, high)))
        return (found - self._stray_positions) | strays if self._strays else found

    def _strays_between(self, low: int, high: int) -> Generator[None, None, BitMap]:
        """Return the strays within a range, in steps.

        After one time that is far ahead all that follow are strays, so fewer are looked at: those
        inside of the range, or those outside.
        """
        strays = self._strays
        if 2 * (strays.rank(high) - strays.rank(low)) <= len(strays):
            return (yield from self._listed(low, high))
        outside = yield from self._listed(-_BEYOND, low)
        outside |= yield from self._listed(high, _BEYOND)
        return self._stray_positions - outside

    def _listed(self, low: int, high: int) -> Generator[None, None, BitMap]:
        """Return the strays from `low` to before `high`, in steps."""
        found = BitMap()
        # Anew after each pause, since there may be other strays then.
        while some := list(islice(self._strays.between(low, high), _LISTED)):
            found.update([stray & _POSITION for stray in some])
            low = some[-1] + 1
            yield
        return found

    def skip(self, count: int) -> None:
        """Add some positions whose times do not matter, since they are forgotten already."""
        latest = self._latest[-1] if self._latest else 0
        self._latest.extend([latest] * count)

    def sweep(self, start: int) -> Generator[None, None, None]:
        """Drop all positions below `start`, in steps."""
        strays = iter([stray for stray in self._stray_times if stray < start])
        while some := list(islice(strays, _GRAIN)):
            for stray in some:
                self._strays.remove(_stray(self._stray_times.pop(stray), stray))
                self._stray_positions.remove(stray)
            yield
        del self._latest[: max(0, start - self._first)]
        self._first = max(self._first, start)

    def shifted(self, distance: int) -> TimeIndex:
        """Return the same times with every position lower by `distance`."""
        lower = TimeIndex()
        lower._first = self._first - distance
        lower._latest = self._latest[:]
        lower._stray_times = {p - distance: time for p, time in self._stray_times.items()}
        lower._strays = Ordered(_stray(time, p) for p, time in lower._stray_times.items())
        lower._stray_positions = BitMap(lower._stray_times)
        return lower

    def _check(self) -> None:
        """Assert that the structures are in order and agree."""
        assert list(self._latest) == sorted(self._latest)
        assert [*self._strays] == sorted(_stray(t, p) for p, t in self._stray_times.items())
        assert BitMap(self._stray_times) == self._stray_positions
        for position, time in self._stray_times.items():
            assert time < self._latest[position - self._first]
        self._strays._check()
