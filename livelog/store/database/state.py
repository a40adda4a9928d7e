"""The one row of the table `log`: the state of a log, with a checksum of its own."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple
from zlib import crc32

from livelog.store.database.connection import Connection


class State(NamedTuple):
    """State of the log in a file."""

    name: str
    """Random name of the log, made with the file."""
    began: int
    """Seq at which the log began: every message in it has a higher one."""
    trimmed_upto: int
    """Seq up to which messages have been given up; some of them may not be deleted yet."""
    deleted_upto: int
    """Position up to which messages have been deleted: the first one in the file follows it."""
    unchecked_upto: int
    """Position up to which messages may have no checksum yet: they were written in format 1."""
    clocked_upto: int
    """Seq up to which seqs are times in microseconds: the last one of format 1."""
    alive: int
    """Highest seq that may have been given out when the server last said that it is alive."""

    def checksum(self) -> int:
        """Return the checksum of the row."""
        return crc32(repr(tuple(self)).encode())


_COLUMNS = ", ".join(State._fields)


def read_state(connection: Connection) -> State:
    """Read the state. Raises `sqlite3.DatabaseError` when it is damaged."""
    rows = connection.execute(f"SELECT {_COLUMNS}, checksum FROM log").fetchall()
    if len(rows) == 1:
        *values, checksum = rows[0]
        state = State(*values)
        if state.checksum() == checksum:
            return state
    raise sqlite3.DatabaseError("the state of the log is damaged")


def write_state(connection: Connection, state: State) -> None:
    """Write the state, as part of a transaction or as one."""
    marks = ", ".join("?" * len(state))
    connection.execute(
        f"UPDATE log SET ({_COLUMNS}, checksum) = ({marks}, ?)", (*state, state.checksum())
    )
