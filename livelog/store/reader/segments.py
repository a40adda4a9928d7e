"""The index of the messages on disk: sealed segments in a file of its own, and an open end.

The file stands beside the store (`PATH-index`) and can always be made again: when it does not fit
the store, or is damaged, it is deleted. New messages go into an index in memory, the open end; when
it has enough messages, or takes enough memory, it is sealed, that is, written to the file as a
segment, and neighbours of about one size are merged. This work is done in steps, between those of
calls. While the index is far behind the messages, as after its file was lost, it is sealed in
larger segments, which spares most of the merges; the others wait.

One job is under way at a time: drop the oldest segment, seal, merge, or delete what has been
dropped or merged. A segment that is being written counts as dropped until it is whole, so that a
process that is killed leaves the same segments as before. A segment that a call reads is not
deleted before the call has ended.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from time import perf_counter, thread_time

from pyroaring import BitMap

from livelog.index.plan import Steps, find
from livelog.index.query import Query
from livelog.store.reader import segmentwriter
from livelog.store.reader.cache import Cache
from livelog.store.reader.calls import Progress
from livelog.store.reader.indexfile import (
    clean_upto,
    dropped_segments,
    note_clean,
    open_index,
    passes,
    sealed_segments,
)
from livelog.store.reader.openend import OpenEnd, Part
from livelog.store.reader.pace import Pace
from livelog.store.reader.remaking import Changed, remake
from livelog.store.reader.rows import Rows
from livelog.store.reader.segment import KEY, Segment

_log = logging.getLogger(__name__)

SEALED_AT = 8192
"""Messages in the open end; to index them again after a start takes a quarter of a second."""

_BULK = 16
"""Times as many messages are sealed together while more than that are waiting to be indexed."""

_OPEN_SHARE = 5
_OPEN_BULK_SHARE = 2
_CACHE_SHARE = 4
_JOINED_SHARE = 3
_VOCABULARY_SHARE = 24
"""Parts of the memory for the open end, the same while very many messages are to be indexed and
nothing is merged, for what is cached, for the joined lists of a merge and for the characters of the
vocabularies that are merged: as a set they take ten times as much. A merge does not run while the
open end is full."""

_MERGED_AT_ONCE = 4
_LARGEST = SEALED_AT * _MERGED_AT_ONCE**4
_INDEXED_PER_STEP = 64
_STEP_SECONDS = 0.01
"""Messages that are indexed between two pauses, and time after which fewer are."""

_VACUUMED_BYTES = 64 << 20
"""Size of a file up to which it is written anew after a redaction: some tenths of a second. In a
larger one the place of what was deleted is overwritten, as `secure_delete` asks."""

_LOOKED_SECONDS = 0.2
"""Seconds between two looks for redactions while nobody asks anything."""


def _any_between(positions: list[int], first: int, end: int) -> bool:
    return any(first <= position < end for position in positions)


class Segments:
    """Parts of the index, from the oldest message that is kept to the newest that is indexed.

    `memory_bytes` bounds the memory they take, about.
    """

    def __init__(self, path: str, rows: Rows, key: bytes, memory_bytes: int) -> None:
        self._path = path
        self._rows = rows
        self._memory_bytes = memory_bytes
        self._cache = Cache(memory_bytes // _CACHE_SHARE)
        self._connection, self._sealed = open_index(path, rows, key, self._cache)
        self._dropped = dropped_segments(self._connection)
        """Ids of segments that are not needed any more, but for calls that read them."""
        self._pinned = Counter[int]()
        """Ids of segments that calls read, and how many do."""
        first = self._sealed[-1].end if self._sealed else rows.first_position
        self._open = OpenEnd(first)
        self._clean_upto = clean_upto(self._connection)
        """Seq of the newest act that has changed messages of which nothing is left in the file."""
        rows.renew_stale(self._clean_upto)
        self._looked_at = 0.0
        """Time at which changed messages were looked for."""
        self._made_upto: dict[int, int] = {}
        """Segment → the newest act whose changes it has, where it was made anew."""
        self._sealing: list[OpenEnd] = []
        self._job: Steps[None] | None = None
        self._failing = False
        """The last job has failed; meanwhile messages are indexed in memory, as far as it goes."""
        self._is_caught_up = False
        """All messages have been indexed since the last job: only then are segments merged."""
        self._pace = Pace(_BULK * SEALED_AT)

    def close(self) -> None:
        """Close the file; an unfinished job is rolled back and done again by the next process."""
        self._connection.close()

    @property
    def end(self) -> int:
        """Position behind the last message that is indexed."""
        return self._open.end

    @property
    def is_clean(self) -> bool:
        """Whether the file has nothing of what was redacted, as far as that is known here."""
        return self._rows.changed_upto <= self._clean_upto

    @property
    def progress(self) -> Progress:
        """Messages that are indexed, of those in the store."""
        first, last = self._rows.first_position, self._rows.last_position
        count = last + 1 - first
        return Progress(min(count, max(0, self.end - first)), count)

    def seconds_until(self, position: int) -> float:
        """Estimate the seconds after which all messages up to this position are indexed."""
        return max(0, position + 1 - self.end) / self._pace.per_second

    @contextmanager
    def reading(self, first: int, last: int) -> Iterator[list[Part]]:
        """Give the parts that have messages from `first` to `last`, oldest first, to read.

        What is indexed later is in none of them.
        """
        sealed = [one for one in self._sealed if one.first <= last and one.end > first]
        opened = [Part(one.first, one.end, one.index) for one in (*self._sealing, self._open)]
        for one in sealed:
            one.void = self._rows.void(one.first, one.end)
            one.stale = self._rows.stale(one.first, one.end)
        for end in (*self._sealing, self._open):
            end.index.void = self._rows.void(end.first, end.end)
            end.index.stale = self._rows.stale(end.first, end.end)
        pinned = [one.id for one in sealed]
        self._pinned.update(pinned)
        try:
            yield [
                *(Part(one.first, one.end, one) for one in sealed),
                *(part for part in opened if part.first <= last and part.end > first),
            ]
        finally:
            self._pinned.subtract(pinned)

    def matches(self, part: Part, query: Query, first: int, last: int) -> Steps[BitMap]:
        """Find what matches in a part from `first` to `last`, counted from its beginning."""
        assert part.source is not None
        within = part.within(first, last)

        def read(place: int) -> bytes:
            return self._rows.payload(part.first + place)

        return find(part.source, query, read, within)

    def work(self) -> bool:
        """Do a step of the work in the background; return False when there is none."""
        began, before = perf_counter(), self.end
        try:
            return self._work()
        finally:
            self._pace.note(max(0, self.end - before), perf_counter() - began)

    def _work(self) -> bool:
        if self._failing and self._open.bytes < self._open_bytes and self._index_more():
            return True
        if self._job is None:
            self._job = self._next_job()
            if self._job is None:
                before = self._is_caught_up
                # Once it is caught up there may be a job again: a merge.
                return self._index_more() or self._is_caught_up != before
        try:
            return self._step(self._job)
        except sqlite3.OperationalError as error:
            if not passes(error):
                raise
            self._abandon(error)
            return False

    def _step(self, job: Steps[None]) -> bool:
        if next(job, self) is self:
            self._job = None
            self._failing = self._is_caught_up = False
        return True

    def _abandon(self, error: sqlite3.OperationalError) -> None:
        """Roll back a failed job; an open end that was not sealed stays in memory."""
        if not self._failing:
            _log.warning("the index cannot be written to: %s", error)
        self._failing = True
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._job = None
        self._sealed = sealed_segments(self._connection, self._cache)
        self._dropped = dropped_segments(self._connection)

    def _index_more(self) -> bool:
        """Index some messages; return whether there were any."""
        # Its own time: on a busy machine few messages would be indexed of those that are read.
        until, most = thread_time() + _STEP_SECONDS, self._open_bytes
        rows = self._rows.after(self.end - 1, _INDEXED_PER_STEP)
        for row in rows:
            if row.position != self.end:  # the messages in between have been trimmed
                self._open = OpenEnd(row.position)
            self._open.add(row.record())
            if thread_time() > until or self._open.bytes >= most:
                break
        self._is_caught_up = not rows or (
            len(rows) < _INDEXED_PER_STEP and self.end > rows[-1].position
        )
        self._pace.log(self._path, self._missing, lambda: self.progress)
        return bool(rows)

    def _is_full(self) -> bool:
        """Tell whether the open end is to be sealed."""
        most = _BULK * SEALED_AT if self._is_far_behind else SEALED_AT
        count = len(self._open.index)
        return count >= most or (count > 0 and self._open.bytes >= self._open_bytes)

    @property
    def _open_bytes(self) -> float:
        """Bytes of memory that the open end may take."""
        return self._memory_bytes / (_OPEN_BULK_SHARE if self._is_far_behind else _OPEN_SHARE)

    @property
    def _is_far_behind(self) -> bool:
        return self._missing >= _BULK * SEALED_AT

    @property
    def _missing(self) -> int:
        """Number of messages that are not indexed."""
        return max(0, self._rows.last_position + 1 - self.end)

    def _next_job(self) -> Steps[None] | None:
        if self._sealed and self._sealed[0].end <= self._rows.first_position:
            return self._drop_oldest()
        if perf_counter() > self._looked_at + _LOOKED_SECONDS:
            self._looked_at = perf_counter()
            self._rows.refresh_changes()
        if self._rows.changed_upto > self._clean_upto:
            return self._clean()
        if self._sealing or self._is_full():
            return self._seal()
        unread = [id for id in self._dropped if not self._pinned[id]]
        if unread:
            return self._delete(unread[0])
        return self._next_merge() if self._is_caught_up else None

    def _next_merge(self) -> Steps[None] | None:
        for start in range(len(self._sealed) - _MERGED_AT_ONCE + 1):
            neighbours = self._sealed[start : start + _MERGED_AT_ONCE]
            if self._belong_together(neighbours):
                return self._merge(start, neighbours)
        return None

    def _drop_oldest(self) -> Steps[None]:
        oldest = self._sealed[0]
        self._connection.execute("BEGIN IMMEDIATE")
        yield
        segmentwriter.drop(self._connection, oldest)
        self._connection.execute("COMMIT")
        self._sealed.pop(0)
        self._dropped.append(oldest.id)

    def _delete(self, id: int) -> Steps[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        yield from segmentwriter.delete(self._connection, id)
        self._connection.execute("COMMIT")
        self._dropped.remove(id)

    def _seal(self) -> Steps[None]:
        """Write the open end as a segment, and begin a new one."""
        if not self._sealing:
            self._sealing, self._open = [self._open], OpenEnd(self._open.end)
        [end] = self._sealing
        self._connection.execute("BEGIN IMMEDIATE")
        id = yield from self._written(end)
        self._connection.execute("COMMIT")
        # Only after the commit: if it fails, the index in memory is the only one.
        self._sealed.append(Segment(self._connection, id, self._cache))
        self._sealing = []

    def _written(self, end: OpenEnd) -> Steps[int]:
        """Write an open end as a segment, within a transaction; return its id."""
        last_seq, index = self._rows.seq_at(end.end - 1), end.index
        origin = segmentwriter.Origin(end.first, end.times.tobytes(), last_seq)
        lists = chain(((KEY + key, found) for key, found in index.terms()), index.words())
        return (
            yield from segmentwriter.write(
                self._connection, origin, index.vocabulary(), lists, index.pieces()
            )
        )

    def _clean(self) -> Steps[None]:
        """Remove from the file what acts have changed: make the segments anew that have any of it.

        A segment that a call reads stays until the call has ended: then this is done again.
        """
        upto, before = self._rows.changed_upto, self._clean_upto
        void = [*self._rows.redacted_after(before), *self._rows.erased_after(before)]
        self._reopen([position for position, _ in void])
        for each in list(self._sealed):
            known = self._made_upto.get(each.id, 0)
            inside = [at for at, act in void if act > known and each.first <= at < each.end]
            if inside:
                yield from self._make_anew(each, sorted(inside), upto)
        if any(self._pinned[id] for id in self._dropped):
            return
        for id in list(self._dropped):
            yield from self._delete(id)
        if self._size <= _VACUUMED_BYTES:
            self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        note_clean(self._connection, upto)
        self._clean_upto = upto
        self._made_upto = {}
        self._rows.renew_stale(upto)

    @property
    def _size(self) -> int:
        """Bytes of the file."""
        [[pages]] = self._connection.execute("PRAGMA page_count")
        [[size]] = self._connection.execute("PRAGMA page_size")
        return int(pages) * int(size)

    def _reopen(self, void: list[int]) -> None:
        """Begin the open end anew if it has any of these positions."""
        first = min(one.first for one in (*self._sealing, self._open))
        if _any_between(void, first, self._open.end):
            self._open, self._sealing = OpenEnd(first), []

    def _make_anew(self, segment: Segment, void: list[int], upto: int) -> Steps[None]:
        """Replace a segment by one without what acts `upto` redacted, at the positions `void`."""
        changed = yield from self._changed(segment, void)
        self._connection.execute("BEGIN IMMEDIATE")
        id = yield from remake(self._connection, segment, changed)
        segmentwriter.drop(self._connection, segment)
        self._connection.execute("COMMIT")
        self._sealed[self._sealed.index(segment)] = Segment(self._connection, id, self._cache)
        self._dropped.append(segment.id)
        self._made_upto[id] = upto

    def _changed(self, segment: Segment, void: list[int]) -> Steps[Changed]:
        """Index messages of a segment as they are now; some may have been trimmed."""
        end, places = OpenEnd(0), list[int]()
        for start in range(0, len(void), _INDEXED_PER_STEP):
            for row in self._rows.at(void[start : start + _INDEXED_PER_STEP]):
                end.add(row.record())
                places.append(row.position - segment.first)
            yield
        positions = BitMap([position - segment.first for position in void])
        return Changed(positions, end.index, places)

    def _merge(self, start: int, neighbours: list[Segment]) -> Steps[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        memory = self._memory_bytes // _JOINED_SHARE
        id = yield from segmentwriter.merge(self._connection, neighbours, memory)
        for each in neighbours:
            segmentwriter.drop(self._connection, each)
        self._connection.execute("COMMIT")
        self._sealed[start : start + len(neighbours)] = [Segment(self._connection, id, self._cache)]
        self._dropped += [each.id for each in neighbours]

    def _belong_together(self, neighbours: list[Segment]) -> bool:
        """Tell whether segments are of one size, not too large, and without a gap between them."""
        # Two bits of the count: four of a tier make one of the next, so each message is merged only
        # a few times however long the log grows.
        tiers = {one.count.bit_length() // 2 for one in neighbours}
        size = sum(one.count for one in neighbours)
        characters = sum(one.characters for one in neighbours)
        dense = neighbours[-1].end - neighbours[0].first == size
        fits = characters <= self._memory_bytes // _VOCABULARY_SHARE
        return len(tiers) == 1 and size <= _LARGEST and dense and fits

    def _check(self) -> None:
        """Assert that the parts follow each other and that the file holds the sealed ones alone."""
        with self.reading(0, 1 << 62) as parts:
            assert all(one.end <= following.first for one, following in pairwise(parts))
        for each in self._sealed:
            each._check()
        for end in (*self._sealing, self._open):
            end.index._check()
            assert len(end.times) == len(end.index)
        if self._job is None:
            stored = self._connection.execute("SELECT DISTINCT segment FROM posting").fetchall()
            kept = {one.id for one in self._sealed}
            assert kept <= {id for [id] in stored} <= kept | set(self._dropped)
