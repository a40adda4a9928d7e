"""The index of the messages on disk: sealed segments in a file of its own, and an open end.

The file stands beside the store (`PATH-index`) and can always be made again: when it does not fit
the store, or cannot be read, it is deleted. New messages go into an index in memory, the open end;
when it is long enough it is sealed, that is, written to the file as a segment, and neighbours of
about one size are merged. This work is done in steps, between two calls.

One job is under way at a time: drop the oldest segment, seal or merge. Each is one transaction, so
that a process that is killed leaves the file as it was before.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from array import array
from collections.abc import Generator
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

from pyroaring import BitMap

from livelog.index.folding import UNICODE
from livelog.index.index import Index
from livelog.index.plan import Source, find, finish
from livelog.index.query import Query
from livelog.index.terms import mentions
from livelog.index.text import Phrase
from livelog.store.database.connection import Connection, open_connection
from livelog.store.reader import segment
from livelog.store.reader.rows import Rows
from livelog.store.reader.segment import Segment
from livelog.wire.record import Record

_log = logging.getLogger(__name__)

FORMAT = 3_000 + UNICODE
"""Version of the file and of the terms in it: raised when either changes.

Terms depend on the version of Unicode that Python has, too.
"""

SEALED_AT = 8192
"""Messages in the open end; to index them again after a start takes a quarter of a second."""

_MAX_QUEUED = 1_000_000
"""All words of the open end stay queued: it is sealed before n-grams would pay."""

_LOCK_SECONDS = 30
"""Seconds that the reading process of a server that was killed may take to end."""

_MERGED_AT_ONCE = 4
_LARGEST = SEALED_AT * _MERGED_AT_ONCE**4
_INDEXED_PER_STEP = 200


class Part(NamedTuple):
    """A run of positions, from `first` up to, not including, `end`, that is indexed together."""

    first: int
    end: int
    source: Source
    """The index of its messages; positions in it count from 0."""


class OpenEnd:
    """The newest part, in memory."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.index = Index(_MAX_QUEUED)
        self.times = array("q")

    @property
    def end(self) -> int:
        """Position behind the last message."""
        return self.first + len(self.index)

    def add(self, record: Record) -> None:
        """Index the message at `end`."""
        self.index.add(record)
        self.times.append(record.time)


class Segments:
    """Parts of the index, from the oldest message that is kept to the newest that is indexed."""

    def __init__(self, path: str, rows: Rows, key: bytes) -> None:
        self._rows = rows
        self._connection, self._sealed = _opened(path, rows, key)
        first = self._sealed[-1].end if self._sealed else rows.first_position
        self._open = OpenEnd(first)
        self._sealing: list[OpenEnd] = []
        self._job: Generator[None, None, None] | None = None
        self._failing = False

    def close(self) -> None:
        """Close the file; an unfinished job is rolled back and done again by the next process."""
        self._connection.close()

    def cover(self, position: int) -> None:
        """Index all messages up to this position."""
        while self._open.end <= position and (self.work() or self._index_more()):
            pass

    def parts(self, first: int, last: int) -> list[Part]:
        """Return the parts that have messages from `first` to `last`, oldest first."""
        sealed = [Part(one.first, one.end, one) for one in self._sealed]
        opened = [Part(one.first, one.end, one.index) for one in (*self._sealing, self._open)]
        return [part for part in sealed + opened if part.first <= last and part.end > first]

    def matches(self, part: Part, query: Query, first: int, last: int) -> BitMap:
        """Find what matches in a part from `first` to `last`, counted from its beginning."""
        within = range(max(0, first - part.first), max(0, last + 1 - part.first))

        def mentioned(place: int, phrase: Phrase) -> bool:
            payload = self._rows.payload(part.first + place)
            return bool(payload) and mentions(payload, phrase)

        return finish(find(part.source, query, mentioned, within))

    def work(self) -> bool:
        """Do a step of the work in the background; return False when there is none."""
        if self._job is None:
            self._job = self._next_job()
            if self._job is None:
                return self._index_more()
        try:
            return self._step(self._job)
        except sqlite3.OperationalError as error:  # the disk is full, for one
            self._abandon(error)
            return False

    def _step(self, job: Generator[None, None, None]) -> bool:
        if next(job, self) is self:
            self._job = None
            self._failing = False
        return True

    def _abandon(self, error: sqlite3.OperationalError) -> None:
        """Roll back a failed job; an open end that was not sealed stays in memory."""
        if not self._failing:
            _log.warning("the index cannot be written to: %s", error)
        self._failing = True
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._job = None
        self._sealed = _segments(self._connection)

    def _index_more(self) -> bool:
        rows = self._rows.after(self._open.end - 1, _INDEXED_PER_STEP)
        for row in rows:
            if row.position != self._open.end:  # the messages in between have been trimmed
                self._open = OpenEnd(row.position)
            self._open.add(row.record())
        return bool(rows)

    def _next_job(self) -> Generator[None, None, None] | None:
        if self._sealed and self._sealed[0].end <= self._rows.first_position:
            return self._drop_oldest()
        if self._sealing or len(self._open.index) >= SEALED_AT:
            return self._seal()
        for start in range(len(self._sealed) - _MERGED_AT_ONCE + 1):
            neighbours = self._sealed[start : start + _MERGED_AT_ONCE]
            if _belong_together(neighbours):
                return self._merge(start, neighbours)
        return None

    def _drop_oldest(self) -> Generator[None, None, None]:
        oldest = self._sealed.pop(0)
        self._connection.execute("BEGIN IMMEDIATE")
        yield from segment.delete(self._connection, oldest)
        self._connection.execute("COMMIT")

    def _seal(self) -> Generator[None, None, None]:
        """Write the open end as a segment, and begin a new one."""
        if not self._sealing:
            self._sealing, self._open = [self._open], OpenEnd(self._open.end)
        [end] = self._sealing
        origin = segment.Origin(end.first, end.times.tobytes(), self._rows.seq_at(end.end - 1))
        self._connection.execute("BEGIN IMMEDIATE")
        sealed = yield from segment.write(
            self._connection, origin, end.index.vocabulary(), end.index.postings()
        )
        self._connection.execute("COMMIT")
        # Only after the commit: if it fails, the index in memory is the only one.
        self._sealed.append(sealed)
        self._sealing = []

    def _merge(self, start: int, neighbours: list[Segment]) -> Generator[None, None, None]:
        self._connection.execute("BEGIN IMMEDIATE")
        merged = yield from segment.merge(self._connection, neighbours)
        self._sealed[start : start + len(neighbours)] = [merged]
        for each in neighbours:
            yield from segment.delete(self._connection, each)
        self._connection.execute("COMMIT")

    def _check(self) -> None:
        """Assert that the parts follow each other and that the file holds the sealed ones alone."""
        parts = self.parts(0, 1 << 62)
        assert all(one.end <= following.first for one, following in pairwise(parts))
        for each in self._sealed:
            each._check()
        for end in (*self._sealing, self._open):
            end.index._check()
            assert len(end.times) == len(end.index)
        if self._job is None:
            stored = self._connection.execute("SELECT DISTINCT segment FROM posting").fetchall()
            assert sorted(id for [id] in stored) == sorted(one.id for one in self._sealed)


def _belong_together(neighbours: list[Segment]) -> bool:
    """Tell whether segments are of one size, not too large, and without a gap between them."""
    # Two bits of the count: four of a tier make one of the next, so each message is merged only a
    # few times however long the log grows.
    tiers = {(one.count // SEALED_AT).bit_length() // 2 for one in neighbours}
    size = sum(one.count for one in neighbours)
    dense = neighbours[-1].end - neighbours[0].first == size
    return len(tiers) == 1 and size <= _LARGEST and dense


def _opened(path: str, rows: Rows, key: bytes) -> tuple[Connection, list[Segment]]:
    """Open the index file; make it again if it does not fit the store or cannot be read."""
    for _ in range(2):
        try:
            return _read(_connect(path, rows.name, key), rows)
        except sqlite3.OperationalError as error:  # locked, or no room: it may be good
            _log.warning("the index %s cannot be used now: %s", path, error)
            break
        except sqlite3.DatabaseError as error:
            _log.warning("the index %s is made again: %s", path, error)
        remove(path)
    _log.warning("the index is kept in memory")
    return _connect(":memory:", rows.name, b""), []


def _read(connection: Connection, rows: Rows) -> tuple[Connection, list[Segment]]:
    """Return the connection with its segments, or close it and raise `sqlite3.DatabaseError`."""
    try:
        segments = _segments(connection)
        if not all(_fits(each, rows) for each in segments):
            raise sqlite3.DatabaseError("does not fit the store")
    except BaseException:
        connection.close()
        raise
    return connection, segments


def _segments(connection: Connection) -> list[Segment]:
    ids = connection.execute("SELECT id FROM segment ORDER BY first").fetchall()
    return [Segment(connection, id) for [id] in ids]


def _connect(path: str, name: str, key: bytes) -> Connection:
    connection = open_connection(path, key, _LOCK_SECONDS)
    try:
        _prepare(connection, name)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: Connection, name: str) -> None:
    # One process at a time; if the one before is about to end, wait for it.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE IF NOT EXISTS owner(name TEXT, format INTEGER) STRICT")
    owner = connection.execute("SELECT name, format FROM owner").fetchone()
    if owner is None:
        connection.executescript(segment.SCHEMA)
        connection.execute("INSERT INTO owner VALUES (?, ?)", (name, FORMAT))
    elif owner != (name, FORMAT):
        raise sqlite3.DatabaseError("it belongs to another log or version")


def _fits(each: Segment, rows: Rows) -> bool:
    """Tell whether the store still has, at its end, the messages the segment was made of."""
    return rows.seq_at(each.end - 1) == each.last_seq or each.end <= rows.first_position


def remove(path: str) -> None:
    """Delete the index file."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)
