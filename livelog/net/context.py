"""What all connections share: the parts of the server, and who is connected."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from livelog.auth.authenticator import Authenticator
from livelog.config import Config
from livelog.fanout.catchup import CatchUp
from livelog.fanout.hub import Hub
from livelog.log.ingest import Ingest
from livelog.log.log import Log
from livelog.net.addresses import Networks
from livelog.net.audit import Audit
from livelog.net.limiter import Limiter
from livelog.net.origins import Origins
from livelog.net.scheduler import Scheduler
from livelog.net.timers import TimerWheel


class Timed(Protocol):
    """A connection, as the timers and the house see it."""

    def on_deadline(self, now: float) -> None:
        """The time set for it has come."""

    def shut_down(self, back_in: float) -> None:
        """The server is about to stop: say goodbye, and in how many seconds to come back."""

    def abort(self) -> None:
        """Drop the connection at once."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Context:
    """Built once by the house, handed to every connection."""

    config: Config
    loop: asyncio.AbstractEventLoop
    log: Log
    hub: Hub
    catch_up: CatchUp
    ingest: Ingest
    clock: Callable[[], float]
    """Unix time in seconds; for durations `loop.time` is used."""
    started: float
    proxies: Networks
    """Peers that are believed whose request it is that they pass on."""
    origins: Origins
    audit: Audit
    limiter: Limiter
    scheduler: Scheduler
    auth: Authenticator | None = None
    """Tells who somebody is; None where that does not matter, because everything is public."""
    timers: TimerWheel[Timed] = field(default_factory=lambda: TimerWheel())
    peers: set[Timed] = field(default_factory=set)
    """Every open connection, HTTP ones included."""
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to stop: nobody is let in any more."""
    subscribers: Counter[str] = field(default_factory=Counter)
    """Open WebSockets by client address."""
