"""The house: builds the parts once, opens the door, and closes it in good order."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from livelog.auth import factory
from livelog.auth.authenticator import Authenticator
from livelog.config import Config
from livelog.engine.local import LocalEngine
from livelog.errors import ConfigError, RefusedError
from livelog.fanout.catchup import CatchUp
from livelog.fanout.flusher import Flusher
from livelog.fanout.hub import Hub
from livelog.fanout.pacing import Pacing
from livelog.log import ingest
from livelog.log.ingest import Done, Ingest
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.net.addresses import Networks
from livelog.net.audit import Audit
from livelog.net.context import Context
from livelog.net.drain import drain
from livelog.net.http.connection import HttpConnection
from livelog.net.limiter import Limiter
from livelog.net.listeners import listen
from livelog.net.origins import Origins
from livelog.net.scheduler import Scheduler
from livelog.net.tls import Certificate, TlsDoor
from livelog.store.base import Store
from livelog.store.database.key import read_key
from livelog.store.memory import MemoryStore
from livelog.store.sqlite import SqliteStore
from livelog.store.writer import Retention
from livelog.wire import WEBSOCKET_PATH
from livelog.wire.messages import Message
from livelog.wire.record import Receipt

_logger = logging.getLogger(__name__)


class Server:
    """A live-log server inside the running event loop.

    Use it as an async context manager, or call `start` and `close`. `clock` tells Unix time.
    Raises `ConfigError` for a configuration that cannot be and, at `start`, for a store that
    cannot be used, and `OSError` for an address that cannot be listened on.
    """

    def __init__(
        self, config: Config | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.config = config or Config()
        self._clock = clock
        self._context: Context
        self._store: Store
        self._log: Log
        self._auth: Authenticator | None = None
        self._listener: asyncio.Server
        self._certificate: Certificate | None = None
        self._turning: asyncio.TimerHandle | None = None
        self._filling: asyncio.Task[None] | None = None
        self._hurried = asyncio.Event()

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
        """Build the parts and listen."""
        self._certificate = _certificate(self.config)
        self._auth = await factory.opened(self.config, self._clock)
        try:
            self._context = self._build(asyncio.get_running_loop())
            await self._start_listening()
        except BaseException:
            await self._close_auth()
            raise
        self._warn_if_open()
        self._turn_wheel()
        if self._store.keeps:
            self._filling = self._context.loop.create_task(self._fill())

    async def close(self) -> None:
        """Let nobody in, send everybody away in slices, wait briefly for them, and stop.

        Does nothing when the server is being closed already.
        """
        context = self._context
        if context.ending.is_set():
            return
        await drain(context, self._hurried)
        self._listener.close()
        deadline = context.loop.time() + self.config.net.close_timeout
        # Looked at now and then, because an event would cost every connection, always, for this.
        while context.peers and context.loop.time() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)
        for peer in list(context.peers):
            peer.abort()
        await asyncio.sleep(0)  # lets the transports report that they have gone
        if self._turning is not None:
            self._turning.cancel()
        if self._filling is not None:
            self._filling.cancel()
        await self._store.close()
        await self._close_auth()

    def hurry(self) -> None:
        """Send everybody away at once instead of over `drain_seconds`, now or when it ends."""
        self._hurried.set()

    async def _close_auth(self) -> None:
        if self._auth is not None:
            await self._auth.close()

    def publish(self, message: Message | dict[str, Any] | bytes) -> Receipt:
        """Append a message, given as a struct, a dict or JSON.

        Returns its id and seq; delivery follows in the same turn of the loop, and soon it is on
        disk. Must be called from the loop's thread. Raises `RefusedError` when the message is not
        valid or nothing can be taken now.
        """
        [receipt] = self._publish(message, _nobody_waits)
        return receipt

    async def commit(self, message: Message | dict[str, Any] | bytes) -> Receipt:
        """The same, and wait until the message is on disk. Raises `RefusedError` if it is not
        (yet)."""
        safe: asyncio.Future[Receipt] = self._context.loop.create_future()

        def done(receipts: list[Receipt], refused: RefusedError | None) -> None:
            if safe.cancelled():
                return
            if refused is None:
                safe.set_result(receipts[0])
            else:
                safe.set_exception(refused)

        self._publish(message, done)
        return await safe

    def reload(self) -> None:
        """Read the certificate again; one that will not do is logged, and the old one stays."""
        if self._certificate is not None:
            self._certificate.reload()

    def _publish(self, message: Message | dict[str, Any] | bytes, done: Done) -> list[Receipt]:
        checked = ingest.decode(message) if isinstance(message, bytes) else ingest.convert(message)
        return self._context.ingest.publish([self._context.ingest.prepare(checked)], done)

    @property
    def url(self) -> str:
        """Where subscribers connect."""
        if self.config.net.uds:
            return f"ws+unix://{self.config.net.uds}:{WEBSOCKET_PATH}"
        scheme = "wss" if self.config.tls.cert else "ws"
        host = f"[{self.config.net.host}]" if ":" in self.config.net.host else self.config.net.host
        return f"{scheme}://{host}:{self.port}{WEBSOCKET_PATH}"

    @property
    def trust(self) -> str:
        """Whether the server is open, or what it wants to be shown; for its user."""
        kinds = factory.kinds(self.config)
        return f"authenticated: {', '.join(kinds)}" if kinds else "open: no authentication"

    @property
    def port(self) -> int:
        """The port listened on, also when the system has picked it; 0 for a Unix socket."""
        return 0 if self.config.net.uds else int(self._listener.sockets[0].getsockname()[1])

    def _build(self, loop: asyncio.AbstractEventLoop) -> Context:
        config = self.config
        self._store = self._open_store()
        last_seq = self._store.last_seq()
        hub = Hub(last_seq)
        follows = last_seq if self._store.keeps else 0
        window = Window(self._window_messages, config.storage.window_bytes, follows)
        log = self._log = Log(window, self._store, [hub], last_seq)
        catch_up = CatchUp(log, hub)
        pacing = Pacing(config.fanout.share, config.fanout.latency_target)
        Flusher(loop, hub, catch_up, pacing)
        engine = LocalEngine(last_seq)
        proxies, incidents = Networks(config.net.trusted_proxies), Audit(loop.time)
        return Context(
            config=config,
            loop=loop,
            log=log,
            hub=hub,
            catch_up=catch_up,
            ingest=Ingest(engine, log, self._clock, config.net.max_frame_bytes),
            clock=self._clock,
            started=loop.time(),
            proxies=proxies,
            origins=Origins(config.net.allowed_origins),
            audit=incidents,
            limiter=Limiter(config, proxies, loop.time, incidents),
            scheduler=Scheduler(loop),
            auth=self._auth,
        )

    def _open_store(self) -> Store:
        config = self.config
        if config.storage.path == "memory":
            return MemoryStore(self._clock())
        retention = Retention(config.storage.retention_messages, config.storage.retention_days)
        key = read_key(config.storage.key_file) if config.storage.key_file else b""
        return SqliteStore(config.storage.path, retention, self._clock, self._trim, key)

    @property
    def _window_messages(self) -> int:
        """The window holds nothing that the retention gives up."""
        kept = self.config.storage.retention_messages
        return min(self.config.storage.window_messages, kept or self.config.storage.window_messages)

    def _trim(self, upto: int) -> None:
        self._log.trim(upto)

    async def _fill(self) -> None:
        try:
            await self._log.fill()
        except RefusedError as refused:
            self._log.impaired = f"the window could not be filled: {refused.issue}"
            _logger.error("%s", self._log.impaired)

    async def _listen(self) -> asyncio.Server:
        def plain() -> asyncio.Protocol:
            return HttpConnection(self._context)

        def door() -> asyncio.Protocol:
            if self._certificate is not None:
                return TlsDoor(self._context, self._certificate, plain)
            return plain()

        return await listen(self.config.net, door)

    async def _start_listening(self) -> None:
        try:
            self._listener = await self._listen()
        except BaseException:
            await self._store.close()
            raise

    def _warn_if_open(self) -> None:
        """Who can be reached from elsewhere and asks nobody who they are should mean it."""
        if self._auth is not None or self.config.net.uds:
            return
        names = [listening.getsockname()[0] for listening in self._listener.sockets]
        beyond = [name for name in names if not ipaddress.ip_address(name).is_loopback]
        if beyond:
            _logger.warning(
                "open: everybody who reaches %s reads and publishes everything", ", ".join(beyond)
            )

    def _turn_wheel(self) -> None:
        """The one timer that looks after all connections."""
        context = self._context
        self._turning = context.loop.call_later(context.timers.tick, self._turn_wheel)
        now = context.loop.time()
        for peer in context.timers.expired(now):
            peer.on_deadline(now)
        context.limiter.sweep()


def _certificate(config: Config) -> Certificate | None:
    """What TLS is served with, if it is. Raises `ConfigError`."""
    if not (config.tls.cert or config.tls.key):
        return None
    if config.net.trusted_proxies and config.net.proxy_header == "proxy-protocol":
        issue = "the PROXY protocol and TLS cannot be had together, let the proxy do TLS"
        raise ConfigError(f"--proxy-header {config.net.proxy_header}: {issue}")
    return Certificate(config.tls.cert, config.tls.key)


def _nobody_waits(receipts: list[Receipt], refused: RefusedError | None) -> None:
    """An embedding program has its receipt already."""
