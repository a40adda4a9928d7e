"""Checksums of the messages: whether a row of the database is what was written.

A checksum (CRC-32, which finds every damage of up to 32 neighbouring bits) covers the position, the
seq, the id and the payload of a message, so that a row in a wrong place does not pass either. Rows
of format 1 have none until the writer has filled it in; they pass when their JSON is whole and
names the seq and the id beside it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from livelog.store.database.connection import Connection

# CAST, because a damaged value may be of any type, and a text that is not UTF-8 raises an error.
COLUMNS = (
    "position, CAST(seq AS INTEGER), CAST(id AS BLOB), CAST(payload AS BLOB),"
    " CAST(checksum AS INTEGER)"
)
COLUMNS_OF_FORMAT_1 = COLUMNS.replace("CAST(checksum AS INTEGER)", "NULL")

_POSITIONS = """
    SELECT position FROM message WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY position
"""


class _Named(msgspec.Struct):
    id: str
    seq: int


_decoder = msgspec.json.Decoder(_Named)


def checksum(position: int, seq: int, id: bytes, payload: bytes | memoryview) -> int:
    """Return the checksum of a message."""
    return crc32(payload, crc32(b"%d %d %b" % (position, seq, id)))


class StoredRow(NamedTuple):
    """A row as it is in the file, which may be damaged: its `COLUMNS`."""

    position: int
    seq: int | None
    id: bytes | None
    payload: bytes | None
    checksum: int | None

    def intact(self, unchecked_upto: int) -> bool:
        """Tell whether it is as it was written; one without checksum, as far as can be seen.

        Only rows up to the position `unchecked_upto` may lack a checksum.
        """
        if self.seq is None or self.id is None or self.payload is None:
            return False
        if self.checksum is None:
            return self.position <= unchecked_upto and self.plausible()
        return self.checksum == checksum(self.position, self.seq, self.id, self.payload)

    def checksum_with(self, payload: bytes) -> int:
        """Return the checksum that the row has with another payload."""
        return checksum(self.position, self.seq or 0, self.id or b"", payload)

    @property
    def is_gap(self) -> bool:
        """Whether it is no message but stands for those lost before a backup was restored."""
        return self.id == self.payload == b""

    def plausible(self) -> bool:
        """Tell whether the payload is JSON, with the id and the seq of the row."""
        try:
            named = _decoder.decode(self.payload or b"")
            return (named.id.encode(), named.seq) == (self.id, self.seq)
        except ValueError:
            return False

    def likely_seq(self) -> int:
        """Return the seq of a row, also of a damaged one if both copies agree; otherwise 0."""
        tail = b',"seq":%d}' % (self.seq or 0)
        return self.seq or 0 if (self.payload or b"").endswith(tail) else 0


def stored_rows(
    connection: Connection, positions: Sequence[int], columns: str = COLUMNS
) -> dict[int, StoredRow]:
    """Read the rows at `positions`, which may be a range; those that cannot be read are left out.

    `columns` are those of the file's format. Raises `sqlite3.OperationalError` when the file as
    such cannot be read.
    """
    try:
        rows = connection.execute(*_selection(positions, columns)).fetchall()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:  # a damaged page: read around it
        renew_snapshot(connection)
        if len(positions) == 1:
            return {}
        half = len(positions) // 2
        first, second = positions[:half], positions[half:]
        return stored_rows(connection, first, columns) | stored_rows(connection, second, columns)
    return {row[0]: StoredRow(*row) for row in rows}


def rows_of(connection: Connection, seqs: Iterable[int]) -> tuple[list[int], list[StoredRow]]:
    """Return the positions of the messages with some seqs, and those rows that can be read."""
    found = connection.execute(_POSITIONS, (msgspec.json.encode(list(seqs)),)).fetchall()
    positions = [row[0] for row in found]
    return positions, list(stored_rows(connection, positions).values()) if positions else []


def renew_snapshot(connection: Connection) -> None:
    """Begin an open read transaction anew: in it an encrypted file stays in error."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")


def _selection(positions: Sequence[int], columns: str) -> tuple[str, tuple[Any, ...]]:
    select = f"SELECT {columns} FROM message WHERE position"
    if isinstance(positions, range) and len(positions) > 1:  # a scan also reads what follows
        return f"{select} >= ? AND position < ?", (positions.start, positions.stop)
    return f"{select} IN (SELECT value FROM json_each(?))", (msgspec.json.encode(list(positions)),)
