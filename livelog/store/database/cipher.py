"""Encrypted SQLite files, by the package apsw-sqlite3mc (SQLite3 Multiple Ciphers).

The cipher is `chacha20`: ChaCha20-Poly1305, fast on processors without AES instructions. Every
written page gets a new nonce, and a tag that reveals damage and forgery. The key is used as it is,
without the derivation a password would need, so it must be random. Pages are encrypted before they
are written to the file, its WAL or a journal; temporary tables stay in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import apsw

from livelog.store.database.uri import sealed, uri

if not hasattr(apsw, "mc_version"):  # plain apsw would accept a key, and ignore it
    raise ImportError("the package apsw is installed instead of apsw-sqlite3mc")

_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI  # creates no file
_CIPHER = "chacha20"

# The classes of Python's sqlite3: OperationalError for what may pass (busy, disk full),
# DatabaseError for a damaged file, the others for an internal error.
_KINDS: dict[int | None, type[sqlite3.Error]] = {
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
    apsw.SQLITE_TOOBIG: sqlite3.DataError,
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    apsw.SQLITE_MISMATCH: sqlite3.IntegrityError,
    None: sqlite3.ProgrammingError,  # from apsw, not SQLite: closed, or used by two threads
}


class _AsSqlite3:
    """A context that turns errors of `apsw` into those of `sqlite3`."""

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
    """The rows of a statement: see `connection.Rows`."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor

    def fetchone(self) -> Any:
        """Return the next row, None at the end."""
        with _as_sqlite3:
            return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        with _as_sqlite3:
            return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        with _as_sqlite3:
            yield from self._cursor


class Ciphered:
    """A connection to an encrypted file, or without a key to a plain one.

    It has the methods of `connection.Connection`.
    """

    def __init__(
        self,
        path: str,
        key: bytes,
        timeout: float,
        *,
        read_only: bool = False,
        immutable: bool = False,
    ) -> None:
        with _as_sqlite3:
            name = uri(path, read_only=read_only, immutable=immutable)
            self._connection = apsw.Connection(name, flags=_FLAGS)
            self._connection.set_busy_timeout(round(timeout * 1000))
            if key:
                self._connection.execute(f"PRAGMA cipher = '{_CIPHER}'")
                self._connection.execute(f'PRAGMA key = "{_raw(key)}"')
            self._connection.execute("PRAGMA temp_store = MEMORY")

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open."""
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> CipheredRows:
        """Run one statement."""
        with _as_sqlite3:
            return CipheredRows(self._connection.execute(sql, parameters))

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run one statement once for each of `parameters`."""
        with _as_sqlite3:
            self._connection.executemany(sql, parameters)

    def executescript(self, sql: str) -> None:
        """Run several statements."""
        self.execute(sql).fetchall()

    def close(self) -> None:
        """Close the file."""
        with _as_sqlite3:
            self._connection.close()

    def leave_wal(self) -> None:
        """Turn off the checkpoint at `close`, so that closing does not write to the file."""
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def prove(path: str, key: bytes, timeout: float) -> None:
    """Check the key without writing to the file. Raises `sqlite3.DatabaseError` for a wrong one."""
    connection = Ciphered(path, key, timeout, read_only=sealed(path))
    try:
        connection.leave_wal()
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    finally:
        connection.close()


def copy(path: str, key: bytes, target: str, new_key: bytes, timeout: float) -> None:
    """Copy a database into an empty file with another key; `b""` as `key` reads a plain file.

    No WAL is left beside `path`. Raises `sqlite3.OperationalError` while another process uses it.
    """
    connection = Ciphered(path, key, timeout)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")  # takes the lock; the exclusive mode keeps it
        connection.execute("COMMIT")
        into = f"file:{quote(target)}?cipher={_CIPHER}&key={_raw(new_key)}"
        connection.execute("VACUUM INTO ?", (into,))
    except sqlite3.Error as error:  # SQLite may quote the URI of the target, with the key
        raise type(error)(str(error).replace(_raw(new_key), "…")) from None
    finally:
        connection.close()
    prove(target, new_key, timeout)


def _raw(key: bytes) -> str:
    """Write a key in the form that SQLite3 Multiple Ciphers uses without derivation."""
    return f"x'{key.hex()}'"
