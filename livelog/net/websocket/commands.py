"""The table of commands: the handler of each, and whether it takes from the command limit.

A handler returns an event, a coroutine function where the answer takes time, or None where the
answer is sent later by a callback; a coroutine may do that, too. It raises `RefusedError` for what
it does not grant. `Caller` is the part of a connection that handlers use. The structs are in
`wire/commands`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from livelog.auth.credentials import Credential
from livelog.auth.principal import Principal
from livelog.budget import backlog
from livelog.budget.slices import interleaved
from livelog.engine.base import Outcome
from livelog.errors import POLICY_VIOLATION, PROTOCOL_ERROR, SERVER_ERROR, RefusedError
from livelog.fanout.audience import Reader
from livelog.fanout.watcher import Party
from livelog.index.query import Subscription
from livelog.net import queries
from livelog.net.admin.asking import Asking
from livelog.net.admin.table import carry_out
from livelog.net.context import Context
from livelog.net.identify import identify
from livelog.net.online import OPEN
from livelog.net.websocket import visible
from livelog.net.websocket.session import Session, authenticated
from livelog.wire import validation
from livelog.wire.admin import fields_of
from livelog.wire.commands import (
    Admin,
    Analyze,
    Authenticate,
    GetHistory,
    Ping,
    Presence,
    Publish,
    RequestId,
    Search,
    Subscribe,
    Unsubscribe,
    Unwatch,
    Watch,
)
from livelog.wire.events import (
    Authenticated,
    Event,
    Pong,
    Published,
    Subscribed,
    Unsubscribed,
    Unwatched,
    Watching,
)
from livelog.wire.record import Draft
from livelog.wire.timestamps import timestamp

_ROOM_SECONDS = 5.0
"""Seconds that a message waits for what its publisher has sent before to be indexed."""


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


Reply = Event | Callable[[], Awaitable[Event | None]] | None


def subscribe(caller: Caller, command: Subscribe) -> Reply:
    """Add types to what the caller listens to, or replace their filters."""
    context = caller.context
    shared = context.ingest.lag is not None
    if shared and command.since is not UNSET and command.since > context.log.head:
        return partial(_subscribe_soon, caller, command, command.since)
    return _subscribe(caller, command)


async def _subscribe_soon(caller: Caller, command: Subscribe, since: int) -> Event:
    """Subscribe as soon as this server has come to `since`, which another has told the client."""
    loop, log = caller.context.loop, caller.context.log
    deadline = loop.time() + _REACH_SECONDS
    # Polled: the moment at which a message comes is not for those who may not read it.
    while log.head < since and loop.time() < deadline:  # noqa: ASYNC110 - see above
        await asyncio.sleep(_OPEN_PAUSE if caller.principal.open else _PAUSE)
    if log.head < since and (issue := caller.context.ingest.unready):
        raise RefusedError(SERVER_ERROR, "since", issue, retry_after=1)
    reply = _subscribe(caller, command)
    return reply if isinstance(reply, Event) else await reply()


def _subscribe(caller: Caller, command: Subscribe) -> Event | Callable[[], Awaitable[Event]]:
    asked = since = None if command.since is UNSET else command.since
    if since is not None:
        since = command.since = visible.place(caller, since)
    context = caller.context
    added = queries.subscription(context.log, caller.principal, command, context.clock())
    if asked is not None:
        caller.reader.asked = asked
    return _change(caller, Subscribed, caller.reader.subscription.with_types(added), since)


_REACH_SECONDS = 5.0
"""Seconds that a server may be behind another from which a client comes."""

_OPEN_PAUSE, _PAUSE = 0.02, 0.5
"""Seconds between two looks, without and with authentication."""

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
        raise validation.refusal_of_parameters(error, Subscribe, data) from None


def unsubscribe(caller: Caller, command: Unsubscribe) -> Reply:
    """Remove types from what the caller listens to."""
    left = caller.reader.subscription.without(frozenset(command.message_types))
    return _change(caller, Unsubscribed, left)


def _change(
    caller: Caller, event: type[Subscribed], wanted: Subscription, since: int | None = None
) -> Event | Callable[[], Awaitable[Event]]:
    """Change the subscription, and tell the seq after which that holds."""
    if since is None and visible.is_looked_up(caller):
        return lambda: _change_behind(caller, event, wanted)
    place = caller.context.catch_up.move(caller.reader, wanted, since)
    return _in_force(event, wanted, visible.at_most(caller, place))


async def _change_behind(
    caller: Caller, event: type[Subscribed], wanted: Subscription
) -> Subscribed:
    """Do it for a reader that is behind: it stays where it is until the seq is known."""
    catch_up, reader = caller.context.catch_up, caller.reader
    catch_up.drop(reader)
    before = reader.cursor
    try:
        seq = await visible.look_up(caller, before)
    finally:
        place = catch_up.move(reader, wanted)
    return _in_force(event, wanted, seq if place == before else place)


def _in_force(event: type[Subscribed], wanted: Subscription, seq: int) -> Subscribed:
    return event(
        message_types=wanted.types, filters=wanted.filters, where_ast=wanted.where, seq=seq
    )


def get_history(caller: Caller, command: GetHistory) -> Reply:
    """Read a page of the past."""
    return partial(_page, caller, queries.history, command)


def search(caller: Caller, command: Search) -> Reply:
    """Read a page of the past messages in which words occur."""
    return partial(_page, caller, queries.search, command)


def analyze(caller: Caller, command: Analyze) -> Reply:
    """Count past messages."""
    return partial(_page, caller, queries.analyze, command)


async def _page(caller: Caller, read: queries.Read, command: Any) -> Event:
    """Read a page as large as the memory allows; it is held until `dispatch` has seen it sent."""
    context, principal = caller.context, caller.principal
    owner = queries.owner(principal, caller.address)
    most = context.memory.reserve_answer(caller, owner)
    event = await read(context.log, principal, owner, command, context.clock(), most)
    context.memory.answers.hold(caller, await queries.pause(event), owner)
    return event


def watch(caller: Caller, command: Watch) -> Reply:
    """Count messages for the caller from now on."""
    now, head = caller.context.clock(), caller.context.log.head
    seq = visible.at_most(caller, head)
    watcher = queries.watcher(caller, command, now)
    caller.context.watches.enter(watcher, caller.principal, head, seq, now)
    return Watching(id=command.id, seq=seq)


def unwatch(caller: Caller, command: Unwatch) -> Reply:
    """End a watch."""
    caller.context.watches.end(caller, command.id)
    return Unwatched(id=command.id)


def presence(caller: Caller, command: Presence) -> Reply:
    """Tell who is on line; begin or end to tell of the changes."""
    online = caller.context.online
    if online is None:
        raise RefusedError(POLICY_VIOLATION, "action", OPEN)
    answer = online.answer(caller.principal, command)
    if command.follow is True:
        online.follow(caller)
    elif command.follow is False:
        online.unfollow(caller)
    return answer


def ping(caller: Caller, command: Ping) -> Reply:
    """Answer with the seq up to which the caller has everything."""
    context = caller.context
    now = timestamp(context.clock())
    if not caller.session.identified:
        return Pong(timestamp=now)
    position = context.hub.position(caller.reader)
    if not visible.is_looked_up(caller):
        return Pong(timestamp=now, seq=visible.at_most(caller, position))

    async def looked_up() -> Pong:
        return Pong(timestamp=now, seq=await visible.look_up(caller, position))

    return looked_up


def publish(caller: Caller, command: Publish) -> Reply:
    """Append a message to the log; answer with its outcome, once the engine has said it."""
    ingest = caller.context.ingest
    owner = queries.owner(caller.principal, caller.address)
    steps = ingest.admitting(caller.principal, command.message)

    def answer(outcomes: Sequence[Outcome]) -> None:
        [outcome] = outcomes
        if isinstance(outcome, RefusedError):
            refused = outcome.at("message") if outcome.field else outcome
            caller.refuse(refused, command.request_id, "publish")
            return
        caller.send_soon(Published(id=outcome.id, seq=outcome.seq, request_id=command.request_id))

    async def publish_later(draft: Draft | None) -> None:
        if draft is None:
            with _at_message():
                draft = await interleaved(steps, owner)
        try:
            async with asyncio.timeout(_ROOM_SECONDS):
                await interleaved(ingest.making_room(owner, draft), owner)
        except TimeoutError:
            raise backlog.refusal() from None
        ingest.publish([draft], answer, owner, "websocket")

    with _at_message():
        draft = _after_a_step(steps)
    if draft is None or not ingest.has_room(owner, draft):
        return partial(publish_later, draft)
    ingest.publish([draft], answer, owner, "websocket")
    return None


def _after_a_step(steps: Generator[None, None, Draft]) -> Draft | None:
    """Return the message if one step is enough to admit it, as for nearly every one."""
    try:
        next(steps)
    except StopIteration as stop:
        draft: Draft = stop.value
        return draft
    return None


@contextmanager
def _at_message() -> Iterator[None]:
    """Refuse what is wrong with the message as wrong in that field of the command."""
    try:
        yield
    except RefusedError as refused:
        raise refused.at("message") from None


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
    principal = await identify(caller.context, credential)
    newest = await visible.newest(caller.context, principal)
    caller.identify(principal)
    caller.session.newest = newest
    for id in caller.context.watches.renew(caller, principal, caller.context.log.head):
        caller.send(Unwatched(id=id))
    await _end_forbidden(caller)
    return authenticated(caller.principal)


async def _end_forbidden(caller: Caller) -> None:
    """Remove the types that a new token no longer allows, and tell the client."""
    reader = caller.reader
    forbidden = frozenset(reader.subscription.types) - caller.principal.readable
    if forbidden:
        reply = _change(caller, Unsubscribed, reader.subscription.without(forbidden))
        caller.send(reply if isinstance(reply, Event) else await reply())


def admin(caller: Caller, command: Admin, data: bytes) -> Reply:
    """Carry out a command of an operator or a moderator."""
    asking = Asking(caller.context, caller.principal, caller.address, caller.id)
    return partial(carry_out, asking, command.command, fields_of(data))


class Entry(NamedTuple):
    """How a command is carried out."""

    handler: Callable[..., Reply]
    """Takes the caller and the command."""
    counts: bool
    """Takes one of the commands a connection may send, besides one of its messages."""
    anybody: bool = False
    """May be sent before the principal is known."""
    whole: bool = False
    """The handler takes the text of the command, too, which has fields that the struct lacks."""


COMMANDS: dict[type, Entry] = {
    Subscribe: Entry(subscribe, counts=True),
    Unsubscribe: Entry(unsubscribe, counts=True),
    GetHistory: Entry(get_history, counts=True),
    Search: Entry(search, counts=True),
    Analyze: Entry(analyze, counts=True),
    Watch: Entry(watch, counts=True),
    Unwatch: Entry(unwatch, counts=True),
    Presence: Entry(presence, counts=True),
    Ping: Entry(ping, counts=False, anybody=True),
    Publish: Entry(publish, counts=False),
    Authenticate: Entry(authenticate, counts=True, anybody=True),
    Admin: Entry(admin, counts=False, whole=True),
}
