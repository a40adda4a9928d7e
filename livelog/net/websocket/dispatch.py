"""Dispatch: a WebSocket message becomes a command, the command a reply or an error.

Stateless: these functions take the connection, seen as a `Sender`. Limits come first, then the
decoder, then the session, then the handler in the table of `commands`. A handler that takes time
runs as the connection's `task`; what the client sends meanwhile waits in the inbox. A reply repeats
the `request_id` of its command.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import UNSET

from livelog.auth import credentials
from livelog.errors import RATE_LIMIT_EXCEEDED, UNSUPPORTED_DATA, RefusedError, failure
from livelog.net.blocks import BlockedError
from livelog.net.limiter import ExhaustedError
from livelog.net.quotas import ConnectionQuota, Scope
from livelog.net.websocket.caller import Caller
from livelog.net.websocket.commands import COMMANDS
from livelog.net.websocket.session import Session
from livelog.net.websocket.subscribing import subscription
from livelog.wire import validation
from livelog.wire.bom import without_bom
from livelog.wire.commands import AnyCommand, action_of, command_decoder, request_id_of
from livelog.wire.events import Event

_log = logging.getLogger(__name__)


class Sender(Caller, Protocol):
    """The connection that sent a message."""

    id: str
    address: str
    session: Session
    quota: ConnectionQuota | None
    asked_by_url: tuple[str, str] | None
    """The parameters `message_types` and `since` of the URL, until they are carried out."""
    task: asyncio.Task[None] | None
    """The command that takes time, if one is being carried out."""

    def answered(self) -> None:
        """Go on after a command that took time."""

    def close(self, code: int, why: str) -> None:
        """Begin the close handshake."""

    def disconnect(self, why: str, back_in: float | None) -> None:
        """Do the same to a client that may come back in so many seconds, or not at all."""


def spend(sender: Sender, scope: Scope, data: bytes | bytearray | memoryview) -> bool:
    """Take one of `scope` from the limits; False when `data` is refused for it."""
    if sender.quota is None:
        return True
    limiter = sender.context.limiter
    try:
        warning = limiter.spend(scope, sender.address, sender.principal, sender.quota)
    except RefusedError as refused:
        sender.refuse(refused, request_id_of(data), action_of(data))
        return False
    except ExhaustedError as exhausted:
        sender.close(RATE_LIMIT_EXCEEDED, str(exhausted))
        return False
    if warning is not None:
        sender.send(warning)
    return True


def message(sender: Sender, data: bytes, *, binary: bool) -> None:
    """Carry out a whole message."""
    if binary:
        issue = "binary frames are not supported, send JSON as text"
        sender.refuse(RefusedError(UNSUPPORTED_DATA, "", issue), UNSET)
        return
    data = without_bom(data)
    try:
        decoded = command_decoder.decode(data)
    except (ValueError, RecursionError) as error:
        refused = validation.refusal(error, AnyCommand, data)
        sender.refuse(refused, request_id_of(data), action_of(data))
    else:
        if not COMMANDS[type(decoded)].counts or spend(sender, "commands", data):
            command(sender, decoded, data)


def command(sender: Sender, command: AnyCommand, data: bytes = b"") -> None:
    """Carry out a command; `data` is its text."""
    entry = COMMANDS[type(command)]
    try:
        if not (sender.session.identified or entry.anybody):
            raise credentials.failed("authenticate first", field="action")
        if not entry.gathers:
            sender.context.gathering.publish()
        reply = entry.handler(sender, command, *([data] if entry.whole else []))
    except RefusedError as refused:
        _deny(sender, refused, command)
    except Exception as error:
        _fail(sender, command, error)
    else:
        if isinstance(reply, Event):
            reply.request_id = command.request_id
            sender.send(reply)
        elif reply is not None:
            sender.task = sender.context.loop.create_task(_answer(sender, reply, command))


def subscription_in_url(sender: Sender) -> None:
    """Subscribe as the URL asks, once the principal is known. Raises `RefusedError`."""
    if sender.asked_by_url is not None and sender.session.identified:
        asked, sender.asked_by_url = sender.asked_by_url, None
        command(sender, subscription(*asked))


async def _answer(
    sender: Sender, reply: Callable[[], Awaitable[Event | None]], command: AnyCommand
) -> None:
    try:
        event = await reply()
        if event is not None:
            event.request_id = command.request_id
            sender.send(event)
    except RefusedError as refused:
        _deny(sender, refused, command)
    except Exception as error:
        _fail(sender, command, error)
    finally:
        if not sender.reader.blocked:  # all of it has gone out
            sender.context.memory.answers.drop(sender)
    sender.answered()


def _deny(sender: Sender, refused: RefusedError, command: AnyCommand) -> None:
    """Refuse a command; without a principal there is no second try."""
    sender.refuse(refused, command.request_id, str(command.__struct_config__.tag))
    if sender.session.identified:
        return
    if isinstance(refused, BlockedError):
        sender.disconnect(refused.issue, refused.retry_after)
    else:
        sender.close(refused.code, refused.issue)


def _fail(sender: Sender, command: AnyCommand, error: Exception) -> None:
    """Log an internal error, and tell the client that there was one."""
    _log.exception("%s: %s failed", sender.id, type(command).__name__)
    _deny(sender, failure(error), command)
