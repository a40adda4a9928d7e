"""The table of acts: what has changed messages, outside of their own table.

Positions of messages are dense, so that counting is a subtraction; acts have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from livelog.store.database.connection import Connection
from livelog.wire import acts
from livelog.wire.acts import MAX_KEPT, Enacted

_INSERT = "INSERT INTO act(seq, body, checksum) VALUES (?, CAST(? AS TEXT), ?)"
_FORGET = """
    DELETE FROM act WHERE seq <= (SELECT seq FROM act ORDER BY seq DESC LIMIT 1 OFFSET ?)
"""
_NEWEST = """
    SELECT CAST(seq AS INTEGER), CAST(body AS BLOB), CAST(checksum AS INTEGER) FROM act
    WHERE seq < ? ORDER BY seq DESC LIMIT ?
"""
_BLANK = """
    UPDATE act SET body = CAST(zeroblob(length(CAST(body AS BLOB))) AS TEXT) WHERE seq = ?
"""
_REWRITE = "UPDATE act SET body = CAST(? AS TEXT), checksum = ? WHERE seq = ?"
_LAST = 2**63 - 1


def write_act(connection: Connection, enacted: Enacted) -> None:
    """Write an act, and forget the one that is too many."""
    body = acts.encode(enacted.act)
    connection.execute(_INSERT, (enacted.seq, body, _checksum(enacted.seq, body)))
    connection.execute(_FORGET, (MAX_KEPT,))


def rewrite_acts(connection: Connection, changed: Iterable[Enacted]) -> None:
    """Write acts over those with their seqs, as part of a transaction.

    What was there goes first, in its place: where SQLite moves a row it may leave what it had.
    """
    rows = [(acts.encode(one.act), one.seq) for one in changed]
    connection.executemany(_BLANK, [(seq,) for _, seq in rows])
    connection.executemany(_REWRITE, [(body, _checksum(seq, body), seq) for body, seq in rows])


def acts_at(connection: Connection, seqs: Iterable[int]) -> list[Enacted]:
    """Return the acts with these seqs, as far as they are there and whole."""
    found = (read_acts(connection, seq + 1, 1) for seq in seqs)
    return [each for some, seq in zip(found, seqs, strict=True) for each in some if each.seq == seq]


def read_acts(connection: Connection, before: int | None, limit: int) -> list[Enacted]:
    """Return the newest acts with a seq below `before`, newest first; damaged ones are left out."""
    rows = connection.execute(_NEWEST, (_LAST if before is None else before, limit)).fetchall()
    whole = [(seq, body) for seq, body, crc in rows if body and crc == _checksum(seq, body)]
    return [Enacted(seq, acts.decode(body)) for seq, body in whole]


def last_act(connection: Connection) -> int:
    """Return the seq of the newest act, 0 without any."""
    [[seq]] = connection.execute("SELECT coalesce(max(seq), 0) FROM act")
    return int(seq)


def _checksum(seq: int, body: bytes) -> int:
    return crc32(body, crc32(b"%d" % seq))
