"""The newest messages, in memory: where history, search and every reader that is behind look first.

Frames in seq order, bounded by count and by bytes, with an index over them. What falls out at the
old end is gone from memory. Reads are generators that pause now and then, so that a long one can be
interleaved with other work.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Generator
from dataclasses import dataclass

from pyroaring import BitMap

from livelog import frames, words
from livelog.index import Index
from livelog.query import Query, Subscription
from livelog.record import Record, id_of, text_of

_SCANNED_PER_CHUNK = 1000
"""Messages that one chunk for a reader behind reaches over."""

_COMPACT_AT = 4096
"""Evicted entries that the lists may drag along before they are cut."""

_RENUMBER_AT = 1 << 31
"""Positions are counted anew long before they reach the 2**32 that the index can hold."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the messages that match a query, newest first."""

    payloads: list[bytes]
    total: int
    """How many match in all."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next part of what a reader behind has to read."""

    frames: list[bytes]
    cursor: int
    """Where the reader is once it has them."""
    scanned: int
    """How many messages were looked at for it."""
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
        self._index = Index()
        self._base = 0  # position of the first entry of the two lists
        self._frames: list[bytes] = []
        self._seqs = array("q")
        self._bytes = 0
        self._seq_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._index)

    def append(self, record: Record) -> None:
        """Add the newest message; its seq must be the highest."""
        self._index.add(record)
        self._frames.append(record.frame)
        self._seqs.append(record.seq)
        self._seq_of[record.id] = record.seq
        self._bytes += len(record.frame)
        if self._index.end > _RENUMBER_AT:
            self._renumber()
        while len(self) > self.max_messages or (self._bytes > self.max_bytes and len(self) > 1):
            self._evict()

    def seq_of(self, id: str) -> int | None:
        """The seq of the message with this id, None when it is not in the window."""
        return self._seq_of.get(id)

    def after(self, cursor: int, wanted: Subscription, max_bytes: int) -> Chunk:
        """The messages after `cursor` that are wanted, up to about `max_bytes` of frames."""
        lost_upto = self._lost_upto(cursor)
        first = self._base + bisect_right(self._seqs, cursor, lo=self._index.start - self._base)
        reach = range(first, min(first + _SCANNED_PER_CHUNK, self._index.end))
        found: list[bytes] = []
        for position in self._wanted(wanted, reach):
            frame = self._frames[position - self._base]
            found.append(frame)
            max_bytes -= len(frame)
            if max_bytes <= 0:
                reach = range(first, position + 1)
                break
        if reach:
            cursor = self._seqs[reach[-1] - self._base]
        return Chunk(found, max(cursor, lost_upto, self.began), len(reach), lost_upto)

    def read(self, query: Query, limit: int, offset: int) -> Generator[None, None, Page]:
        """The page of matches that starts at `offset`, newest first, with the exact total."""
        index = self._index
        found = yield from index.find(query, self._text)
        if index is not self._index:  # positions have been counted anew meanwhile
            return (yield from self.read(query, limit, offset))
        last = len(found) - offset
        positions = found[max(0, last - limit) : max(0, last)]
        entries = [self._frames[p - self._base] for p in reversed(positions)]
        return Page([frames.payload(frame) for frame in entries], len(found))

    def _lost_upto(self, cursor: int) -> int:
        """Up to where a reader at `cursor` has missed something, 0 if it has not.

        A cursor of 0 asks for all there is and has seen nothing of what was before.
        """
        if cursor < self.evicted_upto:
            return self.evicted_upto
        return self.began if 0 < cursor < self.began else 0

    def _wanted(self, wanted: Subscription, within: range) -> BitMap:
        found = BitMap()
        for name, query in wanted.parts:
            part = self._index.select(query, within) & self._index.of_type(name)
            for phrase in query.phrases:
                part = BitMap([p for p in part if words.occurs(phrase, self._text(p))])
            found |= part
        return found

    def _text(self, position: int) -> str:
        """The folded text of the message at `position`, decoded again; nothing if it is gone."""
        if position < self._index.start:
            return ""
        return text_of(frames.payload(self._frames[position - self._base]))

    def _evict(self) -> None:
        oldest = self._index.start - self._base
        frame, seq = self._frames[oldest], self._seqs[oldest]
        self._index.forget()
        self._bytes -= len(frame)
        self.evicted_upto = seq
        id = id_of(frames.payload(frame))
        if self._seq_of.get(id) == seq:
            del self._seq_of[id]
        self._frames[oldest] = b""
        if oldest + 1 >= max(_COMPACT_AT, len(self) // 8):
            self._compact()

    def _compact(self) -> None:
        evicted = self._index.start - self._base
        del self._frames[:evicted], self._seqs[:evicted]
        self._base = self._index.start

    def _renumber(self) -> None:
        self._compact()
        self._index = self._index.renumbered()
        self._base = 0

    def _check(self) -> None:
        """Assert that order, bounds and tables hold."""
        self._index._check()
        start = self._index.start - self._base
        frames_kept, seqs = self._frames[start:], self._seqs[start:]
        assert len(frames_kept) == len(seqs) == len(self)
        assert list(seqs) == sorted(set(seqs))
        assert all(seq > self.evicted_upto for seq in seqs)
        assert self._bytes == sum(map(len, frames_kept))
        ids = [id_of(frames.payload(frame)) for frame in frames_kept]
        assert self._seq_of == dict(zip(ids, seqs, strict=True))
