"""The client as a program sees it: subscribe, read history, search, publish.

Commands, which `commands` builds, go over one link; a subscription is placed on that or on a link
of its own, as `links` decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Literal, Self

from livelog.client import commands
from livelog.client.addresses import Addresses
from livelog.client.backoff import Clock
from livelog.client.commands import Command, FilterArgument
from livelog.client.credentials import Credentials, Token
from livelog.client.decoding import Analysis, Page, analysis, page
from livelog.client.links import Links
from livelog.client.livecounts import LiveCounts
from livelog.client.presencechanges import PresenceChanges
from livelog.client.reconnecting import Status, Watch
from livelog.client.subscription import Subscription
from livelog.errors import NotRunningError
from livelog.wire import events
from livelog.wire.events import AnyEvent, History, Online, Published, SearchResults
from livelog.wire.ids import uuid7
from livelog.wire.messages import PREFIXES, TYPES, Message
from livelog.wire.record import Receipt

IN_FLIGHT = 16
"""Messages that are published at a time, so that few are refused together over a rate limit."""

_NOT_RUNNING = {
    "new": "the client is not connected: use it in `async with connect(…) as log`",
    "closed": "the client is closed; connect another one",
}
_ELSEWHERE = (
    "a client is used from the event loop it was connected in; from another thread, pass the"
    " coroutine to `asyncio.run_coroutine_threadsafe`"
)


def connect(
    url: str | Sequence[str],
    *,
    token: Token | None = None,
    watch: Watch | None = None,
    batch: bool = True,
    clock: Clock | None = None,
) -> Client:
    """Make a client of the server or servers at `url`, to be used with `async with`.

        async with connect("ws://localhost:8000/ws/live-log", token="…") as log:
            print(await log.history(limit=20))

    `url` is the WebSocket address that the server prints at its start. For servers that share a log
    it is a list of their addresses, or a text in which commas separate them: the client begins at
    any of them, and goes on at the next whenever one fails. `token` authenticates the client: a
    JWT, an OAuth2 token or an API key, or a function, plain or async, that returns one. The
    function is called for every connection, and when a token is about to expire. `watch` is called
    with a `Status` whenever a connection is lost or open again. `batch` lets the server send
    several messages in a frame: that costs both less, and delays them by up to 25 ms. `clock` is
    for tests.

    Entering the block connects once, to each address in turn; it raises `UnreachableError` when
    that fails and `ConnectionEndedError` when it can never succeed. From then on the client
    reconnects for as long as it takes: bound a call with `asyncio.timeout` to give up earlier.
    """
    credentials = None if token is None else Credentials(token)
    clock = clock or Clock()
    return Client(Addresses(url, clock.random), credentials, watch or _unwatched, clock, batch)


def _unwatched(status: Status) -> None:
    """Stand in for a `watch`."""


class Client:
    """A client of a livelog server that survives the end of connections, made by `connect`.

        async with connect("ws://localhost:8000/ws/live-log") as log:
            await log.publish({"type": "system", "event": "raid_started"})
            async for message in log.subscribe(["system"], since=0):
                print(message)

    All methods may be used at the same time. A command over a rate limit of the server is not lost:
    it waits as long as the server says and is sent again. Methods raise `NotRunningError` outside
    of the `async with` block and when they are called from another thread.
    """

    def __init__(
        self,
        addresses: Addresses,
        credentials: Credentials | None,
        watch: Watch,
        clock: Clock,
        batch: bool = True,
    ) -> None:
        self._state: Literal["new", "running", "closed"] = "new"
        self._loop: asyncio.AbstractEventLoop
        self._links = Links(addresses, credentials, watch, clock, batch)
        self._shared = self._links.shared
        self._watch_ids = count(1)
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise NotRunningError("a client connects once; make another one with `connect`")
        self._state, self._loop = "running", asyncio.get_running_loop()
        try:
            await self._shared.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Subscriptions end, and commands under way raise
        `ConnectionEndedError`."""
        if self._state == "running":
            self._check_running()
            self._state = "closed"
            self._links.stop()
        await self._links.ended()

    def subscribe(
        self,
        types: Sequence[str] | str = TYPES,
        *,
        filters: FilterArgument = None,
        since: int | None = None,
    ) -> Subscription:
        """Return a subscription to these types, from now on or from after the seq `since` on.

        Iterate over it: it yields messages with their `seq`, in order, each once, over any number
        of connections, and a `Gap` where messages are gone for good.

            async for message in log.subscribe(["user"], filters={"channel": "general"}):
                print(message)
        """
        self._check_running()
        names, plain = commands.names(types), commands.plain(filters)
        commands.encoded(commands.subscribe(names, plain, since))  # refused here, and not later
        return Subscription(names, plain, since, self._begin_subscription, self._links.remove)

    def _begin_subscription(self, subscription: Subscription) -> None:
        self._check_running()
        self._links.add(subscription)

    def watch(
        self,
        group_by: str = "type",
        *,
        interval_seconds: int = 1,
        filters: FilterArgument = None,
    ) -> LiveCounts:
        """Return live counts of messages by the values of a field, instead of the messages.

        Iterate over them: in each interval, of 1 to 3600 seconds, comes a `Counts`, also when there
        was no message. It counts what has come since the one before; a `Gap` tells what was not
        counted, while the connection was lost or because the consumer was too slow. A client may
        have 16 at a time.

            async for item in log.watch("channel", filters={"type": "user"}):
                print(item)
        """
        self._check_running()
        plain = commands.plain(filters)
        id = f"w{next(self._watch_ids)}"
        commands.encoded(commands.watch(id, group_by, interval_seconds, plain))  # refused here
        start, stop = self._begin_watch, self._shared.wanted.unwatch
        return LiveCounts(id, group_by, interval_seconds, plain, start, stop)

    def _begin_watch(self, counts: LiveCounts) -> None:
        self._check_running()
        self._shared.wanted.watch(counts)

    async def publish(self, message: Message | Mapping[str, Any]) -> Receipt:
        """Append a message to the log, wait until it is on disk, and return its id and seq.

        A message without an id gets one here, so that repeating it after a connection was lost
        cannot deliver it twice. Raises `RefusedError` when the server refuses it.

            receipt = await log.publish({"type": "system", "event": "raid_started"})
        """
        self._check_running()
        plain = commands.builtins(message, "message")
        plain.pop("seq", None)  # a message that was received can be sent on
        kind = plain.get("type")
        prefix = PREFIXES.get(kind, "") if isinstance(kind, str) else ""
        plain.setdefault("id", prefix + uuid7(int(time.time() * 1000)))
        command = commands.encoded({"action": "publish", "message": plain})
        async with self._in_flight:
            answer = await self._shared.request(command)
        assert isinstance(answer, Published)
        return Receipt(answer.id, answer.seq)

    async def history(
        self,
        *,
        filters: FilterArgument = None,
        limit: int = 100,
        offset: int = 0,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
    ) -> Page:
        """Return past messages that match, newest first: from `offset` on, or beside a seq.

        `before` asks for the newest older messages, `after` for those that follow directly,
        `around` for the page with the seq in its middle. A page is at most 4 MiB large: see
        `Page.truncated`. Raises `RefusedError`.

            page = await log.history(filters={"type": "user"}, limit=20)
        """
        places = {"before": before, "after": after, "around": around}
        answer = await self._request(commands.get_history(filters, limit, offset, **places))
        assert isinstance(answer, History)
        return page(answer)

    async def search(
        self,
        query: str | None = None,
        *,
        filters: FilterArgument = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Page:
        """Return past messages in which all words of `query` occur, newest first.

        With the filter `where` it may be left out. Raises `RefusedError`.

            page = await log.search("ancient dragon", filters={"type": "raid"})
        """
        answer = await self._request(commands.search(query, filters, limit, offset))
        assert isinstance(answer, SearchResults)
        return page(answer)

    async def analyze(
        self,
        *,
        filters: FilterArgument = None,
        group_by: str | None = None,
        limit: int | None = None,
        interval_seconds: int | None = None,
        timezone: str | None = None,
        distinct: str | None = None,
    ) -> Analysis:
        """Return exact counts of past messages: by the values of a field, over time, or both.

        `limit` bounds the values that are listed (20). Buckets begin at multiples of their length,
        in UTC or in a `timezone`, an IANA name. `distinct` names a field whose different values are
        counted. Raises `RefusedError`.

            counts = await log.analyze(group_by="channel", interval_seconds=60)
        """
        command = commands.analyze(
            filters,
            group_by=group_by,
            limit=limit,
            interval_seconds=interval_seconds,
            timezone=timezone,
            distinct=distinct,
        )
        answer = await self._request(command)
        assert isinstance(answer, events.Analysis)
        return analysis(answer)

    async def presence(self, *, limit: int = 100, offset: int = 0) -> Online:
        """Return how many users are on line, and with the scope `presence` a page of them, by id.

        Raises `RefusedError`, also where everything is public, as there are no users.

            online = await log.presence()
            print(online.count)
        """
        answer = await self._request(commands.presence(limit, offset))
        assert isinstance(answer, Online)
        return answer

    def watch_presence(self, *, limit: int = 100) -> PresenceChanges:
        """Return the users on line as they come and go.

        Iterate over it: first comes an `Online`, as `presence` returns it with up to `limit` users,
        and then, at most once a second, an `OnlineChanged`: the `count`, and with the scope
        `presence` the users that have `joined` and `left`. After a lost connection comes an
        `Online` again. Where `incomplete` is true not all are named: ask `presence` then.

            async for item in log.watch_presence():
                print(item.count)
        """
        self._check_running()
        return PresenceChanges(limit, self._begin_presence, self._shared.wanted.unfollow)

    def _begin_presence(self, changes: PresenceChanges) -> None:
        self._check_running()
        self._shared.wanted.follow(changes)

    async def _request(self, command: Command) -> AnyEvent:
        self._check_running()
        return await self._shared.request(commands.encoded(command))

    def _check_running(self) -> None:
        """Raise `NotRunningError` unless the client may be used here."""
        if self._state != "running":
            raise NotRunningError(_NOT_RUNNING[self._state])
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            raise NotRunningError(_ELSEWHERE) from None
        if here is not self._loop:
            raise NotRunningError(_ELSEWHERE)
