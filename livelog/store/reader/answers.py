"""Answers to the server's calls, from the rows and the segments of the index.

The server speaks of seqs; positions are used in the reading process alone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from pyroaring import BitMap

from livelog.index.paging import Chunk, Page, fitting
from livelog.index.query import Query
from livelog.store.database.file import index_path
from livelog.store.reader.calls import Call, ChunkCall, DamageCall, PageCall, RecordsCall
from livelog.store.reader.rows import DAMAGED, Damage, Row, Rows
from livelog.store.reader.segments import Part, Segments
from livelog.wire import frames
from livelog.wire.messages import MessageType
from livelog.wire.record import Record

_FETCHED_PER_CHUNK = 1000
_PARTS_PER_CHUNK = 8
"""Parts that are searched for one chunk until something is found."""

Found = list[tuple[Part, BitMap]]
Answer = Page | Chunk | list[Record] | Damage


class StoredMessages:
    """Rows and index of the store at `path`; methods raise `rows.Unreadable` when reading fails."""

    def __init__(self, path: str, key: bytes) -> None:
        self._rows = Rows(path, key)
        self._segments = Segments(index_path(path), self._rows, key)

    def answer(self, call: Call) -> Answer:
        """Answer a call from one snapshot of the store."""
        with self._rows.snapshot():
            return _ANSWERS[type(call)](self, call)

    def work(self) -> bool:
        """Do a step of the work in the background; return False when there is none."""
        return self._segments.work() or self._rows.scrub()

    def damage(self, call: DamageCall) -> Damage:
        """Return the damage found so far."""
        return self._rows.damage

    def close(self) -> None:
        """Close the files."""
        self._segments.close()
        self._rows.close()

    def page(self, call: PageCall) -> Page:
        """Return a page of matches, newest first."""
        first = self._rows.position_upto(max(call.after, self._rows.trimmed_upto)) + 1
        last = self._rows.position_upto(call.upto)
        self._segments.cover(last)
        parts = self._segments.parts(first, last)
        found = [(part, self._segments.matches(part, call.query, first, last)) for part in parts]
        while True:  # until none of the messages on the page is found to be damaged
            damaged = self._rows.damaged
            for part, positions in found:
                positions -= BitMap(p - part.first for p in damaged if part.first <= p < part.end)
            page = self._page(call, found)
            if self._rows.damaged == damaged:
                return page

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

    def chunk(self, call: ChunkCall) -> Chunk:
        """Return the next messages for a reader that is behind, oldest first.

        `lost_upto` of the chunk tells of messages that were trimmed since the server asked, or are
        damaged.
        """
        gone = self._rows.trimmed_upto
        chunk = self._chunk(call, max(call.cursor, gone))
        chunk.cursor = max(chunk.cursor, gone)
        chunk.lost_upto = max(chunk.lost_upto, gone if call.cursor < gone else 0)
        return chunk

    def _chunk(self, call: ChunkCall, cursor: int) -> Chunk:
        first = self._rows.position_upto(cursor) + 1
        last = self._rows.position_upto(call.upto)
        self._segments.cover(last)
        parts = self._segments.parts(first, last)
        for part in parts[:_PARTS_PER_CHUNK]:
            found = self._wanted(part, call.parts, first, last)
            if found:
                return self._filled(part, found, call)
        passed = parts[:_PARTS_PER_CHUNK]
        return Chunk([], self._seq_behind(passed[-1], call.upto) if passed else call.upto, 0)

    def records(self, call: RecordsCall) -> list[Record]:
        """Return whole messages, oldest first."""
        rows = self._rows.after(self._rows.position_upto(call.cursor), call.limit)
        return [row.record() for row in rows if row.seq <= call.upto]

    def _fitting(
        self, positions: list[int], nearest: int, max_bytes: int
    ) -> tuple[range, list[bytes]]:
        """Read the messages at `positions` that fit on a page; no others are read."""
        read: dict[int, bytes] = {}

        def size(place: int) -> int:
            payload = read[place] = self._rows.payload(positions[place])
            return len(payload)

        kept = fitting(len(positions), nearest, size, max_bytes)
        return kept, [payload for place in kept if (payload := read[place])]

    def _newer(self, found: Found, seq: int) -> int:
        """Count the matches with a seq above this one."""
        position = self._rows.position_upto(seq)
        return sum(
            len(positions) - positions.rank(position - part.first)
            if position >= part.first
            else len(positions)
            for part, positions in found
        )

    def _wanted(
        self, part: Part, wanted: tuple[tuple[MessageType, Query], ...], first: int, last: int
    ) -> BitMap:
        matches = (self._segments.matches(part, query, first, last) for _, query in wanted)
        within = BitMap(range(max(0, first - part.first), max(0, last + 1 - part.first)))
        # Damaged when it was indexed: it may have been wanted.
        return BitMap.union(part.source.of_key(DAMAGED) & within, *matches)

    def _filled(self, part: Part, found: BitMap, call: ChunkCall) -> Chunk:
        """Make the chunk of the first of the `found` positions, as many as fit."""
        rows = self._rows.at([part.first + p for p in found[:_FETCHED_PER_CHUNK]])
        parts: list[bytes] = []
        room = call.max_bytes
        for row in rows:
            if not row.payload:
                return _before_damage(rows, parts)
            parts.append(frames.text(row.payload))
            room -= len(row.payload)
            if room <= 0:
                break
        whole = len(parts) == len(found)
        cursor = self._seq_behind(part, call.upto) if whole else rows[len(parts) - 1].seq
        # In one piece, since the server only passes them on.
        return Chunk([b"".join(parts)], cursor, len(parts))

    def _seq_behind(self, part: Part, upto: int) -> int:
        """Return the cursor of a reader that has had everything in a part."""
        return min(upto, self._rows.seq_at(part.end - 1) or upto)


def _before_damage(rows: list[Row], parts: list[bytes]) -> Chunk:
    """Make the chunk of the messages before a damaged one, or pass it if there are none."""
    if parts:
        return Chunk([b"".join(parts)], rows[len(parts) - 1].seq, len(parts))
    *_, last = takewhile(lambda row: not row.payload, rows)
    return Chunk([], last.seq, 0, lost_upto=last.seq)


def _newest(found: Found, skipped: int, wanted: int) -> list[int]:
    """Return the positions of `wanted` matches behind the `skipped` newest ones, newest first."""
    positions: list[int] = []
    for part, inside in reversed(found):
        count = len(inside) - skipped
        skipped = max(0, -count)
        chosen = inside[max(0, count - wanted + len(positions)) : max(0, count)]
        positions += [part.first + position for position in reversed(chosen)]
    return positions


_ANSWERS: dict[type, Callable[[StoredMessages, Any], Answer]] = {
    DamageCall: StoredMessages.damage,
    PageCall: StoredMessages.page,
    ChunkCall: StoredMessages.chunk,
    RecordsCall: StoredMessages.records,
}
