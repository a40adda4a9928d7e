"""The connection that sent a command, as handlers of commands see it, and what they return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import UnsetType

from livelog.auth.principal import Principal
from livelog.errors import RefusedError
from livelog.fanout.audience import Reader
from livelog.fanout.watcher import Party
from livelog.net.context import Context
from livelog.net.websocket.session import Session
from livelog.wire.commands import RequestId
from livelog.wire.events import Event

Reply = Event | Callable[[], Awaitable[Event | None]] | None
"""An event; a coroutine function where the answer takes time; or None where the answer is sent
later by a callback, as a coroutine may do, too."""


class Caller(Party, Protocol):
    """The connection that sent a command."""

    context: Context
    reader: Reader
    id: str
    address: str
    session: Session

    @property
    def principal(self) -> Principal:
        """The principal of its session."""

    def identify(self, principal: Principal) -> None:
        """Begin or renew the session. Raises `RefusedError`."""

    def send(self, event: Event) -> None:
        """Send an event."""

    def send_soon(self, event: Event) -> None:
        """Send an event together with others."""

    def refuse(
        self, refused: RefusedError, request_id: RequestId | UnsetType, command: str = ""
    ) -> None:
        """Send an `error`; `command` is for the audit log."""
