"""The store in an SQLite file: a thread writes, a process reads.

The file is named by its real path, has one owner at a time, and is safe to copy with any tool
that knows SQLite. What many clients read at the same time after a restart is read once.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from livelog.errors import SERVER_ERROR, RefusedError
from livelog.index.paging import Chunk, Page, Span
from livelog.index.query import Query, Subscription
from livelog.store.base import Done
from livelog.store.database.file import Lock, connect, open_file
from livelog.store.reader.calls import ChunkCall, PageCall, RecordsCall
from livelog.store.reader.client import ReaderClient
from livelog.store.writer import Retention, Writer
from livelog.wire.record import Record

_HOUR = 3600 * 1_000_000
_SHARED_CHUNKS = 32
"""Chunks that are remembered for the next who asks for the same: at most 8 MiB."""


class SqliteStore:
    """Keeps everything, or what `retention` says. Must be made inside of a running loop.

    `trimmed` is called with the seq up to which messages have been given up; with a `key` the file
    is encrypted. Raises `ConfigError` when it cannot be used.
    """

    keeps = True

    def __init__(
        self,
        path: str,
        retention: Retention,
        clock: Callable[[], float],
        trimmed: Callable[[int], None],
        key: bytes = b"",
    ) -> None:
        path = os.path.realpath(path)
        self._lock = Lock(path)
        try:
            connection, contents = open_file(path, key)
        except BaseException:
            self._lock.release()
            raise
        self.began = contents.began
        self.trimmed_upto = contents.trimmed_upto
        self._clock = clock
        self._contents = contents
        self._trimmed = trimmed
        self._loop = asyncio.get_running_loop()
        self._lookup = connect(path, key)
        self._chunks: OrderedDict[tuple[int, Subscription], asyncio.Task[Chunk]] = OrderedDict()
        self._archive = ReaderClient(path, key)
        self._writer = Writer(
            connection, contents, retention, clock, self._loop.call_soon_threadsafe, self._trim
        )

    def last_seq(self) -> int:
        """All that was given out is in the file or, if it was lost in a crash, before now.

        A clock that has been set back says nothing about what was lost: an hour is left for it.
        """
        now = int(self._clock() * 1_000_000) - 1
        last = self._contents.last_seq
        return now if now > last else last + _HOUR

    def refusal(self) -> RefusedError | None:
        """Why nothing can be taken now, None when it can."""
        return self._writer.refusal()

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Put `records` in line to be written."""
        self._writer.append(records, done)

    def seq_of(self, id: str) -> int | None:
        """The seq of the newest message with this id."""
        seq: int | None = self._one("max(seq)", "id = ? AND seq > ?", id, self.trimmed_upto)
        return seq

    def payload_of(self, id: str) -> bytes | None:
        """The newest message with this id as JSON."""
        seq = self.seq_of(id)
        return None if seq is None else self._one("CAST(payload AS BLOB)", "seq = ?", seq)

    def start_of_newest(self, count: int) -> int:
        """Seq of the message before the `count` newest ones, 0 when there are no more."""
        return self._one("seq", "position = ?", self._contents.last_position - count) or 0

    def _one(self, what: str, condition: str, *values: int | str) -> Any:
        sql = f"SELECT {what} FROM message WHERE {condition}"
        try:
            row = self._lookup.execute(sql, values).fetchone()
        except sqlite3.Error as error:
            raise RefusedError(SERVER_ERROR, "", f"the store cannot be read: {error}") from None
        return row[0] if row else None

    async def page(self, query: Query, upto: int, span: Span, ahead: int = 0) -> Page:
        """A page of the matches up to `upto`."""
        call = PageCall(query, self.trimmed_upto, upto, span, ahead)
        return await self._archive.ask(call, Page)

    async def chunk(self, cursor: int, upto: int, wanted: Subscription, max_bytes: int) -> Chunk:
        """What is wanted of the messages after `cursor` and up to `upto`."""
        key = (cursor, wanted)
        asked = self._chunks.get(key)
        if asked is None:
            call = ChunkCall(cursor, upto, wanted.parts, max_bytes)
            asked = self._chunks[key] = asyncio.create_task(self._archive.ask(call, Chunk))
            asked.add_done_callback(_outcome)
            if len(self._chunks) > _SHARED_CHUNKS:
                self._chunks.popitem(last=False)
        try:
            chunk = await asyncio.shield(asked)
        except RefusedError:
            self._chunks.pop(key, None)
            raise
        if chunk.cursor >= upto:  # more may follow by the time the next one asks
            self._chunks.pop(key, None)
        return chunk

    async def records(self, cursor: int, upto: int, limit: int) -> list[Record]:
        """The first `limit` messages after `cursor`, none above `upto`."""
        return await self._archive.ask(RecordsCall(cursor, upto, limit), list[Record])

    async def close(self) -> None:
        """Write what is in line and stop; the file can then be used by another."""
        self._writer.end()  # here, so that nobody gets in line behind the last commit
        await asyncio.to_thread(self._writer.close)
        await self._archive.close()
        self._lookup.close()
        self._lock.release()

    def _trim(self, upto: int) -> None:
        self.trimmed_upto = upto
        self._trimmed(upto)


def _outcome(task: asyncio.Task[Chunk]) -> None:
    """Look at what became of a task, for which nobody may be waiting any more."""
    if not task.cancelled():
        task.exception()
