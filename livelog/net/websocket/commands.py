"""The table of commands: the handler of each, and whether it takes from the command limit.

A handler returns an event, a coroutine function where the answer takes time, or None where the
answer is sent later by a callback. It raises `RefusedError` for what it does not grant. `Caller` is
the part of a connection that handlers use. The structs are in `wire/commands`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from livelog.auth.credentials import Credential
from livelog.auth.principal import Principal
from livelog.engine.base import Outcome
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.fanout.audience import Reader
from livelog.net import queries
from livelog.net.context import Context
from livelog.net.websocket.session import authenticated
from livelog.wire import validation
from livelog.wire.commands import (
    Authenticate,
    GetHistory,
    Ping,
    Publish,
    RequestId,
    Search,
    Subscribe,
    Unsubscribe,
)
from livelog.wire.events import Authenticated, Event, Pong, Published, Subscribed, Unsubscribed
from livelog.wire.timestamps import timestamp


class Caller(Protocol):
    """The connection that sent a command."""

    context: Context
    reader: Reader
    address: str

    @property
    def principal(self) -> Principal:
        """The principal of its session."""

    def identify(self, principal: Principal) -> None:
        """Begin or renew the session. Raises `RefusedError`."""

    def send(self, event: Event) -> None:
        """Send an event."""

    def send_soon(self, event: Event) -> None:
        """Send an event together with others."""

    def refuse(self, refused: RefusedError, request_id: RequestId | UnsetType) -> None:
        """Send an `error`."""


Reply = Event | Callable[[], Awaitable[Event]] | None


def subscribe(caller: Caller, command: Subscribe) -> Reply:
    """Add types to what the caller listens to, or replace their filters."""
    context, reader = caller.context, caller.reader
    added = queries.subscription(context.log, caller.principal, command)
    since = None if command.since is UNSET else command.since
    place = context.catch_up.move(reader, reader.subscription.with_types(added), since)
    return _in_force(Subscribed, reader, place)


_DIGITS = re.compile(r"[0-9]{1,20}")


def subscription(message_types: str, since: str) -> Subscribe:
    """The command that `?message_types=user,raid&since=SEQ` stands for.

    Raises `RefusedError` when it is not a valid one.
    """
    data: dict[str, Any] = {
        "action": "subscribe",
        "message_types": [name for name in message_types.split(",") if name],
    }
    if since:
        data["since"] = int(since) if _DIGITS.fullmatch(since) else since
    try:
        return msgspec.convert(data, Subscribe)
    except ValueError as error:
        raise validation.refusal(error, Subscribe, data) from None


def unsubscribe(caller: Caller, command: Unsubscribe) -> Reply:
    """Remove types from what the caller listens to."""
    context, reader = caller.context, caller.reader
    left = reader.subscription.without(frozenset(command.message_types))
    place = context.catch_up.move(reader, left)
    return _in_force(Unsubscribed, reader, place)


def _in_force(event: type[Subscribed], reader: Reader, place: int) -> Subscribed:
    subscription = reader.subscription
    return event(message_types=subscription.types, filters=subscription.filters, seq=place)


def get_history(caller: Caller, command: GetHistory) -> Reply:
    """Read a page of the past."""
    return partial(queries.history, caller.context.log, caller.principal, caller.address, command)


def search(caller: Caller, command: Search) -> Reply:
    """Read a page of the past messages in which words occur."""
    return partial(queries.search, caller.context.log, caller.principal, caller.address, command)


def ping(caller: Caller, command: Ping) -> Reply:
    """Answer with the seq up to which the caller has everything."""
    context = caller.context
    return Pong(timestamp=timestamp(context.clock()), seq=context.hub.position(caller.reader))


def publish(caller: Caller, command: Publish) -> Reply:
    """Append a message to the log; answer with its outcome, once the engine has said it."""
    try:
        draft = caller.context.ingest.admit(caller.principal, command.message)
    except RefusedError as refused:
        raise refused.at("message") from None

    def answer(outcomes: Sequence[Outcome]) -> None:
        [outcome] = outcomes
        if isinstance(outcome, RefusedError):
            refused = outcome.at("message") if outcome.field else outcome
            caller.refuse(refused, command.request_id)
            return
        caller.send_soon(Published(id=outcome.id, seq=outcome.seq, request_id=command.request_id))

    caller.context.ingest.publish([draft], answer)
    return None


def authenticate(caller: Caller, command: Authenticate) -> Reply:
    """Check a credential and begin a session; without authentication there is one already."""
    token = "" if command.token is UNSET else command.token
    api_key = "" if command.api_key is UNSET else command.api_key
    if token and api_key:
        raise RefusedError(PROTOCOL_ERROR, "api_key", "cannot be combined with token")
    if caller.context.auth is None:
        return authenticated(caller.principal)
    return lambda: _identified(caller, Credential(token, api_key))


async def _identified(caller: Caller, credential: Credential) -> Authenticated:
    auth = caller.context.auth
    assert auth is not None
    caller.identify(await auth.check(credential))
    _end_forbidden(caller)
    return authenticated(caller.principal)


def _end_forbidden(caller: Caller) -> None:
    """Remove the types that a new token no longer allows, and tell the client."""
    reader = caller.reader
    forbidden = frozenset(reader.subscription.types) - caller.principal.readable
    if forbidden:
        left = reader.subscription.without(forbidden)
        place = caller.context.catch_up.move(reader, left)
        caller.send(_in_force(Unsubscribed, reader, place))


class Entry(NamedTuple):
    """How a command is carried out."""

    handler: Callable[[Caller, Any], Reply]
    counts: bool
    """Takes one of the commands a connection may send, besides one of its messages."""
    anybody: bool = False
    """May be sent before the principal is known."""


COMMANDS: dict[type, Entry] = {
    Subscribe: Entry(subscribe, counts=True),
    Unsubscribe: Entry(unsubscribe, counts=True),
    GetHistory: Entry(get_history, counts=True),
    Search: Entry(search, counts=True),
    Ping: Entry(ping, counts=False, anybody=True),
    Publish: Entry(publish, counts=False),
    Authenticate: Entry(authenticate, counts=True, anybody=True),
}
