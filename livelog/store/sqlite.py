"""The store in an SQLite file: a thread writes, a process reads.

The file is named by its real path, has one owner at a time, and can be copied meanwhile (`backup`).
What many clients read at the same time after a restart is read once. The server asks the reading
process now and then for damage that it has found.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from livelog.budget.owner import INTERNAL, Owner
from livelog.errors import SERVER_ERROR, RefusedError
from livelog.index.analysis.question import Counts, Question
from livelog.index.paging import Chunk, Page, Span
from livelog.index.query import Query, Subscription
from livelog.store.base import Bounds, Done, Store
from livelog.store.database.acts import last_act, read_acts, read_briefs
from livelog.store.database.checksums import StoredRow, stored_rows
from livelog.store.database.file import Contents, connect, follow, mark_loss, open_file
from livelog.store.database.lock import Lock
from livelog.store.database.newest import last_gap, newest_ids
from livelog.store.database.place import Place
from livelog.store.database.state import read_state
from livelog.store.reader.calls import (
    MEMORY_BYTES,
    AnalyzeCall,
    ChunkCall,
    CleanCall,
    DamageCall,
    PageCall,
    RecordsCall,
)
from livelog.store.reader.client import ReaderClient
from livelog.store.reader.rows import Damage
from livelog.store.upkeep import Retention
from livelog.store.writer import Writer
from livelog.wire.acts import Brief, Enacted
from livelog.wire.record import Known, Origin, Record
from livelog.wire.seqclock import SeqClock, resumed

_log = logging.getLogger(__name__)

_SHARED_CHUNKS = 32
"""Chunks that are remembered for the next reader that asks for the same: at most 8 MiB."""

_DAMAGE_SECONDS = 5.0
"""Seconds between two questions for damage."""

_SCRUBBED_SECONDS = 0.5
"""Seconds between two looks whether the files are clean."""

_TRIES = 20
"""Times that records are asked for again which cannot be read now: they fill the window."""

_LOOKUP = "SELECT position FROM message WHERE id = ? AND seq > ? ORDER BY position DESC LIMIT 1"


def open_sqlite(
    path: str,
    retention: Retention,
    clock: Callable[[], float],
    trimmed: Callable[[int], None],
    key: bytes = b"",
    impaired: Callable[[str], None] = lambda issue: None,
    memory_bytes: int = MEMORY_BYTES,
    origin: Origin | None = None,
) -> Store:
    """Open the store at `path`, inside of a running loop.

    `trimmed` is called with the seq up to which messages are given up to keep within `retention`,
    `impaired` with a description of damage that has been found; with a `key` the file is encrypted.
    The reading process may use `memory_bytes`. A log that is ordered elsewhere has an `origin`; a
    file of another log is not taken. Raises `ConfigError` when the file cannot be used.
    """
    name, path = path, os.path.realpath(path)
    lock = Lock(path)
    try:
        connection, contents = open_file(path, key)
        place = Place(name, lock.descriptor, connection, key)
        lost_upto = 0
        if origin is not None:
            contents = follow(connection, contents, origin, name)
            last_seq, lost_upto = contents.last_seq, last_gap(connection)
        else:
            last_seq = resumed(max(contents.last_seq, contents.state.alive), clock())
            if contents.wal_fault is not None:
                contents = mark_loss(connection, contents, last_seq)
    except BaseException:
        lock.release()
        raise
    reader = SqliteReader(path, key, contents, impaired, memory_bytes)

    def trim(upto: int) -> None:
        reader.trimmed_upto = upto
        trimmed(upto)

    call = asyncio.get_running_loop().call_soon_threadsafe
    seqs = SeqClock(last_seq, clock, time.monotonic)
    writer = Writer(connection, contents, retention, clock, seqs, call, trim, place)
    reader.unscrubbed = lambda: writer.unscrubbed
    bounds = Bounds(contents.began, contents.trimmed_upto, last_seq, lost_upto)
    return Store(SqliteJournal(writer, reader, lock), reader, bounds)


class SqliteJournal:
    """The writing half, and the owner of the file's lock."""

    def __init__(self, writer: Writer, reader: SqliteReader, lock: Lock) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = lock

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Put `records` into the writer's queue."""
        self._writer.append(records, done)

    def enact(self, enacted: Enacted, done: Done) -> None:
        """Put an act into the writer's queue."""
        self._reader.forget_chunks()  # those that are remembered, and those read meanwhile

        def enacted_here(refused: RefusedError | None) -> None:
            self._reader.forget_chunks()
            if refused is None:
                self._reader.enacted_upto = enacted.seq
            done(refused)

        self._writer.enact(enacted, enacted_here)

    def acts(self, before: int | None, limit: int) -> list[Enacted]:
        """Return the newest acts in the file with a seq below `before`."""
        return self._reader.acts(before, limit)

    def briefs(self, before: int | None, limit: int) -> list[Brief]:
        """Return the same acts without the messages that they name."""
        return self._reader.briefs(before, limit)

    @property
    def acts_memory(self) -> int:
        """None: they are on disk."""
        return 0

    @property
    def forgot_acts(self) -> bool:
        """False: the disk has room, or nothing is taken."""
        return False

    @property
    def scrubbed_upto(self) -> int:
        """Seq up to which nothing is left in the files of what acts have redacted."""
        return self._reader.scrubbed_upto

    def begin(self, began: int, gone_upto: int) -> None:
        """Have the extent of the log written with the first records."""
        self._reader.trimmed_upto = gone_upto
        self._writer.begin(began, gone_upto)

    def refusal(self) -> RefusedError | None:
        """Return why nothing can be taken now, None when it can."""
        return self._writer.refusal()

    @property
    def pending_bytes(self) -> int:
        """Bytes of frames that are not written yet."""
        return self._writer.pending_bytes

    async def close(self) -> None:
        """Write what is in the queue and stop; another server can then use the file."""
        self._writer.end()  # here, so that nothing is queued behind the last commit
        await asyncio.to_thread(self._writer.close)
        await self._reader.close()
        self._lock.release()


class SqliteReader:
    """The reading half: short look-ups in this thread, everything else in the reading process."""

    def __init__(
        self,
        path: str,
        key: bytes,
        contents: Contents,
        impaired: Callable[[str], None],
        memory_bytes: int,
    ) -> None:
        self.trimmed_upto = contents.trimmed_upto
        """Messages up to this seq are not found any more."""
        self._path = path
        self._last_position = contents.last_position
        self._connection = connect(path, key)
        self._process = ReaderClient(path, key, memory_bytes)
        self._chunks: OrderedDict[tuple[int, Subscription, int], SharedChunk] = OrderedDict()
        self._watching = asyncio.create_task(self._watch(impaired))
        self.unscrubbed: Callable[[], bool] = lambda: True
        """Callback: tells whether the file may still have what was redacted."""
        self.enacted_upto = last_act(self._connection)
        """Seq of the newest act in the file."""
        self._damaged_acts = set[int]()
        """Seqs of acts that have been found damaged; all are read at the start."""
        self.scrubbed_upto = 0
        """Seq up to which nothing is left in the files of what acts have redacted."""
        self._scrubbing = asyncio.create_task(self._watch_scrubbing())

    def lookup(self, id: str) -> Known | None:
        """Return the newest message with this id. Raises `RefusedError` for a damaged one."""
        with _readable(self._path):
            found = self._connection.execute(_LOOKUP, (id, self.trimmed_upto)).fetchone()
            row = self._row(found[0]) if found else None
        if found is None:
            return None
        if row is None or row.id != id.encode():
            raise RefusedError(SERVER_ERROR, "id", "the message with this id is damaged on disk")
        return Known(row.seq or 0, row.payload or b"")

    def acts(self, before: int | None, limit: int) -> list[Enacted]:
        """Return the newest acts with a seq below `before`, newest first."""
        with _readable(self._path):
            return read_acts(self._connection, before, limit, self._damaged_acts)

    def stored(self, upto: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return seq and id of the newest messages up to a seq, newest first."""
        with _readable(self._path):
            unchecked_upto = read_state(self._connection).unchecked_upto
            return newest_ids(self._connection, upto, limit, unchecked_upto)

    def briefs(self, before: int | None, limit: int) -> list[Brief]:
        """Return the same acts without the messages that they name."""
        with _readable(self._path):
            return read_briefs(self._connection, before, limit, self._damaged_acts)

    def start_of_newest(self, count: int) -> int:
        """Return the seq of the message before the `count` newest ones, 0 without more."""
        position = self._last_position - count
        with _readable(self._path):
            first = read_state(self._connection).deleted_upto + 1
            while position >= first:
                row = self._row(position)
                if row is not None:
                    return row.seq or 0
                position -= 1  # it is damaged
        return 0

    def _row(self, position: int) -> StoredRow | None:
        """Return the message at a position, None if it is damaged or not there."""
        unchecked_upto = read_state(self._connection).unchecked_upto
        row = stored_rows(self._connection, [position]).get(position)
        return row if row and row.intact(unchecked_upto) else None

    async def _watch(self, impaired: Callable[[str], None]) -> None:
        """Ask the reading process for damage, and tell of what is new."""
        known = 0
        while True:
            await asyncio.sleep(_DAMAGE_SECONDS)
            with suppress(RefusedError):  # asked again soon
                count, seq = await self._process.ask(DamageCall(), Damage, INTERNAL)
                if count > known:
                    impaired(_damaged(count, seq))
                known = count

    async def _watch_scrubbing(self) -> None:
        """Look whether the files are clean, as long as they may not be."""
        while True:
            await asyncio.sleep(_SCRUBBED_SECONDS)
            upto = self.enacted_upto
            if upto <= self.scrubbed_upto or self.unscrubbed():
                continue
            with suppress(RefusedError):  # asked again soon
                if await self._process.ask(CleanCall(), bool, INTERNAL):
                    self.scrubbed_upto = upto

    @property
    def impaired(self) -> str:
        """Acts that are not in force, or why past messages cannot be read now; empty without."""
        return _damaged_acts(self._damaged_acts) or self._process.impaired

    async def page(
        self,
        query: Query,
        upto: int,
        span: Span,
        owner: Owner,
        *,
        ahead: int = 0,
        optional: bool = False,
    ) -> Page:
        """Return a page of the matches up to `upto`."""
        call = PageCall(query, self.trimmed_upto, upto, span, ahead)
        return await self._process.ask(call, Page, owner, optional=optional)

    async def analyze(
        self, query: Query, upto: int, question: Question, owner: Owner, *, optional: bool = False
    ) -> Counts:
        """Count the matches up to `upto`."""
        call = AnalyzeCall(query, self.trimmed_upto, upto, question)
        return await self._process.ask(call, Counts, owner, optional=optional)

    async def chunk(
        self, cursor: int, upto: int, wanted: Subscription, max_bytes: int, owner: Owner
    ) -> Chunk:
        """Return what is wanted of the messages after `cursor` and up to `upto`."""
        key = (cursor, wanted, max_bytes)
        shared = self._chunks.get(key)
        if shared is None:
            call = ChunkCall(cursor, upto, wanted.parts, max_bytes)
            shared = self._chunks[key] = SharedChunk(self._next_chunk(call, owner))
            if len(self._chunks) > _SHARED_CHUNKS:
                self._chunks.popitem(last=False)
        try:
            chunk = await shared.get()
        except BaseException:
            if not shared.useful and self._chunks.get(key) is shared:
                del self._chunks[key]
            raise
        if chunk.cursor >= upto:  # more may follow by the time the next reader asks
            self._chunks.pop(key, None)
        return chunk

    def forget_chunks(self) -> None:
        """Answer what is asked from now on anew."""
        self._chunks.clear()

    async def _next_chunk(self, call: ChunkCall, owner: Owner) -> Chunk:
        """Ask for a chunk. One that does not move its reader is an error.

        It would be asked for without an end.
        """
        chunk = await self._process.ask(call, Chunk, owner)
        if max(chunk.cursor, chunk.lost_upto) <= call.cursor:
            _log.error("the reading process does not get beyond %d", call.cursor)
            raise RefusedError(SERVER_ERROR, "", "the store cannot be read", retry_after=1.0)
        return chunk

    async def records(self, cursor: int, upto: int, limit: int) -> list[Record]:
        """Return at most `limit` messages after `cursor`, none above `upto`."""
        call = RecordsCall(cursor, upto, limit)
        for _ in range(_TRIES):
            try:
                return await self._process.ask(call, list[Record], INTERNAL)
            except RefusedError as refused:
                if refused.retry_after is None:
                    raise
                await asyncio.sleep(refused.retry_after)
        return await self._process.ask(call, list[Record], INTERNAL)

    async def close(self) -> None:
        """End the reading process and let go of the file."""
        self._watching.cancel()
        self._scrubbing.cancel()
        await self._process.close()
        self._connection.close()


class SharedChunk:
    """A chunk that several readers wait for; when all of them have left, it is given up."""

    def __init__(self, asked: Coroutine[Any, Any, Chunk]) -> None:
        self._task = asyncio.create_task(asked)
        self._waiting = 0

    @property
    def useful(self) -> bool:
        """False when it has failed or has been given up."""
        if not self._task.done():
            return not self._task.cancelling()
        return not self._task.cancelled() and self._task.exception() is None

    async def get(self) -> Chunk:
        """Wait for the chunk. Raises `RefusedError`."""
        self._waiting += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._task.done():
                self._task.cancel()


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Raise `RefusedError` for a file that cannot be read."""
    try:
        yield
    except sqlite3.Error as error:
        issue = f"the store {path} cannot be read: {error}"
        raise RefusedError(SERVER_ERROR, "", issue, retry_after=1.0) from None


def _damaged_acts(seqs: set[int]) -> str:
    if not seqs:
        return ""
    return (
        f"acts of moderators in the store that cannot be read and are not in force: {len(seqs)},"
        f" the first at seq {min(seqs)}; `livelog store check` lists them"
    )


def _damaged(count: int, seq: int) -> str:
    issue = (
        f"{count} messages in the store are damaged and not delivered, the first at seq {seq};"
        " `livelog store check` lists them"
    )
    _log.error("%s", issue)
    return issue
