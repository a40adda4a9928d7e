"""Runs of positions: the messages whose times lie in one bucket, where times rise with positions.

To find where buckets begin takes longer than to count in them, and what has been found stays true,
but for the newest bucket. So the runs of the last kinds of buckets are kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Hashable
from typing import NamedTuple, Protocol

from pyroaring import BitMap

_FOUND = 128
"""Runs that are found in one step."""

_KEPT = 2
"""Kinds of buckets whose runs are kept."""

MOST = 4096
"""Runs of one kind that are kept, where no question needs more."""

RUN_BYTES = 400
"""Memory of a run."""


class Times(Protocol):
    """Times by position, strays aside."""

    @property
    def first(self) -> int:
        """First position."""

    def latest(self, position: int) -> int:
        """Return the latest time up to a position."""

    def first_at(self, time: int, after: int) -> int:
        """Return the first position behind `after` with this time or a later one."""


class Runs(NamedTuple):
    """Runs side by side, one for each bucket; what is kept is replaced and never changed."""

    starts: list[int]
    """First microsecond of each bucket."""
    firsts: list[int]
    """First position of each run."""
    places: list[BitMap]
    """All positions of each run, strays among them."""
    end: int
    """Position behind the last run."""

    def within(self, first: int, last: int) -> slice:
        """Return which of them have positions from `first` to `last`."""
        return slice(bisect_right(self.firsts, first) - 1, bisect_right(self.firsts, last))

    def covers(self, first: int, last: int) -> bool:
        """Tell whether all positions from `first` to `last` are in them."""
        return bool(self.firsts) and self.firsts[0] <= first and last < self.end

    def without_last(self, needed: int) -> Runs:
        """Return a copy without the last, whose bucket may go on, or those long before `needed`."""
        start = self.within(needed, needed).start if len(self.starts) > MOST else 0
        kept = slice(start, len(self.starts) - 1)
        return Runs(self.starts[kept], self.firsts[kept], self.places[kept], self.firsts[-1])


class KeptRuns:
    """The runs of the last kinds of buckets."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Runs] = {}
        """The last that was asked for is the last."""

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly."""
        return RUN_BYTES * sum(len(runs.starts) for runs in self._kept.values())

    def of(
        self,
        kind: Hashable,
        bucket: Callable[[int], tuple[int, int]],
        times: Times,
        within: range,
    ) -> Generator[None, None, Runs]:
        """Return runs that cover the positions `within` a range, in steps.

        `bucket` returns the start of the bucket of a time, and what is behind its end.
        """
        runs = self._kept.get(kind)
        if runs is None or not runs.covers(within.start, within.stop - 1):
            if runs is not None and runs.covers(within.start, within.start):
                runs = runs.without_last(within.start)
            else:
                start, _ = bucket(times.latest(within.start))
                runs = Runs([], [], [], times.first_at(start, times.first - 1))
            runs = yield from _extended(runs, bucket, times, within.stop)
        self._kept.pop(kind, None)
        self._kept[kind] = runs
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return runs


def _extended(
    runs: Runs, bucket: Callable[[int], tuple[int, int]], times: Times, end: int
) -> Generator[None, None, Runs]:
    """Add the runs up to `end` at least."""
    position = max(runs.end, times.first)
    while position < end:
        start, stop = bucket(times.latest(position))
        behind = times.first_at(stop, position)
        runs.starts.append(start)
        runs.firsts.append(position)
        runs.places.append(BitMap(range(position, behind)))
        position = behind
        if len(runs.starts) % _FOUND == 0:
            yield
    return runs._replace(end=position)
