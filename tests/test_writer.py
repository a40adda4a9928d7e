"""The writer against a plain list, with a real file: appends, faults, retries, trims, its end."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livelog.errors import RefusedError
from livelog.store import upkeep, writer
from livelog.store.database.connection import Connection, Rows
from livelog.store.database.file import connect, open_file
from livelog.store.database.place import Place
from livelog.store.upkeep import Retention
from livelog.store.writer import Writer
from livelog.wire.record import Record
from livelog.wire.seqclock import SeqClock
from tests.support.strategies import record

PATIENCE = 10.0


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "_RETRY_SECONDS", 0.001)
        patch.setattr(upkeep, "_TRIM_SECONDS", 0.001)
        patch.setattr(writer, "_COMMIT_RECORDS", 5)
        logging.disable(logging.ERROR)
        yield
        logging.disable(logging.NOTSET)


class Faulty:
    """A connection to a disk that fails when a test wants it to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Rows:
        if self.broken:
            raise sqlite3.OperationalError("the disk is full")
        return self._connection.execute(sql, parameters)


class Answer:
    """A publisher that notes what it is told."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.told: list[RefusedError | None] = []


class WriterAgainstAList(RuleBasedStateMachine):
    """All that is acknowledged is in the file, in order, once; it has no holes; all are told once.

    The test plays the loop: `pump` runs what the thread has asked the loop to call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="livelog-writer-"))
        self.path = str(self.folder / "live.db")
        self.appended: list[Record] = []
        self.answers: list[Answer] = []
        self.last = 0
        self.kept = self.given_up = 0
        self.open()

    def open(self) -> None:
        """Begin to write to the file."""
        connection, contents = open_file(self.path)
        self.last = max(self.last, contents.last_seq)
        self.connection = Faulty(connection)
        self.calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.trims: list[int] = []
        self.writer = Writer(
            self.connection,
            contents,
            Retention(messages=self.kept),
            time.time,
            SeqClock(contents.last_seq, time.time, time.monotonic),
            self.calls.put,
            self.trims.append,
            Place(self.path, os.open(self.path, os.O_RDONLY), connection),
        )

    def pump(self, condition: Callable[[], object], what: str) -> None:
        """Be the loop until `condition` holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"still not: {what}"
            with suppress(queue.Empty):
                self.calls.get(timeout=0.001)()

    def answered(self) -> bool:
        return all(answer.told for answer in self.answers)

    def rows(self) -> list[tuple[int, bytes]]:
        """Seqs and payloads in the file that have not been given up."""
        with closing(connect(self.path)) as connection:
            return [
                (seq, payload)
                for seq, payload in connection.execute(
                    "SELECT seq, CAST(payload AS BLOB) FROM message"
                    " WHERE seq > (SELECT trimmed_upto FROM log) ORDER BY position"
                )
            ]

    def trimmed_upto(self) -> int:
        with closing(connect(self.path)) as connection:
            [[upto]] = connection.execute("SELECT trimmed_upto FROM log")
            return int(upto)

    def tail(self, count: int) -> list[tuple[int, bytes]]:
        """The newest of what was appended, as rows."""
        return [(one.seq, one.payload) for one in self.appended[-count:]] if count else []

    @rule(count=st.integers(0, 7))
    def append(self, count: int) -> None:
        message = {"type": "system", "event": "error", "data": {"note": "a dragon"}}
        fresh = [record(message, self.last + 1 + 2 * number) for number in range(count)]
        self.last = fresh[-1].seq if fresh else self.last
        self.appended += fresh
        answer = Answer(fresh)
        self.answers.append(answer)
        self.writer.append(fresh, answer.told.append)

    @rule()
    def break_the_disk(self) -> None:
        self.connection.broken = True

    @rule()
    def mend_the_disk(self) -> None:
        self.connection.broken = False

    @rule()
    def wait(self) -> None:
        """Run callbacks until every publisher has its answer, whether or not the disk has room."""
        self.pump(self.answered, "answers for all")

    @precondition(lambda self: self.connection.broken)
    @rule()
    def be_refused(self) -> None:
        self.append(1)
        self.wait()
        assert self.answers[-1].told[0] is not None
        assert self.writer.refusal() is not None

    @precondition(lambda self: not self.connection.broken)
    @rule()
    def settle(self) -> None:
        """A disk that works holds all that was appended, whatever publishers were told."""
        self.append(1)
        self.pump(lambda: self.rows()[-1:] == self.tail(1), "all written")
        self.wait()
        assert self.answers[-1].told == [None]
        assert self.writer.refusal() is None
        if self.kept:
            self.given_up = max(self.given_up, len(self.appended) - self.kept)
        left = len(self.appended) - self.given_up
        self.pump(lambda: len(self.rows()) == left, "trimmed")
        self.pump(lambda: self.trims[-1:] in ([], [self.trimmed_upto()]), "told of the trim")
        assert self.trims == sorted(set(self.trims))
        self.writer._check()

    @rule(kept=st.sampled_from([0, 1, 3, 10]))
    def reopen(self, kept: int) -> None:
        """Reopen the file: records not written are lost, but none of them was acknowledged."""
        self.writer.end()
        self.append(2)
        self.appended = self.appended[:-2]
        assert self.writer.refusal() is not None
        self.writer.close()
        while not self.calls.empty():
            self.calls.get()()
        assert self.answered()
        assert all(told is not None for told in self.answers[-1].told)
        with closing(connect(self.path)) as connection:
            [[newest]] = connection.execute("SELECT coalesce(max(seq), 0) FROM message")
        upto = self.trimmed_upto()
        self.given_up = sum(one.seq <= upto for one in self.appended)
        self.appended = [one for one in self.appended if one.seq <= newest]
        assert newest == (self.appended[-1].seq if self.appended else 0)
        promised = [answer.records for answer in self.answers if answer.told == [None]]
        assert all(one.seq <= newest for records in promised for one in records)
        self.kept = kept
        self.open()

    @invariant()
    def each_is_told_once(self) -> None:
        assert all(len(answer.told) <= 1 for answer in self.answers)

    @invariant()
    def the_file_has_no_holes(self) -> None:
        rows = self.rows()
        known = [(one.seq, one.payload) for one in self.appended]
        if rows:
            first = known.index(rows[0])
            assert rows == known[first : first + len(rows)]

    def teardown(self) -> None:
        self.writer.close()
        shutil.rmtree(self.folder)


WriterAgainstAList.TestCase.settings = settings(stateful_step_count=25)
TestWriterAgainstAList = WriterAgainstAList.TestCase


def test_publishers_in_the_queue_are_told_when_the_writer_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two attempts there is nobody to tell them anything."""
    monkeypatch.setattr(writer, "_RETRY_SECONDS", PATIENCE)
    machine = WriterAgainstAList()
    try:
        machine.break_the_disk()
        machine.append(1)
        machine.wait()
        for _ in range(10):
            machine.append(1)
        machine.reopen(0)
        machine.each_is_told_once()
        assert all(answer.told[0] is not None for answer in machine.answers)
        assert machine.rows() == []
    finally:
        machine.teardown()
