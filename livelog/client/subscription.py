"""What a user iterates over: the messages of one subscription, and the gaps between them.

A subscription keeps a short queue and its place in the log, `seq`: everything it asks for up to
there has been put into the queue. The place is what it resumes from, and what keeps a message that
is sent twice from being seen twice. The queue is bounded; what happens when it is full is the
line's to decide.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Self

from livelog.client.decoding import Item
from livelog.wire.events import Gap
from livelog.wire.messages import Delivered

QUEUE = 500
"""Messages that wait for a user who is busy, at most."""


class Subscription:
    """Messages as they come: `async for message in subscription`.

    Used as a context manager it is in force from the first line of the block on, and not only when
    it is first iterated over; its end then ends the subscription. Without one it ends with the
    loop.
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
        """Its place in the log; None while it starts from now on."""
        self.resumed_by_user = since is not None
        """Whether it was given a place to start from."""
        self.in_force = False
        """Whether the server has confirmed it, on the present connection."""
        self.resumes = False
        """Whether it has been in force before."""
        self._start = start
        self._stop = stop
        self._started = False
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()  # there is something to take, or nothing will come
        self._room = asyncio.Event()
        self._room.set()
        self._ready = asyncio.Event()  # in force for the first time, or never will be
        self._ended = False
        self._failure: Exception | None = None

    # The user's side.

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
        """Messages and gaps. Ends when the client is closed.

        Raises `RefusedError` when the server does not grant the subscription,
        `ConnectionEndedError` when the connection ended for good.
        """
        begun_here = not self._started
        self._begin()
        try:
            while await self._something():
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
        if not self._started:
            self._started = True
            self._start(self)

    async def _something(self) -> bool:
        """Wait until there is something to take; False when nothing will come any more."""
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

    # The line's side.

    @property
    def full(self) -> bool:
        """Whether the user has to take something first."""
        return len(self._items) >= QUEUE

    async def room(self) -> None:
        """Wait until the queue is no longer full, or the subscription has ended."""
        while self.full and not self._ended:
            self._room.clear()
            await self._room.wait()

    def contradicts(self, other: Subscription) -> bool:
        """Whether both ask for a type with different filters."""
        return self.filters != other.filters and not set(self.types).isdisjoint(other.types)

    def command(self, since: int | None) -> dict[str, Any]:
        """The command that puts it in force, from now on or from `since` on."""
        command = {
            "action": "subscribe",
            "message_types": self.types,
            "filters": self.filters,
        }
        return command if since is None else {**command, "since": since}

    def confirm(self, seq: int) -> None:
        """The server has put it in force; `seq` is where it starts, if it starts from now on."""
        if self.seq is None:
            self.seq = seq
        self.in_force = self.resumes = True
        self._ready.set()

    def put(self, message: Delivered) -> None:
        """A message of one of its types has arrived."""
        if self.seq is None or message.seq > self.seq:
            self.seq = message.seq
            self._put(message)

    def lose(self, gap: Gap) -> None:
        """Messages are gone, among them perhaps some of its own."""
        if self.seq is not None and gap.to > self.seq:
            self._put(Gap(from_=max(gap.from_, self.seq), to=gap.to))
            self.seq = gap.to

    def advance(self, seq: int) -> None:
        """All of it up to `seq` has arrived."""
        self.seq = seq if self.seq is None else max(seq, self.seq)

    def start_over(self, seq: int) -> None:
        """The server's log ends before our place: it is another log, and what we missed is lost."""
        assert self.seq is not None
        self._put(Gap(from_=self.seq, to=seq))
        self.seq = seq

    def end(self, failure: Exception | None = None) -> None:
        """Nothing more will come."""
        self._ended = True
        self._failure = self._failure or failure
        for event in (self._arrived, self._room, self._ready):
            event.set()

    def _put(self, item: Item) -> None:
        self._items.append(item)
        self._arrived.set()
