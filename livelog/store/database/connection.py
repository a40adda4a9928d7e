"""How an SQLite file is opened: by Python's own SQLite, or with a key by one that encrypts.

Everything else goes through `Connection`, which is what is used of `sqlite3`'s, and meets
`sqlite3`'s errors, whichever it is. Without a key it is `sqlite3` itself, with nothing in between,
and the other one (the extra `encryption`) is not even imported.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Protocol

from livelog.errors import ConfigError

MAGIC = b"SQLite format 3\0"
"""What a file begins with that is not encrypted: see sqlite.org/fileformat.html."""


class Rows(Protocol):
    """What a statement found."""

    def fetchone(self) -> Any:
        """The next row, None at the end."""

    def fetchall(self) -> list[Any]:
        """All that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection in autocommit mode that is not bound to a thread. Raises `sqlite3.Error`."""

    @property
    def in_transaction(self) -> bool:
        """Whether there is something to commit or to roll back."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows:
        """Run one statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run one statement with each of these."""

    def executescript(self, sql: str, /) -> object:
        """Run several statements."""

    def close(self) -> None:
        """Let go of the file."""


def open_connection(path: str, key: bytes, timeout: float) -> Connection:
    """Open or make a file; `timeout` is how many seconds another may hold it. No key is `b""`.

    Whether it is the right key shows when the file is first read. Raises `ConfigError` when a key
    is given and the extra is not installed.
    """
    if key:
        encrypted: Connection = ciphering().Ciphered(path, key, timeout)
        return encrypted
    return sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)


def ciphering() -> ModuleType:
    """The module that encrypts. Raises `ConfigError` when what it needs is not installed."""
    try:
        from livelog.store.database import cipher
    except ImportError as error:
        needed = "needs the extra: pip install 'livelog[encryption]'"
        raise ConfigError(f"--store-key-file: {needed} ({error})") from None
    return cipher


def changed(connection: Connection) -> int:
    """How many rows the last statement has changed."""
    [[count]] = connection.execute("SELECT changes()")
    return int(count)
