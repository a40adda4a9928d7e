"""The store that keeps nothing: the window is all there is, and it ends with the process."""

from __future__ import annotations

from collections.abc import Sequence

from livelog.errors import RefusedError
from livelog.index.paging import Chunk, Page, Span
from livelog.index.query import Query, Subscription
from livelog.store.base import Done
from livelog.wire.record import Record


class MemoryStore:
    """Takes everything for safe at once. `now` is Unix time in seconds."""

    keeps = False
    trimmed_upto = 0

    def __init__(self, now: float = 0.0) -> None:
        # What an earlier process has given out is below the time at which this one begins.
        self.began = max(0, int(now * 1_000_000) - 1)

    def last_seq(self) -> int:
        """The seq before the first one of this process."""
        return self.began

    def refusal(self) -> RefusedError | None:
        """There is always room."""
        return None

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Nothing to do: what can be kept is in the window."""
        done(None)

    def seq_of(self, id: str) -> int | None:
        """Nothing is here."""
        return None

    def payload_of(self, id: str) -> bytes | None:
        """Nothing is here."""
        return None

    def start_of_newest(self, count: int) -> int:
        """Nothing is here."""
        return 0

    async def page(self, query: Query, upto: int, span: Span, ahead: int = 0) -> Page:
        """Nothing is here."""
        return Page([], 0, ahead)

    async def chunk(self, cursor: int, upto: int, wanted: Subscription, max_bytes: int) -> Chunk:
        """Nothing is here."""
        return Chunk([], upto, 0)

    async def records(self, cursor: int, upto: int, limit: int) -> list[Record]:
        """Nothing is here."""
        return []

    async def close(self) -> None:
        """Nothing to make safe."""
