"""The newest messages in memory: what is there, how it is evicted, redacted and erased.

Frames in seq order, bounded by count and by bytes, with the tables that find them by seq and id.
The oldest are evicted and are then gone from memory. The frames of messages that acts have changed
follow in small steps, but no read returns what they still have. How messages come in and are
indexed stands in `indexing`, searches and other reads of many in `window`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Generator, Iterable, Mapping
from itertools import islice, repeat

from pyroaring import BitMap

from livelog.index.index import Index
from livelog.log.blocks import Blocks
from livelog.log.idtable import IdTable
from livelog.wire import frames
from livelog.wire.erasure import Change, note_changes
from livelog.wire.record import Known, Record, id_of

_CHANGED = 16
"""Changed messages whose frames are replaced in one step: some tenths of a millisecond."""

_COMPACT_AT = 4096
"""Evicted messages whose seqs are kept before they are cut off."""

_SHED = 64
"""The part of its messages that a window evicts at once when it takes too many bytes; a few of them
may take most."""

_MESSAGE_BYTES = 64
"""Memory of a message besides its frame and its places in the index."""

_WAITING_BYTES = 3
"""Memory of a message that is not in the index yet, in bytes for each byte of its frame."""

_SWEEP_BYTES = 256 * 1024
"""Memory of evicted messages in the index from which on it pays to sweep it; an eighth of the
index, if that is more."""

_WEIGHED_BYTES = 8 * 1024
"""Bytes of messages that come in before the index is weighed again."""


class Kept:
    """The newest `max_messages` messages, or fewer when they exceed `max_bytes` with their index.

    It holds all messages with a seq above `evicted_upto`; that starts at `follows`, the seq of the
    message before the first one.

    `evict` costs the same per message whatever the size; `lookup` a hash look-up and one decoded
    message.
    """

    def __init__(self, max_messages: int, max_bytes: int, follows: int = 0) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.evicted_upto = follows
        """Seq of the newest message that was evicted."""
        # The messages, by position.
        self._frames = Blocks()
        self._seqs = array("q")
        self._base = 0
        """Position of the first of `_seqs`."""
        self._ids = IdTable()
        self._renumbered_by = 0
        """Count taken off the positions so far; those in `_ids` are the original ones."""
        self._bytes = 0
        """Total size of the frames that are not evicted."""
        self._safe_upto = follows
        """Seq up to which messages may be evicted."""
        # The index, which lags.
        self._index = Index()
        self._waiting: deque[Record | None] = deque()
        """The newest messages, which are not in the index yet; None for one to be decoded again."""
        self._waiting_bytes = 0
        self._adding: Generator[None, None, None] | None = None
        """Steps that add the first of them, once it has been begun."""
        self._unchanged: dict[int, tuple[Change, ...]] = {}
        """Positions of messages whose frames still have what acts have changed → the changes."""
        self._remaking: Generator[None, None, None] | None = None
        """Steps that make another index, since messages in this one have other terms now."""
        self._held = Counter[int]()
        """Positions from which on an analysis needs the index, and for how many it is."""
        self._unswept = 0
        """Total size of the frames that were evicted and are in the index, until a sweep has ended
        that began behind them."""
        self._swept = 0
        """The part of it that the sweep under way removes."""
        self._sweeping: Generator[None, None, None] | None = None
        self._unweighed = 0
        """Total size of the frames that came, were indexed or went since the index was weighed."""
        self._weighed = 0.0
        """Memory of the kept messages and of their part of the index, as it was weighed last."""

    def __len__(self) -> int:
        return self._frames.end - self._frames.start

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly: frames and index, also what waits for it or to be swept."""
        waiting = self._waiting_bytes * _WAITING_BYTES
        return self._bytes + len(self) * _MESSAGE_BYTES + waiting + self._index.memory

    @property
    def waiting_bytes(self) -> int:
        """Size of the frames of the messages that are not in the index yet."""
        return self._waiting_bytes

    # Out.

    def evict(self, upto: int) -> None:
        """Evict the oldest messages until the bounds hold, but none with a seq above `upto`.

        Above it are those that are not yet on disk: they would be nowhere.
        """
        self._safe_upto = max(self._safe_upto, upto)
        if len(self) > self.max_messages:
            self._evict(len(self) - self.max_messages)
        if self._unweighed < min(_WEIGHED_BYTES, self.max_bytes // 64):
            return
        while self._is_full():
            if not self._evict(min(len(self) // _SHED + 1, len(self) - 1)):
                return  # the others are not safe
        self._unweighed = 0
        if self._sweeping is None and self._garbage > max(_SWEEP_BYTES, self._index.memory // 8):
            self._sweeping, self._swept = self._index.sweep(self._needed_from), self._unswept

    def bound(self, max_bytes: int) -> None:
        """Bound the memory anew; what is safe is evicted beyond it."""
        before, self.max_bytes = self.max_bytes, max_bytes
        # Not again, when nothing has come since and it is not too much: answers change the bound.
        if max_bytes < before and (self._unweighed or self._weighed > max_bytes):
            self._unweighed += max_bytes
            self.evict(self._safe_upto)

    @property
    def _needed_from(self) -> int:
        """Position from which on places in the index and seqs are needed."""
        return min([self._frames.start, *self._held])

    @property
    def _garbage(self) -> float:
        """Memory of evicted messages in the index, nearly: its part is that of their frames."""
        indexed = self._bytes - self._waiting_bytes
        return self._index.memory * self._unswept / (indexed + self._unswept or 1)

    def _is_full(self) -> bool:
        """Weigh the kept messages and their part of the index: are they more than `max_bytes`?"""
        self._weighed = self.memory - self._garbage
        return len(self) > 1 and self._weighed > self.max_bytes

    def trim(self, upto: int) -> None:
        """Evict all messages up to this seq."""
        self._safe_upto = max(self._safe_upto, upto)
        self._evict(self.position_after(upto) - self._frames.start)
        self.evict(upto)

    def _evict(self, count: int) -> int:
        """Evict up to `count` of the oldest messages, if they are safe; return how many."""
        start = self._frames.start
        position = min(start + count, self.position_after(self._safe_upto))
        if position <= start:
            return 0
        self.evicted_upto = self._seqs[position - 1 - self._base]
        for unknown in range(self._index.end, position):
            self._waiting.popleft()
            self._waiting_bytes -= len(self._frames[unknown])
            self._adding = None
        size = self._frames.drop_before(position)
        self._bytes -= size
        self._unswept += size
        self._unweighed += size
        self._index.forget_before(position)
        if position - self._base >= max(_COMPACT_AT, len(self) // 8):
            self._compact()
        return position - start

    def _compact(self) -> None:
        start = self._needed_from
        del self._seqs[: start - self._base]
        self._ids.forget_before(start + self._renumbered_by)
        self._base = start

    # Redaction and erasure.

    def change(self, changes: Mapping[int, Change], *, voids: bool) -> None:
        """Change messages, by seq: no read returns what they were from now on.

        The frames follow in steps of `work`, or as they are read. The index has no terms of what
        becomes a stub, with `voids`, and others of what does not: until it is made anew, those
        messages are read.
        """
        # Ten thousand may be named, and all is done in one piece: without a call for each.
        seqs, start = self._seqs, self._frames.start - self._base
        places = map(bisect_left, repeat(seqs), changes, repeat(start))
        held = {
            self._base + place: change
            for place, (seq, change) in zip(places, changes.items(), strict=True)
            if place < len(seqs) and seqs[place] == seq
        }
        note_changes(self._unchanged, held)
        found = BitMap(held)
        if voids:
            self._index.void |= found
        elif found:
            self._index.stale |= found
            self._remaking = None  # the index that is made may have some of them as they were

    def _change_some(self) -> None:
        """Change the next frames."""
        for position in list(islice(self._unchanged, _CHANGED)):
            self._change(position)

    def _change(self, position: int) -> None:
        """Change the frame of a message."""
        changes = self._unchanged.pop(position)
        if position < self._frames.start:
            return
        old = self._frames[position]
        payload = frames.payload(old)
        for change in changes:
            payload = change(payload)
        new = frames.text(payload)
        self._frames.replace(position, new)
        self._bytes += len(new) - len(old)
        self._unweighed += len(new)
        place = position - self._index.end
        if place >= 0:
            self._waiting[place] = None  # to be decoded again
            self._waiting_bytes += len(new) - len(old)

    # Look-ups.

    @property
    def newest(self) -> int:
        """Seq of the newest message, or the one that the first is to follow."""
        return self._seqs[-1] if len(self) else self.evicted_upto

    def lookup(self, id: str) -> Known | None:
        """Return the newest message with this id, None when it is not in the window."""
        candidates = list(self._ids.candidates(id))
        if not candidates:  # nearly always
            return None
        places = [place - self._renumbered_by for place in candidates]
        kept = [place for place in places if place >= self._frames.start]
        for place in sorted(kept, reverse=True):
            payload = self.payload(place)
            if id_of(payload) == id:
                return Known(self._seqs[place - self._base], payload)
        return None

    def newer(self, seq: int) -> int:
        """Return the number of messages with a seq above this one."""
        return self._frames.end - self.position_after(seq)

    def position_after(self, seq: int) -> int:
        """Return the position of the oldest message with a seq above this one."""
        return self._base + bisect_right(self._seqs, seq, lo=self._frames.start - self._base)

    def at(self, seq: int) -> bytes:
        """Return the message with this seq, empty if it is not in the window."""
        position = self.position_after(seq - 1)
        known = position < self._frames.end and self._seqs[position - self._base] == seq
        return self.payload(position) if known else b""

    def frames(self, positions: Iterable[int]) -> list[bytes]:
        """Return the frames of the messages at some positions, in the order of these."""
        chosen = list(positions)
        for position in chosen if self._unchanged else ():
            if position in self._unchanged:
                self._change(position)
        return self._frames.picked(chosen)

    def payload(self, position: int) -> bytes:
        """Return the message at a position."""
        if position in self._unchanged:
            self._change(position)
        return frames.payload(self._frames[position])

    def _kept(self, position: int) -> bytes:
        """Return the message at `position`, empty if it has been evicted."""
        return b"" if position < self._frames.start else self.payload(position)
