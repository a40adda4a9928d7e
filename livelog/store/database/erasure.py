"""Erasure in the file: pseudonyms in the rows of messages and acts, and nothing of what was there.

A pseudonym is mostly longer than the id that it takes the place of, so SQLite moves rows, and where
it divides a page it may leave what it has moved in the free part. So all rows are first written
over in their places, with zeros of the same size; only then they get what is to stand there.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from livelog.store.database.acts import acts_at, rewrite_acts
from livelog.store.database.checksums import StoredRow, rows_of
from livelog.store.database.connection import Connection
from livelog.wire.acts import Enacted, Erase
from livelog.wire.erasure import Change, changes, erased_acts

Rewritten = tuple[int, bytes, int | None]
"""Position, payload and checksum of a row."""

_BLANK = """
    UPDATE message SET payload = CAST(zeroblob(length(CAST(payload AS BLOB))) AS TEXT)
    WHERE position IN (SELECT value FROM json_each(?))
"""
_SET = "UPDATE message SET payload = CAST(? AS TEXT), checksum = ? WHERE position = ?"
_NOTE = "INSERT OR REPLACE INTO erased SELECT value, ? FROM json_each(?)"


def erase(connection: Connection, enacted: Enacted) -> None:
    """Put pseudonyms into the rows of messages and of earlier acts, as part of a transaction.

    A damaged row loses its payload, whatever that was.
    """
    act = enacted.act
    assert isinstance(act, Erase)
    wanted = changes(act)
    positions, rows = rows_of(connection, wanted)
    write_over(connection, [_rewritten(row, wanted) for row in rows])
    connection.execute(_NOTE, (enacted.seq, msgspec.json.encode(positions)))
    named = [seq for group in act.records for seq in group.seqs]
    rewrite_acts(connection, erased_acts(act, acts_at(connection, named)))


def write_over(connection: Connection, rows: Sequence[Rewritten]) -> None:
    """Write rows over those at their positions, and leave nothing of what was there."""
    blank(connection, [position for position, _, _ in rows])
    connection.executemany(_SET, [(payload, crc, position) for position, payload, crc in rows])


def blank(connection: Connection, positions: Sequence[int]) -> None:
    """Write zeros over the payloads of rows, in their places."""
    connection.execute(_BLANK, (msgspec.json.encode(positions),))


def _rewritten(row: StoredRow, wanted: dict[int, Change]) -> Rewritten:
    payload = row.payload or b""
    try:
        changed = wanted[row.seq or 0](payload)
    except (ValueError, LookupError):  # it is damaged, and stays so
        return row.position, b" " * len(payload), None
    return row.position, changed, row.checksum_with(changed)


def erased_positions(connection: Connection, after: int) -> list[tuple[int, int]]:
    """Return the positions of messages that acts above a seq have changed, each with its act."""
    found = connection.execute("SELECT position, act FROM erased WHERE act > ?", (after,))
    return [(int(position), int(act)) for position, act in found.fetchall()]
