"""The store in an SQLite file: a thread writes, a process reads.

The file is named by its real path, has one owner at a time, and is safe to copy with any tool
that knows SQLite. What many clients read at the same time after a restart is read once.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from livelog.budget import INTERNAL, Owner
from livelog.errors import SERVER_ERROR, RefusedError
from livelog.index.paging import Chunk, Page, Span
from livelog.index.query import Query, Subscription
from livelog.store.base import Bounds, Done, Store
from livelog.store.database.file import Contents, Lock, connect, open_file
from livelog.store.reader.calls import ChunkCall, PageCall, RecordsCall
from livelog.store.reader.client import ReaderClient
from livelog.store.writer import Retention, Writer
from livelog.wire.record import Known, Record

_HOUR = 3600 * 1_000_000
_SHARED_CHUNKS = 32
"""Chunks that are remembered for the next reader that asks for the same: at most 8 MiB."""

_TRIES = 20
"""Times that records are asked for again which cannot be read now: they fill the window."""

_LOOKUP = """
    SELECT seq, CAST(payload AS BLOB) FROM message WHERE id = ? AND seq > ?
    ORDER BY position DESC LIMIT 1
"""
_SEQ_AT = "SELECT seq FROM message WHERE position = ?"


def open_sqlite(
    path: str,
    retention: Retention,
    clock: Callable[[], float],
    trimmed: Callable[[int], None],
    key: bytes = b"",
) -> Store:
    """Open the store at `path`, inside of a running loop.

    `trimmed` is called with the seq up to which messages are given up to keep within `retention`;
    with a `key` the file is encrypted. Raises `ConfigError` when the file cannot be used.
    """
    path = os.path.realpath(path)
    lock = Lock(path)
    try:
        connection, contents = open_file(path, key)
    except BaseException:
        lock.release()
        raise
    reader = SqliteReader(path, key, contents)

    def trim(upto: int) -> None:
        reader.trimmed_upto = upto
        trimmed(upto)

    call = asyncio.get_running_loop().call_soon_threadsafe
    writer = Writer(connection, contents, retention, clock, call, trim)
    bounds = Bounds(contents.began, contents.trimmed_upto, _last_seq(contents, clock()))
    return Store(SqliteJournal(writer, reader, lock), reader, bounds)


def _last_seq(contents: Contents, now: float) -> int:
    """Return a seq that is above all that were given out: those in the file, and those lost.

    What was lost in a crash was given out before now. A clock that has been set back says nothing
    about it: an hour is left for it.
    """
    before = int(now * 1_000_000) - 1
    return before if before > contents.last_seq else contents.last_seq + _HOUR


class SqliteJournal:
    """The writing half, and the owner of the file's lock."""

    def __init__(self, writer: Writer, reader: SqliteReader, lock: Lock) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = lock

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Put `records` into the writer's queue."""
        self._writer.append(records, done)

    def refusal(self) -> RefusedError | None:
        """Return why nothing can be taken now, None when it can."""
        return self._writer.refusal()

    async def close(self) -> None:
        """Write what is in the queue and stop; another server can then use the file."""
        self._writer.end()  # here, so that nothing is queued behind the last commit
        await asyncio.to_thread(self._writer.close)
        await self._reader.close()
        self._lock.release()


class SqliteReader:
    """The reading half: short look-ups in this thread, everything else in the reading process."""

    def __init__(self, path: str, key: bytes, contents: Contents) -> None:
        self.trimmed_upto = contents.trimmed_upto
        """Messages up to this seq are not found any more."""
        self._last_position = contents.last_position
        self._connection = connect(path, key)
        self._process = ReaderClient(path, key)
        self._chunks: OrderedDict[tuple[int, Subscription], SharedChunk] = OrderedDict()

    def lookup(self, id: str) -> Known | None:
        """Return the newest message with this id."""
        row = self._first_row(_LOOKUP, id, self.trimmed_upto)
        return None if row is None else Known(*row)

    def start_of_newest(self, count: int) -> int:
        """Return the seq of the message before the `count` newest ones, 0 without more."""
        row = self._first_row(_SEQ_AT, self._last_position - count)
        return 0 if row is None else int(row[0])

    def _first_row(self, sql: str, *values: int | str) -> tuple[int, bytes] | None:
        try:
            row: tuple[int, bytes] | None = self._connection.execute(sql, values).fetchone()
        except sqlite3.Error as error:
            raise RefusedError(SERVER_ERROR, "", f"the store cannot be read: {error}") from None
        return row

    @property
    def impaired(self) -> str:
        """The reason why past messages cannot be read now; empty without."""
        return self._process.impaired

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

    async def chunk(
        self, cursor: int, upto: int, wanted: Subscription, max_bytes: int, owner: Owner
    ) -> Chunk:
        """Return what is wanted of the messages after `cursor` and up to `upto`."""
        key = (cursor, wanted)
        shared = self._chunks.get(key)
        if shared is None:
            call = ChunkCall(cursor, upto, wanted.parts, max_bytes)
            shared = self._chunks[key] = SharedChunk(self._process.ask(call, Chunk, owner))
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
