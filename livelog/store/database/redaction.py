"""Redaction in the file: stubs in the rows of messages, and the way to files without their text.

A stub is written over its message: it is padded with white space to the same size, so that SQLite
puts it into the same bytes and moves nothing, and the pages around it keep their content. (Where a
long reason makes it larger, SQLite moves it, and overwrites the old place with zeros, as
`secure_delete` asks.) Until the write-ahead log has been emptied the old pages are in it and in
the file behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from livelog.store.database.checksums import StoredRow, rows_of
from livelog.store.database.connection import Connection
from livelog.wire.acts import Enacted, Redact
from livelog.wire.stubs import ends_of_stub, is_stub

_SET = """
    UPDATE message SET payload = value ->> 1, checksum = value ->> 2
    FROM json_each(?) WHERE position = value ->> 0
"""
_NOTE = "INSERT OR REPLACE INTO redacted SELECT value, ? FROM json_each(?)"

_ATTEMPTS = 64
"""Paddings that are tried, lest the checksum change the size of the row."""


def redact(connection: Connection, enacted: Enacted) -> None:
    """Put stubs into the rows of messages, as part of a transaction.

    A damaged row loses its payload, whatever that was.
    """
    assert isinstance(enacted.act, Redact)
    positions, rows = rows_of(connection, enacted.act.seqs)
    stubs = list(_stubs(rows, enacted.act.reason))
    connection.execute(_SET, (msgspec.json.encode(stubs),))
    connection.execute(_NOTE, (enacted.seq, msgspec.json.encode(positions)))


def _stubs(rows: list[StoredRow], reason: str) -> Iterator[tuple[int, str, int | None]]:
    """Yield position, payload and checksum of what is to be written."""
    for row in rows:
        payload = row.payload or b""
        if is_stub(payload):
            continue
        try:
            stub = _padded(row, reason)
        except ValueError:  # it is damaged, and stays so
            yield row.position, " " * len(payload), None
        else:
            yield row.position, stub.decode(), row.checksum_with(stub)


def _padded(row: StoredRow, reason: str) -> bytes:
    """Return the stub of a row's message, such that the row keeps its size if it can."""
    payload = row.payload or b""
    first, last = ends_of_stub(payload, reason)
    size = _size(row.checksum or 0)
    room = len(payload) - len(first) - len(last)
    for padding in _paddings(room):
        padded = first + padding + last
        if _size(row.checksum_with(padded)) == size:
            return padded
    return first + last


def _paddings(room: int) -> Iterator[bytes]:
    """Yield paddings of one length: spaces alone, and with a tab at one place after the other.

    A CRC is linear: a tab at a place changes some of its bits, whatever else is there. At half of
    the places the highest is among them, on which the size depends.
    """
    if room > 0:
        spaces = b" " * room
        yield spaces
        yield from (spaces[at:] + b"\t" + spaces[1:at] for at in range(1, min(room, _ATTEMPTS) + 1))


def _size(number: int) -> int:
    """Return the bytes that a checksum takes in a row."""
    return 6 if number >> 31 else number.bit_length() // 8 + 1


def is_unscrubbed(connection: Connection) -> bool:
    """Tell whether the file may still have the text of a message that was redacted."""
    return bool(connection.execute("SELECT 1 FROM act WHERE NOT scrubbed LIMIT 1").fetchall())


def note_scrubbed(connection: Connection, upto: int) -> None:
    """Note that nothing is left of what acts up to a seq have redacted."""
    connection.execute("UPDATE act SET scrubbed = 1 WHERE seq <= ? AND NOT scrubbed", (upto,))


def redacted_positions(connection: Connection, after: int) -> list[tuple[int, int]]:
    """Return the positions of stubs, each with the seq of its act, of acts above a seq."""
    found = connection.execute("SELECT position, act FROM redacted WHERE act > ?", (after,))
    return [(int(position), int(act)) for position, act in found.fetchall()]
