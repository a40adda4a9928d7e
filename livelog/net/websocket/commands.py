"""The table of commands: the handler of each, and whether it takes from the command limit.

A handler takes the caller and the command, and returns a `Reply`. It raises `RefusedError` for what
it does not grant. The structs are in `wire/commands`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from livelog.net import queries
from livelog.net.admin.asking import Asking
from livelog.net.admin.table import carry_out
from livelog.net.websocket import visible
from livelog.net.websocket.authentication import authenticate
from livelog.net.websocket.caller import Caller, Reply
from livelog.net.websocket.publishing import publish
from livelog.net.websocket.reading import page, presence, unwatch, watch
from livelog.net.websocket.subscribing import subscribe, unsubscribe
from livelog.wire.admin import fields_of
from livelog.wire.commands import (
    Admin,
    Analyze,
    Authenticate,
    GetHistory,
    Ping,
    Presence,
    Publish,
    Search,
    Subscribe,
    Unsubscribe,
    Unwatch,
    Watch,
)
from livelog.wire.events import Pong
from livelog.wire.timestamps import timestamp


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
    gathers: bool = False
    """Publishes nothing itself: before any other command is carried out, what is gathered is."""


COMMANDS: dict[type, Entry] = {
    Subscribe: Entry(subscribe, counts=True),
    Unsubscribe: Entry(unsubscribe, counts=True),
    GetHistory: Entry(partial(page, queries.history), counts=True),
    Search: Entry(partial(page, queries.search), counts=True),
    Analyze: Entry(partial(page, queries.analyze), counts=True),
    Watch: Entry(watch, counts=True),
    Unwatch: Entry(unwatch, counts=True),
    Presence: Entry(presence, counts=True),
    Ping: Entry(ping, counts=False, anybody=True),
    Publish: Entry(publish, counts=False, gathers=True),
    Authenticate: Entry(authenticate, counts=True, anybody=True),
    Admin: Entry(admin, counts=False, whole=True),
}
