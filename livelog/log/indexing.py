"""Messages as they come in, and the index that follows them.

A message is there, with its seq and id, as soon as it is appended. The index follows in small
steps, which `work` makes: it lags behind. An index does not give up what it knows of a message:
once some have other terms, another index is made beside it and takes its place. The messages that
are in memory, how they are evicted, redacted and erased stand in `kept`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from typing import Any
from weakref import finalize

import msgspec

from livelog.index.index import Index
from livelog.index.terms import message_in, terms
from livelog.log.kept import Kept
from livelog.wire import frames
from livelog.wire.record import Known, Record, id_of
from livelog.wire.timestamps import parse_moment

_ADDED_BYTES = 4096
"""Bytes of short messages that are added to the index in one step: a tenth of a millisecond, and
about one if they bring nothing but new words."""

_REMADE = 4
"""Steps in which the index that takes the place of another is made, for each in which a message is
added to it: it has to catch up.
"""

_FREED = 128
"""Entries of a discarded index that are freed in one step: some tenths of a millisecond."""

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


class Indexed(Kept):
    """Messages in memory, with an index that is brought up to them.

    `extend` costs the same per message whatever the size.
    """

    def __init__(self, max_messages: int, max_bytes: int, follows: int = 0) -> None:
        super().__init__(max_messages, max_bytes, follows)
        self.on_failure: Callable[[Exception], object] = _ignored
        """Callback: the index could not be added to, and is made anew."""
        self._failed_seq = 0
        self._unindexable: set[int] = set()
        """Seqs of messages that could not be added twice."""
        self._discarded: list[dict[Any, Any]] = []
        """Tables of indexes that another one has taken the place of, and that nobody reads now."""

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

    # The index follows.

    @property
    def has_work(self) -> bool:
        """Tell whether there is work on the index: messages wait for it, or it is swept."""
        changes = self._unchanged or self._index.stale
        return bool(self._waiting or self._sweeping or changes or self._discarded)

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
        if self._discarded:
            self._free_some()
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

    # Another index of the same messages.

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
        """Put another index, of the same messages, in the place of this one.

        The one before is freed in steps, once no search reads it: in one piece that would take a
        tenth of a second.
        """
        finalize(self._index, self._discarded.extend, self._index.tables).atexit = False
        self._index = made
        self._remaking = self._adding = self._sweeping = None
        self._unswept = 0
        self._unweighed += self.max_bytes  # whatever it takes, it is weighed soon

    def _free_some(self) -> None:
        """Free the next entries of discarded tables."""
        table = self._discarded[-1]
        for _ in range(min(_FREED, len(table))):
            table.popitem()
        if not table:
            self._discarded.pop()

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
