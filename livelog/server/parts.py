"""The parts that all connections share: built once, on what the start has opened.

Nothing here waits or fails half-way, but for a log whose acts cannot be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from livelog import __version__
from livelog.auth.authenticator import Authenticator
from livelog.budget.backlog import Backlog
from livelog.budget.memory import Memory
from livelog.config import Config
from livelog.engine.base import Engine
from livelog.engine.users import Shared
from livelog.errors import ConfigError, RefusedError
from livelog.fanout.catchup import CatchUp
from livelog.fanout.flusher import Flusher
from livelog.fanout.hub import Hub
from livelog.fanout.pacing import Pacing
from livelog.fanout.watches import Watches
from livelog.log.gathering import Gathering
from livelog.log.ingest import Ingest
from livelog.log.log import Log
from livelog.log.newest import Newest
from livelog.log.window import Window
from livelog.net.access import AccessLog
from livelog.net.addresses import Networks
from livelog.net.audit import Audit
from livelog.net.context import Context
from livelog.net.hosts import hosts_of
from livelog.net.limiter import Limiter
from livelog.net.online import WhoIsOnline
from livelog.net.origins import Origins
from livelog.net.reload import Reload, Reread
from livelog.net.scheduler import Scheduler
from livelog.net.tls import Certificate
from livelog.store.base import Store


@dataclass(frozen=True, slots=True)
class Ground:
    """Settings and opened resources, which the parts are built on."""

    config: Config
    clock: Callable[[], float]
    """Returns Unix time."""
    loop: asyncio.AbstractEventLoop
    auth: Authenticator | None
    engine: Engine
    store: Store
    certificate: Certificate | None
    addresses: Sequence[str]
    """The addresses that are listened on."""
    node: Callable[[], str]
    """Returns the name of this server among those that share its log."""
    announce: Callable[[dict[str, Any]], None]
    """Publishes a message of the server's own."""
    worker: int
    reread: Reread | None


def build(ground: Ground) -> Context:
    """Build the parts. Raises `ConfigError` for a store whose acts cannot be read."""
    hub, newest = Hub(ground.store.bounds.last_seq), Newest()
    log = _log(ground, hub, newest)
    return _context(ground, log, hub, newest, _memory(ground, log))


def _log(ground: Ground, hub: Hub, newest: Newest) -> Log:
    storage, store = ground.config.storage, ground.store
    follows = 0 if store.reader is None else store.bounds.last_seq
    window = Window(storage.window, storage.window_bytes, follows)
    try:
        log = Log(window, store, [hub, newest])
    except RefusedError as refused:  # the acts are read in whole
        raise ConfigError(f"{refused.issue}; move it away or restore a copy") from None
    log.on_act.append(hub.act)
    return log


def _memory(ground: Ground, log: Log) -> Memory:
    return Memory(
        ground.config.storage.memory_bytes,
        ground.config.storage.window_bytes,
        window=lambda: log.memory,
        commits=lambda: ground.store.journal.pending_bytes,
        acts=lambda: ground.store.journal.acts_memory,
        bound=log.bound,
    )


def _context(ground: Ground, log: Log, hub: Hub, newest: Newest, memory: Memory) -> Context:
    config, loop = ground.config, ground.loop
    proxies, audit = Networks(config.net.trusted_proxies), Audit(loop.time)
    limiter = Limiter(config, proxies, loop.time, audit, ground.clock)
    origins, ingest = Origins(config.net.allowed_origins), _ingest(ground, log, memory)
    return Context(
        config=config,
        loop=loop,
        log=log,
        hub=hub,
        newest=newest,
        catch_up=_catch_up(ground, log, hub, memory),
        watches=Watches(log),
        ingest=ingest,
        gathering=Gathering(ingest),
        clock=ground.clock,
        started=loop.time(),
        proxies=proxies,
        hosts=hosts_of(config.net, ground.addresses),
        origins=origins,
        audit=audit,
        limiter=limiter,
        reload=Reload(config, ground.reread, limiter, origins, ground.certificate, ground.auth),
        scheduler=Scheduler(loop),
        memory=memory,
        version=__version__,
        node=ground.node,
        worker=ground.worker,
        auth=ground.auth,
        access=AccessLog() if config.logs.access else None,
        online=_online(ground),
    )


def _catch_up(ground: Ground, log: Log, hub: Hub, memory: Memory) -> CatchUp:
    """Build the way of readers that are behind, and the flusher, which drives it and the hub."""
    fanout = ground.config.fanout
    catch_up = CatchUp(log, hub)
    catch_up.chunk_bytes = memory.chunk_bytes
    Flusher(ground.loop, hub, catch_up, Pacing(fanout.share, fanout.latency_target))
    return catch_up


def _ingest(ground: Ground, log: Log, memory: Memory) -> Ingest:
    backlog = Backlog(lambda: log.waiting_bytes, log.work)
    most = ground.config.net.max_frame_bytes
    return Ingest(ground.engine, ground.clock, most, memory, backlog)


def _online(ground: Ground) -> WhoIsOnline | None:
    """Return the users' part, which an engine with other nodes passes words for."""
    if ground.auth is None:
        return None
    announce = ground.announce if ground.config.auth.announce_presence else None
    online = WhoIsOnline(ground.clock(), lambda: ground.engine.nodes, announce)
    if isinstance(ground.engine, Shared):
        ground.engine.talk(online)
    return online
