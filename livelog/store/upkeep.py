"""Upkeep of the database by the writing thread, in small steps between commits.

The file says now and then up to which seq its server may have given out any: after a crash new seqs
begin above. Retention deletes what is too old. The write-ahead log is written back and emptied
before it grows large, which needs a moment in which nobody reads: SQLite's own checkpoints do not
wait for one. And rows of format 1 get their checksums, newest first.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import msgspec

from livelog.store.age import Age
from livelog.store.database import file
from livelog.store.database.acts import write_act
from livelog.store.database.checksums import StoredRow, checksum, stored_rows
from livelog.store.database.connection import Connection
from livelog.store.database.erasure import erase
from livelog.store.database.file import Contents
from livelog.store.database.place import Place
from livelog.store.database.redaction import is_unscrubbed, note_scrubbed, redact
from livelog.store.database.state import State, write_state
from livelog.wire.acts import Enacted, Erase, Redact
from livelog.wire.seqclock import HOUR, SeqClock

_log = logging.getLogger(__name__)

_STEP_ROWS = 500
"""Rows that are deleted or given a checksum in one step: some 10 milliseconds."""

_TRIM_SECONDS = 1.0

_ALIVE_EVERY = HOUR // 2
"""Microseconds between two signs of life while nothing is written."""

_ALIVE_SECONDS = 1.0
"""Seconds between two while messages are: by them an older copy of the file is told from it."""

_SCRUB_SECONDS = 0.1
"""Seconds between two attempts to empty the write-ahead log of what was redacted."""

_WAL_WAIT_SECONDS = 0.2
"""Seconds that the write-ahead log's readers are waited for."""

_WAL_LARGE_BYTES = 64 * 2**20
"""Size of the write-ahead log from which on its growth is logged."""

_SET_CHECKSUMS = """
    UPDATE message SET checksum = value ->> 1 FROM json_each(?) WHERE position = value ->> 0
"""


class Retention(NamedTuple):
    """Bounds of what is kept: the newest `messages`, those of the last `days`; 0 is no bound."""

    messages: int = 0
    days: float = 0.0


class Upkeep:
    """Owns the state of the log in the file. All methods raise `sqlite3.Error`.

    `trimmed` is called with the seq up to which messages are given up, before they go.
    """

    def __init__(
        self,
        connection: Connection,
        contents: Contents,
        retention: Retention,
        clock: Callable[[], float],
        seqs: SeqClock,
        place: Place,
        trimmed: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self.last_position = contents.last_position
        self.last_seq = contents.last_seq
        self._seqs = seqs
        self._age = Age(connection, retention.days, contents.state.clocked_upto, clock)
        self._state = contents.state
        self._retention = retention
        self._place = place
        self._trimmed = trimmed
        self._trim_due = 0.0
        self._alive_due = 0.0
        self._leftover = contents.trimmed_upto > 0
        """Rows that were given up may still be in the file."""
        self.unscrubbed = is_unscrubbed(connection)
        """What acts have taken away may still be in the write-ahead log."""
        self._check_due = 0.0
        self._wal_due = 0.0
        self._wal_is_large = False
        self._say_alive()

    @property
    def trimmed_upto(self) -> int:
        """Seq up to which messages have been given up."""
        return self._state.trimmed_upto

    def pause(self) -> float:
        """Return the seconds until there is something to do."""
        if self._leftover:
            return 0.0
        if self.unscrubbed:
            return _SCRUB_SECONDS
        if self._state.unchecked_upto:
            return min(max(0.0, self._check_due - time.monotonic()), _TRIM_SECONDS)
        return _TRIM_SECONDS

    def step(self, *, idle: bool) -> None:
        """Do a little of each; `idle` when nothing waits to be written."""
        self._say_alive()
        self._age.note(self.last_seq)
        self.trim()
        if self._state.unchecked_upto and time.monotonic() >= self._check_due:
            began = time.monotonic()
            self._fill_in()
            self._check_due = 2 * time.monotonic() - began  # at most half of the time
        if self.unscrubbed:
            self._scrub()
        self._bound_wal(file.WAL_KEPT_BYTES // 4 if idle else file.WAL_KEPT_BYTES)

    def begin(self, began: int, trimmed_upto: int) -> None:
        """Write at which seq the log begins, in a file without messages."""
        self._write_state(self._state._replace(began=began, trimmed_upto=trimmed_upto))

    def enact(self, enacted: Enacted) -> None:
        """Write an act. It is answered before what it has changed is written back, by `_scrub`."""
        with self._without_checkpoints(), self._transaction():
            # Messages first: where one cannot be read, the transaction begins anew behind it.
            if isinstance(enacted.act, Redact):
                redact(self._connection, enacted)
            elif isinstance(enacted.act, Erase):
                erase(self._connection, enacted)
            write_act(self._connection, enacted)
        self.last_seq = enacted.seq
        self.unscrubbed = True

    def end(self) -> None:
        """Write what the next server has to know."""
        self._age.save()

    # Retention.

    def trim(self) -> None:
        """Give up and delete a few of the oldest messages; that may free some of the disk."""
        now = time.monotonic()
        if now >= self._trim_due:
            self._trim_due = now + _TRIM_SECONDS
            cut = self._cut()
            if cut > self.trimmed_upto:
                self._leftover = True
                self._write_state(self._state._replace(trimmed_upto=cut))
                self._trimmed(cut)
        if self._leftover:
            self._leftover = False  # also if it fails: until there is more
            self._leftover = self._delete_some()

    def _delete_some(self) -> bool:
        """Delete the next rows that have been given up; return False when there are none."""
        upto = self._deletable_upto()
        if upto == self._state.deleted_upto:
            return False
        with self._transaction():
            self._connection.execute("DELETE FROM message WHERE position <= ?", (upto,))
            self._connection.execute("DELETE FROM redacted WHERE position <= ?", (upto,))
            self._connection.execute("DELETE FROM erased WHERE position <= ?", (upto,))
            self._age.forget(self.trimmed_upto)
            self._write_state(self._state._replace(deleted_upto=upto))
        return True

    def _deletable_upto(self) -> int:
        """Return the position of an intact row that has been given up, and all before it with it.

        A damaged one could have the seq of another. The newest row stays, for positions go on from
        it.
        """
        deleted, span = self._state.deleted_upto, _STEP_ROWS
        while True:
            positions = range(deleted + 1, min(deleted + span + 1, self.last_position))
            rows = self._intact(positions)
            given_up = [row.position for row in rows if (row.seq or 0) <= self.trimmed_upto]
            if rows or positions.stop >= self.last_position:
                return max(given_up, default=deleted)
            span *= 2  # all of them are damaged

    def _cut(self) -> int:
        """Return the seq up to which messages are to be given up."""
        upto = self.trimmed_upto
        if self._retention.messages:
            oldest = self.last_position - self._retention.messages
            upto = max(upto, self._seq_before(oldest))
        if too_old := self._age.cut():
            row = self._connection.execute(
                "SELECT position FROM message WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (too_old,)
            ).fetchone()
            seq = self._seq_before(row[0]) if row else 0
            upto = max(upto, seq if seq <= too_old else 0)
        return upto

    def _seq_before(self, position: int) -> int:
        """Return the seq of the newest intact row up to a position, 0 without one nearby."""
        rows = self._intact(range(max(self._state.deleted_upto + 1, position), position + 1))
        if not rows and position > self._state.deleted_upto:
            first = max(self._state.deleted_upto + 1, position - _STEP_ROWS)
            rows = self._intact(range(first, position))
        return max((row.seq or 0 for row in rows), default=0)

    def _intact(self, positions: range) -> list[StoredRow]:
        found = stored_rows(self._connection, positions).values()
        return [row for row in found if row.intact(self._state.unchecked_upto)]

    def _say_alive(self) -> None:
        """Write up to which seq any may have been given out by now."""
        now, here = max(self._seqs.now(), self.last_seq), time.monotonic()
        is_new = self.last_seq > self._state.alive and here >= self._alive_due
        if is_new or now >= self._state.alive + _ALIVE_EVERY:
            self._alive_due = here + _ALIVE_SECONDS
            # Tried again: another program may hold the file, or the disk be full.
            with suppress(sqlite3.OperationalError):
                self._write_state(self._state._replace(alive=now))

    # Checksums of rows that were written in format 1.

    def _fill_in(self) -> None:
        """Give the next rows their checksums; those that are damaged as it is get none."""
        upto = self._state.unchecked_upto
        first = max(self._state.deleted_upto, upto - _STEP_ROWS)
        rows = [row for row in self._intact(range(first + 1, upto + 1)) if row.checksum is None]
        sums = [
            (row.position, checksum(row.position, row.seq or 0, row.id or b"", row.payload or b""))
            for row in rows
        ]
        remaining = 0 if first == self._state.deleted_upto else first
        passed = self._state._replace(unchecked_upto=remaining)
        try:
            with self._transaction():
                self._connection.execute(_SET_CHECKSUMS, (msgspec.json.encode(sums),))
                self._write_state(passed)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # a damaged page: what is on it stays without
            self._write_state(passed)

    # The write-ahead log.

    def write_back(self) -> None:
        """Write back what the write-ahead log has, as far as its readers allow."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _scrub(self) -> None:
        """Write back and empty the write-ahead log, unless somebody reads it: then again soon."""
        if self._truncate_wal(0.0):
            with self._transaction():
                note_scrubbed(self._connection, self.last_seq)
            self.unscrubbed = False

    def _truncate_wal(self, wait: float) -> bool:
        """Write back and empty the write-ahead log; return whether that was possible."""
        self._connection.execute(f"PRAGMA busy_timeout = {round(wait * 1000)}")
        try:
            checkpoint = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            [[busy, _, _]] = checkpoint.fetchall()
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {round(file._BUSY_SECONDS * 1000)}")
        self._place.overwritten()  # it sees what the checkpoint has changed, and not later
        return not busy

    def _bound_wal(self, bound: int) -> None:
        """Write back and empty the write-ahead log if it is larger than `bound` bytes."""
        size, now = self._place.wal_bytes(), time.monotonic()
        if size <= bound or now < self._wal_due:
            return
        busy = not self._truncate_wal(_WAL_WAIT_SECONDS)
        if busy:
            self._wal_due = now + _TRIM_SECONDS
        large = busy and size > _WAL_LARGE_BYTES
        if large and not self._wal_is_large:
            issue = "the write-ahead log has %d MB: another program reads the store without a pause"
            _log.warning(issue, size >> 20)
        self._wal_is_large = large

    def _write_state(self, state: State) -> None:
        self._place.note(state)
        write_state(self._connection, state)
        self._state = state

    @contextmanager
    def _without_checkpoints(self) -> Iterator[None]:
        """Keep SQLite from writing back what the write-ahead log has at the end of a commit."""
        [[pages]] = self._connection.execute("PRAGMA wal_autocheckpoint")
        self._connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        try:
            yield
        finally:
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit at the end, or change neither the file nor the state."""
        state = self._state
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._state = state
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
