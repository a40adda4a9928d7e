"""Retention by age: when messages arrived, and whether the clock that says so can be believed.

A seq is no time: it stays behind a clock that jumps ahead. So the store notes every ten minutes
which seq it had come to when. Messages up to a note are as old as it says, or older.

A clock that is wrong for a moment would make everything too old at once, and what is deleted is
gone. So nothing is given up in the first minutes, nor for an hour after the wall clock has taken a
step against the monotonic one, which nobody sets. What came since the start is as old as the
monotonic clock says: its notes are set along with the wall clock.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from zlib import crc32

import msgspec

from livelog.store.database.connection import Connection

_log = logging.getLogger(__name__)

FIRST_CUT_SECONDS = 600.0
"""Seconds after the start in which nothing is given up for its age."""

_STEP_SECONDS = 60.0
"""Difference between the clocks, since they were last compared, that is a step."""

_SUSPENDED_SECONDS = 3600.0

_NOTED_EVERY = 600 * 1_000_000
"""Microseconds between two notes: retention by age is as exact."""

_DAY = 86_400_000_000

_SET_NOTES = """
    INSERT OR REPLACE INTO arrival SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)
"""


class Note(NamedTuple):
    """The time at which the newest message had this seq."""

    seq: int
    time: int
    """Microseconds since 1970."""
    checksum: int

    def intact(self) -> bool:
        """Tell whether it is as it was written."""
        return self.checksum == _checksum(self.seq, self.time)


def notes(connection: Connection, upto: int = 2**63 - 1) -> Iterator[Note]:
    """Yield the notes up to a time, newest first."""
    found = connection.execute(
        "SELECT seq, time, checksum FROM arrival WHERE time <= ? ORDER BY seq DESC", (upto,)
    )
    return (Note(*values) for values in found)


class Age:
    """The ages of the messages in a file. All methods raise `sqlite3.OperationalError`.

    Where the notes are damaged nothing is too old. `clocked_upto` is the seq up to which seqs are
    times: those of earlier versions.
    """

    def __init__(
        self,
        connection: Connection,
        days: float,
        clocked_upto: int,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._days = days
        self._clocked_upto = clocked_upto
        self._clock = clock
        self._monotonic = monotonic
        self._damaged = False
        self._noted = (0, 0)
        """The newest note: a seq, and the time in microseconds."""
        with self._told_of_damage():
            newest = next((note for note in notes(connection) if note.intact()), None)
            self._noted = (newest.seq, newest.time) if newest else self._noted
        self._earlier = self._noted
        """The newest note of an earlier process."""
        self._latest = self._noted
        """The next note: the newest seq, and when it came."""
        self._offset = clock() - monotonic()
        self._believed_from = monotonic() + FIRST_CUT_SECONDS

    def note(self, seq: int) -> None:
        """Note that the store has come to `seq`; called at least once a second."""
        self._compare_clocks()
        now = max(int(self._clock() * 1_000_000), self._latest[1])
        if now - self._noted[1] >= _NOTED_EVERY:
            self.save()
        if seq > self._latest[0]:
            self._latest = (seq, now)

    def save(self) -> None:
        """Write the next note, if there is one."""
        if self._latest > self._noted:
            self._write_note()

    def cut(self) -> int:
        """Return a seq up to which all messages are too old; 0 when there are none."""
        self._compare_clocks()
        if not self._days or self._monotonic() < self._believed_from:
            return 0
        moment = int(self._clock() * 1_000_000 - self._days * _DAY)
        with self._told_of_damage():
            noted = (note.seq for note in notes(self._connection, moment) if note.intact())
            return max(next(noted, 0), min(self._clocked_upto, moment))
        return 0

    def forget(self, upto: int) -> None:
        """Delete the notes up to a seq, where there are no messages any more."""
        with self._told_of_damage():
            self._connection.execute("DELETE FROM arrival WHERE seq <= ?", (upto,))

    def _write_note(self) -> None:
        # Again with the next call, where another program holds the file or the disk is full.
        with suppress(sqlite3.OperationalError), self._told_of_damage():
            values = (*self._latest, _checksum(*self._latest))
            self._connection.execute("INSERT OR REPLACE INTO arrival VALUES (?, ?, ?)", values)
            self._noted = self._latest

    @contextmanager
    def _told_of_damage(self) -> Iterator[None]:
        """Go on after damage, which is logged once."""
        try:
            yield
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            if not self._damaged:
                _log.error("the times of arrival are damaged, nothing ages: %s", error)
            self._damaged = True

    def _compare_clocks(self) -> None:
        offset = self._clock() - self._monotonic()
        step = offset - self._offset
        if abs(step) > _STEP_SECONDS:
            self._believed_from = max(self._believed_from, self._monotonic() + _SUSPENDED_SECONDS)
            self._set_notes(int(step * 1_000_000))
            if self._days:
                issue = "the clock was set by %+.0f s: retention by age waits for an hour"
                _log.warning(issue, step)
        self._offset = offset

    def _set_notes(self, step: int) -> None:
        """Set the notes since the start by `step`; they lie between the earlier ones and now."""
        first, at_least = self._earlier
        now = int(self._clock() * 1_000_000)

        def moved(seq: int, at: int) -> tuple[int, int]:
            return seq, max(min(at + step, now), at_least) if seq > first else at

        with self._told_of_damage():
            found = [note for note in notes(self._connection) if note.seq > first and note.intact()]
            rows = [(*note, _checksum(*note)) for note in (moved(*note[:2]) for note in found)]
            self._connection.execute(_SET_NOTES, (msgspec.json.encode(rows),))
        self._noted, self._latest = moved(*self._noted), moved(*self._latest)


def _checksum(seq: int, at: int) -> int:
    return crc32(b"%d %d" % (seq, at))
