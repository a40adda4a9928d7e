"""The store that keeps nothing: the window is all there is, and it ends with the process."""

from __future__ import annotations

from collections.abc import Sequence

from livelog.record import Record
from livelog.store import Done


class MemoryStore:
    """Takes everything for safe at once. `now` is Unix time in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self._last_seq = max(0, int(now * 1_000_000) - 1)

    def last_seq(self) -> int:
        """What an earlier process has given out is below the time at which this one began."""
        return self._last_seq

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Nothing to do: what can be kept is in the window."""
        done(None)

    def close(self) -> None:
        """Nothing to make safe."""
