"""Rows and segments of a store, as all answers read them, and what it costs to read a message.

What is looked for in them stands elsewhere: pages and analyses in `searches`, what readers that are
behind get in `chunks`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyroaring import BitMap

from livelog.index.plan import Steps
from livelog.store.reader.calls import CleanCall, DamageCall
from livelog.store.reader.openend import Part
from livelog.store.reader.rows import Damage, Row, Rows
from livelog.store.reader.segments import Segments

FETCHED_FIRST = 4
_FETCHED_BYTES = 256 << 10
"""Messages that are read first one after the other, and bytes of those that follow, about."""

FETCHED_AT_ONCE = 64
"""Messages that are read from the file together; each may have 64 KiB."""

ROW_COST = 2048
_LARGE_ROW_COST = 16 << 10
"""What it costs to read a message, in bytes of its text, and that of one that takes long."""


class Stored:
    """The rows of a store and their index."""

    def __init__(self, rows: Rows, segments: Segments, rests_until: float) -> None:
        self.rows = rows
        self.segments = segments
        """The index; an empty one, in the place of the real one, until that is begun."""
        self.rests_until = rests_until
        """When it is begun, in seconds of `perf_counter`; 0 once it has been."""

    def rows_from(self, position: int) -> Iterator[Row]:
        """Read all messages from a position on, some at a time: many calls hold on to theirs."""
        count = FETCHED_FIRST
        while rows := self.rows.after(position - 1, count):
            yield from rows
            position = rows[-1].position + 1
            count = as_many_as_fit([row.payload for row in rows])

    def rows_at(self, part: Part, found: BitMap) -> Iterator[Row]:
        """Read the messages of a part at the places that were found in it, in their order."""
        for start in range(0, len(found), FETCHED_AT_ONCE):
            yield from self.rows.at(
                [part.first + place for place in found[start : start + FETCHED_AT_ONCE]]
            )

    def damage(self, call: DamageCall) -> Steps[Damage]:
        """Return the damage found so far."""
        yield
        return self.rows.damage

    def clean(self, call: CleanCall) -> Steps[bool]:
        """Tell whether the index has nothing any more of what was redacted."""
        yield
        return self.segments.is_clean


def as_many_as_fit(read: list[bytes]) -> int:
    """Return how many messages to read together, by the size of others."""
    size = sum(map(len, read)) // len(read)
    return max(1, min(FETCHED_AT_ONCE, _FETCHED_BYTES // max(1, size)))


def cost(row: Row) -> int:
    """Return what it costs to read a message, in bytes of its text."""
    return ROW_COST + len(row.payload)


def pauses_behind(row: Row) -> bool:
    """Tell whether a step ends behind this message, where all are read one by one."""
    return cost(row) > _LARGE_ROW_COST or row.position % FETCHED_AT_ONCE == 0
