"""Subscriptions of the program that embeds the server: readers of the log without a socket.

The feed stands where a connection has its transport: the hub writes frames to it, and it decodes
them one by one into the bounded queue of the subscription. Once more than `HIGH_WATER` bytes of
frames wait, the reader is blocked and keeps its place in the log; when they are used up it catches
up from there. So a slow consumer costs its queue and at most one write beyond `HIGH_WATER`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from livelog.client.decoding import decode
from livelog.client.subscription import Subscription
from livelog.fanout.audience import Reader
from livelog.index.query import Subscription as Queries
from livelog.net.context import Context
from livelog.wire import frames
from livelog.wire.events import Error, Gap
from livelog.wire.messages import Message

_log = logging.getLogger(__name__)

HIGH_WATER = 64 * 1024
"""Bytes of frames that wait for a consumer before its reader is blocked."""


class Feed:
    """Frames on their way from the hub to one subscription."""

    def __init__(self, context: Context, subscription: Subscription, wanted: Queries) -> None:
        self._catch_up = context.catch_up
        self._subscription = subscription
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._reader = Reader(self._write, context.log.head)
        subscription.confirm(self._catch_up.move(self._reader, wanted, subscription.seq))
        self._task = context.loop.create_task(self._run())

    def close(self) -> None:
        """Leave the hub."""
        self._catch_up.block(self._reader)
        self._task.cancel()

    def _write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes += len(data)
        self._arrived.set()
        if self._bytes > HIGH_WATER and not self._reader.blocked:
            self._catch_up.block(self._reader)

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            while self._waiting:
                data = self._waiting.popleft()
                for payload in frames.payloads(data):
                    await self._pass_on(payload)
                self._bytes -= len(data)
            self._arrived.clear()
            if self._reader.blocked:
                self._catch_up.unblock(self._reader)

    async def _pass_on(self, payload: bytes) -> None:
        item = decode(payload)
        if isinstance(item, Message):
            if self._subscription.full:
                await self._subscription.room()
            self._subscription.put(item)
        elif isinstance(item, Gap):
            self._subscription.lose(item)
        elif isinstance(item, Error):  # a gap follows
            _log.warning("a subscription could not read on: %s", item.details)
