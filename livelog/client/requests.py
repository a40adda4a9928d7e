"""Commands and their answers, over any number of connections.

A request waits for a connection, is sent at the pace of the server's rate limits, and is sent again
on the next connection if its connection ends first. All commands may be repeated, since a message
that is published has an id; servers that share a log know that for a quarter of an hour, so it is
sent again for ten minutes only, and then given up. When a connection ends before it has answered
anything, the first of the commands under way may be what has ended it: one that has lost several is
given up. livelog.js has the same rules.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import count

from livelog.client.backoff import Clock, Pace
from livelog.client.commands import Encoded
from livelog.client.connection import Connection
from livelog.client.errors import Lost
from livelog.client.waits import PAUSE, held
from livelog.errors import (
    ABNORMAL_CLOSURE,
    RATE_LIMIT_EXCEEDED,
    ConnectionEndedError,
    RefusedError,
)
from livelog.wire.events import AnyEvent

_NOT_COMMANDS = ("ping", "publish")
"""Actions that the server counts as messages only, and not as commands."""
_REPEATED_SECONDS = 600.0
"""Seconds after which a message is not sent again that a server may have taken."""
_CONNECTIONS = 8
"""Connections that may end without any answer while the same command is the first one sent."""


class Requests:
    """The requests of one link, and the connection that they are sent on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.failure: Exception | None = None
        """Reason why there will never be a connection again."""
        self._connection: Connection | None = None
        self._changed = asyncio.Event()  # a connection is open, or will never be again
        self._paces: dict[str, Pace] = {}
        self._places = count()
        self._waiting: dict[int, None] = {}
        """The places of the commands that wait for their answer, the oldest first."""

    def attach(self, connection: Connection) -> None:
        """Send on this connection from now on; its limits are fresh."""
        self._paces = {"messages": Pace(self._clock), "commands": Pace(self._clock)}
        self._connection = connection
        self._changed.set()

    def detach(self, connection: Connection) -> None:
        """Stop sending on this connection, which has ended."""
        if self._connection is connection:
            self._connection = None

    def fail(self, failure: Exception) -> None:
        """Let all requests fail with this error."""
        self.failure = failure
        self._changed.set()

    async def connection(self) -> Connection:
        """Wait for a connection. Raises the error of `fail`."""
        while self.failure is None:
            if self._connection is not None:
                return self._connection
            self._changed.clear()
            await self._changed.wait()
        raise self.failure

    async def request(self, command: Encoded) -> AnyEvent:
        """Return the answer to `command`, over several connections if need be.

        Raises `RefusedError`, the error of `fail`, and `ConnectionEndedError` when connections end
        again and again before the answer, or a message was lost with one and none came for too
        long: the command may have been carried out.
        """
        place, lost_by_it, due = next(self._places), 0, math.inf
        self._waiting[place] = None
        try:
            while True:
                connection = await self._connection_before(due)
                sent_at = self._clock.wall()
                try:
                    return await self.ask(connection, command)
                except Lost as lost:
                    if command.action == "publish" and lost.sent:
                        due = min(due, sent_at + _REPEATED_SECONDS)
                    self.detach(connection)  # its reader may not have noticed yet
                    is_first = place == next(iter(self._waiting))
                    lost_by_it += is_first and lost.sent and not connection.has_answered
                    if lost_by_it == _CONNECTIONS:
                        raise _given_up(command.action, lost) from None
        finally:
            del self._waiting[place]

    async def _connection_before(self, due: float) -> Connection:
        """Wait for a connection. Raises `ConnectionEndedError` when none comes in time."""
        try:
            async with asyncio.timeout(None if due == math.inf else due - self._clock.wall()):
                connection = await self.connection()
        except TimeoutError:
            raise _unknown() from None
        if self._clock.wall() >= due:  # the timer stands still while the machine sleeps
            raise _unknown()
        return connection

    async def ask(
        self,
        connection: Connection,
        command: Encoded,
        arrived: Callable[[AnyEvent], None] | None = None,
    ) -> AnyEvent:
        """Return the answer to `command` on this connection, within the rate limits.

        A command that is refused over a limit is sent again when the server allows it. Raises
        `RefusedError` for other reasons, and `Lost`.
        """
        paces = self._paces
        counted = command.action not in _NOT_COMMANDS
        while True:
            await paces["messages"].wait()
            if counted:
                await paces["commands"].wait()
            try:
                return await connection.ask(command, arrived)
            except RefusedError as refused:
                if refused.code != RATE_LIMIT_EXCEEDED:
                    raise
                pace = paces["commands" if refused.field == "commands" else "messages"]
                pace.refused(held(refused.retry_after, PAUSE))


def _unknown() -> ConnectionEndedError:
    minutes = f"{_REPEATED_SECONDS / 60:g} minutes"
    issue = f"the connection ended before the answer to publish, {minutes} ago"
    return ConnectionEndedError(ABNORMAL_CLOSURE, f"{issue}; it may have been carried out")


def _given_up(action: str, lost: Lost) -> ConnectionEndedError:
    issue = f"{_CONNECTIONS} connections ended before the answer to {action}: {lost.loss.why}"
    return ConnectionEndedError(ABNORMAL_CLOSURE, issue)
