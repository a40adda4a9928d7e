"""The client as its user sees it: follow, ask about the past, publish.

Commands and the subscriptions that agree with each other share one connection. A subscription that
differs (other filters for a type that is in use, a place of its own in the log) gets a connection
of its own, and so does one whose user falls behind: only there may reading stop, since nobody else
waits for what would be read next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, get_args

import msgspec

from livelog.client.backoff import Clock
from livelog.client.credentials import Proof, Token
from livelog.client.decoding import Page, page
from livelog.client.reconnecting import Line, Status, Watch
from livelog.client.subscription import Subscription
from livelog.wire.commands import Filters
from livelog.wire.events import History, Published, SearchResults
from livelog.wire.ids import uuid7
from livelog.wire.messages import TYPES, AnyMessage, Message

IN_FLIGHT = 16
"""Messages that are published at a time: what a limit of the server can hit at once."""

_PREFIX = {kind.__struct_config__.tag: kind.prefix for kind in get_args(AnyMessage)}


def connect(
    url: str,
    *,
    token: Token | None = None,
    watch: Watch | None = None,
    clock: Clock | None = None,
) -> Client:
    """A client of the server at `url`, to be used with `async with`.

    `url` is the WebSocket address that the server prints at its start. `token` says who you are: a
    JWT, an OAuth2 token or an API key, or a function, plain or async, that returns one. It is
    called for every connection, and when a token is about to expire. `watch` is called with a
    `Status` whenever a connection was lost or is there again. `clock` is for tests.

    Entering the block connects once; it raises `UnreachableError` when that fails and
    `ConnectionEndedError` when it can never succeed. From then on the client reconnects by itself,
    for as long as it takes: bound a call with `asyncio.timeout` if you would rather give up.
    """
    proof = None if token is None else Proof(token)
    return Client(url, proof, watch or _unwatched, clock or Clock())


def _unwatched(status: Status) -> None:
    pass


class Client:
    """A connection to a livelog server that survives the end of connections. Made by `connect`.

    All methods may be used at the same time. A command over a limit of the server is not lost: it
    waits as long as the server says and is sent again.
    """

    def __init__(self, url: str, proof: Proof | None, watch: Watch, clock: Clock) -> None:
        self._url = url
        self._proof = proof
        self._watch = watch
        self._clock = clock
        self._main = Line(url, proof, clock, watch, self._move_out)
        self._own: dict[Subscription, Line] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)

    async def __aenter__(self) -> Self:
        await self._main.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Say goodbye. Subscriptions end, and commands that are under way raise
        `ConnectionEndedError`."""
        for line in (self._main, *self._own.values()):
            self._stop(line)
        self._own.clear()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def subscribe(
        self,
        types: Sequence[str] | str = TYPES,
        *,
        filters: Filters | Mapping[str, Any] | None = None,
        since: int | None = None,
    ) -> Subscription:
        """Messages of these types that match the filters, from now on or after the seq `since`.

        Iterate over it: it yields messages with their `seq`, in order, each once, over any number
        of connections. Where messages are gone for good it yields a `Gap`.
        """
        names = [types] if isinstance(types, str) else types
        return Subscription(names, _plain(filters), since, self._place, self._dismiss)

    async def publish(self, message: Message | Mapping[str, Any]) -> Published:
        """Append a message to the log and wait until it is safe; returns its `id` and `seq`.

        A message without an id gets one here, so that repeating it after a connection was lost
        cannot deliver it twice. Raises `RefusedError` when the server does not take it.
        """
        plain = dict(msgspec.to_builtins(message))
        plain.pop("seq", None)  # what was received can be sent on
        prefix = _PREFIX.get(plain.get("type"), "")
        plain.setdefault("id", prefix + uuid7(int(time.time() * 1000)))
        async with self._in_flight:
            answer = await self._main.request({"action": "publish", "message": plain})
        assert isinstance(answer, Published)
        return answer

    async def history(
        self,
        *,
        filters: Filters | Mapping[str, Any] | None = None,
        limit: int = 100,
        offset: int = 0,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
    ) -> Page:
        """Past messages that match, newest first: from `offset` on, or those beside a seq.

        `before` asks for the newest that are older, `after` for those that follow directly,
        `around` for the page with it in the middle. Raises `RefusedError`.
        """
        command = {"action": "get_history", "limit": limit, "offset": offset}
        places = {"before": before, "after": after, "around": around}
        command |= {name: seq for name, seq in places.items() if seq is not None}
        answer = await self._main.request({**command, "filters": _plain(filters)})
        assert isinstance(answer, History)
        return page(answer.messages, answer.total_count, answer.offset)

    async def search(
        self,
        query: str,
        *,
        filters: Filters | Mapping[str, Any] | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Page:
        """Past messages in which all words of `query` occur, newest first. Raises
        `RefusedError`."""
        command = {"action": "search", "query": query, "limit": limit, "offset": offset}
        answer = await self._main.request({**command, "filters": _plain(filters)})
        assert isinstance(answer, SearchResults)
        return page(answer.results, answer.count, answer.offset)

    # Which connection a subscription is on.

    def _place(self, subscription: Subscription) -> None:
        if self._main.fits(subscription):
            self._main.add(subscription)
        else:
            self._give_own_line(subscription)

    def _move_out(self, subscription: Subscription) -> None:
        self._main.remove(subscription)
        self._give_own_line(subscription)

    def _give_own_line(self, subscription: Subscription) -> None:
        line = self._own[subscription] = Line(self._url, self._proof, self._clock, self._watch)
        line.add(subscription)
        line.start()

    def _dismiss(self, subscription: Subscription) -> None:
        line = self._own.pop(subscription, None)
        if line is not None:
            self._stop(line)
        else:
            self._main.remove(subscription)

    def _stop(self, line: Line) -> None:
        task = line.stop()
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


def _plain(filters: Filters | Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if filters is None else dict(msgspec.to_builtins(filters))
