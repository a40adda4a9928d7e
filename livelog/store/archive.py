"""The messages of a store that no server uses, in their order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

from livelog.errors import ConfigError
from livelog.store.database.acts import read_acts
from livelog.store.database.checksums import stored_rows
from livelog.store.database.connection import Connection
from livelog.store.database.file import Contents, open_file
from livelog.store.database.lock import Lock
from livelog.store.database.newest import last_gap, newest_ids
from livelog.wire.acts import Enacted

_READ_AT_ONCE = 500

_POSITIONS = "SELECT position FROM message WHERE seq > ? AND position > ? ORDER BY position LIMIT ?"


class Archive:
    """An open store. `damaged` counts the messages that were passed over."""

    def __init__(self, connection: Connection, contents: Contents) -> None:
        self._connection = connection
        self._contents = contents
        self.damaged = 0

    @property
    def began(self) -> int:
        """The seqs of the log are above."""
        return self._contents.began

    @property
    def last_seq(self) -> int:
        """Seq of the newest message or act."""
        return self._contents.last_seq

    @property
    def lost_upto(self) -> int:
        """Seq of the newest gap; 0 without."""
        return last_gap(self._connection)

    @property
    def alive(self) -> int:
        """Highest seq that may have been given out here."""
        return max(self._contents.state.alive, self.last_seq)

    def stored(self, upto: int, limit: int) -> list[tuple[int, str]]:
        """Return seq and id of the newest messages up to a seq, newest first."""
        return newest_ids(self._connection, upto, limit, self._contents.state.unchecked_upto)

    def acts(self, before: int | None, limit: int) -> list[Enacted]:
        """Return the newest acts with a seq below `before`, newest first."""
        return read_acts(self._connection, before, limit)

    def after(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """Yield seq and payload of the messages behind a seq."""
        position, unchecked = 0, self._contents.state.unchecked_upto
        while True:
            found = self._connection.execute(_POSITIONS, (seq, position, _READ_AT_ONCE))
            positions = [row[0] for row in found]
            if not positions:
                return
            position = positions[-1]
            rows = stored_rows(self._connection, positions)
            for row in (rows.get(each) for each in positions):
                if row is None or not row.intact(unchecked):
                    self.damaged += 1
                elif row.id:  # a gap has none
                    yield row.seq or 0, row.payload or b""


@contextmanager
def open_archive(path: str, key: bytes) -> Iterator[Archive]:
    """Open the store at `path`, and keep servers from using it.

    Raises `ConfigError` when it cannot be read, or a server uses it.
    """
    path = os.path.realpath(path)
    if not os.path.isfile(path):
        raise ConfigError(f"{path}: there is no store")
    lock = Lock(path)
    try:
        connection, contents = open_file(path, key)
        with closing(connection):
            yield Archive(connection, contents)
    finally:
        lock.release()
