"""The newest messages, in memory: where history, search and every reader that is behind look first.

Frames in seq order, bounded by count and by bytes, with an index over them. The oldest are evicted
and are then gone from memory. Reads are generators that pause now and then, so that a long one can
be interleaved with other work.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Generator

from pyroaring import BitMap

from livelog.index import plan
from livelog.index.index import Index
from livelog.index.paging import Chunk
from livelog.index.query import Query, Subscription
from livelog.index.terms import mentions
from livelog.index.text import Phrase
from livelog.log.idtable import IdTable
from livelog.wire import frames
from livelog.wire.record import Known, Record, id_of

_SCANNED_PER_CHUNK = 1000
"""Messages that one chunk for a reader that is behind reaches over."""

_COMPACT_AT = 4096
"""Evicted messages whose places in the lists are kept before the lists are cut."""

_RENUMBER_AT = 1 << 31
"""Position at which all are renumbered from 0, long before the 2**32 that the index can hold."""


class Matches:
    """The result of a search. To be used before the window changes again."""

    def __init__(self, window: Window, positions: BitMap) -> None:
        self._window = window
        self._positions = positions
        self.total = len(positions)

    def newer(self, seq: int) -> int:
        """Return how many have a seq above this one."""
        position = self._window.position_after(seq)
        return self.total - (self._positions.rank(position - 1) if position else 0)

    def payloads(self, offset: int, limit: int) -> list[bytes]:
        """Return up to `limit` messages from `offset` on, newest first."""
        return [*map(frames.payload, self.frames(offset, limit))]

    def frames(self, offset: int, limit: int) -> list[bytes]:
        """Return the frames of these messages, which are not copied."""
        last = self.total - offset
        chosen = self._positions[max(0, last - limit) : max(0, last)]
        return [self._window.frame(position) for position in reversed(chosen)]


class Window:
    """The newest `max_messages` messages, or fewer when they exceed `max_bytes` of frames.

    It holds all messages with a seq above `evicted_upto`; that starts at `follows`, the seq of the
    message before the first one.

    `append` and `evict` cost the same per message whatever the size; `lookup` a hash look-up and
    one decoded message; `find` is bitmap arithmetic (`livelog.index.index`).
    """

    def __init__(self, max_messages: int, max_bytes: int, follows: int = 0) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.evicted_upto = follows
        """Seq of the newest message that was evicted."""
        self._index = Index()
        self._base = 0
        """Position of the first element of `_frames` and `_seqs`, which run in parallel."""
        self._frames: list[bytes] = []
        self._seqs = array("q")
        self._bytes = 0
        """Total size of the frames that are not evicted."""
        self._ids = IdTable()
        self._renumbered_by = 0
        """Count taken off the positions so far; those in `_ids` are the original ones."""

    def __len__(self) -> int:
        return len(self._index)

    @property
    def memory(self) -> int:
        """Bytes of the frames."""
        return self._bytes

    def append(self, record: Record) -> None:
        """Add the newest message; its seq must be the highest."""
        self._index.add(record)
        self._frames.append(record.frame)
        self._seqs.append(record.seq)
        self._ids.add(record.id)
        self._bytes += len(record.frame)
        if self._index.end > _RENUMBER_AT:
            self._renumber()

    def evict(self, upto: int) -> None:
        """Evict the oldest messages until the bounds hold, but none with a seq above `upto`.

        Above it are those that are not yet on disk: they would be nowhere.
        """
        while len(self) > self.max_messages or (self._bytes > self.max_bytes and len(self) > 1):
            if self._seqs[self._index.start - self._base] > upto:
                return
            self._evict()

    def trim(self, upto: int) -> None:
        """Evict all messages up to this seq."""
        while len(self) and self._seqs[self._index.start - self._base] <= upto:
            self._evict()

    @property
    def newest(self) -> int:
        """Seq of the newest message, or the one that the first is to follow."""
        return self._seqs[-1] if len(self) else self.evicted_upto

    def lookup(self, id: str) -> Known | None:
        """Return the newest message with this id, None when it is not in the window."""
        places = [place - self._renumbered_by for place in self._ids.candidates(id)]
        kept = [place for place in places if place >= self._index.start]
        for place in sorted(kept, reverse=True):
            payload = self.payload(place)
            if id_of(payload) == id:
                return Known(self._seqs[place - self._base], payload)
        return None

    def after(self, cursor: int, wanted: Subscription, max_bytes: int) -> Chunk:
        """Return the wanted messages after `cursor`, up to about `max_bytes` of frames."""
        first = self.position_after(cursor)
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
        return Chunk(found, max(cursor, self.evicted_upto), len(reach))

    def find(self, query: Query) -> Generator[None, None, Matches]:
        """Find all messages that match `query`."""
        index = self._index
        found = yield from plan.find(index, query, self._mentions)
        if index is not self._index:  # positions have been counted anew meanwhile
            return (yield from self.find(query))
        return Matches(self, found)

    def position_after(self, seq: int) -> int:
        """Return the position of the oldest message with a seq above this one."""
        return self._base + bisect_right(self._seqs, seq, lo=self._index.start - self._base)

    def frame(self, position: int) -> bytes:
        """Return the frame of the message at a position."""
        return self._frames[position - self._base]

    def payload(self, position: int) -> bytes:
        """Return the message at a position."""
        return frames.payload(self.frame(position))

    def _wanted(self, wanted: Subscription, within: range) -> BitMap:
        found = BitMap()
        for _, query in wanted.parts:
            found |= plan.scan(self._index, query, self._mentions, within)
        return found

    def _mentions(self, position: int, phrase: Phrase) -> bool:
        """Tell whether the message at `position` is still there and has `phrase` in its text."""
        return position >= self._index.start and mentions(self.payload(position), phrase)

    def _evict(self) -> None:
        oldest = self._index.start - self._base
        frame, seq = self._frames[oldest], self._seqs[oldest]
        self._index.forget()
        self._bytes -= len(frame)
        self.evicted_upto = seq
        self._frames[oldest] = b""
        if oldest + 1 >= max(_COMPACT_AT, len(self) // 8):
            self._compact()

    def _compact(self) -> None:
        evicted = self._index.start - self._base
        del self._frames[:evicted], self._seqs[:evicted]
        self._ids.forget_before(self._index.start + self._renumbered_by)
        self._base = self._index.start

    def _renumber(self) -> None:
        self._compact()
        self._renumbered_by += self._base
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
        payloads = [frames.payload(frame) for frame in frames_kept]
        known = map(Known, seqs, payloads)
        newest = dict(zip(map(id_of, payloads), known, strict=True))
        assert all(self.lookup(id) == one for id, one in newest.items())
