"""Order within one process: seqs from the clock, strictly rising."""

from __future__ import annotations


class LocalEngine:
    """Owner of the next seq."""

    def __init__(self, last: int = 0) -> None:
        self.last = last
        """The newest seq given out."""

    def next(self, now: float) -> int:
        """The next seq: microseconds of `now` (Unix time in seconds), or one more than the last.

        A clock that stands still or jumps back cannot make it fall, and a new process starts
        above every seq an earlier one has used. It stays below 2**53 until the year 2255.
        """
        self.last = max(int(now * 1_000_000), self.last + 1)
        return self.last
