"""The index over the messages on disk: sealed segments in a file of its own, and an open end.

The file stands beside the store (`PATH-index`) and can always be made again: when it does not fit
the store, or cannot be read, it is thrown away. New messages go into an index in memory, the open
end; when that is long enough it is sealed, and neighbours of a size are merged. That work is done
in steps, between two calls.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from array import array
from collections.abc import Generator
from contextlib import suppress
from typing import Protocol

from pyroaring import BitMap

from livelog.index.index import Index, Mentions
from livelog.index.query import Query
from livelog.index.terms import mentions
from livelog.index.text import Phrase
from livelog.store.database.connection import Connection, open_connection
from livelog.store.reader import segment
from livelog.store.reader.rows import Rows
from livelog.store.reader.segment import Segment
from livelog.wire.record import Record

_log = logging.getLogger(__name__)

FORMAT = 2
"""Of the file and of the terms in it: raised when either changes."""

SEALED_AT = 8192
"""Messages in the open end. They have to be indexed again after a start: a quarter of a second."""

_LOOKED_THROUGH = 1_000_000
"""All words of the open end: it is sealed before entering them would pay."""

_LOCK_SECONDS = 30
"""How long the reading process of a server that was killed may take to end."""

_MERGED_AT_ONCE = 4
_LARGEST = SEALED_AT * _MERGED_AT_ONCE**4
_INDEXED_PER_STEP = 200


class Part(Protocol):
    """A run of positions, those below `end`, whose messages are indexed together."""

    first: int

    @property
    def end(self) -> int:
        """The position behind it."""

    def find(self, query: Query, mentions: Mentions) -> BitMap:
        """What matches, counted from `first`; `mentions` takes a position of the whole log."""


class OpenEnd:
    """The newest part, in memory."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.index = Index(_LOOKED_THROUGH)
        self.times = array("q")

    @property
    def end(self) -> int:
        """The position behind it."""
        return self.first + len(self.index)

    def add(self, record: Record) -> None:
        """Index the message at `end`."""
        self.index.add(record)
        self.times.append(record.time)

    def find(self, query: Query, mentions: Mentions) -> BitMap:
        """What matches, counted from `first`."""
        steps = self.index.find(query, lambda place, phrase: mentions(self.first + place, phrase))
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                found: BitMap = stop.value
                return found


class Catalog:
    """All parts, from the oldest message that is kept to the newest that is indexed."""

    def __init__(self, path: str, rows: Rows, key: bytes) -> None:
        self._rows = rows
        self._connection, self._segments = _opened(path, rows, key)
        first = self._segments[-1].end if self._segments else rows.first_position
        self._open = OpenEnd(first)
        self._sealing: list[OpenEnd] = []
        self._job: Generator[None, None, None] | None = None
        self._failing = False

    def close(self) -> None:
        """Let go of the file; what was under way is done again another time."""
        self._connection.close()

    def cover(self, position: int) -> None:
        """Index everything up to this position."""
        while self._open.end <= position and (self.work() or self._index_more()):
            pass

    def parts(self, first: int, last: int) -> list[Part]:
        """The parts that have something from `first` to `last`, oldest first."""
        parts: list[Part] = [*self._segments, *self._sealing, self._open]
        return [part for part in parts if part.first <= last and part.end > first]

    def matches(self, part: Part, query: Query, first: int, last: int) -> BitMap:
        """What matches in a part from `first` to `last`, counted from its beginning."""
        found = part.find(query, self._mentions)
        found.remove_range(0, max(0, first - part.first))
        found.remove_range(max(0, last + 1 - part.first), part.end - part.first)
        return found

    def work(self) -> bool:
        """Do a step of what has to be done sometime; False when there is nothing to do."""
        if self._job is None:
            self._job = self._next_job()
            if self._job is None:
                return self._index_more()
        try:
            return self._step(self._job)
        except sqlite3.OperationalError as error:  # the disk is full, say
            self._abandon(error)
            return False

    def _step(self, job: Generator[None, None, None]) -> bool:
        if next(job, self) is self:
            self._job = None
            self._failing = False
        return True

    def _abandon(self, error: sqlite3.OperationalError) -> None:
        """Leave the file as it was; what is in memory stays there until another time."""
        if not self._failing:
            _log.warning("the index cannot be written to: %s", error)
        self._failing = True
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._job = None
        self._segments = _segments(self._connection)

    def _mentions(self, position: int, phrase: Phrase) -> bool:
        payload = self._rows.payload(position)
        return bool(payload) and mentions(payload, phrase)

    def _index_more(self) -> bool:
        rows = self._rows.after(self._open.end - 1, _INDEXED_PER_STEP)
        for row in rows:
            if row.position != self._open.end:  # what was in between has been given up
                self._open = OpenEnd(row.position)
            self._open.add(row.record())
        return bool(rows)

    def _next_job(self) -> Generator[None, None, None] | None:
        if self._segments and self._segments[0].end <= self._rows.first_position:
            return self._drop_oldest()
        if self._sealing or len(self._open.index) >= SEALED_AT:
            return self._seal()
        for start in range(len(self._segments) - _MERGED_AT_ONCE + 1):
            neighbours = self._segments[start : start + _MERGED_AT_ONCE]
            if _belong_together(neighbours):
                return self._merge(start, neighbours)
        return None

    def _drop_oldest(self) -> Generator[None, None, None]:
        oldest = self._segments.pop(0)
        self._connection.execute("BEGIN IMMEDIATE")
        yield from segment.delete(self._connection, oldest)
        self._connection.execute("COMMIT")

    def _seal(self) -> Generator[None, None, None]:
        """Turn the open end into a segment, and begin a new one."""
        if not self._sealing:
            self._sealing, self._open = [self._open], OpenEnd(self._open.end)
        [end] = self._sealing
        origin = segment.Origin(end.first, end.times.tobytes(), self._rows.seq_at(end.end - 1))
        self._connection.execute("BEGIN IMMEDIATE")
        sealed = yield from segment.write(
            self._connection, origin, end.index.vocabulary(), end.index.postings()
        )
        self._connection.execute("COMMIT")
        # Not before: if that fails, what is in memory is all there is.
        self._segments.append(sealed)
        self._sealing = []

    def _merge(self, start: int, neighbours: list[Segment]) -> Generator[None, None, None]:
        self._connection.execute("BEGIN IMMEDIATE")
        merged = yield from segment.merge(self._connection, neighbours)
        self._segments[start : start + len(neighbours)] = [merged]
        for each in neighbours:
            yield from segment.delete(self._connection, each)
        self._connection.execute("COMMIT")


def _belong_together(neighbours: list[Segment]) -> bool:
    """Whether they are of a size, may grow, and follow each other without a hole."""
    tiers = {(one.count // SEALED_AT).bit_length() // 2 for one in neighbours}
    size = sum(one.count for one in neighbours)
    dense = neighbours[-1].end - neighbours[0].first == size
    return len(tiers) == 1 and size <= _LARGEST and dense


def _opened(path: str, rows: Rows, key: bytes) -> tuple[Connection, list[Segment]]:
    """The index file, made again if it does not fit the store or cannot be read."""
    for _ in range(2):
        try:
            connection = _connect(path, rows.name, key)
            segments = _segments(connection)
            if all(_fits(each, rows) for each in segments):
                return connection, segments
            issue = "does not fit the store"
            connection.close()
        except sqlite3.OperationalError as error:  # locked, or no room: it may be good
            _log.warning("the index %s cannot be used now: %s", path, error)
            break
        except sqlite3.DatabaseError as error:
            issue = str(error)
        _log.warning("the index %s is made again: %s", path, issue)
        remove(path)
    _log.warning("the index is kept in memory")
    return _connect(":memory:", rows.name, b""), []


def _segments(connection: Connection) -> list[Segment]:
    ids = connection.execute("SELECT id FROM segment ORDER BY first").fetchall()
    return [Segment(connection, id) for [id] in ids]


def _connect(path: str, name: str, key: bytes) -> Connection:
    connection = open_connection(path, key, _LOCK_SECONDS)
    # One process at a time; one that is about to end is waited for.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE IF NOT EXISTS owner(name TEXT, format INTEGER) STRICT")
    owner = connection.execute("SELECT name, format FROM owner").fetchone()
    if owner is None:
        connection.executescript(segment.SCHEMA)
        connection.execute("INSERT INTO owner VALUES (?, ?)", (name, FORMAT))
    elif owner != (name, FORMAT):
        connection.close()
        raise sqlite3.DatabaseError("it belongs to another log or version")
    return connection


def _fits(each: Segment, rows: Rows) -> bool:
    """Whether the store has, at its end, what the segment was made of."""
    return rows.seq_at(each.end - 1) == each.last_seq or each.end <= rows.first_position


def remove(path: str) -> None:
    """Throw the index away."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)
