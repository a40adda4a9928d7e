"""The newest messages in memory, as they come in, are evicted, indexed, redacted and erased.

Frames in seq order, bounded by count and by bytes, with an index over them. The oldest are evicted
and are then gone from memory. A message is there, with its seq and id, as soon as it is appended.
The index follows in small steps, which `work` makes: it lags behind. So do the frames of messages
that acts have changed, but no read returns what they still have. An index does not give up what it
knows of a message: once some have other terms, another index is made beside it and takes its place.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
from pyroaring import BitMap

from livelog.index.index import Index
from livelog.index.terms import message_in, terms
from livelog.log.blocks import Blocks
from livelog.log.idtable import IdTable
from livelog.wire import frames
from livelog.wire.erasure import Change
from livelog.wire.record import Known, Record, id_of
from livelog.wire.timestamps import parse_moment

_ADDED_BYTES = 4096
"""Bytes of short messages that are added to the index in one step: a tenth of a millisecond, and
about one if they bring nothing but new words."""

_CHANGED = 16
"""Changed messages whose frames are replaced in one step: some tenths of a millisecond."""

_REMADE = 4
"""Steps in which the index that takes the place of another is made, for each in which a message is
added to it: it has to catch up.
"""

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

_RENUMBER_AT = 1 << 31
"""Position at which all are renumbered from 0, long before the 2**32 that the index can hold."""


def _record(seq: int, frame: bytes) -> Record:
    """Make the record again that the log made of a message when it came in."""
    message: Any = message_in(frames.payload(frame))
    time = parse_moment(message.timestamp, "timestamp")
    tag = message.__struct_config__.tag
    return Record(seq, message.id, tag, time, *terms(message), frame)


def _ignored(_: Exception) -> None:
    """Do nothing: the callback until somebody sets one."""


class Kept:
    """The newest `max_messages` messages, or fewer when they exceed `max_bytes` with their index.

    It holds all messages with a seq above `evicted_upto`; that starts at `follows`, the seq of the
    message before the first one.

    `extend` and `evict` cost the same per message whatever the size; `lookup` a hash look-up and
    one decoded message.
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
        self._unchanged: dict[int, list[Change]] = {}
        """Positions of messages whose frames still have what acts have changed → the changes."""
        self._remaking: Generator[None, None, None] | None = None
        """Steps that make another index, since messages in this one have other terms now."""
        self.on_failure: Callable[[Exception], object] = _ignored
        """Callback: the index could not be added to, and is made anew."""
        self._failed_seq = 0
        self._unindexable: set[int] = set()
        """Seqs of messages that could not be added twice."""
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

    @property
    def has_work(self) -> bool:
        """Tell whether there is work on the index: messages wait for it, or it is swept."""
        return bool(self._waiting or self._sweeping or self._unchanged or self._index.stale)

    # In.

    def append(self, record: Record) -> None:
        """Add the newest message; its seq must be the highest."""
        self.extend([record])

    def extend(self, records: Sequence[Record]) -> None:
        """Add the newest messages, in order; after an exception none has been added."""
        end, waiting = self._frames.end, len(self._waiting)
        try:
            for record in records:
                self._ids.add(record.id)
            self._seqs.extend([record.seq for record in records])
            fresh = [record.frame for record in records]
            self._frames.extend(fresh)
            self._waiting.extend(records)
            size = sum(map(len, fresh))
        except BaseException:
            self._take_back(records, end, waiting)
            raise
        self._bytes += size
        self._waiting_bytes += size
        self._unweighed += size
        if self._frames.end > _RENUMBER_AT:
            self._renumber()

    def _take_back(self, records: Sequence[Record], end: int, waiting: int) -> None:
        """Undo what was done to add `records`."""
        self._frames.drop_from(end)
        del self._seqs[end - self._base :]
        first = end + self._renumbered_by
        for record in reversed(records[: self._ids.end - first]):
            self._ids.drop_last(record.id)
        while len(self._waiting) > waiting:
            self._waiting.pop()

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

    def _renumber(self) -> None:
        while self._unchanged:
            self._change_some()
        while self._waiting:
            self._add_some()
        self._remaking = None
        self._held = Counter()  # analyses under way begin again
        self._compact()
        distance = self._frames.start
        self._renumbered_by += distance
        self._index = self._index.renumbered()
        self._frames.renumber(distance)
        self._base = 0
        self._sweeping, self._unswept = None, 0

    # Redaction and erasure.

    def change(self, changes: Mapping[int, Change], *, voids: bool) -> None:
        """Change messages, by seq: no read returns what they were from now on.

        The frames follow in steps of `work`, or as they are read. The index has no terms of what
        becomes a stub, with `voids`, and others of what does not: until it is made anew, those
        messages are read.
        """
        found = BitMap()
        for seq, change in changes.items():
            position = self.position_after(seq - 1)
            if position < self._frames.end and self._seqs[position - self._base] == seq:
                self._unchanged.setdefault(position, []).append(change)
                found.add(position)
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

    def _remake_some(self) -> None:
        for _ in range(_REMADE):
            if self._remaking is not None:
                next(self._remaking, None)

    def _remake(self) -> Generator[None, None, None]:
        """Make another index of the same messages, in steps. Until it is there both take memory."""
        made = Index(first=self._frames.start)
        while made.end < self._index.end:
            try:
                record = self._decoded(made.end)
                if not made.add_at_once(record):
                    yield from made.adding(record)
            except Exception as error:
                self._start_anew(made.end)
                self.on_failure(error)
                return
            yield
            made.forget_before(self._frames.start)
        made.void |= self._index.void
        self._replace(made)

    def _replace(self, made: Index) -> None:
        """Put another index, of the same messages, in the place of this one."""
        self._index = made
        self._remaking = self._adding = self._sweeping = None
        self._unswept = 0
        self._unweighed += self.max_bytes  # whatever it takes, it is weighed soon

    # The index follows.

    def work(self) -> bool:
        """Make a step of the work on the index; return False when there is none."""
        if self._unchanged:
            self._change_some()
        elif self._index.stale:
            self._remaking = self._remaking or self._remake()
            self._remake_some()
        if self._waiting:
            self._add_some()
        if self._sweeping is not None:
            self._sweep_some()
        return self.has_work

    def _sweep_some(self) -> None:
        """Make the next step of the sweep; after the last one the window is weighed anew."""
        if self._sweeping is None or next(self._sweeping, self) is not self:
            return
        self._sweeping = None
        self._unswept -= self._swept
        self.bound(self.max_bytes)

    def _add_some(self) -> None:
        """Make the next step in which the first of the waiting messages are added to the index.

        It is one of the sweep instead, while the memory of evicted messages is needed. After an
        exception the index is made anew.
        """
        if self._sweeping is not None and self.memory > self.max_bytes:
            self._sweep_some()
            return
        try:
            added = self._adding is None and self._add_short()
            if not (added or self._add_first()):
                return
        except Exception as error:
            self._start_anew(self._index.end)
            self.on_failure(error)
            return
        self.evict(self._safe_upto)

    def _add_short(self) -> int:
        """Add the first messages to the index, as long as each is short; return their bytes."""
        added, index, waiting = 0, self._index, self._waiting
        while added < _ADDED_BYTES and waiting:
            record = waiting[0] or self._decoded(index.end)
            if not index.add_at_once(record):
                break
            self._note_added(len(record.frame))
            added += len(record.frame)
        return added

    def _add_first(self) -> bool:
        """Make the next step in which the first message is added; tell whether it was the last."""
        position = self._index.end
        if self._adding is None:
            self._adding = self._index.adding(self._waiting[0] or self._decoded(position))
        if next(self._adding, self) is not self:
            return False
        self._adding = None
        self._note_added(len(self._frames[position]))
        return True

    def _note_added(self, size: int) -> None:
        """Note that the first of the waiting messages is in the index."""
        self._waiting.popleft()
        self._waiting_bytes -= size
        self._unweighed += size

    def _start_anew(self, failed: int) -> None:
        """Drop the index, which is in an unknown state, and begin another.

        A message that fails twice is left out of it, but for its type and time.
        """
        seq = self._seqs[failed - self._base]
        self._unindexable |= {seq} if self._failed_seq == seq else set()
        self._failed_seq = seq
        void = self._index.void
        self._replace(Index(first=self._frames.start))
        self._index.void = void
        self._waiting = deque([None] * len(self))
        self._waiting_bytes = self._bytes

    def _decoded(self, position: int) -> Record:
        """Make the record of a message again, or that of what acts have made of it."""
        if position in self._unchanged:
            self._change(position)
        seq = self._seqs[position - self._base]
        record = _record(seq, self._frames[position])
        if seq in self._unindexable:
            return msgspec.structs.replace(record, keys=(), text="", numbers=())
        return record

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

    def _check(self) -> None:
        """Assert that order, bounds and tables hold, once all frames are changed."""
        while self._unchanged:
            self._change_some()
        self._index._check()
        self._frames._check()
        start, end = self._frames.start, self._frames.end
        kept, seqs = self._frames.between(start, end), self._seqs[start - self._base :]
        assert len(kept) == len(seqs) == len(self)
        assert list(seqs) == sorted(set(seqs))
        assert all(seq > self.evicted_upto for seq in seqs)
        assert self._bytes == sum(map(len, kept))
        payloads = [frames.payload(frame) for frame in kept]
        known = map(Known, seqs, payloads)
        newest = dict(zip(map(id_of, payloads), known, strict=True))
        assert all(self.lookup(id) == one for id, one in newest.items())
        # The index lags by the messages that wait, and by no other.
        assert self._index.start == start
        assert self._index.end + len(self._waiting) == end
        waiting = kept[len(kept) - len(self._waiting) :]
        found = zip(self._waiting, waiting, strict=True)
        assert all(one is None or one.frame == frame for one, frame in found)
        assert self._waiting_bytes == sum(map(len, waiting))
        assert self._ids.end == end + self._renumbered_by
