"""What all connections share: the parts of the server, and who is connected."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from livelog.addresses import Networks
from livelog.auth.authenticator import Authenticator
from livelog.catchup import CatchUp
from livelog.config import Config
from livelog.hub import Hub
from livelog.ingest import Ingest
from livelog.log import Log
from livelog.net.doorman import Doorman
from livelog.net.incidents import Incidents
from livelog.net.turns import Turns
from livelog.origins import Origins
from livelog.timers import TimerWheel


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
class Site:
    """Built once by the house, handed to every connection."""

    config: Config
    loop: asyncio.AbstractEventLoop
    log: Log
    hub: Hub
    catch_up: CatchUp
    ingest: Ingest
    wake: Callable[[], None]
    clock: Callable[[], float]
    """Unix time in seconds; for durations `loop.time` is used."""
    started: float
    proxies: Networks
    """Peers that are believed whose request it is that they pass on."""
    origins: Origins
    incidents: Incidents
    doorman: Doorman
    turns: Turns
    auth: Authenticator | None = None
    """Tells who somebody is; None where that does not matter, because everything is public."""
    timers: TimerWheel[Timed] = field(default_factory=lambda: TimerWheel())
    peers: set[Timed] = field(default_factory=set)
    """Every open connection, HTTP ones included."""
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to stop: nobody is let in any more."""
    subscribers: Counter[str] = field(default_factory=Counter)
    """Open WebSockets by client address."""
