"""Subscriptions of the program that embeds the server: readers of the log without a socket.

The feed stands where a connection has its transport: the hub writes frames to it, and it decodes
them one by one into the bounded queue of the subscription. Once more than `HIGH_WATER` bytes of
frames wait, the reader is blocked and keeps its place in the log; when they are used up it catches
up from there. So a slow consumer costs its queue and at most one write beyond `HIGH_WATER`.

At the end of the server the consumer gets everything that waits, whatever the size of its queue,
and one chunk of what follows in memory; behind that a gap tells of the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator

from livelog.budget.memory import CHUNK_BYTES
from livelog.budget.owner import INTERNAL, Owner
from livelog.client.decoding import decode
from livelog.client.livecounts import LiveCounts
from livelog.client.subscription import Subscription
from livelog.errors import RefusedError
from livelog.fanout.audience import Reader
from livelog.index.paging import Chunk
from livelog.index.query import NOTHING
from livelog.index.query import Subscription as Queries
from livelog.net.context import Context
from livelog.wire import frames
from livelog.wire.events import Counts, Error, Gap, Redacted
from livelog.wire.messages import Message

_logger = logging.getLogger(__name__)

HIGH_WATER = 64 * 1024
"""Bytes of frames that wait for a consumer before its reader is blocked."""


class Counter:
    """The party of a watch in process: it can be told no more while its consumer has many left."""

    def __init__(self, counts: LiveCounts) -> None:
        self._counts = counts

    @property
    def blocked(self) -> bool:
        """Whether the consumer has to take some first."""
        return self._counts.full

    def tell(self, frame: bytes) -> None:
        """Take an event."""
        item = decode(frames.payload(frame))
        assert isinstance(item, Counts)
        self._counts.put(item)


class Feed:
    """Frames on their way from the hub to one subscription."""

    def __init__(self, context: Context, subscription: Subscription, wanted: Queries) -> None:
        self._log = context.log
        self._catch_up = context.catch_up
        self._subscription = subscription
        self._wanted = wanted
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._payloads = self._take()
        self._arrived = asyncio.Event()
        self._reader = Reader(self._write, self, context.log.head)
        subscription.confirm(self._catch_up.move(self._reader, wanted, subscription.seq))
        self._task = context.loop.create_task(self._run())

    @property
    def owner(self) -> Owner:
        """The owner of what is read from the store: the program."""
        return INTERNAL

    def fail(self, refused: RefusedError) -> None:
        """End the subscription with an error: stored messages cannot be read now."""
        self._subscription.fail(refused)

    def gap(self, start: int, chunk: Chunk) -> Gap:
        """Return the event for what is lost between the seq `start` and a chunk."""
        return Gap(from_=start, to=chunk.lost_upto)

    def close(self) -> None:
        """Leave the hub."""
        self._catch_up.block(self._reader)
        self._task.cancel()

    def finish(self) -> None:
        """Pass on what waits and what can be read at once, and end the subscription behind it."""
        try:
            self._pass_on_rest()
        except Exception as failure:
            self._subscription.fail(failure)
        else:
            self._subscription.close()

    def _write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes += len(data)
        self._arrived.set()
        if self._bytes > HIGH_WATER and not self._reader.blocked:
            self._catch_up.block(self._reader)

    def _take(self) -> Iterator[bytes]:
        """Take payloads out of the frames that wait, until none is left."""
        while self._waiting:
            data = self._waiting.popleft()
            yield from frames.payloads(data)
            self._bytes -= len(data)

    async def _run(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                await self._pass_on_slowly()
                if self._reader.blocked:
                    self._catch_up.unblock(self._reader)
        except Exception as failure:
            self._subscription.fail(failure)

    async def _pass_on_slowly(self) -> None:
        """Pass on what waits, as the consumer takes it."""
        self._payloads = self._take()
        for payload in self._payloads:
            self._pass_on(payload)
            await self._subscription.room()
        self._arrived.clear()

    def _pass_on_rest(self) -> None:
        """Pass on what waits and a chunk of what follows, and a gap up to the head behind it."""
        cursor = self._catch_up.move(self._reader, NOTHING)
        self._pass_on_all(self._payloads)  # the end of a write that is passed on slowly
        self._pass_on_all(self._take())
        chunk = self._log.read_after(cursor, self._wanted, CHUNK_BYTES)
        while chunk is not None:
            self._subscription.lose(Gap(from_=cursor, to=chunk.lost_upto))
            cursor = chunk.cursor
            for data in chunk.frames:
                self._pass_on_all(frames.payloads(data))
            if not chunk.act:
                break
            chunk = self._log.read_after(cursor, self._wanted, CHUNK_BYTES)
        if cursor < self._log.head:
            self._subscription.lose(Gap(from_=cursor, to=self._log.head))

    def _pass_on_all(self, payloads: Iterable[bytes]) -> None:
        for payload in payloads:
            self._pass_on(payload)

    def _pass_on(self, payload: bytes) -> None:
        item = decode(payload)
        if isinstance(item, Message):
            self._subscription.put(item)
        elif isinstance(item, Gap):
            self._subscription.lose(item)
        elif isinstance(item, Redacted):
            self._subscription.redact(item)
        elif isinstance(item, Error):  # a gap follows
            _logger.warning("a subscription could not read on: %s", item.details)
