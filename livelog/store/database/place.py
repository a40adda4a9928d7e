"""The place of a database: whether its files are still the ones that were opened.

SQLite writes on to a file that has been moved, deleted, replaced or overwritten, and a write to it
succeeds. So the writer looks before it acknowledges anything (`stat` and a few `pread`, some
microseconds). A file that is overwritten in place, by an older copy of the same size too, is known
by what changes in it all the time: a database by the state of the log, which is written now and
then and gets there with a checkpoint; a write-ahead log by its last frame.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import deque
from contextlib import closing, suppress

from livelog.store.database.connection import MAGIC, Connection, open_connection
from livelog.store.database.state import State, read_state
from livelog.store.database.wal import LastFrame

_log = logging.getLogger(__name__)

_SUFFIXES = ("", "-wal", "-shm")
"""The database, its write-ahead log, and the index of that, by which its users lock each other out.
"""

_HEAD_BYTES = 2**16
"""Bytes at the start of a database that have its table `log`, also after a `VACUUM`."""

_MAX_STATES = 10_000
"""States that may wait for a checkpoint; without one for long, some are forgotten."""


class Place:
    """The files of the open database called `name`; they must exist.

    `descriptor` is open on the database for as long as `connection` is: to close one drops the
    locks that SQLite holds in this process, see fcntl(2). `key` is that of an encrypted one.
    """

    def __init__(
        self, name: str, descriptor: int, connection: Connection, key: bytes = b""
    ) -> None:
        # As it is called, too: a symbolic link that leads elsewhere later is another store.
        named, real = os.path.abspath(name), os.path.realpath(name)
        self._path = real
        self._key = key
        self._wal, self._index = f"{real}-wal", f"{real}-shm"
        # Beside a symbolic link put in the place of a database SQLite would look for no `-wal`.
        follows = {named: True} | {real + suffix: False for suffix in _SUFFIXES}
        self._files = {path: (follow, _identity(path, follow)) for path, follow in follows.items()}
        self._descriptor = descriptor
        self._connection = connection
        self._size = os.fstat(descriptor).st_size
        """Size of the database when it was looked at last."""
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # what is new has no state
        self._head = self._read_head()
        """The start of the database, as far as it is known what has changed it."""
        found = self._state_in_file(), read_state(connection)
        self._states = deque([state for state in found if state], _MAX_STATES)
        """The state that the database has, and those written since that may get there."""
        self._last_frame = LastFrame(self._wal)
        self._index_bytes = os.stat(self._index).st_size

    def note(self, state: State) -> None:
        """Note a state before it is written."""
        self._states.append(state)

    def fault(self) -> str:
        """Describe how the files have been moved, deleted or replaced; empty if they have not."""
        for path, (follow, opened) in self._files.items():
            try:
                found = _identity(path, follow)
            except OSError as error:
                return f"{path} has been moved or deleted ({error.strerror})"
            if found != opened:
                return f"{path} has been replaced by another file"
        if issue := self.overwritten():
            return issue
        return f"{self._path} has been overwritten" if self._is_cut() else ""

    def overwritten(self) -> str:
        """Describe how the content of the files is not theirs any more; empty if it is.

        To be asked before a commit, too, which would hide it.
        """
        try:
            is_lost = self._last_frame.is_lost()
            self._restore_index()
        except OSError as error:
            return f"{error.filename} has been moved or deleted ({error.strerror})"
        if is_lost:
            return f"{self._wal} has been overwritten"
        return f"{self._path} has been overwritten" if self._has_another_head() else ""

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

    def _has_another_head(self) -> bool:
        """Tell whether something else than a checkpoint has changed the start of the database."""
        head = self._read_head()
        if head == self._head:
            return False
        if head[: len(MAGIC)] != self._head[: len(MAGIC)]:  # of an encrypted one it is its salt
            return True
        found = self._state_in_file()
        if found is None:  # in the middle of a checkpoint, which may have to wait for room
            return False
        known = self._knows(found)
        if known:
            self._head = head
        return not known

    def _read_head(self) -> bytes:
        return os.pread(self._descriptor, _HEAD_BYTES, 0)

    def _knows(self, found: State) -> bool:
        """Tell whether a state was not written before the one found last; forget those before."""
        if found not in self._states:
            return False
        while self._states[0] != found:
            self._states.popleft()
        return True

    def _state_in_file(self) -> State | None:
        """Read the state that the database has by itself, without its WAL; None if it has none."""
        with suppress(sqlite3.Error):
            connection = open_connection(self._path, self._key, 0.0, immutable=True)
            with closing(connection):
                return read_state(connection)
        return None

    def _restore_index(self) -> None:
        """Give the index of the write-ahead log its size back if another program has cut it.

        SQLite has it mapped, and to touch what is missing would end the process (SIGBUS). Made of
        zeros it counts as damaged, and SQLite makes it again out of the write-ahead log.
        """
        size = os.stat(self._index).st_size
        if size < self._index_bytes:
            os.truncate(self._index, 0)
            os.truncate(self._index, self._index_bytes)
            self._last_frame.forget()
            _log.error("%s was cut by another program, and is made again", self._index)
        self._index_bytes = max(size, self._index_bytes)


def _identity(path: str, follow: bool) -> tuple[int, int]:
    found = os.stat(path, follow_symlinks=follow)
    return found.st_dev, found.st_ino
