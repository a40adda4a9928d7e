"""The public class: a server's start, its end, and the facts that it tells of itself."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from livelog import __version__
from livelog.auth import factory
from livelog.auth.authenticator import Authenticator
from livelog.budget.slices import in_background
from livelog.config import Config
from livelog.engine.base import Engine, MakeEngine, Presence
from livelog.engine.factory import engine_of
from livelog.errors import ConfigError, NotRunningError, RefusedError
from livelog.fanout.ticker import Ticker
from livelog.index import text
from livelog.net import urls
from livelog.net.admin.effects import Effects
from livelog.net.admin.nodes import answering
from livelog.net.admin.program import Administered
from livelog.net.context import Context
from livelog.net.drain import disconnect, drain
from livelog.net.http.doors import door
from livelog.net.http.internal import listen_internally
from livelog.net.inprocess import NOT_RUNNING
from livelog.net.listeners import Endpoint, Listener, listen, resolve
from livelog.net.online import unanswered
from livelog.net.reload import Reloaded, Reread
from livelog.net.tls import Certificate, certificate_of
from livelog.net.wheel import Wheel
from livelog.server.parts import Ground, build
from livelog.store.base import Store
from livelog.store.factory import opened

_logger = logging.getLogger(__name__)

READY_SECONDS = 5.0
"""Seconds that a server that starts has to catch up with the others before its doors open."""

_NOT_STARTABLE = {
    "starting": "the server is starting already",
    "running": "the server is running already",
    "closed": NOT_RUNNING["closed"],
}


class Server(Administered):
    """A live-log server inside the running event loop.

    >>> import asyncio
    >>> from livelog import Config, Server
    >>> async def main():
    ...     async with Server(Config(port=0, store="memory")) as server:
    ...         await server.publish({"type": "system", "event": "raid_started"})
    ...         page = await server.history(limit=10)
    ...         return [message.event for message in page.messages]
    >>> asyncio.run(main())
    ['raid_started']

    Use it as an async context manager, or call `start` and `close`; a server starts once. `clock`
    tells Unix time; `engine` makes the engine, which gives messages their order, in the place
    of the configured one; `worker` is the number of this process among those that share its port;
    `reread` reads the settings again for `reload`; `sockets` are listened on in the place of what
    is configured, which must say where they are.
    `publish`, `publish_nowait`, `history`, `search` and `subscribe` raise
    `NotRunningError` before the start, after the end and from another thread; `url` and `port`
    raise it before the start.
    """

    def __init__(
        self,
        config: Config | None = None,
        clock: Callable[[], float] = time.time,
        *,
        engine: MakeEngine | None = None,
        worker: int = 0,
        reread: Reread | None = None,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        super().__init__()
        # As it was made.
        self._config = config or Config()
        """The settings at the start; those in force belong to what reloads them."""
        self._clock = clock
        self._make_engine = engine
        self._worker = worker
        self._reread = reread
        self._sockets = sockets
        # From its start on.
        self._certificate: Certificate | None = None
        self._endpoints: list[Endpoint] = []
        self._port = 0
        self._auth: Authenticator | None = None
        self._engine: Engine
        self._store: Store
        self._listener: Listener
        self._ticker: Ticker
        self._filling: asyncio.Task[None] | None = None
        self._indexing: asyncio.Task[None] | None = None
        """Brings the index up to the log, while it lags."""
        self._started: asyncio.Event
        """Set when the start under way has ended, with or without success."""
        self._parts: AsyncExitStack
        """Closes the parts, in the reverse order of their start."""
        # Its end.
        self._hurried = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        """Closes the server, once for all callers of `close`."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Build the parts and listen.

        Raises `ConfigError` for a certificate, key or store that cannot be used, `OSError` for an
        address that cannot be listened on, and `NotRunningError` when called a second time.
        """
        if self._state != "new":
            raise NotRunningError(_NOT_STARTABLE[self._state])
        self._state = "starting"
        self._started = asyncio.Event()
        try:
            await self._start()
            self._state = "running"
        except BaseException:
            self._state = "new"
            raise
        finally:
            self._started.set()

    async def _start(self) -> None:
        if self.config.cluster.workers > 1 and not self._worker:
            raise ConfigError("--workers: are processes, which `livelog serve` starts")
        self._certificate = certificate_of(self.config)
        self._endpoints = await resolve(self.config.net)
        async with AsyncExitStack() as parts:  # closes what has been opened if the next part fails
            await self._open(parts)
            # Between engine and store: the engine may commit until it is closed.
            parts.callback(self._end_subscriptions)
            self._context = self._build()
            text.prepare()
            await self._join_log(parts)
            await self._listen(parts)
            self._parts = parts.pop_all()
        self._port = self._listener.port
        if self._auth is None:
            urls.warn_if_open(self.config, self._addresses)
        self._set_going()

    async def _open(self, parts: AsyncExitStack) -> None:
        """Open what is outside of the process: the provider of keys, the engine, the store."""
        self._auth = await factory.opened(self.config, self._clock)
        if self._auth is not None:
            parts.push_async_callback(self._auth.close)
        make = self._make_engine
        self._engine = make(self._clock) if make else engine_of(self.config, self._clock)
        parts.push_async_callback(self._engine.close)
        origin = await self._engine.open()
        self._store = opened(self.config, self._clock, origin, self._trim, self._damaged)
        parts.push_async_callback(self._store.journal.close)

    def _build(self) -> Context:
        context = build(
            Ground(
                config=self.config,
                clock=self._clock,
                loop=asyncio.get_running_loop(),
                auth=self._auth,
                engine=self._engine,
                store=self._store,
                certificate=self._certificate,
                addresses=self._addresses,
                node=self._name,
                announce=self._announce,
                worker=self._worker,
                reread=self._reread,
            )
        )
        context.log.on_work = self._index
        self._ticker = Ticker(context.loop, context.watches, self._clock)
        return context

    async def _join_log(self, parts: AsyncExitStack) -> None:
        """Let the engine commit to the log, and wait until that is up to those of others."""
        effects = Effects(self._context)
        effects.restore()
        parts.callback(effects.close)
        self._engine.introduce(self._presence)
        self._engine.answer_with(answering(self._context))
        self._engine.start(self._context.log)
        # A second time: now it is closed ahead of what it commits to.
        parts.push_async_callback(self._engine.close)
        await self._engine.ready(READY_SECONDS)

    async def _listen(self, parts: AsyncExitStack) -> None:
        watched = await listen_internally(self._context)
        if watched is not None:
            parts.callback(watched.close)
        self._listener = await listen(
            self.config.net,
            self._endpoints,
            door(self._context, self._certificate),
            shared=self._worker > 0,
            sockets=self._sockets,
        )

    def _set_going(self) -> None:
        """Begin what goes on in the background; the end of the server stops it first."""
        wheel = Wheel(self._context)
        for stop in (self._stop_tasks, self._ticker.close, wheel.close):
            self._parts.callback(stop)
        wheel.turn()
        if self._store.reader is not None:
            self._filling = self._context.loop.create_task(self._fill())

    async def close(self) -> None:
        """Refuse new WebSockets, close those there are over `drain_seconds`, and stop.

        Returns when the server has stopped, also when another call has begun that. It goes on when
        a call is cancelled; call again to wait for its end. While the server starts, the start is
        waited for first. Has no effect on a server that has not been started.
        """
        if self._state == "starting":
            await self._started.wait()
        if self._state in ("new", "starting"):  # the start has failed, and may be repeated already
            return
        if self._closing is None:
            self._closing = self._running().loop.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            if self._worker:
                self._listener.close()  # new clients are those of the other workers
            self._context.draining.stop()
            await drain(self._context, self._hurried)
            self._listener.close()
            await disconnect(self._context)
        finally:
            self._state = "closed"
            self._listener.close()  # again, because the drain may have been cut short
            await self._parts.aclose()

    def _stop_tasks(self) -> None:
        for task in (self._filling, self._indexing):
            if task is not None:
                task.cancel()

    @property
    def unready(self) -> str:
        """The reason why the server has not all of the log it shares with others; empty without."""
        return self._engine.unready

    async def ready(self) -> None:
        """Wait until the server has all of the log it shares with others, or never will.

        Returns at once without `--engine`. Until then what is published is refused.
        """
        await self._engine.ready()

    def hurry(self) -> None:
        """Close all connections at once at the end, instead of over `drain_seconds`."""
        self._hurried.set()

    def reload(self) -> Reloaded:
        """Read certificate, API keys and settings again, and return what that has changed.

        What cannot be read stays as it was. Has no effect on a server that is not running.
        """
        if self._state != "running" or self._context.reload is None:
            return Reloaded()
        return self._context.reload()

    @property
    def config(self) -> Config:
        """The settings in force, also after a reload by an admin command or a signal."""
        reload = self._context.reload if self._state in ("running", "closed") else None
        return self._config if reload is None else reload.config

    @property
    def url(self) -> str:
        """Address for subscribers, at the first host. Raises `NotRunningError` before the start."""
        return urls.subscribers(self.config, self.port)

    @property
    def viewer_url(self) -> str:
        """Address of the viewer, for a browser on this machine; "" for a Unix socket.

        Raises `NotRunningError` before the start.
        """
        return urls.viewer(self.config, self._endpoints, self.port)

    @property
    def trust(self) -> str:
        """The ways to authenticate, or that the server is open; for people to read."""
        kinds = factory.kinds(self.config)
        return f"authenticated: {', '.join(kinds)}" if kinds else "open: no authentication"

    @property
    def port(self) -> int:
        """Port listened on, also when the system has picked it; 0 for a Unix socket.

        Raises `NotRunningError` before the start.
        """
        if self._state in ("new", "starting"):
            raise NotRunningError(NOT_RUNNING[self._state])
        return self._port

    # Callbacks of the parts.

    def _trim(self, upto: int) -> None:
        self._context.log.trim(upto)

    def _damaged(self, issue: str) -> None:
        self._context.log.damage = issue

    def _index(self) -> None:
        self._indexing = in_background(self._context.log.indexing(), "the index")

    async def _fill(self) -> None:
        log = self._context.log
        try:
            await log.fill()
        except RefusedError as refused:
            log.unfilled = f"the window could not be filled: {refused.issue}"
            _logger.error("%s", log.unfilled)

    @property
    def _addresses(self) -> list[str]:
        """The addresses that are listened on."""
        return [endpoint.address[0] for endpoint in self._endpoints]

    def _presence(self) -> Presence | None:
        """Return how this server is, for those it shares its log with."""
        if self._state in ("new", "starting"):
            return None
        online, registry = self._context.online, self._context.limiter.connections
        users = 0 if online is None else online.roster.here
        clients, log = len(registry.websockets), self._context.log
        return Presence(self._name(), __version__, clients, users, log.keeps_from, log.impaired)

    def _name(self) -> str:
        """Return the name of this server among those that share its log."""
        return urls.node_name(self.config, self._port, self._worker)

    def _announce(self, message: dict[str, Any]) -> None:
        """Publish a message of the server's own."""
        self._publish(self._context, message, unanswered)
