"""Backup of a store while its server runs, and the way back.

A backup copies the messages by position, in short read transactions: between two of them the server
can write back and empty its write-ahead log, so that grows no further than usual. Messages are
deleted at the old end only, and those that acts change meanwhile are copied again; so the copy is
the log as it was at the last message copied. It is encrypted as the store is, and every message is
held against its checksum on the way.

What was acknowledged after the backup is lost when it is restored. A restored store has a *gap*
behind its last message: a row that is no message, at a seq above all that were given out by then.
Clients that resume from behind the backup, or pass the gap, are told of it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

from livelog.errors import ConfigError
from livelog.store.age import notes
from livelog.store.database.acts import last_act
from livelog.store.database.checksums import StoredRow, checksum, stored_rows
from livelog.store.database.connection import Connection, create_private
from livelog.store.database.erasure import blank, erased_positions, write_over
from livelog.store.database.file import (
    APPLICATION_ID,
    VERSION,
    add_gap,
    connect,
    index_path,
    open_file,
    refuse_damaged_wal,
)
from livelog.store.database.lock import in_use
from livelog.store.database.redaction import redacted_positions
from livelog.store.database.state import read_state, write_state
from livelog.wire.seqclock import LATEST_BEGIN

_COPIED_AT_ONCE = 500
"""Messages in one transaction: some milliseconds, and at most 32 MiB."""

_SUFFIX = "-partial"
_INSERT = """
    INSERT OR IGNORE INTO message(position, seq, id, payload, checksum)
    VALUES (?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?)
"""
_LAST_POSITION = "SELECT coalesce(max(position), 0) FROM message"
_NOT_COPIED = f"DELETE FROM {{}} WHERE position > ({_LAST_POSITION})"


class Copied(NamedTuple):
    """Contents of a backup or a restored store."""

    messages: int
    last_seq: int
    damaged: int = 0
    """Messages that are damaged in the store, and in the backup as well."""


def back_up(path: str, target: str, key: bytes) -> Copied:
    """Copy the store at `path`, which a server may be using, to the new file `target`.

    Raises `ConfigError` when the store cannot be read or `target` cannot be written or exists.
    """
    path = os.path.realpath(path)
    if not os.path.isfile(path):
        raise ConfigError(f"{path}: there is no store")
    with in_use(path) as used:
        if not used:  # to open it, and to close it again, is to drop what is damaged
            refuse_damaged_wal(path)
    with _written(target) as partial, closing(_source(path, key)) as source:
        connection, _ = open_file(partial, key)
        with closing(connection):
            connection.execute("PRAGMA synchronous = OFF")  # synced once, at the end
            known = last_act(source)
            damaged = _copy(source, connection)
            return _finish(source, connection, damaged, known)


def restore(backup: str, path: str, key: bytes, now: float) -> Copied:
    """Make a store at `path` of a backup, with a gap behind it; `now` is Unix time in seconds.

    Raises `ConfigError` when the backup cannot be read, or there is something at `path`.
    """
    if not os.path.isfile(backup) or not os.path.getsize(backup):
        raise ConfigError(f"{backup}: there is no backup")
    if os.path.exists(f"{backup}-wal"):
        raise ConfigError(f"{backup}: is in use, or the copy of a store in use, and not a backup")
    if os.path.exists(f"{path}-wal"):
        raise ConfigError(f"{path}-wal: exists; move it away with its store first")
    with _written(path) as partial:
        create_private(partial)
        shutil.copyfile(backup, partial)
        connection, contents = open_file(partial, key)
        with closing(connection):
            seq = max(min(int(now * 1_000_000), LATEST_BEGIN), contents.last_seq + 1)
            add_gap(connection, contents, seq)
            return Copied(_count(connection), contents.last_seq)


def left_over(target: str) -> list[str]:
    """Return unfinished copies beside `target` that no command is writing any more.

    One that was killed has left them; they are known by their header, unless they are encrypted.
    """
    folder = os.path.dirname(os.path.abspath(target))
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return [path for path in paths if path.endswith(_SUFFIX) and _is_left_over(path)]


def _is_left_over(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            if file.read(72)[68:] != APPLICATION_ID.to_bytes(4):
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # in use, gone, or not ours
        return False
    return True


@contextmanager
def _written(target: str) -> Iterator[str]:
    """Yield the path of a file to write; give it the name `target` when it is safe on disk."""
    partial = f"{target}{_SUFFIX}"
    try:
        _refuse_existing(target)
        with _claimed(partial):
            yield partial
            _sync(partial)
            _refuse_existing(target)  # it may have come meanwhile
            os.rename(partial, target)
        _sync(os.path.dirname(os.path.abspath(target)))
        _discard(index_path(target))  # that of a store that was here before
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise ConfigError(f"{target}: cannot be made: {error}") from None


def _refuse_existing(target: str) -> None:
    if os.path.lexists(target):
        raise ConfigError(f"{target}: exists; name a file that does not")


@contextmanager
def _claimed(partial: str) -> Iterator[None]:
    """Create the file for this process alone, without what a killed one has left in it.

    It is removed at the end, unless it has another name by then.
    """
    descriptor = _locked(partial)
    try:
        os.ftruncate(descriptor, 0)
        _discard_beside(partial)
        yield
    finally:
        if _names(partial, descriptor):
            _discard(partial)
        os.close(descriptor)


def _locked(partial: str) -> int:
    create_private(partial)
    descriptor = os.open(partial, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _names(partial, descriptor):
            return descriptor
    except BlockingIOError:
        pass  # as when another command has renamed it meanwhile
    os.close(descriptor)
    raise ConfigError(f"{partial}: another command is writing it; try again when it has ended")


def _names(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _source(path: str, key: bytes) -> Connection:
    connection = connect(path, key)
    try:
        connection.execute("PRAGMA query_only = 1")
        [[version]] = connection.execute("PRAGMA user_version")
        if version not in (0, VERSION):
            issue = f"has format {version}, and only {VERSION} can be copied"
            raise ConfigError(
                f"{path}: {issue}; a server of this version brings an older one there"
            )
        read_state(connection)
    except ConfigError:
        connection.close()
        raise
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"{path}: is no store, or has another key: {error}") from None
    return connection


def _copy(source: Connection, target: Connection) -> int:
    """Copy what the store has now; return the number of damaged messages."""
    [[last]] = source.execute(_LAST_POSITION)
    position = read_state(source).deleted_upto
    damaged = 0
    while position < last:
        span = range(position + 1, min(position + _COPIED_AT_ONCE, last) + 1)
        rows = _read(source, span)
        target.execute("BEGIN")
        target.executemany(_INSERT, rows)
        target.execute("COMMIT")
        whole = {row.position for row in rows if row.intact(0)}
        deleted_upto = read_state(source).deleted_upto  # what was deleted is not damaged
        damaged += sum(at > deleted_upto and at not in whole for at in span)
        position = span[-1]
    return damaged


def _read(source: Connection, span: range) -> list[StoredRow]:
    """Read rows in one snapshot; those of format 1 get the checksum that they lack."""
    source.execute("BEGIN")
    try:
        unchecked_upto = read_state(source).unchecked_upto
        rows = stored_rows(source, span).values()
    finally:
        source.execute("COMMIT")
    return [_checked(row) if row.intact(unchecked_upto) else row for row in rows]


def _checked(row: StoredRow) -> StoredRow:
    crc = checksum(row.position, row.seq or 0, row.id or b"", row.payload or b"")
    return row._replace(checksum=crc)


def _finish(source: Connection, target: Connection, damaged: int, known: int) -> Copied:
    """Write the state; delete and change what the store has deleted and changed meanwhile.

    `known` is the seq of the newest act when the copy began.
    """
    source.execute("BEGIN")  # acts and what they redacted are of one moment
    try:
        state = read_state(source)
        target.execute("BEGIN")
        target.execute("DELETE FROM message WHERE position <= ?", (state.deleted_upto,))
        write_state(target, state._replace(unchecked_upto=0))
        target.executemany("INSERT INTO arrival VALUES (?, ?, ?)", [*notes(source)])
        for table, marks in (("act", "?, ?, ?, ?"), ("redacted", "?, ?"), ("erased", "?, ?")):
            rows = source.execute(f"SELECT * FROM {table}")
            target.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        for table in ("redacted", "erased"):
            target.execute(_NOT_COPIED.format(table))
        _copy_changed(source, target, known)
        target.execute("COMMIT")
    finally:
        source.execute("COMMIT")
    target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    [[last_seq]] = target.execute("SELECT coalesce(max(seq), 0) FROM message")
    return Copied(_count(target), last_seq, damaged)


def _copy_changed(source: Connection, target: Connection, known: int) -> None:
    """Copy again what acts above the seq `known` have changed, of the messages that are there."""
    found = [*redacted_positions(source, known), *erased_positions(source, known)]
    changed = sorted({position for position, _ in found})
    several = [changed[at : at + _COPIED_AT_ONCE] for at in range(0, len(changed), _COPIED_AT_ONCE)]
    for some in several:
        blank(target, some)
    for some in several:
        rows = stored_rows(source, some).values()
        write_over(target, [(row.position, row.payload or b"", row.checksum) for row in rows])


def _count(connection: Connection) -> int:
    [[count]] = connection.execute(
        "SELECT count(*) - (SELECT count(*) FROM message WHERE id = '' AND payload = '')"
        " FROM message"
    )
    return int(count)


def _discard(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
    _discard_beside(path)


def _discard_beside(path: str) -> None:
    for suffix in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
