"""The server: builds the parts once, starts and stops them.

The methods with which a program publishes and reads are in `net/inprocess`.
"""

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
from livelog.budget.backlog import Backlog
from livelog.budget.memory import Memory
from livelog.budget.slices import in_background
from livelog.config import Config
from livelog.engine.base import Engine, MakeEngine, Presence
from livelog.engine.factory import engine_of
from livelog.engine.users import Shared
from livelog.errors import ConfigError, NotRunningError, RefusedError
from livelog.fanout.catchup import CatchUp
from livelog.fanout.flusher import Flusher
from livelog.fanout.hub import Hub
from livelog.fanout.pacing import Pacing
from livelog.fanout.ticker import Ticker
from livelog.fanout.watches import Watches
from livelog.log.ingest import Ingest
from livelog.log.log import Log
from livelog.log.newest import Newest
from livelog.log.window import Window
from livelog.net import urls
from livelog.net.access import AccessLog
from livelog.net.addresses import Networks
from livelog.net.admin.effects import Effects
from livelog.net.admin.nodes import answering
from livelog.net.admin.program import Administered
from livelog.net.audit import Audit
from livelog.net.context import Context
from livelog.net.drain import disconnect, drain
from livelog.net.hosts import hosts_of
from livelog.net.http.doors import door
from livelog.net.http.internal import listen_internally
from livelog.net.inprocess import NOT_RUNNING
from livelog.net.limiter import Limiter
from livelog.net.listeners import Endpoint, Listener, listen, resolve
from livelog.net.online import WhoIsOnline, unanswered
from livelog.net.origins import Origins
from livelog.net.reload import Reload, Reloaded, Reread
from livelog.net.scheduler import Scheduler
from livelog.net.tls import Certificate, certificate_of
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
        self._config = config or Config()
        """The settings at the start; those in force belong to what reloads them."""
        self._clock = clock
        self._make_engine = engine
        self._worker = worker
        self._reread = reread
        self._sockets = sockets
        self._port = 0
        self._engine: Engine
        self._store: Store
        self._log: Log
        self._auth: Authenticator | None = None
        self._endpoints: list[Endpoint] = []
        self._listener: Listener
        self._certificate: Certificate | None = None
        self._ticker: Ticker
        self._turning: asyncio.TimerHandle | None = None
        self._filling: asyncio.Task[None] | None = None
        self._indexing: asyncio.Task[None] | None = None
        """Brings the index up to the log, while it lags."""
        self._hurried = asyncio.Event()
        self._started: asyncio.Event
        """Set when the start under way has ended, with or without success."""
        self._parts: AsyncExitStack
        """Closes the parts, in the reverse order of their start."""
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
            self._auth = await factory.opened(self.config, self._clock)
            if self._auth is not None:
                parts.push_async_callback(self._auth.close)
            make = self._make_engine
            self._engine = make(self._clock) if make else engine_of(self.config, self._clock)
            parts.push_async_callback(self._engine.close)
            origin = await self._engine.open()
            self._store = opened(self.config, self._clock, origin, self._trim, self._damaged)
            parts.push_async_callback(self._store.journal.close)
            # Between engine and store: the engine may commit until it is closed.
            parts.callback(self._end_subscriptions)
            self._context = self._build(asyncio.get_running_loop())
            effects = Effects(self._context)
            effects.restore()
            parts.callback(effects.close)
            self._engine.introduce(self._presence)
            self._engine.answer_with(answering(self._context))
            self._engine.start(self._log)
            parts.push_async_callback(self._engine.close)
            await self._engine.ready(READY_SECONDS)
            watched = await listen_internally(self._context)
            if watched is not None:
                parts.callback(watched.close)
            self._listener = await self._listen()
            self._parts = parts.pop_all()
        self._port = self._listener.port
        if self._auth is None:
            urls.warn_if_open(self.config, self._addresses)
        self._turn_wheel()
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
            if self._turning is not None:
                self._turning.cancel()
            self._ticker.close()
            for task in (self._filling, self._indexing):
                if task is not None:
                    task.cancel()
            await self._parts.aclose()

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

    def _build(self, loop: asyncio.AbstractEventLoop) -> Context:
        config = self.config
        last_seq = self._store.bounds.last_seq
        hub = Hub(last_seq)
        follows = 0 if self._store.reader is None else last_seq
        window = Window(config.storage.window, config.storage.window_bytes, follows)
        newest = Newest()
        try:
            log = self._log = Log(window, self._store, [hub, newest])
        except RefusedError as refused:  # the acts are read in whole
            raise ConfigError(f"{refused.issue}; move it away or restore a copy") from None
        log.on_act.append(hub.act)
        memory = Memory(
            config.storage.memory_bytes,
            config.storage.window_bytes,
            window=lambda: log.memory,
            commits=lambda: self._store.journal.pending_bytes,
            acts=lambda: self._store.journal.acts_memory,
            bound=log.bound,
        )
        backlog = Backlog(lambda: log.waiting_bytes, log.work)
        log.on_work = self._index
        catch_up = CatchUp(log, hub)
        catch_up.chunk_bytes = memory.chunk_bytes
        pacing = Pacing(config.fanout.share, config.fanout.latency_target)
        Flusher(loop, hub, catch_up, pacing)
        watches = Watches(log)
        self._ticker = Ticker(loop, watches, self._clock)
        proxies, audit = Networks(config.net.trusted_proxies), Audit(loop.time)
        limiter = Limiter(config, proxies, loop.time, audit, self._clock)
        origins = Origins(config.net.allowed_origins)
        return Context(
            config=config,
            loop=loop,
            log=log,
            hub=hub,
            newest=newest,
            catch_up=catch_up,
            watches=watches,
            ingest=Ingest(self._engine, self._clock, config.net.max_frame_bytes, memory, backlog),
            clock=self._clock,
            started=loop.time(),
            proxies=proxies,
            hosts=hosts_of(config.net, self._addresses),
            origins=origins,
            audit=audit,
            limiter=limiter,
            reload=Reload(config, self._reread, limiter, origins, self._certificate, self._auth),
            scheduler=Scheduler(loop),
            memory=memory,
            version=__version__,
            node=self._name,
            worker=self._worker,
            auth=self._auth,
            access=AccessLog() if config.logs.access else None,
            online=self._online(),
        )

    def _trim(self, upto: int) -> None:
        self._log.trim(upto)

    def _damaged(self, issue: str) -> None:
        self._log.damage = issue

    def _index(self) -> None:
        self._indexing = in_background(self._log.indexing(), "the index")

    async def _fill(self) -> None:
        try:
            await self._log.fill()
        except RefusedError as refused:
            self._log.unfilled = f"the window could not be filled: {refused.issue}"
            _logger.error("%s", self._log.unfilled)

    async def _listen(self) -> Listener:
        return await listen(
            self.config.net,
            self._endpoints,
            door(self._context, self._certificate),
            shared=self._worker > 0,
            sockets=self._sockets,
        )

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
        clients, keeps_from = len(registry.websockets), self._log.keeps_from
        impaired = self._log.impaired
        return Presence(self._name(), __version__, clients, users, keeps_from, impaired)

    def _name(self) -> str:
        """Return the name of this server among those that share its log."""
        return urls.node_name(self.config, self._port, self._worker)

    def _online(self) -> WhoIsOnline | None:
        """Return the users' part, which an engine with other nodes passes words for."""
        if self._auth is None:
            return None
        announce = self._announce if self.config.auth.announce_presence else None
        online = WhoIsOnline(self._clock(), lambda: self._engine.nodes, announce)
        if isinstance(self._engine, Shared):
            self._engine.talk(online)
        return online

    def _announce(self, message: dict[str, Any]) -> None:
        """Publish a message of the server's own."""
        self._publish(self._context, message, unanswered)

    def _turn_wheel(self) -> None:
        """Advance the timers of all connections, and come again."""
        context = self._context
        now = context.loop.time()
        if self._turning is not None:
            context.loop_lag.add(max(0.0, now - self._turning.when()))
        self._turning = context.loop.call_later(context.timers.tick, self._turn_wheel)
        for peer in context.timers.expired(now):
            peer.on_deadline(now)
        context.limiter.sweep()
        if context.online is not None:
            context.online.tick(self._clock())
