"""The methods with which a program that embeds the server publishes and reads.

They check what comes in as strictly as a connection does. Reads are asked by the principal
`PROGRAM`, which may read everything, or by a user whom the program names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any, Literal, TypeVar, get_args

import msgspec

from livelog.auth.principal import PROGRAM, READ, Principal
from livelog.budget.owner import Owner
from livelog.client import commands
from livelog.client.commands import Command, FilterArgument
from livelog.client.decoding import Analysis, Page, analysis, page
from livelog.client.livecounts import LiveCounts
from livelog.client.subscription import Subscription
from livelog.engine.base import Done, Outcome
from livelog.errors import NotRunningError, RefusedError
from livelog.index.query import NOTHING
from livelog.log import ingest
from livelog.log.log import Log
from livelog.net import queries
from livelog.net.context import Context
from livelog.net.feed import Counter, Feed
from livelog.wire import validation
from livelog.wire.bom import without_bom
from livelog.wire.commands import Analyze, GetHistory, Search, Subscribe, Watch
from livelog.wire.messages import TYPES, AnyMessage, Delivered, Message
from livelog.wire.record import Receipt

_HERE = ""
"""The address of the program."""

Shape = TypeVar("Shape", Subscribe, GetHistory, Search, Analyze, Watch)

_PLAIN: dict[str | int | None, type[Message]] = {
    kind.__struct_config__.tag: kind for kind in get_args(AnyMessage)
}
"""Type → its struct without `seq`."""

NOT_RUNNING = {
    "new": "the server is not running: enter `async with`, or call `start` first",
    "starting": "the server has not finished starting",
    "closed": "the server is closed; start another one",
}
_ELSEWHERE = (
    "a server is used from the event loop it was started in; from another thread, pass the call to"
    " `loop.call_soon_threadsafe` or the coroutine to `asyncio.run_coroutine_threadsafe`, or use"
    " `publish_threadsafe`"
)
_IN_THE_LOOP = (
    "`publish_threadsafe` waits, which would stop the event loop that it is called in; use `await"
    " server.publish(…)` here"
)


class InProcess:
    """Publishing and reading of a server, in its process and event loop."""

    def __init__(self) -> None:
        self._state: Literal["new", "starting", "running", "closed"] = "new"
        self._context: Context
        self._feeds: dict[Subscription, Feed] = {}
        self._counters: dict[LiveCounts, Counter] = {}

    # Publishing.

    async def publish(self, message: Message | dict[str, Any] | bytes) -> Receipt:
        """Append a message, given as a struct, a dict or JSON, and wait until it is on disk.

        Returns its id and seq. The `seq` of a message that was received is left out. Raises
        `RefusedError` when it is invalid or cannot be stored (yet).

            receipt = await server.publish({"type": "system", "event": "raid_started"})
        """
        context = self._running()
        stored: asyncio.Future[Receipt] = context.loop.create_future()

        def done(outcomes: Sequence[Outcome]) -> None:
            [outcome] = outcomes
            if stored.cancelled():
                return
            if isinstance(outcome, RefusedError):
                stored.set_exception(outcome)
            else:
                stored.set_result(outcome)

        self._publish(context, message, done)
        return await stored

    def publish_nowait(self, message: Message | dict[str, Any] | bytes) -> str:
        """Append a message, given as a struct, a dict or JSON, and return its id at once.

        Delivery follows; soon the message is on disk. Raises `RefusedError` when it is invalid or
        when it is known already that it cannot be stored.

            id = server.publish_nowait({"type": "system", "event": "raid_started"})
        """
        known: list[Outcome] = []
        id = self._publish(self._running(), message, known.extend)
        for outcome in known:
            if isinstance(outcome, RefusedError):
                raise outcome
        return id

    def publish_threadsafe(
        self, message: Message | dict[str, Any] | bytes, timeout: float | None = 30
    ) -> Receipt:
        """Append a message from another thread, and wait there until it is on disk.

        For code beside the event loop, such as the `def` routes of a web framework. Raises as
        `publish` does, `TimeoutError` after `timeout` seconds, when the message may be on disk
        nevertheless, and `NotRunningError` in the thread of the loop, which must not wait.

            receipt = server.publish_threadsafe({"type": "system", "event": "raid_started"})
        """
        if self._state != "running":
            raise NotRunningError(NOT_RUNNING[self._state])
        loop = self._context.loop
        if loop is _running_loop():
            raise NotRunningError(_IN_THE_LOOP)
        publishing = self.publish(message)
        try:
            future = asyncio.run_coroutine_threadsafe(publishing, loop)
        except RuntimeError:  # the loop has been closed
            publishing.close()
            raise NotRunningError(NOT_RUNNING["closed"]) from None
        try:
            return future.result(timeout)
        except CancelledError:
            raise NotRunningError(NOT_RUNNING["closed"]) from None
        except BaseException:  # a time-out, or an interrupt of the waiting thread
            future.cancel()
            raise

    def _publish(
        self, context: Context, message: Message | dict[str, Any] | bytes, done: Done
    ) -> str:
        if isinstance(message, bytes):
            checked = ingest.decode(without_bom(message))
        else:
            checked = ingest.convert(_without_seq(message))
        draft = context.ingest.admit(PROGRAM, checked)
        context.ingest.publish([draft], done)
        return draft.id

    # Reading.

    async def history(
        self,
        *,
        filters: FilterArgument = None,
        limit: int = 100,
        offset: int = 0,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        as_user: str | None = None,
    ) -> Page:
        """Return past messages that match, newest first: from `offset` on, or beside a seq.

        `before` asks for the newest older messages, `after` for those that follow directly,
        `around` for the page with the seq in its middle. The program reads everything; `as_user`
        leaves out the direct messages of other users. A page is at most 4 MiB large: see
        `Page.truncated`. Raises `RefusedError`.

            page = await server.history(filters={"type": "dm"}, as_user="u1")
        """
        context = self._running()
        places = {"before": before, "after": after, "around": around}
        command = _checked(GetHistory, commands.get_history(filters, limit, offset, **places))
        return page(await queries.history(*_asking(context, as_user), command, context.clock()))

    async def search(
        self,
        query: str | None = None,
        *,
        filters: FilterArgument = None,
        limit: int = 100,
        offset: int = 0,
        as_user: str | None = None,
    ) -> Page:
        """Return past messages in which all words of `query` occur, newest first.

        With the filter `where` it may be left out. `as_user` is that of `history`. Raises
        `RefusedError`.

            page = await server.search("ancient dragon", filters={"type": "raid"})
        """
        context = self._running()
        command = _checked(Search, commands.search(query, filters, limit, offset))
        return page(await queries.search(*_asking(context, as_user), command, context.clock()))

    async def analyze(
        self,
        *,
        filters: FilterArgument = None,
        group_by: str | None = None,
        limit: int | None = None,
        interval_seconds: int | None = None,
        timezone: str | None = None,
        distinct: str | None = None,
        as_user: str | None = None,
    ) -> Analysis:
        """Return exact counts of past messages: by the values of a field, over time, or both.

        `limit` bounds the values that are listed (20). Buckets begin at multiples of their length,
        in UTC or in a `timezone`, an IANA name. `distinct` names a field whose different values are
        counted. `as_user` is that of `history`. Raises `RefusedError`.

            counts = await server.analyze(group_by="channel", interval_seconds=60)
        """
        context = self._running()
        command = commands.analyze(
            filters,
            group_by=group_by,
            limit=limit,
            interval_seconds=interval_seconds,
            timezone=timezone,
            distinct=distinct,
        )
        checked = _checked(Analyze, command)
        found = await queries.analyze(*_asking(context, as_user), checked, context.clock())
        return analysis(found)

    def subscribe(
        self,
        types: Sequence[str] | str = TYPES,
        *,
        filters: FilterArgument = None,
        since: int | None = None,
        as_user: str | None = None,
    ) -> Subscription:
        """Return a subscription to these types, from now on or from after the seq `since` on.

        Iterate over it for messages with their `seq`, and a `Gap` where messages are gone. A slow
        consumer delays no other reader: it reads on from the log. When the server is closed, the
        loop ends behind everything published, or behind a `Gap` up to the newest message for what a
        slow consumer did not get any more. `as_user` is that of `history`. Raises `RefusedError`.

            async for message in server.subscribe(["user"], since=0):
                print(message)
        """
        context = self._running()
        names, plain = commands.names(types), commands.plain(filters)
        command = _checked(Subscribe, commands.subscribe(names, plain, since))
        principal, now = _principal(as_user), context.clock()
        wanted = NOTHING.with_types(queries.subscription(context.log, principal, command, now))

        def start(subscription: Subscription) -> None:
            self._feeds[subscription] = Feed(self._running(), subscription, wanted)

        return Subscription(names, plain, since, start, self._stop_feed)

    def watch(
        self,
        group_by: str = "type",
        *,
        interval_seconds: int = 1,
        filters: FilterArgument = None,
        as_user: str | None = None,
    ) -> LiveCounts:
        """Return live counts of messages by the values of a field, instead of the messages.

        Iterate over them: in each interval, of 1 to 3600 seconds, comes a `Counts`, also when there
        was no message. It counts what has come since the one before; a slow consumer gets fewer,
        for longer times. `as_user` is that of `history`. Raises `RefusedError`.

            async for item in server.watch("channel", filters={"type": "user"}):
                print(item)
        """
        context = self._running()
        plain, principal = commands.plain(filters), _principal(as_user)
        command = _checked(Watch, commands.watch("", group_by, interval_seconds, plain))
        now = context.clock()

        def start(counts: LiveCounts) -> None:
            context, party = self._running(), Counter(counts)
            watcher = queries.watcher(party, command, now)
            context.watches.enter(watcher, principal, context.log.head, context.log.head, now)
            counts.confirm(context.log.head)
            self._counters[counts] = party

        found = LiveCounts("", group_by, interval_seconds, plain, start, self._stop_counting)
        queries.watcher(Counter(found), command, now).compile(principal)  # refused here
        return found

    # State.

    def _running(self) -> Context:
        """Return the parts of the server. Raises `NotRunningError` unless it may be used here."""
        if self._state != "running":
            raise NotRunningError(NOT_RUNNING[self._state])
        if _running_loop() is not self._context.loop:
            raise NotRunningError(_ELSEWHERE)
        return self._context

    def _end_subscriptions(self) -> None:
        for feed in list(self._feeds.values()):
            feed.finish()

        for counts in list(self._counters):
            counts.close()

    def _stop_counting(self, counts: LiveCounts) -> None:
        party = self._counters.pop(counts, None)
        if party is not None:
            self._context.watches.leave(party)

    def _stop_feed(self, subscription: Subscription) -> None:
        feed = self._feeds.pop(subscription, None)
        if feed is not None:
            feed.close()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, None without one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _without_seq(message: Message | dict[str, Any]) -> Message | dict[str, Any]:
    """Return a message that may have been received as one that can be sent on."""
    if isinstance(message, dict):
        return {name: value for name, value in message.items() if name != "seq"}
    if isinstance(message, Delivered):
        fields = msgspec.structs.asdict(message)
        del fields["seq"]
        return _PLAIN[message.__struct_config__.tag](**fields)
    return message


def _principal(as_user: str | None) -> Principal:
    """Return the program itself, or a user with all types and the user's own direct messages."""
    return PROGRAM if as_user is None else Principal(as_user, frozenset([READ]))


def _asking(context: Context, as_user: str | None) -> tuple[Log, Principal, Owner]:
    """Return the log, the one who asks, and the owner of the work for it."""
    principal = _principal(as_user)
    return context.log, principal, queries.owner(principal, _HERE)


def _checked(shape: type[Shape], command: Command) -> Shape:
    """Check a command as strictly as one from outside. Raises `RefusedError`."""
    try:
        return msgspec.convert(command, shape)
    except ValueError as error:
        raise validation.refusal(error, shape, dict(command)) from None
