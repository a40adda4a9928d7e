"""The inside of a running server: the only place where tests reach into it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from livelog import Server, Subscription
from livelog.fanout.audience import Audience
from livelog.fanout.watcher import Watcher
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.net.context import Context
from livelog.net.feed import Feed
from livelog.store.base import Store


class Inside:
    """The parts of `server`, once it has been started."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def context(self) -> Context:
        """The context that all its connections share."""
        return self._server._context

    @property
    def store(self) -> Store:
        """Its store."""
        return self._server._store

    @property
    def engine(self) -> Any:
        """Its engine, which tests see as the kind that they have given it."""
        return self._server._engine

    @property
    def log(self) -> Log:
        """Its log."""
        return self._server._context.log

    @property
    def reading_compressed(self) -> int:
        """Number of connections that read a shared deflate stream."""
        audiences = self.context.hub._audiences.values()
        return sum(one.stream.readers for one in audiences if one.stream is not None)

    @property
    def filling(self) -> asyncio.Task[None] | None:
        """The task that fills the window from the store."""
        return self._server._filling

    @property
    def feeds(self) -> dict[Subscription, Feed]:
        """The subscriptions in process, and their feeds."""
        return self._server._feeds

    def end_subscriptions(self) -> None:
        """End the subscriptions in process, as `close` does."""
        self._server._end_subscriptions()

    # Connections. They are seen as `Any`: tests look at what only some kinds have.

    @property
    def connections(self) -> list[Any]:
        """Every open connection."""
        return list(self.context.limiter.connections)

    @property
    def connection(self) -> Any:
        """The only open connection."""
        [only] = self.connections
        return only

    @property
    def websocket(self) -> Any:
        """The only WebSocket, or stream."""
        [only] = self.context.limiter.connections.websockets
        return only

    @property
    def websockets(self) -> Counter[str]:
        """Open WebSockets by address."""
        return self.context.limiter.connections.websockets.by_address

    @property
    def waiting(self) -> Counter[str]:
        """Open connections that are no WebSockets (yet), by address."""
        return self.context.limiter.connections.waiting.by_address

    @property
    def busy(self) -> bool:
        """Whether a connection has a command or a request under way."""
        return any(getattr(each, "task", None) is not None for each in self.connections)

    @property
    def blocked(self) -> list[Any]:
        """WebSockets whose send buffer is full."""
        readers = [(each, getattr(each, "reader", None)) for each in self.connections]
        return [each for each, reader in readers if reader is not None and reader.blocked]

    def review_sessions(self) -> None:
        """Have every WebSocket look at the clock, which a test has moved."""
        for each in self.connections:
            each.session.due = 0.0
        self.deadlines_are_due()

    def deadlines_are_due(self) -> None:
        """Have every connection do what it does at its deadline."""
        for each in self.connections:
            self.context.timers.set(each, 0.0)

    def was_quiet(self, seconds: float) -> float:
        """Have the only stream find that it has written nothing for so long, at its deadline.

        Return the seconds until its next one.
        """
        stream, now = self.websocket, self.context.loop.time()
        stream._wrote_at = now - seconds
        stream.on_deadline(now)
        return self.context.timers._slot_of[stream] * self.context.timers.tick - now

    # The log and its delivery.

    @property
    def window(self) -> Window:
        """The newest messages, in memory."""
        return self.context.log._window

    @property
    def audiences(self) -> list[Audience]:
        """The audiences of the hub."""
        return list(self.context.hub._audiences.values())

    @property
    def listening(self) -> int:
        """How many connections are subscribed to something, and at the head."""
        return sum(len(audience.members) for audience in self.audiences)

    @property
    def watchers(self) -> list[Watcher]:
        """All watches."""
        by_id = self.context.watches._by_party.values()
        return [watcher for watchers in by_id for watcher in watchers.values()]

    def check(self) -> None:
        """Assert that every structure is in order."""
        self.context.hub._check()
        self.context.catch_up._check()
        self.context.watches._check()
        self.context.timers._check()
        self.context.limiter._check()
        self.context.memory._check()

    def check_empty(self) -> None:
        """Assert that nothing is left of any connection."""
        assert not self.connections
        assert not self.websockets
        assert not self.waiting
        assert not len(self.context.timers)
        assert not self.audiences
        assert self.context.catch_up.idle
        assert not len(self.context.watches)
        memory = self.context.memory
        assert not memory.answers.total
        assert not memory.bodies.total
        assert not memory.deliveries.total
        self.check()
