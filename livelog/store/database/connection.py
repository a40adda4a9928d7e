"""Connections to an SQLite file: Python's `sqlite3`, or with a key an SQLite that encrypts.

All other modules use the protocol `Connection`, a subset of `sqlite3.Connection`, and get errors of
`sqlite3` from both. Without a key the connection is `sqlite3`'s own, with no wrapper, and the
encrypting library (the extra `encryption`) is not imported.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Protocol

from livelog.errors import ConfigError, installing
from livelog.store.database.uri import uri

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


def open_connection(
    path: str,
    key: bytes,
    timeout: float,
    *,
    create: bool = True,
    read_only: bool = False,
    immutable: bool = False,
) -> Connection:
    """Open a file, or create it for its owner alone; without encryption `key` is `b""`.

    `timeout` is the number of seconds to wait for a lock of another process. A wrong key is noticed
    at the first read. Without `create` a file that is missing raises `sqlite3.OperationalError`;
    with `read_only` not even closing writes to the file, which may be on a read-only medium; with
    `immutable` it is read as it is, without its write-ahead log or any lock. Raises `ConfigError`
    when a key is given and the extra is not installed.
    """
    in_memory = path == ":memory:"
    if create and not (read_only or immutable or in_memory):
        try:
            create_private(path)
        except OSError as error:
            raise sqlite3.OperationalError(str(error)) from None
    if key:
        mode = {"read_only": read_only, "immutable": immutable}
        encrypted: Connection = ciphering().Ciphered(path, key, timeout, **mode)
        return encrypted
    name = path if in_memory else uri(path, read_only=read_only, immutable=immutable)
    return sqlite3.connect(
        name, timeout=timeout, isolation_level=None, check_same_thread=False, uri=not in_memory
    )


def create_private(path: str) -> bool:
    """Create an empty file with mode 0600, whatever the umask; return False if there is one.

    SQLite gives the files beside a database the same mode.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)
    return True


def ciphering() -> ModuleType:
    """Import the module that encrypts. Raises `ConfigError` when its extra is not installed."""
    try:
        from livelog.store.database import cipher
    except ImportError as error:
        needed = f"needs the extra: {installing('encryption')}"
        raise ConfigError(f"--store-key-file: {needed} ({error})") from None
    return cipher


def changed(connection: Connection) -> int:
    """Return the number of rows that the last statement changed."""
    [[count]] = connection.execute("SELECT changes()")
    return int(count)
