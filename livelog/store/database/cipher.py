"""Encrypted SQLite files, by the package apsw-sqlite3mc (SQLite3 Multiple Ciphers).

The cipher is its `chacha20`: ChaCha20-Poly1305, a fresh nonce for every page that is written and a
tag by which damage and forgery are noticed, fast without help from the processor. The key is used
as it is, without the derivation that a password would need, so it must be random. Pages are
encrypted before they get into the file, its WAL or a journal; the rest stays in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import apsw

if not hasattr(apsw, "mc_version"):  # the package apsw would take a key, and ignore it
    raise ImportError("the package apsw is installed instead of apsw-sqlite3mc")

_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
_CIPHER = "chacha20"

# As Python's sqlite3 tells errors apart: those that pass, those of the file, and faults of ours.
_KINDS: dict[int | None, type[sqlite3.Error]] = {
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    apsw.SQLITE_MISMATCH: sqlite3.IntegrityError,
    None: sqlite3.ProgrammingError,  # not SQLite's own: closed, or used by two threads
}


class _AsSqlite3:
    """Lets `apsw` errors out as those of `sqlite3`."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, apsw.Error):
            result = getattr(error, "result", None)
            raise _KINDS.get(result, sqlite3.OperationalError)(str(error)) from None


_as_sqlite3 = _AsSqlite3()


class CipheredRows:
    """What a statement found: see `opening.Rows`."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor

    def fetchone(self) -> Any:
        """The next row, None at the end."""
        with _as_sqlite3:
            return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """All that are left."""
        with _as_sqlite3:
            return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        with _as_sqlite3:
            yield from self._cursor


class Ciphered:
    """A connection to an encrypted file, without a key to a plain one: see `opening.Connection`."""

    def __init__(self, path: str, key: bytes, timeout: float) -> None:
        with _as_sqlite3:
            self._connection = apsw.Connection(path, flags=_FLAGS)
            self._connection.set_busy_timeout(round(timeout * 1000))
            if key:
                self._connection.execute(f"PRAGMA cipher = '{_CIPHER}'")
                self._connection.execute(f'PRAGMA key = "{_raw(key)}"')
            self._connection.execute("PRAGMA temp_store = MEMORY")

    @property
    def in_transaction(self) -> bool:
        """Whether there is something to commit or to roll back."""
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> CipheredRows:
        """Run one statement."""
        with _as_sqlite3:
            return CipheredRows(self._connection.execute(sql, parameters))

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run one statement with each of these."""
        with _as_sqlite3:
            self._connection.executemany(sql, parameters)

    def executescript(self, sql: str) -> None:
        """Run several statements."""
        self.execute(sql).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        with _as_sqlite3:
            self._connection.close()

    def leave_wal(self) -> None:
        """Move nothing from the WAL into the file at `close`."""
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def prove(path: str, key: bytes, timeout: float) -> None:
    """Read a file's head, change nothing. Raises `sqlite3.DatabaseError` for a wrong key."""
    connection = Ciphered(path, key, timeout)
    try:
        connection.leave_wal()
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    finally:
        connection.close()


def copy(path: str, key: bytes, target: str, new_key: bytes, timeout: float) -> None:
    """Write what a file holds into an empty one with another key; `b""` opens a plain file.

    Nothing is left in a WAL beside `path`. Raises `sqlite3.OperationalError` when another uses it.
    """
    connection = Ciphered(path, key, timeout)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")  # takes the lock, which stays
        connection.execute("COMMIT")
        into = f"file:{quote(target)}?cipher={_CIPHER}&key={_raw(new_key)}"
        connection.execute("VACUUM INTO ?", (into,))
    except sqlite3.Error as error:  # it may name the target as it was told, with the key
        raise type(error)(str(error).replace(_raw(new_key), "…")) from None
    finally:
        connection.close()
    prove(target, new_key, timeout)


def _raw(key: bytes) -> str:
    """A key as SQLite3 Multiple Ciphers writes one that is no password."""
    return f"x'{key.hex()}'"
