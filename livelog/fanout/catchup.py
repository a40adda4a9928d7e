"""Catch-up: readers behind the head read the log until they are live.

A reader that has just subscribed, resumes from a `since`, or was too slow for a while: each reads
the log in chunks from its cursor, alternating with the others, and joins the live readers once it
is at the head. A chunk also ends where the time for it does: a reader whose filter matches little
may need many. So a slow reader costs a place in a queue, not a buffer. Chunks that are no longer
in the window are fetched from the store, a few at a time, to bound the memory they take.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from livelog.budget.memory import CHUNK_BYTES
from livelog.budget.slices import Slice
from livelog.errors import RefusedError, failure
from livelog.fanout.audience import Reader
from livelog.fanout.hub import Hub
from livelog.fanout.redactions import frames_for
from livelog.index.paging import Chunk
from livelog.index.query import Subscription
from livelog.log.log import Log
from livelog.wire import frames
from livelog.wire.events import encoder, error

_logger = logging.getLogger(__name__)

STEP_BYTES = 4 * CHUNK_BYTES
"""Bytes that all readers get together before the live readers are written to again."""

RETRIES = (0.5, 2.0)
"""Seconds after which a fetch that was refused for now is tried again."""

MAX_FETCHES = 8
"""Chunks that are fetched from the store at the same time, each of which takes memory."""


class CatchUp:
    """The queue of readers that are behind and can be written to."""

    def __init__(self, log: Log, hub: Hub) -> None:
        self._log = log
        self._hub = hub
        self.on_work: Callable[[], object] = _ignored
        """Callback for the flusher: a reader has been enqueued."""
        self.chunk_bytes: Callable[[], int] = _most
        """Callback: the bytes that the next reader may get in a step."""
        self._queue: OrderedDict[Reader, None] = OrderedDict()
        self._fetches: dict[Reader, asyncio.Task[None]] = {}
        self.written_bytes = 0
        """Bytes that readers have been sent so far."""
        hub.on_behind = self.add
        self._slots = asyncio.Semaphore(MAX_FETCHES)

    @property
    def behind(self) -> int:
        """The number of readers that are behind, and can be written to."""
        return len(self._queue) + len(self._fetches)

    @property
    def idle(self) -> bool:
        """True while no reader is in the queue."""
        return not self._queue

    def move(self, reader: Reader, subscription: Subscription, since: int | None = None) -> int:
        """Change the subscription of `reader`; return the seq after which the change holds.

        The seq is the head for a live reader and the cursor for one that is behind. With `since`
        the reader is moved to that seq, and gets what follows it, perhaps for the second time.
        """
        if since is None:
            self._hub.release(reader)
        else:
            self._hub.leave(reader)
            reader.cursor = since
        self.drop(reader)
        place = reader.cursor
        reader.subscription = subscription
        self.add(reader)
        return place

    def block(self, reader: Reader) -> None:
        """Stop writing to a reader whose send buffer is full or whose connection is lost."""
        reader.blocked = True
        self._hub.leave(reader)
        self.drop(reader)

    def unblock(self, reader: Reader) -> None:
        """Resume a reader whose send buffer has drained."""
        reader.blocked = False
        self.add(reader)

    def add(self, reader: Reader) -> None:
        """Enqueue `reader`, or make it live if its cursor is at the head."""
        if reader.blocked or not reader.subscription.parts:
            return
        if reader.cursor < self._hub.head:
            self._queue[reader] = None
            self.on_work()
        else:
            self._hub.join(reader)

    def drop(self, reader: Reader) -> None:
        """Remove `reader`, because it is blocked, has left, or its cursor has been moved."""
        self._queue.pop(reader, None)
        fetch = self._fetches.pop(reader, None)
        if fetch is not None:
            fetch.cancel()

    def step(self, slice: Slice) -> None:
        """Give each reader in the queue its next chunk, as long as time and bytes last."""
        left = STEP_BYTES
        for _ in range(len(self._queue)):
            reader, _ = self._queue.popitem(last=False)
            chunk = self._read(reader, slice)
            if chunk is None:
                self._fetches[reader] = asyncio.create_task(self._fetch(reader))
                continue
            left -= self._write(reader, chunk)
            self.add(reader)
            if left <= 0 or slice.is_over():
                return

    def _read(self, reader: Reader, slice: Slice) -> Chunk | None:
        """Read the next chunk in memory; if that fails, the reader is told of a gap to the head."""
        cursor, wanted = reader.cursor, reader.subscription
        try:
            return self._log.read_after(cursor, wanted, self.chunk_bytes(), slice.is_over)
        except Exception:
            _logger.exception("a reader at %d could not be served", cursor)
            return Chunk([], self._log.head, lost_upto=self._log.head)

    async def _fetch(self, reader: Reader) -> None:
        """Give `reader` a chunk from the store, and enqueue it again.

        What cannot be read now is tried again; then the reader fails, and resumes by itself where
        it was, as after an internal error. Only what cannot be read at all becomes a gap.
        """
        unreadable = b""
        try:
            chunk = await self._fetched(reader)
        except RefusedError as refused:
            if refused.retry_after is not None:
                del self._fetches[reader]
                reader.party.fail(refused)
                return
            chunk = self._log.out_of_reach(reader.cursor)
            unreadable = frames.text(encoder.encode(error(refused)))
        except Exception as fault:
            _logger.exception("a reader at %d could not be served from the store", reader.cursor)
            del self._fetches[reader]
            reader.party.fail(failure(fault))
            return
        # Before anything is written: a write that fills the buffer blocks the reader, and would
        # cancel this task.
        del self._fetches[reader]
        self._write(reader, chunk, before=unreadable)
        self.add(reader)

    async def _fetched(self, reader: Reader) -> Chunk:
        """Fetch a chunk, and try again where that may help. Raises `RefusedError`."""
        for pause in RETRIES:
            try:
                return await self._fetched_once(reader)
            except RefusedError as refused:
                if refused.retry_after is None:
                    raise
            await asyncio.sleep(pause)
        return await self._fetched_once(reader)

    async def _fetched_once(self, reader: Reader) -> Chunk:
        wanted, owner = reader.subscription, reader.party.owner
        async with self._slots:
            return await self._log.fetch_after(reader.cursor, wanted, self.chunk_bytes(), owner)

    def _write(self, reader: Reader, chunk: Chunk, before: bytes = b"") -> int:
        """Write a chunk behind the frames in `before`, and return their size in bytes."""
        parts = chunk.frames
        if chunk.lost_upto:
            gap = reader.party.gap(reader.cursor, chunk)
            parts = [frames.text(encoder.encode(gap)), *parts]
        if chunk.act:
            parts = [*parts, self._redacted(chunk.act, reader)]
        reader.cursor = chunk.cursor
        data = b"".join([before, *parts])
        self.written_bytes += len(data)
        if data:
            reader.write(data)
        return len(data)

    def _redacted(self, seq: int, reader: Reader) -> bytes:
        """Return the events of the redaction at a seq for a reader."""
        try:
            act = self._log.redaction(seq)
        except RefusedError:  # the store cannot be read: the stubs are there in any case
            _logger.exception("a reader could not be told of the redaction at %d", seq)
            return b""
        return b"" if act is None else frames_for(seq, act, reader.subscription)

    def _check(self) -> None:
        """Assert that each reader behind is in one place, and may be written to."""
        assert not self._queue.keys() & self._fetches.keys()
        for reader in [*self._queue, *self._fetches]:
            assert not reader.blocked
            assert reader.audience is None
            assert reader.subscription.parts
            assert reader.cursor < self._hub.head


def _ignored() -> None:
    """Do nothing: the callback until a flusher sets its own."""


def _most() -> int:
    """Return the bytes of a chunk while memory is not counted."""
    return CHUNK_BYTES
