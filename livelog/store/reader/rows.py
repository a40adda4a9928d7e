"""Messages in the store's file, read by position, seq or range; never written.

Every message is held against its checksum before it is handed on. A damaged one, and one that the
file should have but does not find, is a `Row` without payload: it has its place, so that readers
can be told of it, and is never delivered. Positions are dense, so that none goes missing in
silence.
"""

from __future__ import annotations

import logging
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from pyroaring import BitMap

from livelog.errors import RefusedError
from livelog.index.query import Query
from livelog.index.terms import message_in, terms_of_stored
from livelog.index.text import may_occur
from livelog.store.database.checksums import StoredRow, renew_snapshot, stored_rows
from livelog.store.database.connection import Connection
from livelog.store.database.erasure import erased_positions
from livelog.store.database.file import connect
from livelog.store.database.redaction import redacted_positions
from livelog.store.database.state import State, read_state
from livelog.wire import frames
from livelog.wire.record import Record
from livelog.wire.timestamps import parse_moment

_log = logging.getLogger(__name__)

DAMAGED = "damaged="
"""Key of a damaged message in the index: what it says is not known, so no filter rules it out."""

_GAPS = "SELECT position FROM message WHERE id = ''"
_POSITION_UPTO = "SELECT position FROM message WHERE seq <= ? ORDER BY seq DESC LIMIT 1"

_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Raised for a file that cannot be read; the second when SQLite quotes damaged text in an error."""

_SCRUBBED_PER_STEP = 200
_MAX_NOTED = 100_000
"""Damaged messages that are remembered, to be counted and to be found again quickly."""


_MAX_SEQ = 1 << 53
"""Above all seqs, which JavaScript has to tell apart."""


class Unreadable(Exception):
    """The store's file cannot be read."""


class Damage(NamedTuple):
    """Damaged messages in the store that have been found so far."""

    messages: int = 0
    first_seq: int = 0
    """Seq of the oldest, as far as it can be told; 0 without any."""


class Row(NamedTuple):
    """One message."""

    position: int
    seq: int
    """Of a damaged message it may be a little lower than it was, but lies above that before it."""
    payload: bytes
    """Empty for a damaged message."""

    def record(self) -> Record:
        """Make the record again that the log made of the message when it came in.

        That of a damaged message has an empty frame, and the key `DAMAGED`.
        """
        try:
            return self._record()
        except (ValueError, RefusedError):  # damaged before it had a checksum, if not now
            return Record(self.seq, "", "system", self.seq, (DAMAGED,), "", (), b"")

    def matches(self, query: Query) -> bool:
        """Tell whether it is asked for; a damaged one never is."""
        json = self.payload
        # As it is: to search in the bytes takes a tenth of the time that decoding takes.
        if not json or (json.isascii() and not all(may_occur(p, json) for p in query.phrases)):
            return False
        return query.matches(self.record())

    def _record(self) -> Record:
        # Any: what is stored has an id and a timestamp, which the types leave open.
        message: Any = message_in(self.payload)
        time = parse_moment(message.timestamp, "timestamp")
        tag = message.__struct_config__.tag
        return Record(
            self.seq, message.id, tag, time, *terms_of_stored(message), frames.text(self.payload)
        )


class Rows:
    """A connection to the file at `path`; every method raises `Unreadable` when reading fails."""

    def __init__(self, path: str, key: bytes) -> None:
        try:
            self._connection = connect(path, key)
        except _ERRORS as error:
            raise _unreadable(error) from error
        self._ask("PRAGMA query_only = 1")
        self._gaps: set[int] = set()
        """Positions of the gaps, which are no messages."""
        with suppress(Unreadable):  # the index by id is damaged
            self._gaps = {int(position) for [position] in self._ask(_GAPS)}
        self._void = BitMap()
        self._stale = BitMap()
        self.changed_upto = 0
        """Seq of the newest act whose messages are in `void` or `stale`."""
        self.refresh_changes()
        self._damaged: dict[int, int] = {}
        """Position → seq of damaged messages."""
        self._scrubbed_from = self.last_position + 1
        """Position from which on all messages have been checked or were written since."""

    @property
    def name(self) -> str:
        """Name of the log."""
        return self._state.name

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read from one snapshot: later writes and deletions are not seen.

        A damaged page ends it and begins another.
        """
        self._ask("BEGIN")
        try:
            self.refresh_changes()
            yield
        finally:
            with suppress(sqlite3.Error):  # it has been ended by an error
                self._connection.execute("ROLLBACK")

    def refresh_changes(self) -> None:
        """Note the messages that acts have changed since."""
        known = self.changed_upto
        redacted, erased = self.redacted_after(known), self.erased_after(known)
        self._void.update([position for position, _ in redacted])
        self._stale.update([position for position, _ in erased])
        self.changed_upto = max([known, *(act for _, act in (*redacted, *erased))])

    def redacted_after(self, act: int) -> list[tuple[int, int]]:
        """Return the positions of stubs of the acts above a seq, each with the seq of its act."""
        return self._changed(redacted_positions, act)

    def erased_after(self, act: int) -> list[tuple[int, int]]:
        """Return the same of the messages that have other terms since."""
        return self._changed(erased_positions, act)

    def _changed(
        self, positions: Callable[[Connection, int], list[tuple[int, int]]], act: int
    ) -> list[tuple[int, int]]:
        try:
            return positions(self._connection, act)
        except _ERRORS as error:
            raise _unreadable(error) from error

    def void(self, first: int, end: int) -> BitMap:
        """Return the positions of stubs from `first` to before `end`, counted from `first`."""
        return _between(self._void, first, end)

    def stale(self, first: int, end: int) -> BitMap:
        """Return the positions of messages whose terms the index may not have, in the same way."""
        return _between(self._stale, first, end)

    def renew_stale(self, act: int) -> None:
        """Note that the index has the terms of all messages as acts up to a seq have left them."""
        self._stale = BitMap([position for position, _ in self.erased_after(act)])

    @property
    def trimmed_upto(self) -> int:
        """Seq up to which messages have been trimmed; some of them may not be deleted yet."""
        return self._state.trimmed_upto

    @property
    def first_position(self) -> int:
        """Position of the oldest message that has not been trimmed."""
        return self.position_upto(self.trimmed_upto) + 1

    @property
    def damaged(self) -> set[int]:
        """Positions of the damaged messages found so far, and of the gaps, which are none."""
        return self._gaps | self._damaged.keys()

    @property
    def damage(self) -> Damage:
        """The damaged messages found so far, without those deleted since."""
        gone = self._state.deleted_upto
        seqs = [seq for position, seq in self._damaged.items() if position > gone]
        return Damage(len(seqs), min(seqs, default=0))

    def position_upto(self, seq: int) -> int:
        """Return the position of the newest message up to this seq, or the one before the first."""
        before, last = self._state.deleted_upto, self.last_position
        found = self._indexed_upto(seq, before)
        # The index may be damaged, too.
        if before <= found <= last and self._lies_between(found, seq, before, last):
            return found
        return before + bisect_right(range(before + 1, last + 1), seq, key=self.seq_at)

    def _indexed_upto(self, seq: int, before: int) -> int:
        """Return the position that the index of the seqs has, -1 if that cannot be read."""
        try:
            rows = self._ask(_POSITION_UPTO, seq)
        except Unreadable as unreadable:
            if isinstance(unreadable.__cause__, sqlite3.OperationalError):
                raise
            renew_snapshot(self._connection)
            return -1
        return int(rows[0][0]) if rows else before

    def _lies_between(self, found: int, seq: int, before: int, last: int) -> bool:
        """Tell whether `seq` lies between the message at `found` and the one behind it."""
        return (found == before or self.seq_at(found) <= seq) and (
            found == last or self.seq_at(found + 1) > seq
        )

    def seq_at(self, position: int) -> int:
        """Return the seq of the message at a position, 0 if there is none."""
        rows = self._read([position])
        return rows[0].seq if rows else 0

    def payload(self, position: int) -> bytes:
        """Return the message at a position, empty if there is none or it is damaged."""
        rows = self._read([position])
        return rows[0].payload if rows else b""

    def at(self, positions: Iterable[int]) -> list[Row]:
        """Return the messages at these positions, oldest first."""
        return self._read(sorted(positions))

    def after(self, position: int, limit: int) -> list[Row]:
        """Return the first `limit` messages behind a position."""
        first = max(position, self._state.deleted_upto) + 1
        return self._read(range(first, min(first + limit, self.last_position + 1)))

    def scrub(self) -> bool:
        """Check some of the messages that nobody has read; return False when there are none."""
        end = self._scrubbed_from
        first = max(self._state.deleted_upto + 1, end - _SCRUBBED_PER_STEP)
        self._read(range(first, end))
        self._scrubbed_from = min(first, end)
        return first < end

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def _state(self) -> State:
        try:
            return read_state(self._connection)
        except _ERRORS as error:
            raise _unreadable(error) from error

    @property
    def last_position(self) -> int:
        """Position of the newest message."""
        [[last]] = self._ask("SELECT coalesce(max(position), 0) FROM message")
        return int(last)

    def _read(self, positions: Sequence[int]) -> list[Row]:
        """Return the messages at these positions, but for those that are not or no longer there."""
        # In this order: while rows are read some may get their checksum, and some be deleted.
        unchecked_upto = self._state.unchecked_upto
        stored = self._stored(self._unknown(positions))
        intact = {
            at: Row(at, row.seq or 0, row.payload or b"")
            for at, row in stored.items()
            if row.intact(unchecked_upto)
        }
        if len(intact) == len(positions):
            return [intact[at] for at in positions]
        first, last = self._state.deleted_upto + 1, self.last_position
        there = [at for at in positions if at in intact or first <= at <= last]
        rows: list[Row] = []
        for at in there:
            before = rows[-1].seq if rows and rows[-1].position == at - 1 else 0
            seq = self._damaged_seq(at, stored.get(at), before) if at not in intact else 0
            rows.append(intact.get(at) or Row(at, seq, b""))
        return rows

    def _unknown(self, positions: Sequence[int]) -> Sequence[int]:
        """Return the positions without those known as damaged, which take long to read in vain.

        On a damaged page a row may be found in one way and not in another: once it was not, it
        counts as damaged.
        """
        if self._damaged.keys().isdisjoint(positions):
            return positions
        return [at for at in positions if at not in self._damaged]

    def _damaged_seq(self, position: int, row: StoredRow | None, before: int) -> int:
        """Note a damaged message; return its seq, or the lowest it may have had.

        `before` is the seq of the message before it, 0 if it is not known.
        """
        known = self._damaged.get(position)
        if known is None:
            known = (row.likely_seq() if row else 0) or (before or self._seq_before(position)) + 1
            self._note(position, known)
        return known

    def _seq_before(self, position: int) -> int:
        """Return the seq of the message before a position, less if it is damaged, too."""
        return self._seq_by_index(position - 1) or self._seq_by_neighbour(position)

    def _seq_by_index(self, position: int) -> int:
        """Return the seq at a position by the index of the seqs, 0 if that does not tell.

        A damaged inner page hides thousands of messages: nothing is found beside one of them.
        """
        before = self._state.deleted_upto

        def indexed(seq: int) -> int:
            return self._indexed_upto(seq, before)

        seq = bisect_left(range(_MAX_SEQ), position, key=indexed)
        return seq if indexed(seq) == position else 0

    def _seq_by_neighbour(self, position: int) -> int:
        """Return the seq before a position by the nearest message there, and note those between.

        Needed where the index of the seqs is damaged, too. That takes some 50 microseconds for each
        message between, in one piece, and only once.
        """
        state, found = self._state, 0
        skipped: list[int] = []
        for at in range(position - 1, state.deleted_upto, -1):
            row = self._stored([at]).get(at)
            seq = row.seq or 0 if row and row.intact(state.unchecked_upto) else 0
            found = seq or self._damaged.get(at) or (row.likely_seq() if row else 0)
            if found:
                break
            skipped.append(at)
        found = found or state.trimmed_upto
        for at in reversed(skipped):
            found += 1
            self._note(at, found)
        return found

    def _note(self, position: int, seq: int) -> None:
        if len(self._damaged) < _MAX_NOTED:
            self._damaged[position] = seq

    def _stored(self, positions: Sequence[int]) -> dict[int, StoredRow]:
        try:
            return stored_rows(self._connection, positions)
        except _ERRORS as error:
            raise _unreadable(error) from error

    def _ask(self, sql: str, *values: Any) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except _ERRORS as error:
            raise _unreadable(error) from error


def _between(positions: BitMap, first: int, end: int) -> BitMap:
    return (positions & BitMap(range(first, end))).shift(-first) if positions else BitMap()


def _unreadable(error: Exception) -> Unreadable:
    return Unreadable(f"the store cannot be read: {error}")
