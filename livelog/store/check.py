"""The check of a store: everything in its files is read, and held against all that must be true.

It only reads, beside a running server or without one. A store that no server uses is left as it was
found, its write-ahead log included, so that what is damaged can still be looked at.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import NamedTuple

from livelog.errors import ConfigError
from livelog.store.age import notes
from livelog.store.database.acts import damaged_acts
from livelog.store.database.checksums import (
    COLUMNS,
    COLUMNS_OF_FORMAT_1,
    StoredRow,
    renew_snapshot,
    stored_rows,
)
from livelog.store.database.connection import Connection, open_connection
from livelog.store.database.file import VERSION, WITH_ACTS, index_path, refuse_unusable
from livelog.store.database.lock import in_use
from livelog.store.database.state import State, read_state
from livelog.store.database.wal import find_fault

_ROWS_AT_ONCE = 500
_BUSY_SECONDS = 5.0
_ERRORS = (sqlite3.Error, UnicodeDecodeError)


class _Run(NamedTuple):
    """Neighbouring messages with the same fault."""

    issue: str
    first: int
    last: int
    behind: int
    """Seq of the last intact message before them."""

    def __str__(self) -> str:
        which = f"position {self.first}"
        if self.last > self.first:
            which = f"positions {self.first} to {self.last}"
        return f"{which}, behind seq {self.behind}: {self.issue}"


class Check:
    """A check of the store at `path`; raises `ConfigError` when it is no store or has another key.

    `findings` has to be read to its end before the counts are complete.
    """

    def __init__(self, path: str, key: bytes = b"") -> None:
        self._path = os.path.realpath(path)
        self._key = key
        self.messages = 0
        """Messages that have been checked."""
        self.unchecked = 0
        """Those of them without a checksum, which were written in format 1."""
        self.notes: list[str] = []
        """Parts that could not be checked now, and why."""
        if not os.path.isfile(self._path) or not os.path.getsize(self._path):
            raise ConfigError(f"{path}: there is no such store")
        if not os.access(self._path, os.R_OK):
            raise ConfigError(f"{path}: must not be read by this user")

    def findings(self) -> Iterator[str]:
        """Check everything, and yield each damage with its place."""
        with in_use(self._path) as used:
            before = {name: os.path.exists(name) for name in self._beside()}
            refuse_unusable(self._path, self._key)
            if used:
                self.notes.append("the write-ahead log is in use, and checked as it is read")
            else:
                yield from self._wal()
            try:
                with closing(self._connect(self._path)) as connection:
                    yield from self._database(connection)
            except _ERRORS as error:
                yield f"the database cannot be read: {error}"
            yield from self._index(used=used)
            if not used:
                for name in self._beside():
                    if not before[name]:  # made by reading
                        with suppress(OSError):
                            os.unlink(name)

    def _beside(self) -> list[str]:
        names = (self._path, index_path(self._path))
        return [name + suffix for name in names for suffix in ("-wal", "-shm")]

    def _connect(self, path: str) -> Connection:
        return open_connection(path, self._key, _BUSY_SECONDS, read_only=True)

    def _wal(self) -> Iterator[str]:
        fault = find_fault(f"{self._path}-wal")
        if fault is not None:
            yield str(fault)

    def _database(self, connection: Connection) -> Iterator[str]:
        try:
            [[version]] = connection.execute("PRAGMA user_version")
        except sqlite3.OperationalError as error:  # it may be whole
            raise ConfigError(f"{self._path}: cannot be read: {error}") from None
        yield from _integrity(connection, "the database")
        if version not in range(1, VERSION + 1):
            yield f"it has format {version}, this livelog knows 1 to {VERSION}"
            return
        try:
            state = read_state(connection) if version > 1 else _state_of_format_1(connection)
        except _ERRORS as error:
            yield str(error)
            return
        columns = COLUMNS if version > 1 else COLUMNS_OF_FORMAT_1
        yield from map(str, _merged(self._messages(connection, state, columns)))
        if version > 1:
            yield from _arrivals(connection)
        if version >= WITH_ACTS:
            yield from _acts(connection)

    def _messages(self, connection: Connection, state: State, columns: str) -> Iterator[_Run]:
        """Yield each damaged or missing message."""
        [[last]] = connection.execute("SELECT coalesce(max(position), 0) FROM message")
        seq = min(state.began, state.trimmed_upto)
        for first in range(state.deleted_upto + 1, last + 1, _ROWS_AT_ONCE):
            positions = range(first, min(first + _ROWS_AT_ONCE, last + 1))
            rows = stored_rows(connection, positions, columns)
            if len(rows) < len(positions):
                gone = self._deleted_upto(connection, state)
                positions = range(max(first, gone + 1), positions.stop)
            for position in positions:
                issue = self._issue(rows.get(position), seq, state.unchecked_upto)
                if issue:
                    yield _Run(issue, position, position, seq)
                else:
                    seq = rows[position].seq or seq

    def _deleted_upto(self, connection: Connection, state: State) -> int:
        """Return what a running server has deleted meanwhile."""
        renew_snapshot(connection)
        with suppress(*_ERRORS):
            return read_state(connection).deleted_upto
        return state.deleted_upto

    def _issue(self, row: StoredRow | None, before: int, unchecked_upto: int) -> str:
        self.messages += row is None or not row.is_gap
        if row is None:
            return "it is missing or on a damaged page"
        if not row.intact(unchecked_upto):
            return "it does not fit its checksum" if row.checksum else "it has no checksum"
        self.unchecked += row.checksum is None
        if not (row.is_gap or row.plausible()):
            return "its JSON does not have the seq and the id of the row"
        if (row.seq or 0) <= before:
            return f"its seq {row.seq} is not above the one before"
        return ""

    def _index(self, *, used: bool) -> Iterator[str]:
        path = index_path(self._path)
        if used:
            self.notes.append("the index is in use, and checked by its server")
        elif os.path.exists(path):
            try:
                with closing(self._connect(path)) as connection:
                    yield from _integrity(connection, "the index, which can be made again,")
            except _ERRORS as error:
                yield f"the index, which can be made again, cannot be read: {error}"


def _integrity(connection: Connection, what: str) -> Iterator[str]:
    """Have SQLite check pages, trees, and that tables and their indexes agree."""
    try:
        for [issue] in connection.execute("PRAGMA integrity_check").fetchall():
            for line in issue.splitlines():
                if line != "ok":
                    yield f"{what} is damaged: {line}"
    except _ERRORS as error:
        yield f"{what} is damaged: {error}"


def _arrivals(connection: Connection) -> Iterator[str]:
    """Check the times by which retention goes."""
    try:
        damaged = sum(not note.intact() for note in notes(connection))
    except _ERRORS as error:
        yield f"the times of arrival cannot be read: {error}"
        return
    if damaged:
        yield f"{damaged} times of arrival do not fit their checksum; they are passed over"


def _acts(connection: Connection) -> Iterator[str]:
    """Check what moderators have done."""
    try:
        for seq in damaged_acts(connection):
            act = f"the act of a moderator at seq {seq}"
            yield f"{act} does not fit its checksum; it is passed over"
    except _ERRORS as error:
        yield f"the acts of moderators cannot be read: {error}"


def _state_of_format_1(connection: Connection) -> State:
    [[name, began, trimmed_upto]] = connection.execute("SELECT name, began, trimmed_upto FROM log")
    [[first, last]] = connection.execute(
        "SELECT coalesce(min(position), 1), coalesce(max(position), 0) FROM message"
    )
    return State(name, began, trimmed_upto, first - 1, last, last, 0)


def _merged(runs: Iterator[_Run]) -> Iterator[_Run]:
    """Join the runs of neighbours with the same fault."""
    joined: _Run | None = None
    for run in runs:
        if joined and (run.issue, run.first, run.behind) == (
            joined.issue,
            joined.last + 1,
            joined.behind,
        ):
            joined = joined._replace(last=run.last)
            continue
        if joined:
            yield joined
        joined = run
    if joined:
        yield joined
