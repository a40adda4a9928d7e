"""The place of a database: whether its files are still the ones that were opened.

SQLite writes on to a file that has been moved, deleted or replaced, and a write to it succeeds. So
the writer looks at the names before it acknowledges anything (`stat`, some microseconds).
"""

from __future__ import annotations

import os

_SUFFIXES = ("", "-wal", "-shm")
"""The database, its write-ahead log, and the index of that, by which its users lock each other out.
"""


class Place:
    """The files of the open database called `name`; they must exist."""

    def __init__(self, name: str) -> None:
        # As it is called, too: a symbolic link that leads elsewhere later is another store.
        named, real = os.path.abspath(name), os.path.realpath(name)
        paths = [named, *(real + suffix for suffix in _SUFFIXES)]
        self._wal = f"{real}-wal"
        self._files = {path: _identity(os.stat(path)) for path in paths}

    def fault(self) -> str:
        """Describe how the files have been moved, deleted or replaced; empty if they have not."""
        for path, opened in self._files.items():
            try:
                found = os.stat(path)
            except OSError as error:
                return f"{path} has been moved or deleted ({error.strerror})"
            if _identity(found) != opened:
                return f"{path} has been replaced by another file"
        return ""

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log in bytes, 0 if it is gone."""
        try:
            return os.stat(self._wal).st_size
        except OSError:
            return 0


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
