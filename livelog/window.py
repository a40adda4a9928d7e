"""The newest messages, in memory: where history, search and every reader that is behind look first.

A plain list in seq order, bounded by count and by bytes; what falls out at its old end is gone
from memory. Reads are generators that pause now and then, so that a long one can be interleaved
with other work; they see the window as it was when they began.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator
from dataclasses import dataclass
from operator import attrgetter

from livelog.query import Query, Subscription
from livelog.record import Record

_SCANNED_PER_STEP = 1000
"""Records that are looked at between two pauses: about a millisecond."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the messages that match a query, newest first."""

    records: list[Record]
    total: int
    """How many match in all."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next part of what a reader behind has to read."""

    frames: list[bytes]
    cursor: int
    """Where the reader is once it has them."""
    scanned: int
    """How many records were looked at for it."""
    lost_upto: int = 0
    """If not 0: messages after the old cursor and up to here are gone."""


class Window:
    """The newest `max_messages` messages, or fewer when they exceed `max_bytes` of frames.

    All that it is given has a seq above `began`; what was there before is gone.
    """

    def __init__(self, max_messages: int, max_bytes: int, began: int = 0) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.began = began
        self.evicted_upto = 0
        """Seq of the newest message that has fallen out."""
        self._records: list[Record] = []
        self._start = 0  # records before it have fallen out; the list is cut now and then
        self._bytes = 0
        self._seqs: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._records) - self._start

    def append(self, record: Record) -> None:
        """Add the newest message; its seq must be the highest."""
        self._records.append(record)
        self._seqs[record.id] = record.seq
        self._bytes += len(record.frame)
        while len(self) > self.max_messages or (self._bytes > self.max_bytes and len(self) > 1):
            self._evict()
        if self._start > 1000 and self._start * 2 > len(self._records):
            del self._records[: self._start]
            self._start = 0

    def seq_of(self, id: str) -> int | None:
        """The seq of the message with this id, None when it is not in the window."""
        return self._seqs.get(id)

    def after(self, cursor: int, wanted: Subscription, max_bytes: int) -> Chunk:
        """The messages after `cursor` that are wanted, up to about `max_bytes` of frames."""
        lost_upto = self._lost_upto(cursor)
        frames: list[bytes] = []
        first = bisect_right(self._records, cursor, lo=self._start, key=_SEQ)
        last = min(first + _SCANNED_PER_STEP, len(self._records))
        for position in range(first, last):
            record = self._records[position]
            cursor = record.seq
            if wanted.wants(record):
                frames.append(record.frame)
                max_bytes -= len(record.frame)
                if max_bytes <= 0:
                    last = position
                    break
        return Chunk(frames, max(cursor, lost_upto, self.began), last - first, lost_upto)

    def read(self, query: Query, limit: int, offset: int) -> Generator[None, None, Page]:
        """The page of matches that starts at `offset`, newest first, with the exact total."""
        records = self._records[self._start :]
        page: list[Record] = []
        total = 0
        for end in range(len(records), 0, -_SCANNED_PER_STEP):
            for record in reversed(records[max(0, end - _SCANNED_PER_STEP) : end]):
                if query.matches(record):
                    if offset <= total < offset + limit:
                        page.append(record)
                    total += 1
            yield
        return Page(page, total)

    def _lost_upto(self, cursor: int) -> int:
        """Up to where a reader at `cursor` has missed something, 0 if it has not.

        A cursor of 0 asks for all there is and has seen nothing of what was before.
        """
        if cursor < self.evicted_upto:
            return self.evicted_upto
        return self.began if 0 < cursor < self.began else 0

    def _evict(self) -> None:
        record = self._records[self._start]
        self._start += 1
        self._bytes -= len(record.frame)
        self.evicted_upto = record.seq
        if self._seqs.get(record.id) == record.seq:
            del self._seqs[record.id]

    def _check(self) -> None:
        """Assert that order, bounds and tables hold."""
        kept = self._records[self._start :]
        assert [r.seq for r in kept] == sorted({r.seq for r in kept})
        assert all(r.seq > self.evicted_upto for r in kept)
        assert self._bytes == sum(len(r.frame) for r in kept)
        assert self._seqs == {r.id: r.seq for r in kept}


_SEQ = attrgetter("seq")
