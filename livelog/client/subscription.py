"""Subscriptions as a program iterates over them: messages, and the gaps between them.

A subscription keeps a short queue and its place in the log, `seq`: everything it asks for up to
there has been put into the queue. It resumes from its place, and passes over messages up to it, so
that a message that is sent twice is seen once. The queue is bounded; its source decides what to do
when it is full. The source is a link of the client, or the feed of a server in the same process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Self

from livelog.client import commands
from livelog.client.commands import Encoded
from livelog.client.decoding import Item
from livelog.wire.events import Gap
from livelog.wire.messages import Delivered

QUEUE = 500
"""Most messages that wait for a busy consumer."""


class Subscription:
    """Messages as they come, made by `subscribe` of a client or a server.

        async for item in log.subscribe(["user"]):
            print("some are gone" if isinstance(item, Gap) else item.content)

    Used as a context manager it is in force from the first line of the block on, and ends with the
    block. Without one it starts and ends with the loop.
    """

    def __init__(
        self,
        types: Sequence[str],
        filters: dict[str, Any],
        since: int | None,
        start: Callable[[Subscription], None],
        stop: Callable[[Subscription], None],
    ) -> None:
        self.types = tuple(types)
        self.filters = filters
        self.seq = since
        """Place in the log; None while it starts from now on."""
        self.resumed_by_user = since is not None
        """The user has given a place to start from."""
        self.in_force = False
        """The server has confirmed it, on the present connection."""
        self.resumes = False
        """It has been in force before."""
        self._start = start
        self._stop = stop
        self._started = False
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()  # an item can be taken, or the subscription has ended
        self._room = asyncio.Event()
        self._room.set()
        self._ready = asyncio.Event()  # in force for the first time, or never will be
        self._ended = False
        self._failure: Exception | None = None

    # For the consumer.

    async def __aenter__(self) -> Self:
        self._begin()
        await self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Yield messages and gaps, until the client or server is closed.

        Raises `RefusedError` when the server refuses the subscription, `ConnectionEndedError` when
        the connection ended for good, and `NotRunningError` when the client or server is not
        running.
        """
        begun_here = not self._started
        self._begin()
        try:
            while await self._available():
                yield self._take()
        finally:
            if begun_here:
                self.close()

    def close(self) -> None:
        """End the subscription."""
        if not self._ended:
            self.end()
            self._stop(self)

    def _begin(self) -> None:
        if not (self._started or self._ended):
            self._start(self)
            self._started = True  # not before: a start that was refused can be repeated

    async def _available(self) -> bool:
        """Wait until an item can be taken; False when the subscription has ended."""
        while not self._items:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        return True

    def _take(self) -> Item:
        self._room.set()
        return self._items.popleft()

    # For the source.

    @property
    def full(self) -> bool:
        """The consumer has to take an item before another is put."""
        return len(self._items) >= QUEUE

    async def room(self) -> None:
        """Wait until the queue is no longer full, or the subscription has ended."""
        while self.full and not self._ended:
            self._room.clear()
            await self._room.wait()

    def contradicts(self, other: Subscription) -> bool:
        """Tell whether both ask for a type with different filters."""
        return self.filters != other.filters and not set(self.types).isdisjoint(other.types)

    def command(self, since: int | None) -> Encoded:
        """Encode the command that puts it in force, from now on or after `since`."""
        return commands.encoded(commands.subscribe(self.types, self.filters, since))

    def confirm(self, seq: int) -> None:
        """Note that it is in force; `seq` is its place, if it starts from now on."""
        if self.seq is None:
            self.seq = seq
        self.in_force = self.resumes = True
        self._ready.set()

    def put(self, message: Delivered) -> None:
        """Queue a message of one of its types, unless it was queued before."""
        if self.seq is None or message.seq > self.seq:
            self.seq = message.seq
            self._put(message)

    def lose(self, gap: Gap) -> None:
        """Queue a gap, in which messages of its types may be gone."""
        if self.seq is not None and gap.to > self.seq:
            self._put(Gap(from_=max(gap.from_, self.seq), to=gap.to))
            self.seq = gap.to

    def advance(self, seq: int) -> None:
        """Note that all its messages up to `seq` have arrived."""
        self.seq = seq if self.seq is None else max(seq, self.seq)

    def start_over(self, seq: int) -> None:
        """Go on at `seq` of another log: the server's log ends before the place of this one."""
        assert self.seq is not None
        self._put(Gap(from_=self.seq, to=seq))
        self.seq = seq

    def end(self, failure: Exception | None = None) -> None:
        """Let the iteration end behind the queued items, with an error if one is given."""
        self._ended = True
        self._failure = self._failure or failure
        for event in (self._arrived, self._room, self._ready):
            event.set()

    def fail(self, failure: Exception) -> None:
        """End with an error that keeps the source from going on, and dismiss the source."""
        self.end(failure)
        self._stop(self)

    def _put(self, item: Item) -> None:
        self._items.append(item)
        self._arrived.set()
