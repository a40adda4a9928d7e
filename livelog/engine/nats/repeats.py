"""The ids of the last quarter of an hour: an id that comes again within it is a repetition.

All nodes have to decide alike, also one that has just been started and reads only the end of the
stream. So the rule asks for nothing older: an id is known while it has been met, taken or not,
within `span` before. What is met again stays known for longer, hence nothing that happened earlier
can matter. The time is the broker's, which stands in the stream; where it steps back it stands
still.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class First(NamedTuple):
    """The message that an id belongs to."""

    seq: int
    author: str
    """Empty if it is not known any more."""


class Repeats:
    """The known ids. `span` is in microseconds, as all times here. Constant time per id."""

    def __init__(self, span: int) -> None:
        self._span = span
        self._now = 0
        self._first: dict[str, First] = {}
        self._met: deque[tuple[int, str]] = deque()
        """Each time that an id was met, oldest first."""
        self._last: dict[str, int] = {}
        """Id → the time at which it was met last, for the few that came more than once."""

    def __len__(self) -> int:
        return len(self._first)

    def advance(self, time: int) -> None:
        """Forget the ids that were met last `span` before `time`, or longer ago."""
        self._now = max(self._now, time)
        too_old = self._now - self._span
        while self._met and self._met[0][0] <= too_old:
            met, id = self._met.popleft()
            if self._last.get(id, met) == met and id in self._first:
                del self._first[id]
                self._last.pop(id, None)

    def meet(self, id: str, first: First) -> First | None:
        """Return the message that the id is known for, or None and note `first` as that."""
        self._met.append((self._now, id))
        known = self._first.get(id)
        if known is None:
            self._first[id] = first
        else:
            self._last[id] = self._now
        return known

    def known(self, id: str) -> First | None:
        """Return the message that the id is known for now, None without."""
        return self._first.get(id)

    def _check(self) -> None:
        """Assert that each known id was met within the span, and nothing else is known."""
        assert {id for _, id in self._met} == self._first.keys()
        assert self._last.keys() <= self._first.keys()
        times = [time for time, _ in self._met]
        assert times == sorted(times)
        assert all(self._now - self._span < time <= self._now for time in times)
