"""Answers to the server's calls, from the rows and the segments of the index.

An answer is found in steps, between which other calls have their turn and the index goes on. Each
slice of steps sees one snapshot of the store; none is held from one slice to the next, because that
would keep the write-ahead log from being given back. What may change in between is that the oldest
messages are trimmed: they are taken out of what was found before a page is made of it.

The server speaks of seqs; positions are used in the reading process alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from time import perf_counter
from typing import Any

from pyroaring import BitMap

from livelog.index.analysis.question import Counts
from livelog.index.analysis.question import Part as Counted
from livelog.index.analysis.tally import Tally
from livelog.index.paging import Chunk, Page, fitting
from livelog.index.plan import Steps
from livelog.index.query import BEGINNING_OF_TIME, END_OF_TIME, Query, Subscription
from livelog.index.where.lookup import is_indexed
from livelog.store.database.file import index_path
from livelog.store.reader.calls import (
    MEMORY_BYTES,
    AnalyzeCall,
    Call,
    ChunkCall,
    CleanCall,
    DamageCall,
    PageCall,
    Progress,
    RecordsCall,
)
from livelog.store.reader.openend import Part
from livelog.store.reader.rows import DAMAGED, Damage, Row, Rows
from livelog.store.reader.segments import Segments
from livelog.wire import frames
from livelog.wire.messages import TYPES, MessageType
from livelog.wire.record import Record

_FETCHED_FIRST = 4
_FETCHED_BYTES = 256 << 10
"""Messages that are read first one after the other, and bytes of those that follow, about."""

_FETCHED_AT_ONCE = 64
"""Messages that are read from the file together; each may have 64 KiB."""

_PARTS_PER_CHUNK = 8
"""Parts that are searched for one chunk until something is found."""

_FIRST_RANGE = 1024
_RANGES_PER_CHUNK = 5
"""Positions in which a phrase or expression is looked for at once, twice as many in each range that
follows, and ranges that are searched for one chunk: every message in them may have to be read."""

_ROW_COST = 2048
_LARGE_ROW_COST = 16 << 10
"""What it costs to read a message, in bytes of its text, and that of one that takes long."""

_SCANNED_PER_PAGE = 24 << 20
_SCANNED_PER_CHUNK = 4 << 20
"""Cost of the messages that are read one by one where there is no index yet; some 100 milliseconds,
and 20."""

_INDEXED_SECONDS = 5.0
"""Estimate of the time up to which a page waits for the index, where it cannot do without: half of
the deadline. A process that takes the place of another one has this much to do again."""

_RECORDS_BYTES = 4 << 20
"""Bytes of messages after which a list of records ends."""


class NotIndexedError(Exception):
    """Messages that a call needs are not indexed yet, and too many to be read one by one."""

    def __init__(self, share: float, seconds: float) -> None:
        super().__init__(f"the index is being made, {share:.0%} of the messages can be searched")
        self.share = round(share, 3)
        self.seconds = round(max(1.0, seconds), 1)
        """Estimate of the time after which they are indexed."""


Found = list[tuple[Part, BitMap]]
Answer = Page | Counts | Chunk | list[Record] | Damage | bool
Wanted = tuple[tuple[MessageType, Query], ...]


class StoredMessages:
    """Rows and index of the store at `path`; methods raise `rows.Unreadable` when reading fails.

    `memory_bytes` bounds the memory of the index, which is begun after `rest` seconds.
    """

    def __init__(
        self, path: str, key: bytes, memory_bytes: int = MEMORY_BYTES, rest: float = 0.0
    ) -> None:
        self._rows = rows = Rows(path, key)
        self._index = partial(Segments, index_path(path), rows, key, memory_bytes)
        self._rests_until = perf_counter() + rest if rest else 0.0
        # Without an index messages are read one by one, as far as that goes.
        self._segments = Segments(":memory:", rows, b"", memory_bytes) if rest else self._index()

    def answer(self, call: Call) -> Steps[Answer]:
        """Answer a call in steps. Raises `NotIndexedError` for what can only be found later."""
        return _ANSWERS[type(call)](self, call)

    def snapshot(self) -> AbstractContextManager[None]:
        """Read from one snapshot of the store, for a slice of steps."""
        return self._rows.snapshot()

    def work(self) -> bool:
        """Do a step of the work in the background; return False when there is none."""
        if perf_counter() < self._rests_until:
            return self._rows.scrub()
        if self._rests_until:
            self._segments.close()  # which no call reads: nothing is in it
            self._segments, self._rests_until = self._index(), 0.0
        return self._segments.work() or self._rows.scrub()

    def damage(self, call: DamageCall) -> Steps[Damage]:
        """Return the damage found so far."""
        yield
        return self._rows.damage

    def clean(self, call: CleanCall) -> Steps[bool]:
        """Tell whether the index has nothing any more of what was redacted."""
        yield
        return self._segments.is_clean

    @property
    def progress(self) -> Progress:
        """How far the messages are indexed."""
        return self._segments.progress

    def close(self) -> None:
        """Close the files."""
        self._segments.close()
        self._rows.close()

    def page(self, call: PageCall) -> Steps[Page]:
        """Return a page of matches, newest first."""
        first = self._rows.position_upto(max(call.after, self._rows.trimmed_upto)) + 1
        last = self._rows.position_upto(call.upto)
        if _has_no_conditions(call.query):  # the positions are dense, so no index is needed
            everything = Part(first, max(first, last + 1), None)
            found = [(everything, BitMap(range(last + 1 - first)))]
            return (yield from self._page_of_intact(call, found))
        try:
            found = yield from self._matches(call.query, first, last)
        except NotIndexedError as error:
            if error.seconds > _INDEXED_SECONDS or self._rests_until:
                raise
            yield from self._index_upto(last)
            found = yield from self._matches(call.query, first, last)
        return (yield from self._page_of_intact(call, found))

    def _matches(self, query: Query, first: int, last: int) -> Steps[Found]:
        """Find what matches from `first` to `last`. Raises `NotIndexedError`."""
        found: Found = []
        with self._segments.reading(first, last) as parts:
            # First what may be refused.
            behind = max(first, self._segments.end)
            newest = yield from self._unindexed(query, behind, last)
            for part in parts:
                matches = yield from self._segments.matches(part, query, first, last)
                found.append((part, matches))
                yield
        return [*found, newest]

    def _index_upto(self, last: int) -> Steps[None]:
        """Index the messages up to `last`, in the time of the call that needs it."""
        while self._segments.end <= last and self._segments.work():
            yield

    def analyze(self, call: AnalyzeCall) -> Steps[Counts]:
        """Count matches."""
        first = self._rows.position_upto(max(call.after, self._rows.trimmed_upto)) + 1
        last = self._rows.position_upto(call.upto)
        tally = Tally(call.question)
        with self._segments.reading(first, last) as parts:
            # First what may be refused.
            behind = max(first, self._segments.end)
            newest = yield from self._unindexed(call.query, behind, last)
            for part in parts:
                matches = yield from self._segments.matches(part, call.query, first, last)
                yield from tally.add(self._counted(part, matches))
            yield from tally.add(self._counted(*newest))
        yield from tally.spell(self._rows.payload)
        return (yield from tally.packed())

    def _counted(self, part: Part, matches: BitMap) -> Counted:
        """Return matches as they are counted, without the damaged ones."""
        damaged = [p - part.first for p in self._rows.damaged if part.first <= p < part.end]

        def messages(positions: BitMap) -> Iterator[tuple[int, bytes]]:
            rows = self._rows_at(part, positions)
            return ((row.position - part.first, row.payload) for row in rows)

        def place(position: int) -> int:
            return part.first + position

        return Counted(matches - BitMap(damaged), part.source, messages, place)

    def _unindexed(self, query: Query, first: int, last: int) -> Steps[tuple[Part, BitMap]]:
        """Find what matches among messages that are not indexed yet, by reading them one by one.

        Raises `NotIndexedError` when that would take long.
        """
        matches, room = BitMap(), _SCANNED_PER_PAGE
        if (last + 1 - first) * _ROW_COST > room:
            raise self._not_indexed(last)
        for row in self._rows_from(first):
            if row.position > last:
                break
            room -= _cost(row)
            if room < 0:
                raise self._not_indexed(last)
            if row.matches(query):
                matches.add(row.position - first)
            if _pauses_behind(row):
                yield
        return Part(first, max(first, last + 1), None), matches

    def _not_indexed(self, last: int) -> NotIndexedError:
        progress = self._segments.progress
        share = progress.indexed / max(1, progress.count)
        return NotIndexedError(share, self._segments.seconds_until(last))

    def _page_of_intact(self, call: PageCall, found: Found) -> Steps[Page]:
        """Make a page without the damaged messages, those included that show only now.

        A few of them show with each attempt, and thousands may lie side by side.
        """
        while True:
            self._forget_trimmed(found)
            damaged = self._rows.damaged
            for part, positions in found:
                positions -= BitMap(p - part.first for p in damaged if part.first <= p < part.end)
            page = self._page(call, found)
            if self._rows.damaged == damaged:
                return page
            yield

    def _page(self, call: PageCall, found: Found) -> Page:
        def newer(seq: int) -> int:
            return call.ahead + self._newer(found, seq)

        offset, limit = call.span.resolve(newer)
        skipped = max(0, offset - call.ahead)
        wanted = limit - max(0, min(limit, call.ahead - offset))
        positions = _newest(found, skipped, wanted)
        nearest = call.span.nearest(newer, offset) - (limit - wanted)
        kept, payloads = self._fitting(positions, nearest, call.span.max_bytes)
        offset += limit - wanted + kept.start if kept.start else 0
        total = sum(len(positions) for _, positions in found)
        return Page(payloads, total, offset, len(kept) < len(positions), nearest - kept.start)

    def _fitting(
        self, positions: list[int], nearest: int, max_bytes: int
    ) -> tuple[range, list[bytes]]:
        """Read the messages at `positions` that fit on a page; no others are read."""
        read: dict[int, bytes] = {}
        count = _FETCHED_FIRST

        def size(place: int) -> int:
            nonlocal count
            if place not in read:
                first = max(0, place + 1 - count) if place < nearest else place
                some = range(first, place + 1 if place < nearest else place + count)
                read.update(self._payloads(positions, some))
                count = _as_many_as_fit(list(read.values()))
            return len(read[place])

        kept = fitting(len(positions), nearest, size, max_bytes)
        return kept, [payload for place in kept if (payload := read[place])]

    def _payloads(self, positions: list[int], places: range) -> dict[int, bytes]:
        """Read the messages at some places of `positions` at once; empty where there is none."""
        wanted = {positions[place]: place for place in places if place < len(positions)}
        found = dict.fromkeys(wanted.values(), b"")
        found |= {wanted[row.position]: row.payload for row in self._rows.at(wanted)}
        return found

    def _forget_trimmed(self, found: Found) -> None:
        first = self._rows.first_position
        for part, positions in found:
            if part.first < first:
                positions.remove_range(0, first - part.first)

    def chunk(self, call: ChunkCall) -> Steps[Chunk]:
        """Return the next messages for a reader that is behind, oldest first.

        `lost_upto` of the chunk tells of messages that were trimmed since the server asked, or are
        damaged. A chunk may be empty before the end, lest one call take very long; its cursor has
        moved in any case.
        """
        gone = self._rows.trimmed_upto
        chunk = yield from self._chunk(call, max(call.cursor, gone))
        # Once more, for what was trimmed during the search.
        trimmed = self._rows.trimmed_upto
        lost = gone if trimmed == gone or chunk.cursor >= trimmed else trimmed
        chunk.cursor = max(chunk.cursor, gone)
        chunk.lost_upto = max(chunk.lost_upto, lost if call.cursor < lost else 0)
        return chunk

    def _chunk(self, call: ChunkCall, cursor: int) -> Steps[Chunk]:
        first = self._rows.position_upto(cursor) + 1
        last = self._rows.position_upto(call.upto)
        if first > last:  # after a start the seqs go on above that of the last message
            return Chunk([], call.upto)
        if first >= self._segments.end:
            return (yield from self._scanned(call, first))
        last = min(last, self._segments.end - 1)
        with self._segments.reading(first, last) as parts:
            for part, low, high in _ranges(parts[:_PARTS_PER_CHUNK], call.parts, first, last):
                found = yield from self._wanted(part, call.parts, low, high)
                if found:
                    return self._filled(part, high, found, call)
                first = high + 1
                yield
        return Chunk([], self._seq_behind(first - 1, call.upto) if parts else call.upto)

    def _scanned(self, call: ChunkCall, first: int) -> Steps[Chunk]:
        """Read messages that are not indexed yet one by one."""
        wanted = Subscription(call.parts)
        taken: list[bytes] = []
        cursor, room, effort = call.cursor, call.max_bytes, _SCANNED_PER_CHUNK
        for row in self._rows_from(first):
            if row.seq > call.upto:
                cursor = call.upto
                break
            if not row.payload and not taken:
                return Chunk([], row.seq, lost_upto=row.seq)
            if not row.payload or room <= 0 or effort <= 0:
                break
            cursor = row.seq
            effort -= _cost(row)
            if wanted.wants(row.record()):
                taken.append(frames.text(row.payload))
                room -= len(row.payload)
            if _pauses_behind(row):
                yield
        else:
            cursor = call.upto
        return Chunk([b"".join(taken)] if taken else [], cursor)

    def _rows_from(self, position: int) -> Iterator[Row]:
        """Read all messages from a position on, some at a time: many calls hold on to theirs."""
        count = _FETCHED_FIRST
        while rows := self._rows.after(position - 1, count):
            yield from rows
            position = rows[-1].position + 1
            count = _as_many_as_fit([row.payload for row in rows])

    def records(self, call: RecordsCall) -> Steps[list[Record]]:
        """Return whole messages, oldest first: at most `limit`, and about 4 MiB of them."""
        position = self._rows.position_upto(call.cursor)
        found: list[Record] = []
        room = _RECORDS_BYTES
        while len(found) < call.limit and room > 0:
            count = min(_FETCHED_AT_ONCE, call.limit - len(found))
            rows = [row for row in self._rows.after(position, count) if row.seq <= call.upto]
            if not rows:
                break
            found += [row.record() for row in rows]
            room -= sum(len(row.payload) for row in rows)
            position = rows[-1].position
            yield
        return found

    def _newer(self, found: Found, seq: int) -> int:
        """Count the matches with a seq above this one."""
        position = self._rows.position_upto(seq)
        return sum(
            len(positions) - positions.rank(position - part.first)
            if position >= part.first
            else len(positions)
            for part, positions in found
        )

    def _wanted(self, part: Part, wanted: Wanted, first: int, last: int) -> Steps[BitMap]:
        # Damaged when it was indexed: it may have been wanted.
        within = BitMap(part.within(first, last))
        found = BitMap() if part.source is None else part.source.of_key(DAMAGED) & within
        for _, query in wanted:
            found |= yield from self._segments.matches(part, query, first, last)
        return found

    def _filled(self, part: Part, high: int, found: BitMap, call: ChunkCall) -> Chunk:
        """Make the chunk of the first of the `found` positions, as many as fit."""
        taken: list[bytes] = []
        room, before, lost = call.max_bytes, call.cursor, 0
        for row in self._rows_at(part, found):
            if not row.payload:
                if taken:
                    return Chunk([b"".join(taken)], before)
                lost = row.seq
                continue
            if lost:
                break
            before = row.seq
            taken.append(frames.text(row.payload))
            room -= len(row.payload)
            if room <= 0:
                return Chunk([b"".join(taken)], row.seq)
        if lost:  # the damaged ones in front are passed together
            return Chunk([], lost, lost_upto=lost)
        # In one piece, since the server only passes them on.
        return Chunk([b"".join(taken)], self._seq_behind(high, call.upto))

    def _rows_at(self, part: Part, found: BitMap) -> Iterator[Row]:
        for start in range(0, len(found), _FETCHED_AT_ONCE):
            yield from self._rows.at(
                [part.first + place for place in found[start : start + _FETCHED_AT_ONCE]]
            )

    def _seq_behind(self, position: int, upto: int) -> int:
        """Return the cursor of a reader that has had everything up to a position."""
        return min(upto, self._rows.seq_at(position) or upto)


def _as_many_as_fit(read: list[bytes]) -> int:
    """Return how many messages to read together, by the size of others."""
    size = sum(map(len, read)) // len(read)
    return max(1, min(_FETCHED_AT_ONCE, _FETCHED_BYTES // max(1, size)))


def _cost(row: Row) -> int:
    return _ROW_COST + len(row.payload)


def _pauses_behind(row: Row) -> bool:
    return _cost(row) > _LARGE_ROW_COST or row.position % _FETCHED_AT_ONCE == 0


def _has_no_conditions(query: Query) -> bool:
    return (
        len(query.types) == len(TYPES)
        and query.own is None
        and not (query.keys or query.phrases or query.test)
        and (query.date_from, query.date_to) == (BEGINNING_OF_TIME, END_OF_TIME)
    )


def _ranges(
    parts: list[Part], wanted: Wanted, first: int, last: int
) -> Iterator[tuple[Part, int, int]]:
    """Divide the positions from `first` to `last` into those that are searched at once.

    That is a whole part where the index alone answers, and few messages where their text is read.
    """
    read = any(_is_read(query) for _, query in wanted)
    size, left = _FIRST_RANGE, _RANGES_PER_CHUNK
    for part in parts:
        low, high = max(first, part.first), min(last, part.end - 1)
        while low <= high and left:
            end = min(high, low + size - 1) if read else high
            yield part, low, end
            low = end + 1
            if read:
                size, left = 2 * size, left - 1


def _is_read(query: Query) -> bool:
    """Tell whether the index alone does not answer."""
    return not is_indexed(query.where) or any(len(phrase) > 1 for phrase in query.phrases)


def _newest(found: Found, skipped: int, wanted: int) -> list[int]:
    """Return the positions of `wanted` matches behind the `skipped` newest ones, newest first."""
    positions: list[int] = []
    for part, inside in reversed(found):
        count = len(inside) - skipped
        skipped = max(0, -count)
        chosen = inside[max(0, count - wanted + len(positions)) : max(0, count)]
        positions += [part.first + position for position in reversed(chosen)]
    return positions


_ANSWERS: dict[type, Callable[[StoredMessages, Any], Steps[Any]]] = {
    DamageCall: StoredMessages.damage,
    CleanCall: StoredMessages.clean,
    PageCall: StoredMessages.page,
    AnalyzeCall: StoredMessages.analyze,
    ChunkCall: StoredMessages.chunk,
    RecordsCall: StoredMessages.records,
}
