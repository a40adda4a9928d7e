"""Where messages are kept beyond the window. `memory` keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from livelog.errors import Refused
from livelog.record import Record

Done = Callable[[Refused | None], None]
"""Called once when the records are safe, or with the reason why they are not."""


class Store(Protocol):
    """What the log asks of a store."""

    def last_seq(self) -> int:
        """A seq that none given out before this process began is above; 0 for the first ever."""

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Keep `records`, which follow all earlier ones; returns before they are safe."""

    def close(self) -> None:
        """Make everything safe and stop."""
