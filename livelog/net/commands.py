"""What each command does. A table: struct → handler, and whether it counts as a command.

A handler answers with an event, or with a coroutine function where the answer takes time, or with
nothing where the answer comes by itself. What it cannot grant it raises as `Refused`. The caller
is a connection, seen through as little as the handlers need.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from livelog import explain
from livelog.auth.credentials import Credential
from livelog.errors import PROTOCOL_ERROR, Refused
from livelog.hub import Reader
from livelog.ingest import Receipt, timestamp
from livelog.net import reading
from livelog.net.admission import authenticated
from livelog.net.site import Site
from livelog.principal import Principal
from livelog.protocol import (
    Authenticate,
    Authenticated,
    Event,
    GetHistory,
    Ping,
    Pong,
    Publish,
    Published,
    RequestId,
    Search,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from livelog.query import compile_query


class Caller(Protocol):
    """Who sent the command."""

    site: Site
    reader: Reader

    @property
    def principal(self) -> Principal:
        """Who it is."""

    async def introduce(self, credential: Credential) -> Authenticated:
        """Become who the credential proves. Raises `Refused`."""

    def send(self, event: Event) -> None:
        """Send an event."""

    def send_soon(self, event: Event) -> None:
        """Send an event together with others."""

    def refuse(self, refused: Refused, request_id: RequestId | UnsetType) -> None:
        """Send an `error`."""


Reply = Event | Callable[[], Awaitable[Event]] | None


def subscribe(caller: Caller, command: Subscribe) -> Reply:
    """Add types to what the caller listens to, or replace their filters."""
    if command.filters.type is not UNSET:
        raise Refused(PROTOCOL_ERROR, "filters.type", "name the types in message_types")
    caller.principal.check_reads(command.message_types, "message_types")
    query = compile_query(command.filters, reads_as=caller.principal.reads_as)
    site, reader = caller.site, caller.reader
    since = None if command.since is UNSET else command.since
    if since is not None and since > site.log.head:
        raise Refused(PROTOCOL_ERROR, "since", f"is in the future, the log is at {site.log.head}")
    added = {name: query.of_type(name) for name in command.message_types}
    place = site.catch_up.move(reader, reader.subscription.with_types(added), since)
    site.wake()
    return _in_force(Subscribed, reader, place)


_DIGITS = re.compile(r"[0-9]{1,20}")


def subscription(message_types: str, since: str) -> Subscribe:
    """The command that `?message_types=user,raid&since=SEQ` stands for.

    Raises `Refused` when it is not a valid one.
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
        raise explain.refusal(error, Subscribe, data) from None


def unsubscribe(caller: Caller, command: Unsubscribe) -> Reply:
    """Remove types from what the caller listens to."""
    site, reader = caller.site, caller.reader
    left = reader.subscription.without(frozenset(command.message_types))
    place = site.catch_up.move(reader, left)
    site.wake()
    return _in_force(Unsubscribed, reader, place)


def _in_force(event: type[Subscribed], reader: Reader, place: int) -> Subscribed:
    subscription = reader.subscription
    return event(message_types=subscription.types, filters=subscription.filters, seq=place)


def get_history(caller: Caller, command: GetHistory) -> Reply:
    """A page of the past."""
    allowed = reading.allowed(caller.principal, command)
    return lambda: reading.history(caller.site.log, allowed, caller.principal.reads_as)


def search(caller: Caller, command: Search) -> Reply:
    """A page of the past messages in which words occur."""
    allowed = reading.allowed(caller.principal, command)
    return lambda: reading.search(caller.site.log, allowed, caller.principal.reads_as)


def ping(caller: Caller, command: Ping) -> Reply:
    """Show life, and tell how far the caller has been served."""
    site = caller.site
    return Pong(timestamp=timestamp(site.clock()), seq=site.hub.position(caller.reader))


def publish(caller: Caller, command: Publish) -> Reply:
    """Append a message to the log; answered when it is safe."""
    try:
        caller.principal.check_publishes(command.message)
        draft = caller.site.ingest.prepare(command.message)
    except Refused as refused:
        raise refused.at("message") from None

    def acknowledge(receipts: list[Receipt], refused: Refused | None) -> None:
        if refused is not None:
            caller.refuse(refused, command.request_id)
            return
        [receipt] = receipts
        caller.send_soon(Published(id=receipt.id, seq=receipt.seq, request_id=command.request_id))

    caller.site.ingest.publish([draft], acknowledge)
    return None


def authenticate(caller: Caller, command: Authenticate) -> Reply:
    """Find out who the caller is; where everything is public, that is nobody in particular."""
    token = "" if command.token is UNSET else command.token
    api_key = "" if command.api_key is UNSET else command.api_key
    if token and api_key:
        raise Refused(PROTOCOL_ERROR, "api_key", "cannot be combined with token")
    if caller.site.auth is None:
        return authenticated(caller.principal)
    return lambda: caller.introduce(Credential(token, api_key))


class Entry(NamedTuple):
    """How a command is carried out."""

    handler: Callable[[Caller, Any], Reply]
    counts: bool
    """Takes one of the commands a connection may send, besides one of its messages."""
    anybody: bool = False
    """Is open to those of whom it is not known yet who they are."""


COMMANDS: dict[type, Entry] = {
    Subscribe: Entry(subscribe, counts=True),
    Unsubscribe: Entry(unsubscribe, counts=True),
    GetHistory: Entry(get_history, counts=True),
    Search: Entry(search, counts=True),
    Ping: Entry(ping, counts=False, anybody=True),
    Publish: Entry(publish, counts=False),
    Authenticate: Entry(authenticate, counts=True, anybody=True),
}
