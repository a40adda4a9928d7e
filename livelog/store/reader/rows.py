"""Messages in the store's file, read by position, seq or range; never written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from livelog.index.terms import terms_of_stored
from livelog.store.database.file import connect
from livelog.wire import frames
from livelog.wire.messages import decoder
from livelog.wire.record import Record
from livelog.wire.timestamps import parse_moment

_POSITION_UPTO = "SELECT position FROM message WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
_PAYLOAD = "CAST(payload AS BLOB)"  # as bytes, without decoding
_POSITION_BEFORE_ALL = "SELECT coalesce(min(position), 1) - 1 FROM message"


class Unreadable(Exception):
    """The store's file cannot be read."""


class Row(NamedTuple):
    """One message."""

    position: int
    seq: int
    payload: bytes

    def record(self) -> Record:
        """Make the record again that the log made of the message when it came in."""
        # Any: what is stored has an id and a timestamp, which the types leave open.
        message: Any = decoder.decode(self.payload[: self.payload.rindex(b',"seq":')] + b"}")
        time = parse_moment(message.timestamp, "timestamp")
        tag = message.__struct_config__.tag
        return Record(
            self.seq, message.id, tag, time, *terms_of_stored(message), frames.text(self.payload)
        )


class Rows:
    """A connection to the file at `path`; every method raises `Unreadable` when reading fails."""

    def __init__(self, path: str, key: bytes) -> None:
        self._connection = connect(path, key)
        self._ask("PRAGMA query_only = 1")

    @property
    def name(self) -> str:
        """Name of the log."""
        [[name]] = self._ask("SELECT name FROM log")
        return str(name)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read from one snapshot: later writes and deletions are not seen."""
        self._ask("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._ask("COMMIT")

    @property
    def trimmed_upto(self) -> int:
        """Seq up to which messages have been trimmed; some of them may not be deleted yet."""
        [[trimmed_upto]] = self._ask("SELECT trimmed_upto FROM log")
        return int(trimmed_upto)

    @property
    def first_position(self) -> int:
        """Position of the oldest message that has not been trimmed."""
        return self.position_upto(self.trimmed_upto) + 1

    def position_upto(self, seq: int) -> int:
        """Return the position of the newest message up to this seq, or the one before the first."""
        rows = self._ask(_POSITION_UPTO, seq) or self._ask(_POSITION_BEFORE_ALL)
        return int(rows[0][0])

    def seq_at(self, position: int) -> int:
        """Return the seq of the message at a position, 0 if there is none."""
        rows = self._ask("SELECT seq FROM message WHERE position = ?", position)
        return int(rows[0][0]) if rows else 0

    def payload(self, position: int) -> bytes:
        """Return the message at a position, empty if there is none."""
        rows = self._ask(f"SELECT {_PAYLOAD} FROM message WHERE position = ?", position)
        return bytes(rows[0][0]) if rows else b""

    def at(self, positions: Iterable[int]) -> list[Row]:
        """Return the messages at these positions, oldest first."""
        sql = (
            f"SELECT position, seq, {_PAYLOAD} FROM message"
            " WHERE position IN (SELECT value FROM json_each(?)) ORDER BY position"
        )
        return [Row(*row) for row in self._ask(sql, msgspec.json.encode(list(positions)))]

    def after(self, position: int, limit: int) -> list[Row]:
        """Return the first `limit` messages behind a position."""
        sql = (
            f"SELECT position, seq, {_PAYLOAD} FROM message WHERE position > ?"
            " ORDER BY position LIMIT ?"
        )
        return [Row(*row) for row in self._ask(sql, position, limit)]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _ask(self, sql: str, *values: Any) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise Unreadable(f"the store cannot be read: {error}") from error
