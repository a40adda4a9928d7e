"""Streams: items that come in from a source and are iterated over, such as those of a subscription.

A stream begins with the loop over it, or with its block, and ends with it. Its queue is bounded;
the source decides what to do when it is full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")


class Stream(Generic[Item]):
    """Items as they come, up to `most` of which wait for a busy consumer."""

    def __init__(
        self, start: Callable[[Any], None], stop: Callable[[Any], None], most: int
    ) -> None:
        # Both are called with the stream itself, whose own class they know.
        self._start = start
        self._stop = stop
        self._most = most
        self._started = False
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()  # an item can be taken, or the stream has ended
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
        """Yield items, until the client or server is closed.

        Raises `RefusedError` when the server refuses it, `ConnectionEndedError` when the connection
        ended for good, and `NotRunningError` when the client or server is not running.
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
        """End it."""
        if not self._ended:
            self.end()
            self._stop(self)

    def _begin(self) -> None:
        if not (self._started or self._ended):
            self._start(self)
            self._started = True  # not before: a start that was refused can be repeated

    async def _available(self) -> bool:
        """Wait until an item can be taken; False when the stream has ended."""
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
        return len(self._items) >= self._most

    async def room(self) -> None:
        """Wait until the queue is no longer full, or the stream has ended."""
        while self.full and not self._ended:
            self._room.clear()
            await self._room.wait()

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
