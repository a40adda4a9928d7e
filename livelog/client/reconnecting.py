"""A link to the server: one connection after the other, for what outlives them.

When a connection breaks, the link opens another after the delays of `Backoff`, resumes the
subscriptions from where they were, and repeats the requests that were not answered. With several
addresses each attempt is made at the next of them. Only an end that makes another attempt useless
ends a link; then all that wait on it get the reason.

A link reads while it can. When a subscription is full and stays so, a shared link hands it to
`overflow`. A link of one subscription has no `overflow` and stops reading, which makes the server
wait, and at last close the connection, which is resumed then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from livelog.client.addresses import Addresses
from livelog.client.backoff import Backoff, Clock
from livelog.client.commands import Encoded, encoded
from livelog.client.connection import Connection
from livelog.client.credentials import Credentials
from livelog.client.errors import Loss, Lost, unreachable
from livelog.client.handshake import open_connection
from livelog.client.requests import Requests
from livelog.client.subscription import Subscription
from livelog.client.url import shown
from livelog.client.wanted import Wanted
from livelog.errors import (
    NORMAL_CLOSURE,
    ConnectionEndedError,
    RefusedError,
)
from livelog.wire.events import (
    AnyEvent,
    Counts,
    Error,
    Gap,
    OnlineChanged,
    Pong,
    Redacted,
    TokenExpiring,
    Unwatched,
)
from livelog.wire.messages import Message
from livelog.wire.stubs import Received

_log = logging.getLogger(__name__)

_PING = encoded({"action": "ping"})
HEARTBEAT = 20.0
"""Seconds between two pings; a server that sends nothing in between is taken for dead."""
PATIENCE = 1.0
"""Seconds a shared link waits for a subscription that is full."""


class Status(NamedTuple):
    """State of a connection, as `watch` is told it.

    >>> Status(connected=False, why="shutting down", retry_in=0.5).retry_in
    0.5
    """

    connected: bool
    why: str = ""
    """Reason why it was lost."""
    retry_in: float = 0.0
    """Seconds until the next attempt."""


Watch = Callable[[Status], None]


class Link:
    """A connection to the server that is opened again whenever it ends."""

    def __init__(
        self,
        addresses: Addresses,
        credentials: Credentials | None,
        clock: Clock,
        watch: Watch,
        overflow: Callable[[Subscription], None] | None = None,
        *,
        batch: bool = True,
        worked: bool = False,
    ) -> None:
        self._addresses = addresses
        self._credentials = credentials
        self._clock = clock
        self._watch = watch
        self._overflow = overflow
        self._backoff = Backoff(clock, len(addresses))
        self._task: asyncio.Task[None] | None = None
        self._batch = batch
        self._worked = worked
        """Whether a connection has been open before, on this link or another."""
        # Over all connections.
        self._requests = Requests(clock)
        self.wanted = Wanted(clock, self._requests)
        """All that this link is asked for."""
        # Of the present connection.
        self._stalled = False  # the reader waits for a subscription that is full
        self._expiring = asyncio.Event()  # the token expires soon

    # For the client.

    def start(self) -> None:
        """Connect, and go on trying."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def open(self) -> None:
        """Connect. Raises `UnreachableError` or `ConnectionEndedError` when the first attempt
        fails."""
        self._task = asyncio.get_running_loop().create_task(self._run(impatient=True))
        await self._requests.connection()

    async def request(self, command: Encoded) -> AnyEvent:
        """Return the answer to `command`.

        Raises `RefusedError`, and `ConnectionEndedError` when the link has ended.
        """
        return await self._requests.request(command)

    def stop(self) -> asyncio.Task[None] | None:
        """End the link; returns the task to wait for."""
        self._fail(None)
        if self._task is not None:
            self._task.cancel()
        return self._task

    # One connection after the other.

    async def _run(self, impatient: bool = False) -> None:
        untried = len(self._addresses) if impatient else 1
        missed: list[str] = []
        answered = False
        try:
            while True:
                url = self._addresses.current
                loss = await self._one_connection(url)
                self._addresses.leave(url)
                untried -= 1
                if loss.fatal is not None and not self._is_passing(loss, untried):
                    raise loss.fatal
                if impatient and not self._worked:
                    missed.append(f"{shown(url)}: {loss.why}")
                    answered = answered or loss.answered
                    if not untried:
                        raise unreachable(missed, answered=answered)
                else:
                    await self._pause(loss)
        except Exception as failure:
            self._fail(failure)

    def _is_passing(self, loss: Loss, untried: int) -> bool:
        """Tell whether an end that is final at first is worth another attempt."""
        renewed = self._credentials is not None and self._credentials.outlives(loss)
        return renewed or (loss.outage and (self._worked or untried > 0))

    async def _one_connection(self, url: str) -> Loss:
        try:
            hosts = self._addresses.hosts
            connection = await open_connection(url, self._credentials, hosts, batch=self._batch)
        except Lost as lost:
            return lost.loss
        opened = self._clock.now()
        try:
            return await self._serve(connection)
        finally:
            self._backoff.lived(self._clock.now() - opened)
            await connection.close()

    async def _pause(self, loss: Loss) -> None:
        # A server that names a short time again and again is not obeyed: the schedule goes on.
        elsewhere = loss.local and len(self._addresses) > 1
        wait = 0 if elsewhere else loss.wait or 0
        delay = max(self._backoff.next(planned=elsewhere), wait)
        self._watch(Status(False, loss.why, delay))
        await self._clock.sleep(delay)

    def _fail(self, failure: Exception | None) -> None:
        closed = ConnectionEndedError(NORMAL_CLOSURE, "the client is closed")
        self._requests.fail(failure or closed)
        self.wanted.end(failure)

    # The present connection.

    async def _serve(self, connection: Connection) -> Loss:
        self._begin(connection)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self.wanted.keep_in_force(connection)),
                    group.create_task(self._keep_alive(connection, group)),
                    group.create_task(self._keep_authenticated(connection)),
                ]
                async for item in connection.items():
                    await self._receive(item)
                for task in tasks:
                    task.cancel()
        finally:
            self._requests.detach(connection)
        return connection.loss

    def _begin(self, connection: Connection) -> None:
        self._worked = True
        self._expiring.clear()
        self._requests.attach(connection)
        self.wanted.begin()
        self._watch(Status(True))

    async def _receive(self, item: Received | AnyEvent) -> None:
        if isinstance(item, Message):
            for subscription in self.wanted.getting(item):
                await self._put(subscription, item)
        elif isinstance(item, Gap):
            self.wanted.lose(item)
        elif isinstance(item, Redacted):
            self.wanted.redact(item)
        elif isinstance(item, Counts):
            self.wanted.count(item)
        elif isinstance(item, Unwatched):
            self.wanted.unwatched(item)
        elif isinstance(item, OnlineChanged):
            self.wanted.online_changed(item)
        elif isinstance(item, TokenExpiring):
            self._expiring.set()
        elif isinstance(item, Error):
            # An error that answers no request comes before the end of the connection.
            _log.info("the server reports %s %s", item.error_message, item.details)

    async def _put(self, subscription: Subscription, message: Received) -> None:
        if not subscription.full or await self._room(subscription):
            subscription.put(message)

    async def _room(self, subscription: Subscription) -> bool:
        """Wait for room; False when the subscription was moved to a link of its own instead."""
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

    # Authentication.

    async def _keep_authenticated(self, connection: Connection) -> None:
        """Present a fresh token before the old one expires, which would end the connection."""
        while self._credentials is not None and self._credentials.renews:
            await self._expiring.wait()
            self._expiring.clear()
            try:
                token = await self._credentials.text()
                command = encoded({"action": "authenticate", "token": token})
                await self._requests.ask(connection, command)
            except (Lost, RefusedError) as failure:
                _log.warning("the token could not be renewed: %s", failure)

    # Heartbeat.

    async def _keep_alive(self, connection: Connection, group: asyncio.TaskGroup) -> None:
        ping: asyncio.Task[None] | None = None
        seen = 0
        while True:
            await self._clock.sleep(HEARTBEAT)
            if self._stalled:  # the client itself has stopped reading
                continue
            if ping is not None and not ping.done() and connection.received == seen:
                connection.abort("the server does not answer")
                return
            seen = connection.received
            if ping is None or ping.done():
                ping = group.create_task(self._ping(connection))

    async def _ping(self, connection: Connection) -> None:
        with suppress(Lost, RefusedError):
            await connection.ask(_PING, self._advance)

    def _advance(self, answer: AnyEvent) -> None:
        assert isinstance(answer, Pong)
        if isinstance(answer.seq, int):  # there is one once the client has authenticated
            self.wanted.advance(answer.seq)
