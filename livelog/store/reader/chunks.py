"""Next messages on disk, oldest first: chunks for readers that are behind, and records of all.

Pages, newest first, and analyses are in `searches`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyroaring import BitMap

from livelog.index.paging import Chunk
from livelog.index.plan import Steps
from livelog.index.query import Query, Subscription
from livelog.index.where.lookup import is_indexed
from livelog.store.reader.calls import ChunkCall, RecordsCall
from livelog.store.reader.openend import Part
from livelog.store.reader.rows import DAMAGED
from livelog.store.reader.stored import FETCHED_AT_ONCE, Stored, cost, pauses_behind
from livelog.wire import frames
from livelog.wire.messages import MessageType
from livelog.wire.record import Record

_PARTS_PER_CHUNK = 8
"""Parts that are searched for one chunk until something is found."""

_FIRST_RANGE = 1024
_RANGES_PER_CHUNK = 5
"""Positions in which a phrase or expression is looked for at once, twice as many in each range that
follows, and ranges that are searched for one chunk: every message in them may have to be read."""

_SCANNED_PER_CHUNK = 4 << 20
"""Cost of the messages that are read one by one where there is no index yet; some 20
milliseconds."""

_RECORDS_BYTES = 4 << 20
"""Bytes of messages after which a list of records ends."""

Wanted = tuple[tuple[MessageType, Query], ...]


class Chunks:
    """Chunks and records of `stored`, in steps."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._rows = stored.rows

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
        if first >= self._stored.segments.end:
            return (yield from self._scanned(call, first))
        last = min(last, self._stored.segments.end - 1)
        with self._stored.segments.reading(first, last) as parts:
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
        for row in self._stored.rows_from(first):
            if row.seq > call.upto:
                cursor = call.upto
                break
            if not row.payload and not taken:
                return Chunk([], row.seq, lost_upto=row.seq)
            if not row.payload or room <= 0 or effort <= 0:
                break
            cursor = row.seq
            effort -= cost(row)
            if wanted.wants(row.record()):
                taken.append(frames.text(row.payload))
                room -= len(row.payload)
            if pauses_behind(row):
                yield
        else:
            cursor = call.upto
        return Chunk([b"".join(taken)] if taken else [], cursor)

    def _wanted(self, part: Part, wanted: Wanted, first: int, last: int) -> Steps[BitMap]:
        # Damaged when it was indexed: it may have been wanted.
        within = BitMap(part.within(first, last))
        found = BitMap() if part.source is None else part.source.of_key(DAMAGED) & within
        for _, query in wanted:
            found |= yield from self._stored.segments.matches(part, query, first, last)
        return found

    def _filled(self, part: Part, high: int, found: BitMap, call: ChunkCall) -> Chunk:
        """Make the chunk of the first of the `found` positions, as many as fit."""
        taken: list[bytes] = []
        room, before, lost = call.max_bytes, call.cursor, 0
        for row in self._stored.rows_at(part, found):
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

    def _seq_behind(self, position: int, upto: int) -> int:
        """Return the cursor of a reader that has had everything up to a position."""
        return min(upto, self._rows.seq_at(position) or upto)

    def records(self, call: RecordsCall) -> Steps[list[Record]]:
        """Return whole messages, oldest first: at most `limit`, and about 4 MiB of them."""
        position = self._rows.position_upto(call.cursor)
        found: list[Record] = []
        room = _RECORDS_BYTES
        while len(found) < call.limit and room > 0:
            count = min(FETCHED_AT_ONCE, call.limit - len(found))
            rows = [row for row in self._rows.after(position, count) if row.seq <= call.upto]
            if not rows:
                break
            found += [row.record() for row in rows]
            room -= sum(len(row.payload) for row in rows)
            position = rows[-1].position
            yield
        return found


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
