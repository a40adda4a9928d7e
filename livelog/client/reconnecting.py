"""A connection that comes back: opens channels one after the other, and keeps what was asked of it.

Whatever breaks, the line opens another channel by the schedule, puts its subscriptions in force
again from where they were, and repeats the commands that were not answered; all commands may be
repeated, since a message that is published has an id. Only what makes another attempt useless ends
a line, and then everybody who waits on it is told why.

A subscription is routed to only after the server has confirmed it on this channel: what arrives
earlier was sent for others. Subscribing with `since` moves the whole connection there, so it always
names the earliest place of all subscriptions; each passes over what it has seen.

A line reads while it can. When a subscription is full and stays so, a line that others use hands
it to `overflow`; a line without `overflow` has no other use and stops reading, which makes the
server wait, and at last close the connection, which is resumed then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from livelog.client.backoff import Backoff, Clock, Pace
from livelog.client.connection import Channel, Command, open_channel
from livelog.client.credentials import Proof
from livelog.client.errors import Loss, Lost
from livelog.client.subscription import Subscription
from livelog.client.url import shown
from livelog.errors import (
    NORMAL_CLOSURE,
    RATE_LIMIT_EXCEEDED,
    ConnectionEndedError,
    RefusedError,
    UnreachableError,
)
from livelog.wire.events import AnyEvent, Error, Gap, Pong, Subscribed, TokenExpiring
from livelog.wire.messages import Delivered, Message

_log = logging.getLogger(__name__)

HEARTBEAT = 20.0
"""Seconds between two pings; a server that has sent nothing since the last one is held dead."""
PATIENCE = 1.0
"""Seconds a line that is shared waits for a user who is busy."""
SHARED_BY = 6
"""Subscriptions on one line; each costs a command, of which a minute has ten, when it resumes."""
_UNCOUNTED = ("ping", "publish")
"""Actions that the server counts as messages only, and not as commands."""


class Status(NamedTuple):
    """What has become of a connection."""

    connected: bool
    why: str = ""
    """Why it was lost."""
    retry_in: float = 0.0
    """Seconds until the next attempt."""


Watch = Callable[[Status], None]


class Line:
    """A connection that comes back."""

    def __init__(
        self,
        url: str,
        proof: Proof | None,
        clock: Clock,
        watch: Watch,
        overflow: Callable[[Subscription], None] | None = None,
    ) -> None:
        self._url = url
        self._proof = proof
        self._clock = clock
        self._watch = watch
        self._overflow = overflow
        self._backoff = Backoff(clock)
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._ever_open = False
        # What is wanted, over all channels.
        self.subscriptions: list[Subscription] = []
        self._changed = asyncio.Event()
        # The present channel.
        self._channel: Channel | None = None
        self._news = asyncio.Event()  # there is a channel, or there never will be one again
        self._told: set[str] = set()  # the types it is subscribed to
        self._stalled = False  # the reader waits for a user
        self._paces: dict[str, Pace] = {}
        self._expiring = asyncio.Event()  # what we have shown will not do for long

    # For the client.

    def start(self) -> None:
        """Connect, and go on trying."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def open(self) -> None:
        """Connect. Raises `UnreachableError` or `ConnectionEndedError` when the first attempt
        fails."""
        self._task = asyncio.get_running_loop().create_task(self._run(impatient=True))
        await self._present()

    async def request(self, command: Command) -> AnyEvent:
        """The answer to `command`, however many connections it takes.

        Raises `RefusedError`, and `ConnectionEndedError` when there will be no connection any more.
        """
        while True:
            channel = await self._present()
            try:
                return await self._ask(channel, command)
            except Lost:
                if self._channel is channel:
                    self._channel = None  # the reader has not noticed yet

    def fits(self, wanted: Subscription) -> bool:
        """Whether `wanted` can share this line.

        The server has one set of filters for each type and one place in the log for each
        connection, so subscriptions that differ in the one or have a place of their own do not.
        """
        if not self.subscriptions:
            return True
        return (
            len(self.subscriptions) < SHARED_BY
            and wanted.seq is None
            and not any(other.resumed_by_user for other in self.subscriptions)
            and not any(wanted.contradicts(other) for other in self.subscriptions)
        )

    def add(self, subscription: Subscription) -> None:
        """Put a subscription in force as soon as possible, and keep it so."""
        subscription.in_force = False
        if self._failure is not None:
            subscription.end(self._failure)
            return
        self.subscriptions.append(subscription)
        self._changed.set()

    def remove(self, subscription: Subscription) -> None:
        """Stop asking for a subscription."""
        with suppress(ValueError):  # it was refused, or the line has ended
            self.subscriptions.remove(subscription)
        self._changed.set()

    def stop(self) -> asyncio.Task[None] | None:
        """End the line; returns the task to wait for."""
        self._fail(None)
        if self._task is not None:
            self._task.cancel()
        return self._task

    # Its life.

    async def _run(self, impatient: bool = False) -> None:
        try:
            while True:
                loss = await self._one_channel()
                if loss.fatal is not None and not (self._proof and self._proof.outlives(loss)):
                    raise loss.fatal
                if impatient and not self._ever_open:
                    raise UnreachableError(f"cannot reach {shown(self._url)}: {loss.why}")
                await self._pause(loss)
        except Exception as failure:
            self._fail(failure)

    async def _one_channel(self) -> Loss:
        try:
            channel = await open_channel(self._url, self._proof)
        except Lost as lost:
            return lost.loss
        opened = self._clock.now()
        try:
            return await self._serve(channel)
        finally:
            self._backoff.lived(self._clock.now() - opened)
            await channel.close()

    async def _pause(self, loss: Loss) -> None:
        # Being sent away is no failure.
        delay = self._backoff.next() if loss.wait is None else loss.wait
        self._watch(Status(False, loss.why, delay))
        await self._clock.sleep(delay)

    def _fail(self, failure: Exception | None) -> None:
        self._failure = failure or ConnectionEndedError(NORMAL_CLOSURE, "the client is closed")
        self._news.set()
        for subscription in self.subscriptions:
            subscription.end(failure)
        self.subscriptions.clear()

    async def _present(self) -> Channel:
        while self._failure is None:
            if self._channel is not None:
                return self._channel
            self._news.clear()
            await self._news.wait()
        raise self._failure

    # One channel.

    async def _serve(self, channel: Channel) -> Loss:
        self._begin(channel)
        try:
            async with asyncio.TaskGroup() as chores:
                tasks = [
                    chores.create_task(self._keep_in_force(channel)),
                    chores.create_task(self._keep_alive(channel, chores)),
                    chores.create_task(self._keep_admitted(channel)),
                ]
                async for item in channel.items():
                    await self._receive(item)
                for task in tasks:
                    task.cancel()
        finally:
            self._channel = None
        return channel.loss

    def _begin(self, channel: Channel) -> None:
        for subscription in self.subscriptions:
            subscription.in_force = False
        self._ever_open = True
        self._told = set()
        self._expiring.clear()
        self._paces = {"messages": Pace(self._clock), "commands": Pace(self._clock)}
        self._channel = channel
        self._news.set()
        self._changed.set()
        self._watch(Status(True))

    async def _receive(self, item: Delivered | AnyEvent) -> None:
        if isinstance(item, Message):
            for subscription in self._wanting(item):
                await self._put(subscription, item)
        elif isinstance(item, Gap):
            for subscription in self._in_force():
                subscription.lose(item)
        elif isinstance(item, TokenExpiring):
            self._expiring.set()
        elif isinstance(item, Error):
            # It answers no command: what follows is the end of the connection, with its reason.
            _log.info("the server reports %s %s", item.error_message, item.details)

    def _in_force(self) -> list[Subscription]:
        return [wanted for wanted in self.subscriptions if wanted.in_force]

    def _wanting(self, message: Delivered) -> list[Subscription]:
        tag = message.__struct_config__.tag
        return [wanted for wanted in self._in_force() if tag in wanted.types]

    async def _put(self, subscription: Subscription, message: Delivered) -> None:
        if not subscription.full or await self._room(subscription):
            subscription.put(message)

    async def _room(self, subscription: Subscription) -> bool:
        """Wait for room; False when the subscription was moved away instead."""
        self._stalled = True
        try:
            async with asyncio.timeout(PATIENCE if self._overflow else None):
                await subscription.room()
        except TimeoutError:
            assert self._overflow is not None
            self._overflow(subscription)
            return False
        finally:
            self._stalled = False
        return True

    # Subscriptions.

    async def _keep_in_force(self, channel: Channel) -> None:
        with suppress(Lost):
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._unsubscribe(channel)
                while waiting := [each for each in self.subscriptions if not each.in_force]:
                    await self._subscribe(channel, waiting[0])

    async def _unsubscribe(self, channel: Channel) -> None:
        surplus = self._told - {name for wanted in self.subscriptions for name in wanted.types}
        if surplus:
            await self._ask(channel, {"action": "unsubscribe", "message_types": sorted(surplus)})
            self._told -= surplus

    async def _subscribe(self, channel: Channel, wanted: Subscription) -> None:
        places = [other.seq for other in self.subscriptions if other.seq is not None]
        since = None if wanted.seq is None else min(places, default=wanted.seq)
        try:
            await self._ask(channel, wanted.command(since), _confirms(wanted))
            self._told.update(wanted.types)
        except RefusedError as refused:
            if refused.field == "since" and wanted.resumes:
                # Our place is beyond the end of the log: this is another log.
                await self._ask(channel, wanted.command(None), _starts_over(wanted))
                self._told.update(wanted.types)
            else:
                self.remove(wanted)
                wanted.end(refused)

    # Commands.

    async def _ask(
        self,
        channel: Channel,
        command: Command,
        arrived: Callable[[AnyEvent], None] | None = None,
    ) -> AnyEvent:
        """Ask at the server's pace: what it refuses for haste is asked again when it says."""
        paces = self._paces
        counted = command["action"] not in _UNCOUNTED
        while True:
            await paces["messages"].turn()
            if counted:
                await paces["commands"].turn()
            try:
                return await channel.ask(command, arrived)
            except RefusedError as refused:
                wait = refused.details.get("retry_after_seconds")
                if refused.code != RATE_LIMIT_EXCEEDED or wait is None:
                    raise
                paces["commands" if refused.field == "commands" else "messages"].refused(wait)

    # Who we are.

    async def _keep_admitted(self, channel: Channel) -> None:
        """Show a new token before the old one expires; without one the connection ends then."""
        while self._proof is not None and self._proof.renews:
            await self._expiring.wait()
            self._expiring.clear()
            try:
                token = await self._proof.text()
                await self._ask(channel, {"action": "authenticate", "token": token})
            except (Lost, RefusedError) as failure:
                _log.warning("the token could not be renewed: %s", failure)

    # Life signs.

    async def _keep_alive(self, channel: Channel, chores: asyncio.TaskGroup) -> None:
        beat: asyncio.Task[None] | None = None
        seen = 0
        while True:
            await self._clock.sleep(HEARTBEAT)
            if self._stalled:  # it is us who do not read
                continue
            if beat is not None and not beat.done() and channel.received == seen:
                channel.abort("the server does not answer")
                return
            seen = channel.received
            if beat is None or beat.done():
                beat = chores.create_task(self._beat(channel))

    async def _beat(self, channel: Channel) -> None:
        with suppress(Lost, RefusedError):
            await channel.ask({"action": "ping"}, self._advance)

    def _advance(self, answer: AnyEvent) -> None:
        assert isinstance(answer, Pong)
        for subscription in self._in_force():
            subscription.advance(answer.seq)


def _confirms(wanted: Subscription) -> Callable[[AnyEvent], None]:
    def arrived(answer: AnyEvent) -> None:
        assert isinstance(answer, Subscribed)
        wanted.confirm(answer.seq)

    return arrived


def _starts_over(wanted: Subscription) -> Callable[[AnyEvent], None]:
    def arrived(answer: AnyEvent) -> None:
        assert isinstance(answer, Subscribed)
        wanted.start_over(answer.seq)
        wanted.confirm(answer.seq)

    return arrived
