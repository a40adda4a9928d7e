"""Which positions have a timestamp within a range.

Timestamps nearly always come in order, since the server makes them; those are kept in two parallel
arrays and found by bisection. A producer may send one that is earlier than one before it: such a
stray goes into a sorted list of its own.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from pyroaring import BitMap
from sortedcontainers import SortedList


class Times:
    """Timestamps (microseconds since 1970) by position; positions are added in rising order."""

    def __init__(self) -> None:
        self._times = array("q")
        self._positions = array("Q")
        self._strays: SortedList[tuple[int, int]] = SortedList()
        self._stray_times: dict[int, int] = {}

    def add(self, position: int, time: int) -> None:
        """Note the time of the newest position."""
        if self._times and time < self._times[-1]:
            self._strays.add((time, position))
            self._stray_times[position] = time
        else:
            self._times.append(time)
            self._positions.append(position)

    def between(self, first: int, last: int) -> BitMap:
        """The positions whose time is from `first` to `last`, both included."""
        low, high = bisect_left(self._times, first), bisect_right(self._times, last)
        found = BitMap()
        if low < high:
            found = BitMap(range(self._positions[low], self._positions[high - 1] + 1))
            found -= BitMap(self._stray_times)
        found.update([p for _, p in self._strays.irange((first, -1), (last, 1 << 64))])
        return found

    def forget_before(self, position: int) -> None:
        """Drop all positions below `position`."""
        gone = bisect_left(self._positions, position)
        del self._times[:gone], self._positions[:gone]
        for stray in [p for p in self._stray_times if p < position]:
            self._strays.remove((self._stray_times.pop(stray), stray))

    def shifted(self, distance: int) -> Times:
        """The same times, every position lower by `distance`."""
        lower = Times()
        lower._times = self._times[:]
        lower._positions = array("Q", [position - distance for position in self._positions])
        lower._stray_times = {p - distance: time for p, time in self._stray_times.items()}
        lower._strays = SortedList((time, p) for p, time in lower._stray_times.items())
        return lower

    def _check(self) -> None:
        """Assert that the structures are in order and agree."""
        assert list(self._times) == sorted(self._times)
        assert list(self._positions) == sorted(set(self._positions))
        assert {p: t for t, p in self._strays} == self._stray_times
        assert self._stray_times.keys().isdisjoint(self._positions)
        self._strays._check()
