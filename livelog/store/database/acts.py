"""The table of acts: what has changed messages, outside of their own table.

Positions of messages are dense, so that counting is a subtraction; acts have none.
"""

from __future__ import annotations

from zlib import crc32

from livelog.store.database.connection import Connection
from livelog.wire import acts
from livelog.wire.acts import MAX_KEPT, Brief, Enacted

_INSERT = "INSERT INTO act(seq, body, checksum) VALUES (?, CAST(? AS TEXT), ?)"
_FORGET = """
    DELETE FROM act WHERE seq <= (SELECT seq FROM act ORDER BY seq DESC LIMIT 1 OFFSET ?)
"""
_NEWEST = """
    SELECT CAST(seq AS INTEGER), CAST(body AS BLOB), CAST(checksum AS INTEGER) FROM act
    WHERE seq < ? ORDER BY seq DESC LIMIT ?
"""
_LAST = 2**63 - 1


def write_act(connection: Connection, enacted: Enacted) -> None:
    """Write an act, and forget the one that is too many."""
    body = acts.encode(enacted.act)
    connection.execute(_INSERT, (enacted.seq, body, _checksum(enacted.seq, body)))
    connection.execute(_FORGET, (MAX_KEPT,))


def read_acts(connection: Connection, before: int | None, limit: int) -> list[Enacted]:
    """Return the newest acts with a seq below `before`, newest first; damaged ones are left out."""
    return [Enacted(seq, acts.decode(body)) for seq, body in _bodies(connection, before, limit)]


def read_briefs(connection: Connection, before: int | None, limit: int) -> list[Brief]:
    """Return the same acts without the messages that they name."""
    return [acts.decode_brief(*found) for found in _bodies(connection, before, limit)]


def _bodies(connection: Connection, before: int | None, limit: int) -> list[tuple[int, bytes]]:
    rows = connection.execute(_NEWEST, (_LAST if before is None else before, limit)).fetchall()
    return [(seq, body) for seq, body, crc in rows if body and crc == _checksum(seq, body)]


def last_act(connection: Connection) -> int:
    """Return the seq of the newest act, 0 without any."""
    [[seq]] = connection.execute("SELECT coalesce(max(seq), 0) FROM act")
    return int(seq)


def _checksum(seq: int, body: bytes) -> int:
    return crc32(body, crc32(b"%d" % seq))
