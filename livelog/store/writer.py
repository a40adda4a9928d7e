"""The writing thread: commits the queued records, and reports when they are safe.

One commit is one SQL statement, whatever it holds: the rows are cut out of one long value inside
SQLite, which runs without the interpreter lock, so that the loop goes on meanwhile. What cannot be
written (a full disk) stays in the queue and is tried again; until it is in, nothing new is taken.
The same goes for what was written to a file that is no longer in its place. Upkeep is the work of
the same thread, in small steps between commits.

Each `done` is called exactly once. When a commit fails, every publisher in the queue is told so,
once, and its records wait on: they are delivered, so they are written when that is possible.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate, takewhile
from typing import NamedTuple

import msgspec

from livelog.errors import SERVER_ERROR, RefusedError
from livelog.store.base import Done
from livelog.store.database.checksums import checksum
from livelog.store.database.connection import Connection
from livelog.store.database.file import Contents
from livelog.store.database.place import Place
from livelog.store.database.state import read_state
from livelog.store.upkeep import Retention, Upkeep
from livelog.wire import frames
from livelog.wire.acts import Enacted
from livelog.wire.record import Record
from livelog.wire.seqclock import SeqClock

_log = logging.getLogger(__name__)

_INSERT = """
    INSERT INTO message(position, seq, id, payload, checksum)
    SELECT ? + key, value ->> 0, value ->> 1, CAST(substr(?, value ->> 2, value ->> 3) AS TEXT),
        value ->> 4
    FROM json_each(?)
"""

_COMMIT_RECORDS = 5000
"""Records in one statement, at most; some 50 milliseconds."""

_COMMIT_BYTES = 8 * 2**20
"""Bytes of their frames, at most, unless one publisher's are more: the write-ahead log holds them.
"""

_PENDING_BYTES = 64 * 2**20
"""Bytes that may wait to be written before publishers are told to wait."""

_STALL_SECONDS = 10.0
"""Seconds that a commit may take before publishers are told to wait."""

_RETRY_SECONDS = 1.0


class _Entry(NamedTuple):
    records: Sequence[Record]
    done: Done
    size: int
    enacted: Enacted | None = None
    """An act, which stands alone."""


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
        seqs: SeqClock,
        call: Callable[[Callable[[], None]], object],
        trimmed: Callable[[int], None],
        place: Place,
    ) -> None:
        def given_up(upto: int) -> None:
            call(lambda: trimmed(upto))

        self._connection = connection
        self._call = call
        self._place = place
        self._upkeep = Upkeep(connection, contents, retention, clock, seqs, place, given_up)
        self._inserted: list[_Entry] = []
        """Entries of the last commit, which are in the file, acknowledged or not."""
        self._upkeep_failure = ""
        self._beginning: tuple[int, int] | None = None
        """Seqs at which the log begins and up to which it is trimmed, until they are written."""
        # Shared by both threads: the queue, and how the writing goes.
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []
        self._pending_bytes = 0
        """Size of the frames that are not written, those of the commit under way included."""
        self._work = threading.Event()
        self._stop = threading.Event()
        self._failure = ""
        """The reason why nothing can be committed, empty when the last commit went well."""
        self._commit_began = 0.0
        """Monotonic time at which the commit under way began, 0 without one."""
        self._thread = threading.Thread(target=self._run, name="livelog-writer", daemon=True)
        self._thread.start()

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Put `records` into the queue; `done` is called in the loop's thread."""
        self._enqueue(_Entry(records, done, sum(len(record.frame) for record in records)))

    def enact(self, enacted: Enacted, done: Done) -> None:
        """Put an act into the queue; as `append`."""
        self._enqueue(_Entry([], done, 0, enacted))

    def _enqueue(self, entry: _Entry) -> None:
        if self._stop.is_set():  # the thread may have ended
            self._tell([entry], _stopping())
            return
        with self._lock:
            self._waiting.append(entry)
            self._pending_bytes += entry.size
        self._work.set()

    def begin(self, began: int, trimmed_upto: int) -> None:
        """Have the beginning of the log written before the first records."""
        self._beginning = (began, trimmed_upto)

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
    def unscrubbed(self) -> bool:
        """Whether the file may still have what was redacted."""
        return self._upkeep.unscrubbed

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
        fault = self._place.fault()
        if fault:
            _log.error("the store is closed, and is not where it was: %s", fault)
        self._connection.close()

    # In the thread.

    def _run(self) -> None:
        while True:
            if not self._waiting:
                self._work.wait(self._upkeep.pause())
            self._work.clear()
            stopping = self._stop.is_set()
            if entries := self._taken():
                self._write(entries)
            elif stopping:
                if not self._failure:
                    self._guarded(self._upkeep.end)
                return
            else:
                self._report(self._looked())
            self._guarded(lambda: self._upkeep.step(idle=not self._waiting))

    def _taken(self) -> list[_Entry]:
        """Take the first entries of the queue, as many as one statement may hold, or an act."""
        with self._lock:
            counts = accumulate(len(entry.records) for entry in self._waiting)
            sizes = accumulate(entry.size for entry in self._waiting)
            fitting = takewhile(
                lambda both: both[0] <= _COMMIT_RECORDS and both[1] <= _COMMIT_BYTES,
                zip(counts, sizes, strict=True),
            )
            taken = max(1, sum(1 for _ in fitting))
            acts = (index for index, each in enumerate(self._waiting[:taken]) if each.enacted)
            taken = min(taken, max(1, next(acts, taken)))
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
        untold = list(entries)
        self._commit_began = time.monotonic()
        while failure := self._commit(entries):
            self._report(failure)
            untold += self._warned()
            self._tell(untold, _refused(f"delivered, but not stored yet: {failure}"))
            untold = []
            self._guarded(self._upkeep.trim)  # which may free some of the disk
            if self._stop.wait(_RETRY_SECONDS):
                self._give_up(entries)
                return
        self._report("")
        self._commit_began = 0.0
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

    def _commit(self, entries: list[_Entry]) -> str:
        """Write all of `entries` in one go; return what went wrong, empty when they are safe.

        They are not safe in a file that has been moved, deleted, replaced or overwritten. They are
        not written again when it is back in its place.
        """
        try:
            if self._inserted is not entries:
                if fault := self._place.overwritten():
                    return fault
                if self._beginning is not None:
                    self._upkeep.begin(*self._beginning)
                    self._beginning = None
                if entries[0].enacted is not None:
                    self._upkeep.enact(entries[0].enacted)
                else:
                    self._insert([record for entry in entries for record in entry.records])
                self._inserted = entries
            return self._place.fault()
        except Exception as error:  # whatever it is, this thread has to go on
            return self._looked() or str(error) or type(error).__name__

    def _looked(self) -> str:
        """Return what is wrong with the files, empty if nothing is."""
        try:
            return self._place.fault()
        except MemoryError as error:
            return type(error).__name__

    def _insert(self, records: list[Record]) -> None:
        position = self._upkeep.last_position
        spans, end = [], 1  # SQL counts from 1
        for record in records:
            position += 1
            frame = record.frame
            head = frames.head_size(frame)
            crc = checksum(position, record.seq, record.id.encode(), memoryview(frame)[head:])
            spans.append((record.seq, record.id, end + head, len(frame) - head, crc))
            end += len(frame)
        data = b"".join([record.frame for record in records])
        first = self._upkeep.last_position + 1
        self._connection.execute(_INSERT, (first, data, msgspec.json.encode(spans)))
        self._upkeep.last_position = position
        if records:
            self._upkeep.last_seq = records[-1].seq

    def _report(self, failure: str) -> None:
        """Note whether the store can be written to, and log a change."""
        before, self._failure = self._failure, failure
        if failure and not before:
            _log.error("the store cannot be written to: %s", failure)
            # If the database has been moved alone, what the write-ahead log has must go with it.
            self._guarded(self._upkeep.write_back)
        if before and not failure:
            _log.warning("the store can be written to again")

    def _guarded(self, upkeep: Callable[[], None]) -> None:
        try:
            if not self._place.overwritten():  # what is written would hide it
                upkeep()
        except (sqlite3.Error, MemoryError) as error:
            issue = str(error) or type(error).__name__
            logged = self._failure or issue == self._upkeep_failure
            if not logged and not self._was_overwritten():  # which the next commit tells
                _log.error("the upkeep of the store has failed: %s", issue)
            self._upkeep_failure = issue

    def _was_overwritten(self) -> bool:
        """Tell whether that is the cause of a failure, as far as can be told."""
        with suppress(sqlite3.Error, MemoryError):
            return bool(self._place.overwritten())
        return False

    def _check(self) -> None:
        """Assert that the books agree with the file; to be called while nothing is written."""
        with self._lock:
            assert self._pending_bytes == sum(entry.size for entry in self._waiting)
        [[last, count, first]] = self._connection.execute(
            "SELECT max(position), count(*), min(position) FROM message"
        )
        if count:
            assert (last, count) == (self._upkeep.last_position, last - first + 1)
        # The thread may be in between.
        assert read_state(self._connection).trimmed_upto >= self._upkeep.trimmed_upto


def _told_already(refused: RefusedError | None) -> None:
    """Do nothing: the publisher has had its answer."""


def _stopping() -> RefusedError:
    return _refused("the server is stopping")


def _refused(issue: str) -> RefusedError:
    return RefusedError(SERVER_ERROR, "", issue, retry_after=_RETRY_SECONDS)
