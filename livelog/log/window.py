"""The newest messages, in memory: where history, search and every reader that is behind look first.

Frames in seq order, bounded by count and by bytes, with an index over them. The oldest are evicted
and are then gone from memory. Reads are generators that pause now and then, so that a long one can
be interleaved with other work.

A message is there, with its seq and id, as soon as it is appended. The index follows in small
steps, which `work` makes: it lags behind, and a search reads what is not in it yet singly.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import accumulate, islice
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from pyroaring import BitMap

from livelog.index import plan
from livelog.index.analysis.live import Count, Findings, count
from livelog.index.analysis.question import Part, Question
from livelog.index.analysis.tally import Tally
from livelog.index.index import Index
from livelog.index.paging import Chunk
from livelog.index.query import Query, Subscription
from livelog.index.terms import message_in, reader, terms
from livelog.index.where.matching import Test
from livelog.log.blocks import Blocks
from livelog.log.idtable import IdTable
from livelog.wire import frames
from livelog.wire.messages import MessageType
from livelog.wire.record import Known, Record, id_of
from livelog.wire.stubs import is_stub, stub_of
from livelog.wire.timestamps import parse_moment

_SCANNED = 512
"""Messages that are looked up in one step for a reader that is behind: a tenth of a millisecond.
Their text is read singly."""

_STRIPPED = 16
"""Redacted messages whose frames are replaced in one step: some tenths of a millisecond."""

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

_WEIGHED_BYTES = 4096
"""Bytes of messages that come in before the index is weighed again."""

_RENUMBER_AT = 1 << 31
"""Position at which all are renumbered from 0, long before the 2**32 that the index can hold."""


def _record(seq: int, frame: bytes) -> Record:
    """Make the record again that the log made of a message when it came in."""
    message: Any = message_in(frames.payload(frame))
    time = parse_moment(message.timestamp, "timestamp")
    tag = message.__struct_config__.tag
    return Record(seq, message.id, tag, time, *terms(message), frame)


def _last(positions: BitMap, within: range) -> int:
    """Return the last of `positions` that is in a range, -1 without any."""
    count = positions.rank(within.stop - 1) if within.stop else 0
    last = positions[count - 1] if count else -1
    return int(last) if last in within else -1


def _never() -> bool:
    """Tell that there is no end of the time."""
    return False


def _ignored(_: Exception) -> None:
    """Do nothing: the callback until somebody sets one."""


class Matches:
    """The result of a search. To be used before the window changes again."""

    def __init__(self, window: Window, positions: BitMap) -> None:
        self._window = window
        self.positions = positions
        self.total = len(positions)

    def newer(self, seq: int) -> int:
        """Return how many have a seq above this one."""
        position = self._window.position_after(seq)
        return self.total - (self.positions.rank(position - 1) if position else 0)

    def payloads(self, offset: int, limit: int) -> list[bytes]:
        """Return up to `limit` messages from `offset` on, newest first."""
        return frames.unframed(self.frames(offset, limit))

    def frames(self, offset: int, limit: int) -> list[bytes]:
        """Return the frames of these messages, which are not copied."""
        last = self.total - offset
        chosen = self.positions[max(0, last - limit) : max(0, last)]
        return self._window.frames(reversed(chosen))


class Counted(NamedTuple):
    """The result of an analysis of the messages with a seq above `follows`."""

    tally: Tally
    follows: int


class Window:
    """The newest `max_messages` messages, or fewer when they exceed `max_bytes` with their index.

    It holds all messages with a seq above `evicted_upto`; that starts at `follows`, the seq of the
    message before the first one.

    `extend` and `evict` cost the same per message whatever the size; `lookup` a hash look-up and
    one decoded message; `find` is bitmap arithmetic (`livelog.index.index`).
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
        self._doomed: dict[int, str] = {}
        """Positions of redacted messages whose frames still have the content → the reason."""
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
        return bool(self._waiting or self._sweeping or self._doomed)

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
                self._seqs.append(record.seq)
                self._frames.append(record.frame)
            self._waiting.extend(records)
            size = sum([len(record.frame) for record in records])
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
        while self._doomed:
            self._strip_some()
        while self._waiting:
            self._add_some()
        self._held = Counter()  # analyses under way begin again
        self._compact()
        distance = self._frames.start
        self._renumbered_by += distance
        self._index = self._index.renumbered()
        self._frames.renumber(distance)
        self._base = 0
        self._sweeping, self._unswept = None, 0

    # Redaction.

    def redact(self, seqs: Iterable[int], reason: str) -> None:
        """Put stubs in the place of messages: no read returns the content from now on.

        The frames follow in steps of `work`, or as they are read.
        """
        for seq in seqs:
            position = self.position_after(seq - 1)
            if position < self._frames.end and self._seqs[position - self._base] == seq:
                self._doomed[position] = reason
        self._index.void |= BitMap(self._doomed)

    def _strip_some(self) -> None:
        """Make stubs of the next redacted messages."""
        for position in list(islice(self._doomed, _STRIPPED)):
            self._strip(position)

    def _strip(self, position: int) -> None:
        """Make a stub of a message that has been redacted."""
        reason = self._doomed.pop(position)
        if position < self._frames.start or is_stub(self.payload(position)):
            return
        old = self._frames[position]
        new = frames.text(stub_of(frames.payload(old), reason))
        self._frames.replace(position, new)
        self._bytes += len(new) - len(old)
        place = position - self._index.end
        if place >= 0:
            self._waiting[place] = None  # to be decoded again
            self._waiting_bytes += len(new) - len(old)

    # The index follows.

    def work(self) -> bool:
        """Make a step of the work on the index; return False when there is none."""
        if self._doomed:
            self._strip_some()
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
        """Make the next step in which the first of the waiting messages is added to the index.

        It is one of the sweep instead, while the memory of evicted messages is needed. After an
        exception the index is made anew.
        """
        if self._sweeping is not None and self.memory > self.max_bytes:
            self._sweep_some()
            return
        position = self._index.end
        try:
            if self._adding is None:
                self._adding = self._index.adding(self._waiting[0] or self._decoded(position))
            if next(self._adding, self) is not self:
                return
        except Exception as error:
            self._start_anew(position)
            self.on_failure(error)
            return
        self._adding = None
        self._waiting.popleft()
        size = len(self._frames[position])
        self._waiting_bytes -= size
        self._unweighed += size
        self.evict(self._safe_upto)

    def _start_anew(self, failed: int) -> None:
        """Drop the index, which is in an unknown state, and begin another.

        A message that fails twice is left out of it, but for its type and time.
        """
        seq = self._seqs[failed - self._base]
        self._unindexable |= {seq} if self._failed_seq == seq else set()
        self._failed_seq = seq
        void, self._index = self._index.void, Index(first=self._frames.start)
        self._index.void = void
        self._waiting = deque([None] * len(self))
        self._waiting_bytes = self._bytes
        self._adding = self._sweeping = None
        self._unswept = 0

    def _decoded(self, position: int) -> Record:
        """Make the record again that the log made of a message when it came in."""
        seq = self._seqs[position - self._base]
        record = _record(seq, self._frames[position])
        if seq in self._unindexable:
            return msgspec.structs.replace(record, keys=(), text="", numbers=())
        return record

    # Reads.

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

    def after(
        self,
        cursor: int,
        wanted: Subscription,
        max_bytes: int,
        is_over: Callable[[], bool] = _never,
        upto: int = 0,
    ) -> Chunk:
        """Return the wanted messages after `cursor`, up to about `max_bytes` of frames.

        With `upto` none has a higher seq.

        It returns what it has when `is_over` tells that the time is used up, or when it finds that
        what follows has been evicted meanwhile; `cursor` of the chunk says how far it came.
        """
        found: list[bytes] = []
        cursor = max(cursor, self.evicted_upto)
        first = self.position_after(cursor)
        end = self.position_after(upto) if upto else self._frames.end
        while first < end and max_bytes > 0 and self._reach(first, is_over):
            reach = range(first, min(first + _SCANNED, self._index.end, end))
            positions, reach = self._wanted(wanted, reach, is_over)
            for position in positions & BitMap(self._doomed) if self._doomed else ():
                self._strip(position)
            some = self._frames.at(positions)
            sizes = list(accumulate(map(len, some)))
            fit = bisect_left(sizes, max_bytes) + 1
            if fit < len(some):
                some, reach = some[:fit], range(first, positions[fit - 1] + 1)
            found += some
            max_bytes -= sizes[len(some) - 1] if some else 0
            first = reach.stop
            cursor = self._seqs[first - 1 - self._base]
            if is_over():
                break
        return Chunk(found, cursor)

    def _reach(self, position: int, is_over: Callable[[], bool]) -> bool:
        """Bring the index up to a position; False when the time ends before, or it is evicted."""
        while self._index.end <= position:
            self._add_some()
            if is_over():
                break
        return self._frames.start <= position < self._index.end

    def _wanted(
        self, wanted: Subscription, within: range, is_over: Callable[[], bool]
    ) -> tuple[BitMap, range]:
        """Return the wanted positions, and how much of `within` was looked at in the time."""
        found, unread = BitMap(), dict[int, tuple[Query, Test | None]]()
        for name, query in wanted.parts:
            sure, maybe = plan.glance(self._index, query, within)
            found |= sure
            unread.update(dict.fromkeys(maybe - sure, (query, wanted.test(name))))
        for position, (query, test) in sorted(unread.items(), key=itemgetter(0)):
            if plan.finish(plan.says(self._kept(position), query.phrases, test)):
                found.add(position)
            if is_over():
                found.remove_range(position + 1, within.stop)
                return found, range(within.start, position + 1)
        return found, within

    def find(self, query: Query) -> Generator[None, None, Matches]:
        """Find all messages that match `query`."""
        while self._doomed:
            self._strip_some()
            yield
        index, indexed = self._index, self._index.end
        # What waits for the index comes first, and is not held on to: it may be large.
        found = BitMap()
        for position in range(indexed, self._frames.end):
            if position >= self._frames.start and query.matches(self._record_at(position)):
                found.add(position)
            yield
            if index is not self._index:
                break
        else:
            within = range(index.start, indexed)
            found |= yield from plan.find(index, query, self._kept, within)
        if index is not self._index:  # positions have been counted anew meanwhile
            return (yield from self.find(query))
        found.remove_range(0, self._frames.start)
        return Matches(self, found)

    def analyze(self, query: Query, question: Question) -> Generator[None, None, Counted]:
        """Count the messages that match `query`, as they are at the end of the search for them."""
        while True:
            index = self._index
            matches = yield from self.find(query)
            counted = Counted(Tally(question), self.evicted_upto)
            if index is self._index:
                yield from self._count(matches.positions, counted.tally)
            if index is self._index:
                return counted

    def _count(self, found: BitMap, tally: Tally) -> Generator[None, None, None]:
        """Count matches, also those that are evicted meanwhile."""
        while self._doomed:
            self._strip_some()
            yield
        index, indexed, held = self._index, self._index.end, self._held
        start, frame = self._frames.start, self._frames.kept()

        def messages(positions: BitMap) -> Iterator[tuple[int, bytes]]:
            return ((position, frames.payload(frame(position))) for position in positions)

        def seq(position: int) -> int:
            return self._seqs[position - self._base] if index is self._index else 0

        waiting = found & BitMap(range(indexed, self._frames.end))
        held[start] += 1
        try:
            known = Part(found - waiting, index, messages, seq)
            yield from tally.add(known)
            if waiting and index is self._index:
                yield from tally.add(Part(waiting, None, messages, seq))
        finally:
            held[start] -= 1
            held += Counter()  # without those that nobody needs

    # What watches count.

    @property
    def indexed_upto(self) -> int:
        """Seq up to which all messages are in the index or evicted."""
        last = self._index.end - 1
        return self._seqs[last - self._base] if last >= self._frames.start else self.evicted_upto

    def count(
        self, query: Query, field: str, after: int, upto: int, known: Findings
    ) -> Generator[None, None, Count]:
        """Count the messages after one seq and up to another by the values of a field, in steps.

        `known` serves the next call.
        """
        index = self._index
        within = range(self.position_after(after), self.position_after(upto))
        while self._index.end < within.stop:  # only after the index was made anew
            self._add_some()
            yield
        if index is self._index:
            found = known.of(index).matches((query, within))
            if found is None:
                found = yield from plan.find(index, query, self._kept, within)
                known.of(index).note((query, within), found)
            counted = yield from count(index, known, field, found, self._kept)
        if index is not self._index:  # positions have been counted anew meanwhile
            return (yield from self.count(query, field, after, upto, known))
        return counted._replace(incomplete=after < self.evicted_upto)

    def newest_of(self, types: Iterable[MessageType], after: int, upto: int) -> int:
        """Return the seq of the newest message of these types after one seq and up to another.

        0 without any.
        """
        within = range(self.position_after(after), self.position_after(upto))
        last = [_last(self._index.of_type(name), within) for name in types]
        return self._seq_at(max(last, default=-1))

    def newest_dm(self, user: str, after: int, upto: int, known: Findings) -> int:
        """Return the same of the direct messages of one user; `known` serves the next call."""
        within = range(self.position_after(after), self.position_after(upto))
        found = known.of(self._index)
        if within not in found.dms:
            found.dms[within] = self._index.of_type("dm") & BitMap(within)
        own = found.dms[within] & self._index.of_key(reader(user))
        return self._seq_at(own.max() if own else -1)

    def _seq_at(self, position: int) -> int:
        return 0 if position < 0 else self._seqs[position - self._base]

    def _record_at(self, position: int) -> Record:
        """Return the record of a message that has waited for the index, and perhaps still does."""
        place = position - self._index.end
        return (self._waiting[place] if place >= 0 else None) or self._decoded(position)

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
        for position in chosen if self._doomed else ():
            if position in self._doomed:
                self._strip(position)
        return self._frames.picked(chosen)

    def payload(self, position: int) -> bytes:
        """Return the message at a position."""
        if position in self._doomed:
            self._strip(position)
        return frames.payload(self._frames[position])

    def _kept(self, position: int) -> bytes:
        """Return the message at `position`, empty if it has been evicted."""
        return b"" if position < self._frames.start else self.payload(position)

    def _check(self) -> None:
        """Assert that order, bounds and tables hold."""
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
