"""The writing thread: commits the queued records, and reports when they are safe.

One commit is one SQL statement, whatever it holds: the rows are cut out of one long value inside
SQLite, which runs without the interpreter lock, so that the loop goes on meanwhile. What cannot be
written (a full disk) stays in the queue and is tried again; until it is in, nothing new is taken.
Retention is the work of the same thread, in small steps between commits.

Each `done` is called exactly once. When a commit fails, every publisher in the queue is told so,
once, and its records wait on: they are delivered, so they are written when that is possible.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from itertools import accumulate, takewhile
from typing import NamedTuple

import msgspec

from livelog.errors import SERVER_ERROR, RefusedError
from livelog.store.base import Done
from livelog.store.database.connection import Connection, changed
from livelog.store.database.file import Contents
from livelog.wire import frames
from livelog.wire.record import Record

_log = logging.getLogger(__name__)

_INSERT = """
    INSERT INTO message(position, seq, id, payload)
    SELECT ? + key, value ->> 0, value ->> 1, CAST(substr(?, value ->> 2, value ->> 3) AS TEXT)
    FROM json_each(?)
"""
# The newest row stays, so that positions go on from it.
_TRIM = """
    DELETE FROM message
    WHERE position < (SELECT min(min(position) + 500, max(position)) FROM message) AND seq <= ?
"""

_COMMIT_RECORDS = 5000
"""Records in one statement, at most; some 50 milliseconds."""

_PENDING_BYTES = 64 * 2**20
"""Bytes that may wait to be written before publishers are told to wait."""

_STALL_SECONDS = 10.0
"""Seconds that a commit may take before publishers are told to wait."""

_RETRY_SECONDS = 1.0

_TRIM_SECONDS = 1.0
_DAY = 86_400_000_000


class Retention(NamedTuple):
    """Bounds of what is kept: the newest `messages`, those of the last `days`; 0 is no bound."""

    messages: int = 0
    days: float = 0.0


class _Entry(NamedTuple):
    records: Sequence[Record]
    done: Done
    size: int


class Writer:
    """Owns the connection that writes. `call` runs a function in the loop's thread.

    `trimmed` is called there with the seq up to which messages are given up, before they go.
    """

    def __init__(
        self,
        connection: Connection,
        contents: Contents,
        retention: Retention,
        clock: Callable[[], float],
        call: Callable[[Callable[[], None]], object],
        trimmed: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._last_position = contents.last_position
        self._trimmed_upto = contents.trimmed_upto
        self._retention = retention
        self._clock = clock
        self._call = call
        self._trimmed = trimmed
        self._trim_due = 0.0
        self._leftover = contents.trimmed_upto > 0
        """Rows that were given up may still be in the file."""
        # Shared by both threads: the queue, and how the writing goes.
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []
        self._pending_bytes = 0
        """Size of the frames that are not written, those of the commit under way included."""
        self._work = threading.Event()
        self._stop = threading.Event()
        self._failure = ""
        """The error of the last commit, empty when it went well."""
        self._commit_began = 0.0
        """Monotonic time at which the commit under way began, 0 without one."""
        self._thread = threading.Thread(target=self._run, name="livelog-writer", daemon=True)
        self._thread.start()

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Put `records` into the queue; `done` is called in the loop's thread."""
        entry = _Entry(records, done, sum(len(record.frame) for record in records))
        if self._stop.is_set():  # the thread may have ended
            self._tell([entry], _stopping())
            return
        with self._lock:
            self._waiting.append(entry)
            self._pending_bytes += entry.size
        self._work.set()

    def refusal(self) -> RefusedError | None:
        """Return why nothing more can be taken now."""
        if self._stop.is_set():
            return _stopping()
        if self._failure:
            return _refused(f"the store cannot be written to: {self._failure}")
        began = self._commit_began  # read once: the thread may end its commit at any moment
        slow = began and time.monotonic() - began > _STALL_SECONDS
        if slow or self._pending_bytes > _PENDING_BYTES:
            return _refused("the store is behind with writing")
        return None

    @property
    def pending_bytes(self) -> int:
        """Bytes of frames that are not written yet."""
        return self._pending_bytes

    def end(self) -> None:
        """Take nothing more; the queue is written, if that can be done."""
        self._stop.set()
        self._work.set()

    def close(self) -> None:
        """End, and wait until all is written."""
        self.end()
        self._thread.join()
        self._connection.close()

    # In the thread.

    def _run(self) -> None:
        while True:
            if not (self._leftover or self._waiting):
                self._work.wait(_TRIM_SECONDS)
            self._work.clear()
            stopping = self._stop.is_set()
            if entries := self._taken():
                self._write(entries)
            elif stopping:
                return
            self._guarded_trim()

    def _taken(self) -> list[_Entry]:
        """Take the first entries of the queue, as many as one statement may hold."""
        with self._lock:
            counts = accumulate(len(entry.records) for entry in self._waiting)
            taken = max(
                1, sum(1 for _ in takewhile(lambda count: count <= _COMMIT_RECORDS, counts))
            )
            entries, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return entries

    def _warned(self) -> list[_Entry]:
        """Return all of the queue, to be told that they wait; they are told nothing later."""
        with self._lock:
            entries = self._waiting
            self._waiting = [entry._replace(done=_told_already) for entry in entries]
        return entries

    def _write(self, entries: list[_Entry]) -> None:
        """Commit `entries`, again and again if need be, and tell their publishers."""
        records = [record for entry in entries for record in entry.records]
        untold = list(entries)
        self._commit_began = time.monotonic()
        while failure := self._commit(records):
            if not self._failure:
                _log.error("the store cannot be written to: %s", failure)
            self._failure = failure
            untold += self._warned()
            self._tell(untold, _refused(f"delivered, but not stored yet: {failure}"))
            untold = []
            self._guarded_trim()  # which may free some of the disk
            if self._stop.wait(_RETRY_SECONDS):
                self._give_up(entries)
                return
        if self._failure:
            _log.warning("the store can be written to again")
        self._failure, self._commit_began = "", 0.0
        with self._lock:
            self._pending_bytes -= sum(entry.size for entry in entries)
        self._tell(untold, None)

    def _give_up(self, entries: list[_Entry]) -> None:
        """Write neither `entries` nor what comes after them: the log has no holes."""
        with self._lock:
            after, self._waiting = self._waiting, []
            self._pending_bytes = 0
        self._tell(after, _stopping())
        count = sum(len(entry.records) for entry in entries + after)
        _log.error("%d messages could not be written to the store", count)

    def _tell(self, entries: list[_Entry], outcome: RefusedError | None) -> None:
        def tell() -> None:
            for done in waiting:
                try:
                    done(outcome)
                except Exception:  # the others have to be told all the same
                    _log.exception("a publisher could not be told")

        waiting = [entry.done for entry in entries]
        self._call(tell)

    def _commit(self, records: list[Record]) -> str:
        """Write `records` in one go; return what went wrong, and then nothing is written."""
        spans, end = [], 1  # SQL counts from 1
        for record in records:
            head = frames.head_size(record.frame)
            spans.append((record.seq, record.id, end + head, len(record.frame) - head))
            end += len(record.frame)
        data = b"".join([record.frame for record in records])
        try:
            self._connection.execute(
                _INSERT, (self._last_position + 1, data, msgspec.json.encode(spans))
            )
        except Exception as error:  # whatever it is, this thread has to go on
            return str(error) or type(error).__name__
        self._last_position += len(records)
        return ""

    def _guarded_trim(self) -> None:
        try:
            self._trim()
        except sqlite3.Error as error:
            self._leftover = False  # until there is more
            if not self._failure:  # which has been logged
                _log.error("old messages could not be deleted: %s", error)

    def _trim(self) -> None:
        now = time.monotonic()
        if now >= self._trim_due:
            self._trim_due = now + _TRIM_SECONDS
            cut = self._cut()
            if cut > self._trimmed_upto:
                self._leftover = True
                self._connection.execute("UPDATE log SET trimmed_upto = ?", (cut,))
                self._trimmed_upto = cut
                self._call(lambda: self._trimmed(cut))
        if self._leftover:
            self._connection.execute(_TRIM, (self._trimmed_upto,))
            self._leftover = changed(self._connection) > 0

    def _cut(self) -> int:
        """Return the seq up to which messages are to be given up."""
        upto = self._trimmed_upto
        if self._retention.messages:
            oldest = self._last_position - self._retention.messages
            upto = max(upto, self._seq("position = ?", oldest))
        if self._retention.days:
            moment = int(self._clock() * 1_000_000 - self._retention.days * _DAY)
            upto = max(upto, self._seq("seq < ? ORDER BY seq DESC LIMIT 1", moment))
        return upto

    def _seq(self, condition: str, value: int) -> int:
        row = self._connection.execute(
            f"SELECT seq FROM message WHERE {condition}", (value,)
        ).fetchone()
        return int(row[0]) if row else 0

    def _check(self) -> None:
        """Assert that the books agree with the file; to be called while nothing is written."""
        with self._lock:
            assert self._pending_bytes == sum(entry.size for entry in self._waiting)
        [[last, count, first]] = self._connection.execute(
            "SELECT max(position), count(*), min(position) FROM message"
        )
        if count:
            assert (last, count) == (self._last_position, last - first + 1)
        [[trimmed_upto]] = self._connection.execute("SELECT trimmed_upto FROM log")
        assert trimmed_upto >= self._trimmed_upto  # the thread may be in between


def _told_already(refused: RefusedError | None) -> None:
    """Do nothing: the publisher has had its answer."""


def _stopping() -> RefusedError:
    return _refused("the server is stopping")


def _refused(issue: str) -> RefusedError:
    return RefusedError(SERVER_ERROR, "", issue, retry_after=_RETRY_SECONDS)
