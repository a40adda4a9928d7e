"""The client for programs without an event loop: each call blocks until it has its answer.

An ordinary client runs in a thread of its own, in an event loop there; calls are handed to it. So
everything that it survives, this one survives, too.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakSet

from livelog.client.client import connect
from livelog.client.commands import FilterArgument
from livelog.client.credentials import Token
from livelog.client.decoding import Analysis, Item, Page
from livelog.client.stream import Stream
from livelog.errors import NotRunningError
from livelog.wire.events import Online, OnlineChanged
from livelog.wire.messages import TYPES, Message
from livelog.wire.record import Receipt

Result = TypeVar("Result")

_CLOSED = "the client is not connected: use it in `with sync_connect(…) as log`, or call `open`"
_FORKED = "the client was connected in another process; call `open` after the fork"


def sync_connect(url: str, *, token: Token | None = None, timeout: float | None = 30) -> SyncClient:
    """Make a blocking client of the server at `url`, to be used with `with`.

        with sync_connect("ws://localhost:8000/ws/live-log", token="…") as log:
            log.publish({"type": "system", "event": "raid_started"})

    For Django, Celery and scripts; `url` and `token` are those of `connect`. A call that has not
    been answered after `timeout` seconds, reconnects included, raises `TimeoutError`; what it has
    sent may still be carried out. None waits for as long as it takes.
    """
    return SyncClient(url, token, timeout)


class SyncClient:
    """A client whose calls block, made by `sync_connect`.

        with sync_connect("ws://localhost:8000/ws/live-log") as log:
            for message in log.follow(["user"]):
                print(message)

    All threads of a process may use it at the same time. In programs that serve for long, such as
    web applications, make one for the module and call `open` before each use.
    """

    def __init__(self, url: str, token: Token | None, timeout: float | None) -> None:
        self._url, self._token, self._timeout = url, token, timeout
        self._client = connect(url, token=token)
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._ended: asyncio.Event
        self._process = 0
        """Id of the process that it is connected in; 0 while it is not."""
        self._renew_locks()
        _clients.add(self)

    def _renew_locks(self) -> None:
        self._lock = threading.Lock()
        self._opening = threading.Lock()

    def open(self) -> Self:
        """Connect, unless that has been done in this process; return the client.

        A process that was forked connects anew. Raises `UnreachableError`.

            log = sync_connect("ws://localhost:8000/ws/live-log")

            def view(request):
                log.open().publish({"type": "system", "event": "raid_started"})
        """
        with self._opening:
            if self._process != os.getpid():
                self._connect()
        return self

    def _connect(self) -> None:
        self._client = connect(self._url, token=self._token)
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run_loop, name="livelog", daemon=True)
        self._thread.start()
        self._process = os.getpid()
        try:
            self._call(self._client.__aenter__())
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; what other threads wait for ends."""
        if self._process == os.getpid():
            try:
                self._call(self._client.close())
            finally:
                self._stop()

    def publish(self, message: Message | Mapping[str, Any]) -> Receipt:
        """Append a message, wait until it is on disk, and return its id and seq.

        Raises `RefusedError` when the server refuses it. Repeating a call that has timed out cannot
        deliver the message twice if it has an `id`.
        """
        return self._call(self._client.publish(message))

    def history(
        self,
        *,
        filters: FilterArgument = None,
        limit: int = 100,
        offset: int = 0,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
    ) -> Page:
        """Return past messages that match, as `Client.history` does."""
        places = {"before": before, "after": after, "around": around}
        return self._call(
            self._client.history(filters=filters, limit=limit, offset=offset, **places)
        )

    def search(
        self,
        query: str | None = None,
        *,
        filters: FilterArgument = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Page:
        """Return past messages in which words occur, as `Client.search` does."""
        return self._call(self._client.search(query, filters=filters, limit=limit, offset=offset))

    def analyze(
        self,
        *,
        filters: FilterArgument = None,
        group_by: str | None = None,
        limit: int | None = None,
        interval_seconds: int | None = None,
        timezone: str | None = None,
        distinct: str | None = None,
    ) -> Analysis:
        """Return exact counts of past messages, as `Client.analyze` does."""
        return self._call(
            self._client.analyze(
                filters=filters,
                group_by=group_by,
                limit=limit,
                interval_seconds=interval_seconds,
                timezone=timezone,
                distinct=distinct,
            )
        )

    def presence(self, *, limit: int = 100, offset: int = 0) -> Online:
        """Return how many users are on line, as `Client.presence` does."""
        return self._call(self._client.presence(limit=limit, offset=offset))

    def follow(
        self,
        types: Sequence[str] | str = TYPES,
        *,
        filters: FilterArgument = None,
        since: int | None = None,
    ) -> Iterator[Item]:
        """Iterate over messages as they come, and over gaps, as with `Client.subscribe`.

        It waits for the next one without a time-out, and ends when the client is closed.
        """
        return self._iterate(lambda: self._client.subscribe(types, filters=filters, since=since))

    def watch_presence(self, *, limit: int = 100) -> Iterator[Online | OnlineChanged]:
        """Iterate over the users on line as they come and go, as with `Client.watch_presence`.

        It waits for the next item without a time-out, and ends when the client is closed.
        """
        return self._iterate(lambda: self._client.watch_presence(limit=limit))

    def _iterate(self, make: Callable[[], Stream[Result]]) -> Iterator[Result]:
        """Iterate over a stream that is made in the loop of the client."""

        async def begin() -> AsyncIterator[Result]:
            return aiter(make())

        items = self._call(begin())
        try:
            while (found := self._wait(_next(items), None)) is not None:
                yield found
        finally:
            with suppress(NotRunningError):  # the client may have been closed
                self._call(_close(items))

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._wait(work, self._timeout)

    def _wait(self, work: Coroutine[Any, Any, Result], timeout: float | None) -> Result:
        """Run `work` in the loop of the client and wait for its result."""
        with self._lock:
            if self._process != os.getpid():
                work.close()
                raise NotRunningError(_FORKED if self._process else _CLOSED)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except CancelledError:
            raise NotRunningError(_CLOSED) from None
        except BaseException:  # an interrupt of the waiting thread among them
            future.cancel()
            raise

    def _run_loop(self) -> None:
        """Run the loop until the end; whatever is still waited for is cancelled then."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._ended.wait())

    def _stop(self) -> None:
        with self._lock:
            self._process = 0  # no call can come behind the end
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()


_clients: WeakSet[SyncClient] = WeakSet()
_left: list[object] = []
"""Loops of the process that this one was forked from. They share their files with it, so they are
kept here: to be closed would disturb them there."""


def _after_fork() -> None:
    """Make clients usable in a child: a thread that it does not have may have held their locks."""
    for client in _clients:
        if client._process:
            _left.append((client._loop, client._client))
        client._renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


async def _next(items: AsyncIterator[Result]) -> Result | None:
    return await anext(items, None)


async def _close(items: AsyncIterator[Result]) -> None:
    await items.aclose()  # type: ignore[attr-defined]  # it is a generator
