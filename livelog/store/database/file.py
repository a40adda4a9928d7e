"""The database file: its checks at the start, its tables and their migration.

The tables have a version: older ones are migrated by the steps in `_MIGRATIONS`; a newer
version, another program's database and a damaged file are refused with the reason and not changed.
Damage that the start cannot see is found when the rows are read: see `checksums`.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sqlite3
import stat
import time
from typing import NamedTuple

from livelog.errors import ConfigError
from livelog.store.database.acts import last_act
from livelog.store.database.checksums import COLUMNS, StoredRow, checksum
from livelog.store.database.connection import (
    MAGIC,
    Connection,
    ciphering,
    create_private,
    open_connection,
)
from livelog.store.database.state import State, read_state, write_state
from livelog.store.database.uri import sealed
from livelog.store.database.wal import WalFault, find_fault
from livelog.wire.record import UNKNOWN, Origin

_log = logging.getLogger(__name__)

APPLICATION_ID = 0x6C6C6F67  # "llog", in the header of every livelog database

# The step at index N migrates from version N to N + 1. Positions are dense, so that counting is a
# subtraction; `seq` is the message's place in the log, which is not dense.
_MIGRATIONS = (
    """
    CREATE TABLE message(
        position INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL UNIQUE,
        id TEXT NOT NULL,
        payload TEXT NOT NULL
    ) STRICT;
    CREATE INDEX message_by_id ON message(id);
    CREATE TABLE log(
        name TEXT NOT NULL,
        began INTEGER NOT NULL,
        trimmed_upto INTEGER NOT NULL
    ) STRICT;
    INSERT INTO log VALUES (lower(hex(randomblob(16))), min(unixepoch() * 1000000, 1 << 52), 0);
    """,
    # Adding a column does not touch the rows, whose checksums the writer fills in by and by.
    """
    ALTER TABLE message ADD COLUMN checksum INTEGER;
    ALTER TABLE log ADD COLUMN deleted_upto INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE log ADD COLUMN unchecked_upto INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE log ADD COLUMN clocked_upto INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE log ADD COLUMN alive INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE log ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
    UPDATE log SET
        deleted_upto = (SELECT coalesce(min(position), 1) - 1 FROM message),
        unchecked_upto = (SELECT coalesce(max(position), 0) FROM message),
        clocked_upto = (SELECT coalesce(max(seq), 0) FROM message);
    CREATE TABLE arrival(
        seq INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE act(
        seq INTEGER PRIMARY KEY,
        body TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        scrubbed INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE redacted(
        position INTEGER PRIMARY KEY,
        act INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX redacted_by_act ON redacted(act);
    """,
    """
    CREATE TABLE erased(
        position INTEGER PRIMARY KEY,
        act INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX erased_by_act ON erased(act);
    """,
)
VERSION = len(_MIGRATIONS)

WITH_ACTS = 3
"""First version that has acts."""

_SQLITE = (3, 38)
"""First version with the operator `->>`."""

WAL_KEPT_BYTES = 16 * 2**20
"""Size that the file of the write-ahead log keeps when its content has been written back."""

_BUSY_SECONDS = 5.0
"""Seconds a write waits for another program's lock, such as a backup's, before it fails."""


def connect(path: str, key: bytes = b"") -> Connection:
    """Connect to the file, which is encrypted if there is a key and never created."""
    return open_connection(path, key, _BUSY_SECONDS, create=False, read_only=sealed(path))


def index_path(path: str) -> str:
    """Return the path of the index that belongs to the database at `path`."""
    return f"{path}-index"


class Contents(NamedTuple):
    """The contents of a file when it was opened."""

    state: State
    last_seq: int
    last_position: int
    wal_fault: WalFault | None = None
    """Damage of the write-ahead log, behind which acknowledged messages are lost."""

    @property
    def began(self) -> int:
        """Seq at which the log began: every message in it has a higher one."""
        return self.state.began

    @property
    def trimmed_upto(self) -> int:
        """Seq up to which messages have been given up."""
        return self.state.trimmed_upto


def open_file(path: str, key: bytes = b"") -> tuple[Connection, Contents]:
    """Open or create the file. Raises `ConfigError` for an unusable one."""
    if not key and sqlite3.sqlite_version_info < _SQLITE:
        needed = ".".join(map(str, _SQLITE))
        raise ConfigError(f"--store {path}: needs SQLite {needed}, not {sqlite3.sqlite_version}")
    try:
        _check_key(path, key)
        connection = open_connection(path, key, _BUSY_SECONDS)
        try:
            _check(connection)
            fault = _wal_fault(connection, path)
            _migrate(connection)
            _warn_if_accessible(path)
            return connection, _contents(connection)._replace(wal_fault=fault)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, UnicodeDecodeError, _Unusable) as error:
        raise ConfigError(f"--store {path}: {_explained(error)}") from None


def refuse_unusable(path: str, key: bytes) -> None:
    """Refuse what is encrypted with another key, or no database, without writing to it.

    Raises `ConfigError`.
    """
    try:
        _check_key(path, key)
    except (sqlite3.Error, _Unusable) as error:
        raise ConfigError(f"--store {path}: {_explained(error)}") from None


def refuse_damaged_wal(path: str) -> None:
    """Refuse a store that no server uses whose write-ahead log is damaged.

    Whatever opens it drops the commits behind the damage; only a server tells of them. Raises
    `ConfigError`.
    """
    fault = find_fault(f"{path}-wal")
    if fault is not None:
        advice = "start a server first, which keeps a copy of it and tells clients of a gap"
        raise ConfigError(f"{path}: {fault}; {advice}")


def _wal_fault(connection: Connection, path: str) -> WalFault | None:
    """Look for damage in the write-ahead log; keep a copy of a damaged one, which is overwritten.

    Before anything is written. The checkpoint tells how many frames SQLite has taken.
    """
    [[busy, taken, _]] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    fault = None if busy else find_fault(f"{path}-wal", max(0, taken))
    if fault is not None:
        copy = f"{path}-wal-damaged-{int(time.time())}"
        create_private(copy)
        shutil.copyfile(f"{path}-wal", copy)
        _log.error("the store %s: %s; %s is a copy of it", path, fault, copy)
    return fault


def _warn_if_accessible(path: str) -> None:
    """Warn of files that all users of the machine can read: those of earlier versions."""
    names = [path, *(f"{path}{suffix}" for suffix in ("-wal", "-shm", "-index"))]
    open_to_all = [
        name for name in names if os.path.exists(name) and os.stat(name).st_mode & stat.S_IRWXO
    ]
    if open_to_all:
        listed = " ".join(map(shlex.quote, open_to_all))
        _log.warning(
            "all users of this machine have access to the store; run `chmod o= %s`", listed
        )


class _Unusable(Exception):
    """A file that this server cannot use."""


def _explained(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):  # SQLite quotes damaged text
        error = sqlite3.DatabaseError("its table definitions are damaged")
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )
    advice = "; move it away or restore a copy, it has not been changed" if damaged else ""
    return f"{error}{advice}"


def _check_key(path: str, key: bytes) -> None:
    """Check the key before SQLite opens the file, because even closing would write to it."""
    head = _head(path)
    if not key and head and head != MAGIC[: len(head)]:
        raise _Unusable("is encrypted and needs --store-key-file, or is not a database")
    if key and head == MAGIC:
        raise _Unusable(
            "is not encrypted, but --store-key-file is given; `livelog store encrypt` encrypts it"
        )
    if key and os.path.exists(path):
        try:
            ciphering().prove(path, key, _BUSY_SECONDS)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            raise _Unusable(
                "is encrypted with another key than that of --store-key-file, or not a database;"
                " it has not been changed"
            ) from None


def _head(path: str) -> bytes:
    if not os.path.exists(path):
        return b""
    with open(path, "rb") as file:
        return file.read(len(MAGIC))


def _check(connection: Connection) -> None:
    [[application]] = connection.execute("PRAGMA application_id")
    [[version]] = connection.execute("PRAGMA user_version")
    [[tables]] = connection.execute("SELECT count(*) FROM sqlite_schema")
    if application != APPLICATION_ID and (application or tables):
        raise _Unusable("is a database, but not one of livelog")
    if version > VERSION:
        raise _Unusable(
            f"has format {version}, this livelog knows up to {VERSION}; use a newer one"
        )
    if tables:
        _check_ends(connection)
    if version >= WITH_ACTS:  # the server would go on without what moderators have done
        connection.execute("SELECT count(*) FROM act WHERE scrubbed").fetchall()


def _check_ends(connection: Connection) -> None:
    """Check the ends of the tables: to check all of a large file would take seconds."""
    connection.execute("SELECT * FROM log ORDER BY rowid DESC LIMIT 1").fetchall()
    ends = [
        connection.execute(f"SELECT position FROM message ORDER BY {by} DESC LIMIT 1").fetchall()
        for by in ("position", "seq")
    ]
    connection.execute("SELECT * FROM message ORDER BY position DESC LIMIT 1").fetchall()
    # New messages would take the places of those that cannot be seen.
    if ends[0] != ends[1]:
        raise sqlite3.DatabaseError("the newest message and its index do not agree")


def _migrate(connection: Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit returns when it is on disk: what is acknowledged survives a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    # What is deleted or redacted does not stay in pages that are free.
    connection.execute("PRAGMA secure_delete = 1")
    [[version]] = connection.execute("PRAGMA user_version")
    if version < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        for script in _MIGRATIONS[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        _seal_state(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")


def _seal_state(connection: Connection) -> None:
    """Give the state its checksum."""
    columns = ", ".join(State._fields)
    [values] = connection.execute(f"SELECT {columns} FROM log")
    write_state(connection, State(*values))


def _contents(connection: Connection) -> Contents:
    state = read_state(connection)
    newest = connection.execute(
        f"SELECT {COLUMNS} FROM message ORDER BY position DESC LIMIT 1"
    ).fetchone()
    row = StoredRow(*newest) if newest else StoredRow(0, 0, b"", b"", None)
    seq = max(row.likely_seq() or _indexed_seq(connection), last_act(connection))
    return Contents(state, max(seq, state.began, state.trimmed_upto), row.position)


def _indexed_seq(connection: Connection) -> int:
    """Return the newest seq as the index has it, where the newest message is damaged."""
    [[seq]] = connection.execute("SELECT coalesce(max(seq), 0) FROM message")
    return int(seq)


def mark_loss(connection: Connection, contents: Contents, seq: int) -> Contents:
    """Add a row at `seq`, above all that were given out, that stands for messages lost in a WAL.

    It has no checksum, so it is a damaged message: readers that pass it are told of a gap.
    """
    position = contents.last_position + 1
    values = (position, seq, "", f',"seq":{seq}}}')
    connection.execute(
        "INSERT INTO message(position, seq, id, payload) VALUES (?, ?, ?, ?)", values
    )
    return contents._replace(last_seq=seq, last_position=position)


def add_gap(connection: Connection, contents: Contents, seq: int) -> Contents:
    """Add a row that stands for messages that are lost, up to `seq`: it has no id and no payload.

    It is whole, so it does not count as damage; readers that pass it are told of a gap.
    """
    position = contents.last_position + 1
    row = position, seq, "", "", checksum(position, seq, b"", b"")
    connection.execute(
        "INSERT INTO message(position, seq, id, payload, checksum) VALUES (?, ?, ?, ?, ?)", row
    )
    return contents._replace(last_seq=seq, last_position=position)


def follow(connection: Connection, contents: Contents, origin: Origin, name: str) -> Contents:
    """Prepare the file for a log that is ordered elsewhere; return what it holds then.

    An empty one begins with that log. One that misses messages which are gone tells its readers of
    a gap. Raises `ConfigError` for a file of another log.
    """
    # What is lost in a power cut can be had again, so a commit need not wait for the disk.
    connection.execute("PRAGMA synchronous = NORMAL")
    contents = _without_gap(connection, contents, origin)
    state = contents.state
    # One that has acts alone has begun, too.
    empty = not contents.last_position and not last_act(connection)
    if origin == UNKNOWN:
        blank = state._replace(began=0, trimmed_upto=0)
        return Contents(blank, 0, 0) if empty else contents
    if empty:
        gone = origin.gone_upto if origin.joins_from else 0
        state = state._replace(began=origin.began, trimmed_upto=gone)
        write_state(connection, state)
        return contents._replace(state=state, last_seq=max(origin.began, gone))
    if state.began != origin.began:
        raise ConfigError(f"--store {name}: has another log than --engine; use a new file")
    if contents.last_seq < origin.joins_from:
        return add_gap(connection, contents, origin.gone_upto)
    return contents


def _without_gap(connection: Connection, contents: Contents, origin: Origin) -> Contents:
    """Drop a gap at the end, as of a restored backup, if what was lost can be had again."""
    newest = (contents.last_position,)
    gap = "FROM message WHERE position = ? AND id = '' AND payload = ''"
    if not connection.execute(f"SELECT 1 {gap}", newest).fetchall():
        return contents
    connection.execute(f"DELETE {gap}", newest)
    rest = _contents(connection)
    if rest.last_position and rest.last_seq < origin.joins_from:
        # Acts may have been repeated for this very gap, and not for a longer one.
        return add_gap(connection, rest, contents.last_seq)
    return rest
