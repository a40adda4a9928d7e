"""A connection without a transport: what the inbox and dispatch see of one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from msgspec import UNSET, UnsetType

from livelog import Config
from livelog.auth.principal import ANYBODY, Principal
from livelog.budget.memory import Memory
from livelog.config.check import networks
from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.fanout.audience import Reader
from livelog.net.addresses import Networks
from livelog.net.audit import Audit
from livelog.net.limiter import Limiter
from livelog.net.scheduler import Scheduler
from livelog.net.websocket import inbox
from livelog.net.websocket.inbox import Inbox
from livelog.net.websocket.session import Session
from livelog.wire.commands import RequestId
from livelog.wire.events import Event
from tests.support.clock import Clock
from tests.support.party import Silent


class Loopback:
    """Keeps what it is told. Its context has limits, a scheduler and a hub without messages."""

    def __init__(self, principal: Principal = ANYBODY, **settings: Any) -> None:
        clock, loop = Clock(), asyncio.get_running_loop()
        config = Config(**settings)
        self.limiter = Limiter(config, Networks(networks("")), clock, Audit(clock))
        self.context: Any = SimpleNamespace(
            limiter=self.limiter,
            scheduler=Scheduler(loop),
            memory=Memory(1 << 30, 1 << 20),
            loop=loop,
            clock=lambda: 0.0,
            hub=SimpleNamespace(position=lambda reader: 7),
            gathering=SimpleNamespace(publish=lambda: None),
            auth=None,
        )
        self.id, self.address = "conn_1", "203.0.113.9"
        self.reader = Reader(lambda data: None, Silent())
        self.session = Session(principal)
        self.quota = self.limiter.quota()
        self.task: asyncio.Task[None] | None = None
        self.inbox: Inbox | None = None
        self.asked_by_url: tuple[str, str] | None = None
        self.closing = False
        self.reading = True
        self.transport: Any = SimpleNamespace(pause_reading=self._pause_reading)
        self.events: list[Event] = []
        self.frames: list[bytes] = []
        self.refusals: list[tuple[RefusedError, RequestId | UnsetType]] = []
        self.closed: tuple[int, str] | None = None

    @property
    def principal(self) -> Principal:
        return self.session.principal

    @property
    def ready(self) -> bool:
        return self.task is None and not self.reader.blocked

    def identify(self, principal: Principal) -> None:
        self.session.identify(principal, 0.0, 0.0)

    @property
    def blocked(self) -> bool:
        return self.reader.blocked

    def tell(self, frame: bytes) -> None:
        self.frames.append(frame)

    def send(self, event: Event) -> None:
        self.events.append(event)

    send_soon = send

    def refuse(
        self,
        refused: RefusedError,
        request_id: RequestId | UnsetType = UNSET,
        command: str = "",
    ) -> None:
        self.refusals.append((refused, request_id))

    def close(self, code: int, why: str) -> None:
        self.closed, self.closing = (code, why), True

    def disconnect(self, why: str, back_in: float | None) -> None:
        self.close(POLICY_VIOLATION, why)

    def fail_frame(self, code: int, why: str) -> None:
        self.closed, self.closing = (code, why), True

    def answered(self) -> None:
        self.task = None
        if inbox.is_holding(self):
            self.context.scheduler.wait(self)

    def go_on(self, until: float) -> bool:
        inbox.go_on(self, until)
        return inbox.has_frames(self) and self.ready

    def _pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def answers(self) -> list[Any]:
        """The request ids of what was sent and refused, in each one's order."""
        return [event.request_id for event in self.events]
