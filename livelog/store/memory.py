"""The store that keeps nothing: the window is all there is, and it ends with the process."""

from __future__ import annotations

from collections.abc import Sequence

from livelog.record import Record
from livelog.store import Done


class MemoryStore:
    """Takes everything for safe at once."""

    def last_seq(self) -> int:
        """Nothing survives, so there never is one."""
        return 0

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Nothing to do: what can be kept is in the window."""
        done(None)

    def close(self) -> None:
        """Nothing to make safe."""
