"""`subscribe` and `unsubscribe`, and the same in the URL of a connection.

A change of the subscription is answered with the seq after which it holds. For a reader that is
behind, that seq has to be looked up in the log first; a reader that comes from another server of
the log may have to wait until this one is as far.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from livelog.errors import PROTOCOL_ERROR, SERVER_ERROR, RefusedError
from livelog.fanout.audience import Reader
from livelog.index.query import Subscription
from livelog.net import queries
from livelog.net.websocket import visible
from livelog.net.websocket.caller import Caller, Reply
from livelog.wire import validation
from livelog.wire.commands import Subscribe, Unsubscribe
from livelog.wire.events import Event, Subscribed, Unsubscribed

BATCH_MS = 25
"""Milliseconds for which messages are gathered, unless the URL says otherwise."""
_MOST_BATCH_MS = 1000

_REACH_SECONDS = 5.0
"""Seconds that a server may be behind another from which a client comes."""

_OPEN_PAUSE, _PAUSE = 0.02, 0.5
"""Seconds between two looks, without and with authentication."""

_DIGITS = re.compile(r"[0-9]{1,20}")


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
    wanted = caller.reader.subscription.with_types(added)
    return change(caller, Subscribed, wanted, since, batch=_batch(caller.reader, command))


def unsubscribe(caller: Caller, command: Unsubscribe) -> Reply:
    """Remove types from what the caller listens to."""
    left = caller.reader.subscription.without(frozenset(command.message_types))
    return change(caller, Unsubscribed, left)


def change(
    caller: Caller,
    event: type[Subscribed],
    wanted: Subscription,
    since: int | None = None,
    *,
    batch: int | None = None,
) -> Event | Callable[[], Awaitable[Event]]:
    """Change the subscription, and tell the seq after which that holds."""
    batch = caller.reader.batch if batch is None else batch
    if since is None and visible.is_looked_up(caller):
        return lambda: _change_behind(caller, event, wanted, batch)
    place = caller.context.catch_up.move(caller.reader, wanted, since, batch)
    return _in_force(event, wanted, batch, visible.at_most(caller, place))


async def _change_behind(
    caller: Caller, event: type[Subscribed], wanted: Subscription, batch: int
) -> Subscribed:
    """Do it for a reader that is behind: it stays where it is until the seq is known."""
    catch_up, reader = caller.context.catch_up, caller.reader
    catch_up.drop(reader)  # the answer tells what has been sent, so nothing may be sent meanwhile
    before = reader.cursor
    try:
        seq = await visible.look_up(caller, before)
    finally:
        place = catch_up.move(reader, wanted, batch=batch)
    return _in_force(event, wanted, batch, seq if place == before else place)


def _in_force(event: type[Subscribed], wanted: Subscription, batch: int, seq: int) -> Subscribed:
    return event(
        message_types=wanted.types,
        filters=wanted.filters,
        where_ast=wanted.where,
        batch_ms=batch or UNSET,
        seq=seq,
    )


# Batches, and the URL.


def _batch(reader: Reader, command: Subscribe) -> int:
    """Return the milliseconds of a batch that hold after a command."""
    if command.batch is UNSET:
        return reader.batch
    return (reader.batch or BATCH_MS) if command.batch else 0


def batch_in_url(given: str) -> int:
    """Return the milliseconds that `?batch=MS` asks for. Raises `RefusedError`."""
    if not (_DIGITS.fullmatch(given) and 1 <= int(given) <= _MOST_BATCH_MS):
        issue = f"{given!r} is invalid: must be 1, or milliseconds from 2 to {_MOST_BATCH_MS}"
        raise RefusedError(PROTOCOL_ERROR, "batch", issue)
    return BATCH_MS if int(given) == 1 else int(given)


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
