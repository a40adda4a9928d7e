"""Reading: pages of the past, analyses, presence, and watches, which count what comes."""

from __future__ import annotations

from functools import partial

from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.net import queries
from livelog.net.online import OPEN
from livelog.net.websocket import visible
from livelog.net.websocket.caller import Caller, Reply
from livelog.wire.commands import Command, Presence, Unwatch, Watch
from livelog.wire.events import Event, Unwatched, Watching


def page(read: queries.Read, caller: Caller, command: Command) -> Reply:
    """Read a page of the past, or count past messages, as `read` does."""
    return partial(_page, read, caller, command)


async def _page(read: queries.Read, caller: Caller, command: Command) -> Event:
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
