"""The table of acts: what has changed messages, outside of their own table.

Positions of messages are dense, so that counting is a subtraction; acts have none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar
from zlib import crc32

import msgspec

from livelog.errors import ConfigError
from livelog.store.database.connection import Connection
from livelog.wire import acts
from livelog.wire.acts import MAX_KEPT, Brief, Enacted

_log = logging.getLogger(__name__)

Decoded = TypeVar("Decoded")

_INSERT = "INSERT INTO act(seq, body, checksum) VALUES (?, CAST(? AS TEXT), ?)"
_FORGET = """
    DELETE FROM act WHERE seq <= (SELECT seq FROM act ORDER BY seq DESC LIMIT 1 OFFSET ?)
"""
_NEWEST = """
    SELECT CAST(seq AS INTEGER), CAST(body AS BLOB), CAST(checksum AS INTEGER) FROM act
    WHERE seq < ? ORDER BY seq DESC LIMIT ?
"""
_REPETITIONS = """
    SELECT CAST(seq AS INTEGER), CAST(body AS BLOB), CAST(checksum AS INTEGER) FROM act
    WHERE seq > ? AND instr(body, '"first_seq":')
"""
_NEXT = """
    SELECT CAST(seq AS INTEGER), CAST(body AS BLOB), CAST(checksum AS INTEGER) FROM act
    WHERE seq > ? ORDER BY seq LIMIT 16
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


def acts_at(connection: Connection, first_seqs: Collection[int]) -> list[Enacted]:
    """Return the acts that were placed first at these seqs, as far as they are there and whole.

    A server may have only their repetitions, which stand elsewhere and are looked for one by one.
    """
    newest = (read_acts(connection, seq + 1, 1) for seq in first_seqs)
    found = [
        one for some, seq in zip(newest, first_seqs, strict=True) for one in some if one.seq == seq
    ]
    missing = {*first_seqs}.difference(one.seq for one in found)
    if missing:
        rows = connection.execute(_REPETITIONS, (min(missing),)).fetchall()
        repeated = [Enacted(seq, acts.decode(body)) for seq, body in _whole(rows, set())]
        found += [one for one in repeated if one.first_seq in missing]
    return found


def read_acts(
    connection: Connection, before: int | None, limit: int, damaged: set[int] | None = None
) -> list[Enacted]:
    """Return the newest acts with a seq below `before`, newest first; damaged ones are left out.

    Their seqs are noted in `damaged`. Raises `ConfigError` for an act of a later version.
    """
    return [
        Enacted(seq, _decoded(seq, acts.decode, body))
        for seq, body in _bodies(connection, before, limit, damaged)
    ]


def read_briefs(
    connection: Connection, before: int | None, limit: int, damaged: set[int] | None = None
) -> list[Brief]:
    """Return the same acts without the messages that they name. Raises the same."""
    return [
        _decoded(seq, partial(acts.decode_brief, seq), body)
        for seq, body in _bodies(connection, before, limit, damaged)
    ]


def _decoded(seq: int, decode: Callable[[bytes], Decoded], body: bytes) -> Decoded:
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        issue = f"the act of a moderator at seq {seq} is not understood: {error}"
        raise ConfigError(f"{issue}; a later version of livelog has written it") from None


def _bodies(
    connection: Connection, before: int | None, limit: int, damaged: set[int] | None
) -> list[tuple[int, bytes]]:
    """Return so many acts, whatever number of damaged ones is between them."""
    found: list[tuple[int, bytes]] = []
    noted = set[int]() if damaged is None else damaged
    last, lacking = _LAST if before is None else before, limit
    while lacking:
        rows = connection.execute(_NEWEST, (last, lacking)).fetchall()
        found += _whole(rows, noted)
        if len(rows) < lacking:
            break
        last, lacking = rows[-1][0], limit - len(found)
    return found


def damaged_acts(connection: Connection) -> Iterator[int]:
    """Yield the seqs of the acts that do not fit their checksum."""
    seq = -1
    while rows := connection.execute(_NEXT, (seq,)).fetchall():
        for row in rows:
            if not _is_whole(*row):
                yield int(row[0])
        seq = rows[-1][0]


def _whole(rows: list[tuple[Any, ...]], damaged: set[int]) -> list[tuple[int, bytes]]:
    """Return the acts that are whole; the others are noted, and logged once each."""
    for row in rows:
        if not _is_whole(*row) and row[0] not in damaged:
            damaged.add(row[0])
            _log.error("the act of a moderator at seq %s is damaged, and not in force", row[0])
    return [(seq, body) for seq, body, crc in rows if _is_whole(seq, body, crc)]


def _is_whole(seq: int, body: bytes | None, crc: int | None) -> bool:
    return bool(body) and crc == _checksum(seq, body or b"")


def last_act(connection: Connection) -> int:
    """Return the seq of the newest act, 0 without any."""
    [[seq]] = connection.execute("SELECT coalesce(max(seq), 0) FROM act")
    return int(seq)


def _checksum(seq: int, body: bytes) -> int:
    return crc32(body, crc32(b"%d" % seq))
