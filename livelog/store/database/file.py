"""The database file: its lock, its checks at the start, its tables and their migration.

One server uses a file at a time, by a lock that the system releases when the process ends, even by
a crash. The tables have a version: older ones are migrated by the steps in `_MIGRATIONS`; a newer
version, another program's database and a damaged file are refused with the reason and not changed.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import suppress
from typing import ClassVar, NamedTuple

from livelog.errors import ConfigError
from livelog.store.database.connection import MAGIC, Connection, ciphering, open_connection

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
    INSERT INTO log VALUES (lower(hex(randomblob(16))), unixepoch() * 1000000, 0);
    """,
)
VERSION = len(_MIGRATIONS)

_SQLITE = (3, 38)
"""First version with the operator `->>`."""

_BUSY_SECONDS = 5.0
"""Seconds a write waits for another program's lock, such as a backup's, before it fails."""


def connect(path: str, key: bytes = b"") -> Connection:
    """Connect to the file, which is encrypted if there is a key."""
    return open_connection(path, key, _BUSY_SECONDS)


def index_path(path: str) -> str:
    """Return the path of the index that belongs to the database at `path`."""
    return f"{path}-index"


class Lock:
    """The exclusive use of a file, until `release` or the end of the process.

    A lock of flock(2): it holds for the file under all its names, and does not interfere with the
    locks of SQLite, which are those of fcntl(2).
    """

    _held: ClassVar[set[tuple[int, int]]] = set()
    """Device and inode of the files this process has locked."""

    def __init__(self, path: str) -> None:
        """Lock the file, create it if there is none. Raises `ConfigError` for a locked one."""
        try:
            self._refuse_own(path)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"--store {path}: {error.strerror}") from None
        found = os.fstat(self._descriptor)
        self._file = (found.st_dev, found.st_ino)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            owner = _owner(found.st_ino)
            raise ConfigError(f"--store {path}: in use by another server{owner}") from None
        if not os.path.exists(path) or not os.path.samestat(os.stat(path), found):
            os.close(self._descriptor)
            raise ConfigError(f"--store {path}: is just being replaced; try again")
        self._held.add(self._file)

    def _refuse_own(self, path: str) -> None:
        # Checked before opening: to close a second descriptor of a file drops all locks that SQLite
        # holds on it in this process, see fcntl(2).
        if os.path.exists(path):
            found = os.stat(path)
            if (found.st_dev, found.st_ino) in self._held:
                own = f"in use by another server (process {os.getpid()})"
                raise ConfigError(f"--store {path}: {own}")

    def release(self) -> None:
        """Let another server use the file. All connections to it must be closed."""
        self._held.discard(self._file)
        os.close(self._descriptor)


def _owner(inode: int) -> str:
    """Name the process that holds the lock, on systems with /proc/locks."""
    with suppress(OSError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            fields = line.split()
            if "FLOCK" in fields and fields[-3].endswith(f":{inode}"):
                return f" (process {fields[-4]})"
    return ""


class Contents(NamedTuple):
    """The state of the log in a file."""

    name: str
    """Random name of the log, made with the file."""
    began: int
    """Seq at which the log began: every message in it has a higher one."""
    trimmed_upto: int
    last_seq: int
    last_position: int


def open_file(path: str, key: bytes = b"") -> tuple[Connection, Contents]:
    """Open or create the file. Raises `ConfigError` for an unusable one."""
    if not key and sqlite3.sqlite_version_info < _SQLITE:
        needed = ".".join(map(str, _SQLITE))
        raise ConfigError(f"--store {path}: needs SQLite {needed}, not {sqlite3.sqlite_version}")
    try:
        _check_key(path, key)
        connection = connect(path, key)
        try:
            _check(connection)
            _migrate(connection)
            return connection, _contents(connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, _Unusable) as error:
        raise ConfigError(f"--store {path}: {_explained(error)}") from None


class _Unusable(Exception):
    """A file that this server cannot use."""


def _explained(error: Exception) -> str:
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
    if key:
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
        # Only the ends of the tables: an integrity check of a large file would take seconds.
        for table in ("message", "log"):
            connection.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1").fetchall()


def _migrate(connection: Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit returns when it is on disk: what is acknowledged survives a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    [[version]] = connection.execute("PRAGMA user_version")
    for number, script in enumerate(_MIGRATIONS[version:], version + 1):
        connection.executescript(
            f"BEGIN; {script} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {number}; COMMIT;"
        )


def _contents(connection: Connection) -> Contents:
    [[name, began, trimmed_upto]] = connection.execute("SELECT name, began, trimmed_upto FROM log")
    newest = connection.execute(
        "SELECT seq, position FROM message ORDER BY position DESC LIMIT 1"
    ).fetchone()
    seq, position = newest or (0, 0)
    return Contents(name, began, trimmed_upto, max(seq, began, trimmed_upto), position)
