"""The request for a stream: all of it is checked before anything is answered.

Once the head of the answer is out, a refusal could only end the stream. So `prepare` compiles what
is asked for, and returns the function that begins it behind the head.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from livelog.auth.principal import Principal
from livelog.errors import GOING_AWAY, PROTOCOL_ERROR, RefusedError
from livelog.fanout.watcher import Party
from livelog.index.query import Subscription
from livelog.net import queries
from livelog.net.websocket import visible
from livelog.wire.commands import Command, Field, Filters, Seq, Subscribe, Tick, Watch
from livelog.wire.events import Event, Gap
from livelog.wire.messages import TYPES, MessageType

_ID = re.compile(r"[0-9]{1,16}")


class Follow(Command, kw_only=True, tag="stream"):
    """The parameters of a stream."""

    since: Seq | UnsetType = UNSET
    """Begin after this seq; 0 stands for everything stored."""
    watch: Field | UnsetType = UNSET
    """Send `counts` by the values of this field instead of messages."""
    interval: Tick = 1
    """Seconds between two `counts`."""
    filters: Filters = Filters()


class Follower(visible.Asking, Party, Protocol):
    """The stream that is asked for."""

    address: str

    def send(self, event: Event) -> None:
        """Write an event."""


async def prepare(follower: Follower, command: Follow, last_id: str) -> Callable[[], None]:
    """Return what begins the stream. Raises `RefusedError`."""
    principal = follower.session.principal
    _check_opens(follower)
    if not principal.open:
        follower.session.newest = await visible.newest(follower.context, principal)
        _check_opens(follower)  # others may have been opened meanwhile
    if command.watch is UNSET:
        return _messages(follower, command, last_id)
    return _counts(follower, command, command.watch)


def _check_opens(follower: Follower) -> None:
    """Raise `RefusedError` unless one more may be opened now."""
    context = follower.context
    if context.ending.is_set():
        raise RefusedError(GOING_AWAY, "", context.draining.reason, retry_after=5.0)
    context.limiter.check_upgrade(follower.address)
    # Also what the head was checked for: the credential may have taken a while.
    context.limiter.blocked.check_address(follower.address)
    context.limiter.blocked.check_user(follower.session.principal.id)


def _messages(follower: Follower, command: Follow, last_id: str) -> Callable[[], None]:
    context, principal, reader = follower.context, follower.session.principal, follower.reader
    since, gap = _place(follower, command.since, last_id)
    subscribe = Subscribe(
        message_types=_types(command.filters, principal),
        filters=replace(command.filters, type=UNSET),
        since=UNSET if since is None else since,
    )
    try:
        wanted = queries.subscription(context.log, principal, subscribe, context.clock())
    except RefusedError as refused:
        raise refused.rename(refused.field.replace("message_types", "type")) from None

    def start() -> None:
        place = context.hub.head if since is None else since
        reader.asked = reader.cursor = place
        if gap:
            follower.send(Gap(from_=0, to=visible.at_most(follower, place)))
        context.catch_up.move(reader, Subscription().with_types(wanted), since)

    return start


def _place(follower: Follower, since: int | UnsetType, last_id: str) -> tuple[int | None, bool]:
    """Return the seq to resume from, None for the head, and whether messages may be missed.

    A browser repeats the id of the last event, whatever has become of the log. One that cannot be
    of this log is no fault of the page: it goes on at the head, and is told of a gap.
    """
    if not last_id:
        return (None if since is UNSET else visible.place(follower, since)), False
    if not _ID.fullmatch(last_id):
        return None, True
    try:
        place = visible.place(follower, int(last_id))
    except RefusedError:
        return None, True
    return (place, False) if place <= follower.context.log.head else (None, True)


def _types(filters: Filters, principal: Principal) -> list[MessageType]:
    """Return the types that are asked for, all that may be read if none are."""
    if filters.type is UNSET:
        return sorted(principal.readable, key=TYPES.index)
    return [filters.type] if isinstance(filters.type, str) else filters.type


def _counts(follower: Follower, command: Follow, field: str) -> Callable[[], None]:
    context, principal = follower.context, follower.session.principal
    if command.since is not UNSET:
        raise RefusedError(PROTOCOL_ERROR, "since", "cannot be combined with watch")
    watch = Watch(
        id="stream", group_by=field, interval_seconds=command.interval, filters=command.filters
    )
    try:
        watcher = queries.watcher(follower, watch, context.clock())
        watcher.compile(principal)  # what is wrong is told with the answer
    except RefusedError as refused:
        raise refused.rename(refused.field.replace("group_by", "watch")) from None

    def start() -> None:
        head = context.log.head
        seq = visible.at_most(follower, head)
        context.watches.enter(watcher, principal, head, seq, context.clock())

    return start
