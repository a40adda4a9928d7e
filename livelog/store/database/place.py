"""The place of a database: whether its files are still the ones that were opened.

SQLite writes on to a file that has been moved, deleted, replaced or overwritten, and a write to it
succeeds. So the writer looks before it acknowledges anything (`stat` and one `pread`, some
microseconds).
"""

from __future__ import annotations

import os
import sqlite3

from livelog.store.database.connection import MAGIC, Connection
from livelog.store.database.state import read_state
from livelog.store.database.wal import MAGIC as WAL_MAGIC

_SUFFIXES = ("", "-wal", "-shm")
"""The database, its write-ahead log, and the index of that, by which its users lock each other out.
"""

_WAL_HEAD_BYTES = 32
"""Bytes at the start of a write-ahead log that differ each time it is begun anew."""

_HEAD_BYTES = 2**16
"""Bytes at the start of a database that have its table `log`, also after a `VACUUM`."""


class Place:
    """The files of the open database called `name`; they must exist.

    `descriptor` is open on the database for as long as `connection` is: to close one drops the
    locks that SQLite holds in this process, see fcntl(2).
    """

    def __init__(self, name: str, descriptor: int, connection: Connection) -> None:
        # As it is called, too: a symbolic link that leads elsewhere later is another store.
        named, real = os.path.abspath(name), os.path.realpath(name)
        paths = [named, *(real + suffix for suffix in _SUFFIXES)]
        self._path = real
        self._wal = f"{real}-wal"
        self._files = {path: _identity(os.stat(path)) for path in paths}
        self._descriptor = descriptor
        self._connection = connection
        self._size = os.fstat(descriptor).st_size
        """Size of the database when it was looked at last."""
        self._written = 0, b""
        """Size and head of the write-ahead log when it was looked at last."""
        self._wal_is_cut = False
        """Part of the write-ahead log is lost, and does not come back by itself."""
        self._mark = b""
        """Bytes that no other database has in its head; empty as long as this one does not."""
        self._name = read_state(connection).name.encode()

    def fault(self) -> str:
        """Describe how the files have been moved, deleted or replaced; empty if they have not."""
        for path, opened in self._files.items():
            try:
                found = os.stat(path)
            except OSError as error:
                return f"{path} has been moved or deleted ({error.strerror})"
            if _identity(found) != opened:
                return f"{path} has been replaced by another file"
        if self._is_cut() or self._is_another():
            return f"{self._path} has been overwritten"
        return self.wal_fault()

    def wal_fault(self) -> str:
        """Describe how the write-ahead log has been cut or overwritten; empty if it has not.

        To be asked before a commit, too, which would hide a cut.
        """
        try:
            with open(self._wal, "rb") as file:
                size, head = os.fstat(file.fileno()).st_size, file.read(_WAL_HEAD_BYTES)
        except OSError as error:
            return f"{self._wal} has been moved or deleted ({error.strerror})"
        before, self._written = self._written, (size, head)
        # Emptied by a checkpoint it is begun anew, with a head that it has not had before.
        cut = head == before[1] and size < before[0]
        if not self._wal_is_cut and (cut or (size and int.from_bytes(head[:4]) not in WAL_MAGIC)):
            self._wal_is_cut = True
        return f"{self._wal} has been overwritten" if self._wal_is_cut else ""

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log in bytes, 0 if it is gone."""
        try:
            return os.stat(self._wal).st_size
        except OSError:
            return 0

    def _is_cut(self) -> bool:
        """Tell whether the database is smaller than it was, and not because of a `VACUUM`."""
        size = os.fstat(self._descriptor).st_size
        if size < self._size:
            try:
                [[needed]] = self._connection.execute(
                    "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
                )
            except sqlite3.Error:
                return True
            if size < needed:
                return True
        self._size = size
        return False

    def _is_another(self) -> bool:
        """Tell whether the database has the content of another one."""
        head = os.pread(self._descriptor, _HEAD_BYTES, 0)
        if not self._mark:  # the first checkpoint brings it there
            plain = head.startswith(MAGIC)
            salt = head[: len(MAGIC)]  # random, of an encrypted one
            self._mark = self._name if plain and self._name in head else b"" if plain else salt
        return self._mark not in head


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
