"""The lock of a database file: one server uses a file at a time.

The system releases the lock when the process ends, even by a crash.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

from livelog.errors import ConfigError
from livelog.store.database.connection import create_private


@contextmanager
def in_use(path: str) -> Iterator[bool]:
    """Tell whether a server uses the file, and let none begin to inside of the block.

    For a process without connections to the file, whose locks the end of the block would drop.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            used = False
        except BlockingIOError:
            used = True
        yield used
    finally:
        os.close(descriptor)


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
            _refuse_orphaned_wal(path)
            create_private(path)
            self.descriptor = os.open(path, os.O_RDWR)
            """Open on the file until `release`."""
        except OSError as error:
            raise ConfigError(f"--store {path}: {error.strerror}") from None
        found = os.fstat(self.descriptor)
        self._file = (found.st_dev, found.st_ino)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.descriptor)
            owner = _owner(found.st_ino)
            raise ConfigError(f"--store {path}: in use by another server{owner}") from None
        if not os.path.exists(path) or not os.path.samestat(os.stat(path), found):
            os.close(self.descriptor)
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
        os.close(self.descriptor)


def _owner(inode: int) -> str:
    """Name the process that holds the lock, on systems with /proc/locks."""
    with suppress(OSError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            fields = line.split()
            if "FLOCK" in fields and fields[-3].endswith(f":{inode}"):
                return f" (process {fields[-4]})"
    return ""


def _refuse_orphaned_wal(path: str) -> None:
    """Refuse to create a database beside a write-ahead log, which SQLite would then delete."""
    wal = f"{path}-wal"
    missing = not os.path.exists(path) or not os.path.getsize(path)
    if missing and os.path.exists(wal) and os.path.getsize(wal):
        raise ConfigError(
            f"--store {path}: is missing, but its write-ahead log {wal} is there, with messages of"
            " the store that was moved or deleted; move them together, or delete the log, too"
        )
