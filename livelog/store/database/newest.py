"""Look-ups at the end of a store, for a server that goes on behind it."""

from __future__ import annotations

from livelog.store.database.checksums import stored_rows
from livelog.store.database.connection import Connection

_NEWEST = "SELECT position FROM message WHERE seq <= ? ORDER BY seq DESC LIMIT ?"
_GAP = "SELECT coalesce(max(seq), 0) FROM message WHERE id = ''"


def newest_ids(
    connection: Connection, upto: int, limit: int, unchecked_upto: int
) -> list[tuple[int, str]]:
    """Return seq and id of the newest messages with a seq of at most `upto`, newest first.

    Damaged ones, and gaps, are left out. Rows up to a position have no checksum.
    """
    positions = [row[0] for row in connection.execute(_NEWEST, (upto, limit)).fetchall()]
    rows = stored_rows(connection, positions).values() if positions else ()
    whole = [row for row in rows if row.id and row.intact(unchecked_upto)]
    return sorted(((row.seq or 0, (row.id or b"").decode()) for row in whole), reverse=True)


def last_gap(connection: Connection) -> int:
    """Return the seq of the newest row that stands for messages which are lost; 0 without."""
    [[seq]] = connection.execute(_GAP)
    return int(seq)
