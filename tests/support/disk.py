"""A store's file and the code that reads it, without processes: shared by tests of the disk."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from livelog.errors import RefusedError
from livelog.index.paging import Chunk, Page, Span
from livelog.index.plan import finish
from livelog.index.query import Query, Subscription
from livelog.store.database.acts import write_act
from livelog.store.database.file import connect, open_file
from livelog.store.database.place import Place
from livelog.store.database.redaction import redact
from livelog.store.database.state import read_state, write_state
from livelog.store.reader.answers import Answer, StoredMessages
from livelog.store.reader.calls import MEMORY_BYTES, Call, ChunkCall, PageCall
from livelog.store.upkeep import Retention
from livelog.store.writer import Writer
from livelog.wire.acts import Enacted, Group, Redact
from livelog.wire.record import Record
from livelog.wire.seqclock import SeqClock

PATIENCE = 40.0
KEY = bytes(range(32))
"""Key of the stores that tests encrypt."""


def key_file(path: Path, key: bytes = KEY) -> str:
    """Put a key into a file, which only its owner may read; returns its path."""
    path.write_text(key.hex())
    path.chmod(0o600)
    return str(path)


class Disk:
    """A file that is written as the server does, and read in this thread."""

    def __init__(self, path: Path, key: bytes = b"", memory_bytes: int = MEMORY_BYTES) -> None:
        self.path = str(path)
        self.key = key
        connection, contents = open_file(self.path, key)
        self._descriptor = os.open(self.path, os.O_RDONLY)
        self.writer = Writer(
            connection,
            contents,
            Retention(),
            lambda: 0.0,
            SeqClock(contents.last_seq, lambda: 0.0, lambda: 0.0),
            lambda call: call(),
            lambda upto: None,
            Place(self.path, self._descriptor, connection, key),
        )
        self.reader = StoredMessages(self.path, self.key, memory_bytes)
        self.trimmed_upto = contents.trimmed_upto

    def write(self, records: Sequence[Record]) -> None:
        """Write `records`, and wait until they are safe."""
        told = queue.SimpleQueue[RefusedError | None]()
        self.writer.append(records, told.put)
        assert told.get(timeout=PATIENCE) is None

    def redact(self, seqs: Sequence[int], at: int, reason: str = "") -> None:
        """Redact messages by an act at the seq `at`; the write-ahead log keeps what it has."""
        group = Group("user", tuple(sorted(seqs)))
        act = Redact(by="mod", at="2026-01-01T12:00:00Z", reason=reason, groups=(group,))
        connection = connect(self.path, self.key)
        connection.execute("BEGIN IMMEDIATE")
        write_act(connection, Enacted(at, act))
        redact(connection, Enacted(at, act))
        connection.execute("COMMIT")
        connection.close()
        with self.reader.snapshot():
            pass  # in which it is seen

    def settle(self) -> None:
        """Do all the work that the reading process does in the background."""
        while self.reader.work():
            pass

    def reopen(self) -> None:
        """End the reading process and begin another."""
        self.reader.close()
        self.reader = StoredMessages(self.path, self.key)

    def answer(self, call: Call) -> Answer:
        """Answer a call in one piece, where the reading process does it in slices."""
        with self.reader.snapshot():
            return finish(self.reader.answer(call))

    def page(self, query: Query, upto: int, span: Span, ahead: int = 0) -> Page:
        """Ask for a page as the store does."""
        answer = self.answer(PageCall(query, self.trimmed_upto, upto, span, ahead))
        assert isinstance(answer, Page)
        return answer

    def chunk(self, cursor: int, upto: int, wanted: Subscription, max_bytes: int) -> Chunk:
        """Ask for a chunk as the store does."""
        answer = self.answer(ChunkCall(cursor, upto, wanted.parts, max_bytes))
        assert isinstance(answer, Chunk)
        return answer

    def trim(self, upto: int, *, deleted: bool) -> None:
        """Trim all messages up to a seq, and perhaps delete them, too."""
        connection = connect(self.path, self.key)
        state = read_state(connection)._replace(trimmed_upto=upto)
        if deleted:
            rows = connection.execute("SELECT position FROM message WHERE seq <= ?", (upto,))
            last = connection.execute("SELECT max(position) FROM message").fetchone()[0]
            gone = max([one for [one] in rows if one < last], default=state.deleted_upto)
            connection.execute("DELETE FROM message WHERE position <= ?", (gone,))
            state = state._replace(deleted_upto=gone)
        write_state(connection, state)
        connection.close()
        self.trimmed_upto = upto

    def close(self) -> None:
        """Close all files."""
        self.reader.close()
        self.writer.close()
        os.close(self._descriptor)


def reading_processes(path: Path) -> list[int]:
    """The ids of the processes that read a store at `path` or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                if b"livelog.store.reader" in arguments and str(path).encode() in arguments[-2]:
                    found.append(int(entry.name))
    return found


def die(path: str) -> NoReturn:
    """Kill this process, and first those that read its store.

    Who closes the file last would write the write-ahead log back.
    """
    for process in (*reading_processes(Path(path)), os.getpid()):
        os.kill(process, signal.SIGKILL)
    raise AssertionError("it lives")
