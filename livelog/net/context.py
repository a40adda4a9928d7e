"""The context: the parts of the server that all connections share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from livelog.auth.authenticator import Authenticator
from livelog.budget.durations import Durations
from livelog.budget.memory import Memory
from livelog.config import Config
from livelog.fanout.catchup import CatchUp
from livelog.fanout.hub import Hub
from livelog.fanout.watches import Watches
from livelog.log.gathering import Gathering
from livelog.log.ingest import Ingest
from livelog.log.log import Log
from livelog.log.newest import Newest
from livelog.net.access import AccessLog
from livelog.net.addresses import Networks
from livelog.net.audit import Audit
from livelog.net.draining import Draining
from livelog.net.hosts import Hosts
from livelog.net.limiter import Limiter
from livelog.net.online import WhoIsOnline
from livelog.net.origins import Origins
from livelog.net.reload import Reload
from livelog.net.scheduler import Scheduler
from livelog.net.timers import TimerWheel


class Timed(Protocol):
    """A connection, as the timers see it."""

    def on_deadline(self, now: float) -> None:
        """Do what is due at the time that was set."""

    def abort(self) -> None:
        """Drop the connection at once."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Context:
    """Built once by the server, handed to every connection."""

    config: Config
    """The settings at the start. What can be changed later is kept by the parts that it is of."""
    loop: asyncio.AbstractEventLoop
    log: Log
    hub: Hub
    newest: Newest
    """The newest message that each principal may read."""
    catch_up: CatchUp
    watches: Watches
    ingest: Ingest
    gathering: Gathering
    """What the connection whose turn it is has published."""
    clock: Callable[[], float]
    """Unix time in seconds; for durations `loop.time` is used."""
    started: float
    proxies: Networks
    """Peers that are trusted as proxies."""
    hosts: Hosts
    origins: Origins
    audit: Audit
    limiter: Limiter
    """Keeps the limits, and counts the open connections."""
    scheduler: Scheduler
    memory: Memory
    """Counts what grows with the traffic, and says when it is too much."""
    version: str
    """That of livelog, for `/healthz` and the document of the protocol."""
    node: Callable[[], str] = lambda: ""
    """Returns the name of this server among those that share its log."""
    worker: int = 0
    """Number of this process among those that share its port, for `/healthz`; 0 if it is alone."""
    auth: Authenticator | None = None
    """Checks credentials; None where everything is public."""
    reload: Reload | None = None
    """Reads certificate, API keys and settings again; it is not there in parts of a server."""
    access: AccessLog | None = None
    """The access log; None without one."""
    online: WhoIsOnline | None = None
    """Who is on line; None where there are no users, since everything is public."""
    loop_lag: Durations = field(default_factory=Durations)
    """Times by which the loop has run a timer late."""
    timers: TimerWheel[Timed] = field(default_factory=lambda: TimerWheel())
    draining: Draining = field(default_factory=Draining)
    """The drain that an operator has asked for."""
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to stop: no connection is upgraded any more."""
