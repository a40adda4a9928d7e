"""The seqs that a connection is told: of messages that its principal may read, never the head's.

The head would tell everybody when a direct message is sent. A seq means that everything subscribed
to up to it has been sent, and it may be used as `since`. That holds for any seq from a place in the
log down to the newest message before it that the principal may read: nothing for it lies between.
On a server without authentication everybody may read everything, and is told the place itself.
"""

from __future__ import annotations

from typing import Protocol

from livelog.auth.principal import Principal
from livelog.budget.owner import Owner
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.fanout.audience import Reader
from livelog.index.paging import Chunk
from livelog.index.query import compile_query
from livelog.net.context import Context
from livelog.net.websocket.session import Session
from livelog.wire.commands import Filters
from livelog.wire.events import Gap
from livelog.wire.frames import payloads
from livelog.wire.record import seq_of

_MINUTE = 60_000_000
"""A minute in microseconds, which a seq counts: so exactly the places of others are told."""


class Asking(Protocol):
    """The connection that is told."""

    context: Context
    reader: Reader
    session: Session


def at_most(caller: Asking, place: int) -> int:
    """Return the seq to tell of a place; unless it has to be looked up."""
    if caller.session.principal.open or _is_before_its_own(caller, place):
        return place
    return min(place, _newest(caller))


def is_looked_up(caller: Asking) -> bool:
    """Return whether the seq to tell of the caller's place has to be looked up in the log.

    That is for a reader which is behind: messages that it may read have come since.
    """
    behind = caller.reader.audience is None and bool(caller.reader.subscription.parts)
    return behind and not caller.session.principal.open and caller.reader.cursor < _newest(caller)


async def look_up(caller: Asking, place: int) -> int:
    """Return the seq to tell of a place, from the log."""
    return await _newest_upto(caller.context, caller.session.principal, place)


def place(caller: Asking, since: int) -> int:
    """Return the place in the log from which a client resumes. Raises `RefusedError`.

    The server with authentication does not tell whether it is above the head, but that it is in
    the future.
    """
    head = caller.context.hub.head
    if caller.session.principal.open or since <= head:
        return since
    newest = _newest(caller)
    if since > max(newest, int(caller.context.clock() * 1_000_000)):
        issue = f"is in the future, the newest message is {newest}"
        raise RefusedError(PROTOCOL_ERROR, "since", issue)
    return head


def gap(caller: Asking, start: int, chunk: Chunk) -> Gap:
    """Return the gap to tell of what is lost between the seq `start` and a chunk.

    Its ends in the log may be direct messages of others: retention deletes those, too. So each is
    told as another seq that is as true, with nothing for the caller between the two.
    """
    if caller.session.principal.open:
        return Gap(from_=start, to=chunk.lost_upto)
    return Gap(from_=_begin_of_gap(caller, start), to=_end_of_gap(caller, start, chunk))


def _begin_of_gap(caller: Asking, start: int) -> int:
    if start == caller.reader.asked:
        return start
    newest = _newest(caller)
    return newest if newest <= start else start - start % _MINUTE


def _end_of_gap(caller: Asking, start: int, chunk: Chunk) -> int:
    """Return a seq from behind what is lost to before the next message for the caller.

    Where no such seq can be told it is a smaller one: who resumes there is told of a gap again.
    """
    if chunk.frames:
        return seq_of(next(payloads(chunk.frames[0]))) - 1
    if chunk.cursor >= caller.context.hub.head:
        newest, asked = _newest(caller), min(caller.reader.asked, start)
        return newest if newest > start else max(newest, asked) + 1
    return start + 1 if start == caller.reader.asked else (start + chunk.cursor) // 2


async def newest(context: Context, principal: Principal) -> int:
    """Return the seq of the newest message that a principal may read, and note it from now on."""
    context.newest.enter(principal)
    return await _newest_upto(context, principal, context.hub.head)


def _newest(caller: Asking) -> int:
    return max(caller.session.newest, caller.context.newest.of(caller.session.principal))


def _is_before_its_own(caller: Asking, place: int) -> bool:
    """Return whether the place is directly before a message that the client is about to get."""
    reader = caller.reader
    return reader.audience is not None and reader.audience.first_for(reader) == place + 1


async def _newest_upto(context: Context, principal: Principal, seq: int) -> int:
    if not principal.readable:
        return 0
    query, owner = compile_query(principal, Filters()), Owner(principal.id, "")
    return await context.log.newest_upto(seq, query, owner)
