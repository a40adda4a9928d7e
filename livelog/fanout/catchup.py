"""Readers that are behind, on their way to the head.

One that just subscribed, resumes from a `since`, or was too slow for a while: all read the log in
chunks from their cursor, take turns, and join the live readers once they have it all. A slow
reader costs its place in a queue, not a buffer. What is no longer in memory is fetched, for a few
readers at a time, so that those on disk cost no more than those in the window.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from livelog.errors import RefusedError
from livelog.fanout.audience import Reader
from livelog.fanout.hub import Hub
from livelog.index.paging import Chunk
from livelog.index.query import Subscription
from livelog.log.log import Log
from livelog.wire import frames
from livelog.wire.events import Gap, encoder, error

CHUNK_BYTES = 256 * 1024
"""What one reader gets in a turn: enough for efficient writes, little enough to take turns."""

TURN_BYTES = 4 * CHUNK_BYTES
TURN_SCANNED = 4000
"""What all get together, and how many records are looked at for it, before the live readers have
theirs: some milliseconds."""

MAX_FETCHES = 8
"""Chunks that are fetched at the same time: what of them may be in memory."""


class CatchUp:
    """The queue of readers that are behind and can be written to."""

    def __init__(self, log: Log, hub: Hub) -> None:
        self._log = log
        self._hub = hub
        self.on_work: Callable[[], object] = _ignored
        """Called when a reader begins to wait for a turn."""
        self._queue: OrderedDict[Reader, None] = OrderedDict()
        self._fetches: dict[Reader, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MAX_FETCHES)

    @property
    def idle(self) -> bool:
        """Nobody waits for a turn."""
        return not self._queue

    def move(self, reader: Reader, subscription: Subscription, since: int | None = None) -> int:
        """Change what `reader` listens to; returns the seq after which the change holds.

        That is the head for a live reader and its cursor for one that is behind; with `since`, the
        reader is moved there and reads everything after it (again).
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
        """Its send buffer is full, or it has gone: keep its place and write nothing more."""
        reader.blocked = True
        self._hub.leave(reader)
        self.drop(reader)

    def unblock(self, reader: Reader) -> None:
        """Its send buffer has drained: read on."""
        reader.blocked = False
        self.add(reader)

    def add(self, reader: Reader) -> None:
        """Bring `reader` to the head from its cursor; at once, if it is there."""
        if reader.blocked or not reader.subscription.parts:
            return
        if reader.cursor < self._hub.head:
            self._queue[reader] = None
            self.on_work()
        else:
            self._hub.join(reader)

    def drop(self, reader: Reader) -> None:
        """Forget `reader`: it has been blocked, has left, or its place has changed."""
        self._queue.pop(reader, None)
        fetch = self._fetches.pop(reader, None)
        if fetch is not None:
            fetch.cancel()

    def turn(self) -> None:
        """Give the readers in the queue their next chunks, in turn, one each at most."""
        data_left, scans_left = TURN_BYTES, TURN_SCANNED
        for _ in range(len(self._queue)):
            if data_left <= 0 or scans_left <= 0:
                return
            reader, _ = self._queue.popitem(last=False)
            chunk = self._log.read_after(reader.cursor, reader.subscription, CHUNK_BYTES)
            if chunk is None:
                self._fetches[reader] = asyncio.create_task(self._fetch(reader))
                continue
            data_left -= self._write(reader, chunk)
            scans_left -= chunk.scanned
            self.add(reader)

    async def _fetch(self, reader: Reader) -> None:
        """Give `reader` a chunk of what is no longer in memory, and then its place in the queue."""
        async with self._slots:
            try:
                chunk = await self._log.fetch_after(reader.cursor, reader.subscription, CHUNK_BYTES)
            except RefusedError as refused:
                chunk = self._log.out_of_reach(reader.cursor)
                reader.write(frames.text(encoder.encode(error(refused))))
            del self._fetches[reader]
            self._write(reader, chunk)
            self.add(reader)

    def _write(self, reader: Reader, chunk: Chunk) -> int:
        """Returns the number of bytes."""
        parts = chunk.frames
        if chunk.lost_upto:
            gap = Gap(from_=reader.cursor, to=chunk.lost_upto)
            parts = [frames.text(encoder.encode(gap)), *parts]
        reader.cursor = chunk.cursor
        data = b"".join(parts)
        if data:
            reader.write(data)
        return len(data)


def _ignored() -> None:
    """Stand in until a flusher asks to be told of work."""
