"""Connections to an SQLite file: Python's `sqlite3`, or with a key an SQLite that encrypts.

All other modules use the protocol `Connection`, a subset of `sqlite3.Connection`, and get errors of
`sqlite3` from both. Without a key the connection is `sqlite3`'s own, with no wrapper, and the
encrypting library (the extra `encryption`) is not imported.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Protocol

from livelog.errors import ConfigError

MAGIC = b"SQLite format 3\0"
"""First bytes of a file that is not encrypted (sqlite.org/fileformat.html section 1.3)."""


class Rows(Protocol):
    """The rows of a statement."""

    def fetchone(self) -> Any:
        """Return the next row, None at the end."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection in autocommit mode that any thread may use. Raises `sqlite3.Error`."""

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows:
        """Run one statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run one statement once for each of the parameters."""

    def executescript(self, sql: str, /) -> object:
        """Run several statements."""

    def close(self) -> None:
        """Close the file."""


def open_connection(path: str, key: bytes, timeout: float) -> Connection:
    """Open or create a file; without encryption `key` is `b""`.

    `timeout` is the number of seconds to wait for a lock of another process. A wrong key is noticed
    at the first read. Raises `ConfigError` when a key is given and the extra is not installed.
    """
    if key:
        encrypted: Connection = ciphering().Ciphered(path, key, timeout)
        return encrypted
    return sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)


def ciphering() -> ModuleType:
    """Import the module that encrypts. Raises `ConfigError` when its extra is not installed."""
    try:
        from livelog.store.database import cipher
    except ImportError as error:
        needed = "needs the extra: pip install 'livelog[encryption]'"
        raise ConfigError(f"--store-key-file: {needed} ({error})") from None
    return cipher


def changed(connection: Connection) -> int:
    """Return the number of rows that the last statement changed."""
    [[count]] = connection.execute("SELECT changes()")
    return int(count)
