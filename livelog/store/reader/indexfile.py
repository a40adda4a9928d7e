"""The file of the index on disk: opened, held against its store, and made again when it is no good.

It belongs to one log and one version of this module. A file that is damaged, or does not fit the
store, is deleted; one that only cannot be used now is left alone, and the index kept in memory.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from itertools import pairwise

from livelog.index.folding import UNICODE
from livelog.store.database.connection import Connection, open_connection
from livelog.store.reader import segment
from livelog.store.reader.cache import Cache
from livelog.store.reader.rows import Rows
from livelog.store.reader.segment import Segment

_log = logging.getLogger(__name__)

FORMAT = 5_000 + UNICODE
"""Version of the file and of the terms in it: raised when either changes.

Terms depend on the version of Unicode that Python has, too.
"""

_LOCK_SECONDS = 30
"""Seconds that the reading process of a server that was killed may take to end."""

DAMAGES = (sqlite3.Error, UnicodeDecodeError)
"""Errors of a file that is damaged, or that cannot be used now: see `passes`. Some of SQLite's own
messages about damage cannot be decoded."""


def open_index(path: str, rows: Rows, key: bytes, cache: Cache) -> tuple[Connection, list[Segment]]:
    """Open the index file; make it again if it does not fit the store or cannot be read."""
    for _ in range(2):
        try:
            return _read(_connect(path, rows.name, key), rows, cache)
        except DAMAGES as error:
            if passes(error):
                _log.warning("the index %s cannot be used now: %s", path, error)
                break
            _log.warning("the index %s is made again: %s", path, error)
        remove(path)
    _log.warning("the index is kept in memory")
    return _connect(":memory:", rows.name, b""), []


def _read(connection: Connection, rows: Rows, cache: Cache) -> tuple[Connection, list[Segment]]:
    """Return the connection with its segments, or close it and raise `sqlite3.DatabaseError`."""
    try:
        segments = sealed_segments(connection, cache)
        if not (all(_fits(each, rows) for each in segments) and _are_complete(segments, rows)):
            raise sqlite3.DatabaseError("does not fit the store")
    except BaseException:
        connection.close()
        raise
    return connection, segments


def sealed_segments(connection: Connection, cache: Cache) -> list[Segment]:
    """Return the segments that are whole, oldest first."""
    ids = connection.execute("SELECT id FROM segment WHERE dropped = 0 ORDER BY first").fetchall()
    return [Segment(connection, id, cache) for [id] in ids]


def dropped_segments(connection: Connection) -> list[int]:
    """Return the ids of segments that are to be deleted."""
    ids = connection.execute("SELECT id FROM segment WHERE dropped <> 0").fetchall()
    return [id for [id] in ids]


def clean_upto(connection: Connection) -> int:
    """Return the seq of the newest act of whose redactions nothing is left; 0 at first."""
    [[act]] = connection.execute("SELECT coalesce(max(act), 0) FROM clean")
    return int(act)


def note_clean(connection: Connection, upto: int) -> None:
    """Note that nothing is left of what acts up to a seq have redacted."""
    connection.execute("INSERT INTO clean VALUES (?)", (upto,))
    connection.execute("DELETE FROM clean WHERE act < ?", (upto,))


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
    connection.execute("PRAGMA secure_delete = 1")
    connection.execute("CREATE TABLE IF NOT EXISTS clean(act INTEGER NOT NULL) STRICT")
    connection.execute("CREATE TABLE IF NOT EXISTS owner(name TEXT, format INTEGER) STRICT")
    owner = connection.execute("SELECT name, format FROM owner").fetchone()
    if owner is None:
        connection.executescript(segment.SCHEMA)
        connection.execute("INSERT INTO owner VALUES (?, ?)", (name, FORMAT))
    elif owner != (name, FORMAT):
        raise sqlite3.DatabaseError("it belongs to another log or version")


def passes(error: Exception) -> bool:
    """Tell whether an error may be over soon, as with a locked file or a full disk."""
    if not isinstance(error, sqlite3.OperationalError):
        return False
    # Where the tables themselves are damaged, statements are wrong.
    return getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR


def _fits(each: Segment, rows: Rows) -> bool:
    """Tell whether the store still has, at its end, the messages the segment was made of."""
    return rows.seq_at(each.end - 1) == each.last_seq or each.end <= rows.first_position


def _are_complete(segments: list[Segment], rows: Rows) -> bool:
    """Tell whether no message is missing before or between the segments, but for trimmed ones."""
    ends = [rows.first_position, *(max(one.end, rows.first_position) for one in segments)]
    return all(end >= one.first for end, one in zip(ends, segments, strict=False)) and all(
        one.end <= following.first for one, following in pairwise(segments)
    )


def remove(path: str) -> None:
    """Delete the index file."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)
