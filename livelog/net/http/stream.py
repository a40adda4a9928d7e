"""`GET /api/stream`: live messages over plain HTTP, where WebSockets are blocked, and for scripts.

The stream takes the transport over from the HTTP connection, as a WebSocket does, and is a reader
of the log like any other: what it writes differs, what it gets and when does not. It is written in
one of two forms: Server-Sent Events, which browsers read with `EventSource`, or NDJSON. The end of
the connection is the end of the response (RFC 9112 section 6.3), so nothing is buffered for chunks.
A heartbeat goes out when nothing else does; that a client is gone, the kernel finds out.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable
from contextlib import suppress

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from livelog.auth.principal import Principal
from livelog.budget.owner import Owner
from livelog.errors import CODES, GOING_AWAY, POLICY_VIOLATION, PROTOCOL_ERROR, Reason, RefusedError
from livelog.fanout.audience import Reader
from livelog.index.paging import Chunk
from livelog.index.query import Subscription
from livelog.net import queries
from livelog.net.context import Context
from livelog.net.http.message import Request, Response
from livelog.net.websocket import session, visible
from livelog.net.websocket.session import Session
from livelog.wire import frames
from livelog.wire.commands import Command, Field, Filters, Seq, Subscribe, Tick, Watch
from livelog.wire.events import Disconnected, Event, Gap, encoder, error
from livelog.wire.ids import uuid7
from livelog.wire.messages import TYPES, MessageType

_log = logging.getLogger(__name__)

_EVENT_STREAM = "text/event-stream"
_EVENT = b'{"action":"'
"""The first bytes of an event; those of a message are others."""
_SEQ = b',"seq":'
_NAMES = {b"error": b"problem"}
"""Events that have another name here: by `error` a browser tells of a connection that failed."""
_MOST_HEARD = 16 * 2**10
"""Bytes that a client may send behind its request; they have no meaning."""
_ID = re.compile(r"[0-9]{1,16}")
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)


class Follow(Command, kw_only=True, tag="stream"):
    """The parameters of a stream."""

    since: Seq | UnsetType = UNSET
    """Begin after this seq; 0 stands for everything stored."""
    watch: Field | UnsetType = UNSET
    """Send `counts` by the values of this field instead of messages."""
    interval: Tick = 1
    """Seconds between two `counts`."""
    filters: Filters = Filters()


# The two forms: each turns a payload, a message or an event, into bytes.


def as_line(payload: bytes) -> bytes:
    """Write a line of NDJSON."""
    return payload + b"\n"


def as_sent_event(payload: bytes) -> bytes:
    """Write a Server-Sent Event; messages and gaps have an id, with which a browser resumes."""
    if not payload.startswith(_EVENT):
        seq = payload[payload.rindex(_SEQ) + len(_SEQ) : -1]
        return b"id: %b\ndata: %b\n\n" % (seq, payload)
    name = payload[len(_EVENT) : payload.index(b'"', len(_EVENT))]
    more = _MORE[name](payload) if name in _MORE else b""
    return b"event: %b\n%bdata: %b\n\n" % (_NAMES.get(name, name), more, payload)


_gap_decoder = msgspec.json.Decoder(Gap)
_end_decoder = msgspec.json.Decoder(Disconnected)


def _id_of_gap(payload: bytes) -> bytes:
    return b"id: %d\n" % _gap_decoder.decode(payload).to


def _retry(payload: bytes) -> bytes:
    again = _end_decoder.decode(payload).reconnect_after_ms
    return b"" if again is UNSET else b"retry: %d\n" % again


_MORE = {b"gap": _id_of_gap, b"disconnected": _retry}
"""Event → further fields of it."""


class Stream(asyncio.Protocol):
    """One stream: made for a request, and opened on the transport of its connection."""

    kind = "stream"
    quota = None
    """It sends no commands."""

    def __init__(self, context: Context, request: Request) -> None:
        self.context = context
        self.id = f"conn_{uuid7(int(context.clock() * 1000))}"
        self.address = request.address
        self.agent = request.agent
        self.session = Session(request.principal)
        self.transport: asyncio.Transport
        self.reader = Reader(self._write, self)
        self._sent_events = _EVENT_STREAM in ",".join(request.all("accept")).lower()
        self._form: Callable[[bytes], bytes] = as_sent_event if self._sent_events else as_line
        self._start: Callable[[], None]
        """Begins to read the log, once the head of the answer is written."""
        self._wrote_at = 0.0
        self._blocked_since = 0.0
        self._heard = 0
        """Bytes that the client has sent behind its request."""
        self._closing = False

    # The request.

    async def prepare(self, command: Follow, last_id: str) -> None:
        """Check what is asked for, before anything is answered. Raises `RefusedError`."""
        context, principal = self.context, self.session.principal
        self._check_opens()
        if not principal.open:
            self.session.newest = await visible.newest(context, principal)
            self._check_opens()  # others may have been opened meanwhile
        if command.watch is UNSET:
            self._prepare_messages(command, last_id)
        else:
            self._prepare_counts(command, command.watch)

    def _check_opens(self) -> None:
        """Raise `RefusedError` unless one more may be opened now."""
        if self.context.ending.is_set():
            raise RefusedError(GOING_AWAY, "", self.context.draining.reason, retry_after=5.0)
        self.context.limiter.check_upgrade(self.address)
        # Also what the head was checked for: the credential may have taken a while.
        self.context.limiter.blocked.check_address(self.address)
        self.context.limiter.blocked.check_user(self.session.principal.id)

    def _prepare_messages(self, command: Follow, last_id: str) -> None:
        context, principal = self.context, self.session.principal
        since, gap = self._place(command.since, last_id)
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
            self.reader.asked = self.reader.cursor = place
            if gap:
                self._tell(Gap(from_=0, to=visible.at_most(self, place)))
            context.catch_up.move(self.reader, Subscription().with_types(wanted), since)

        self._start = start

    def _place(self, since: int | UnsetType, last_id: str) -> tuple[int | None, bool]:
        """Return the seq to resume from, None for the head, and whether messages may be missed.

        A browser repeats the id of the last event, whatever has become of the log. One that cannot
        be of this log is no fault of the page: it goes on at the head, and is told of a gap.
        """
        if not last_id:
            return (None if since is UNSET else visible.place(self, since)), False
        if not _ID.fullmatch(last_id):
            return None, True
        try:
            place = visible.place(self, int(last_id))
        except RefusedError:
            return None, True
        return (place, False) if place <= self.context.log.head else (None, True)

    def _prepare_counts(self, command: Follow, field: str) -> None:
        context = self.context
        if command.since is not UNSET:
            raise RefusedError(PROTOCOL_ERROR, "since", "cannot be combined with watch")
        watch = Watch(
            id="stream", group_by=field, interval_seconds=command.interval, filters=command.filters
        )
        try:
            watcher = queries.watcher(self, watch, context.clock())
            watcher.compile(self.session.principal)  # what is wrong is told with the answer
        except RefusedError as refused:
            raise refused.rename(refused.field.replace("group_by", "watch")) from None

        def start() -> None:
            head = context.log.head
            seq = visible.at_most(self, head)
            context.watches.enter(watcher, self.session.principal, head, seq, context.clock())

        self._start = start

    @property
    def head(self) -> Response:
        """The head of the answer."""
        return Response(
            b"",
            content_type=_EVENT_STREAM if self._sent_events else "application/x-ndjson",
            # nginx would buffer it otherwise, and a cache would keep it.
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            endless=True,
        )

    def open(self, transport: asyncio.Transport, head: bytes) -> None:
        """Take the transport over, and begin."""
        self.transport = transport
        self.context.limiter.upgraded(self, self.address)
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=1, low=0)
        transport.resume_reading()  # to see when the client goes
        self._notice_a_client_that_is_gone()
        self.session.identify(
            self.session.principal, self.context.clock(), self.context.loop.time()
        )
        if self.context.online is not None:
            self.context.online.enter(self.session.principal, self.context.clock())
        self._put(head)
        self._guarded(self._start)
        self._set_timer()

    def _notice_a_client_that_is_gone(self) -> None:
        """Have the kernel end the connection when nothing is acknowledged for a while (tcp(7)).

        It counts the time in which a client that is alive has no room, too, so that time is left.
        """
        sock, net = self.transport.get_extra_info("socket"), self.context.config.net
        if _TCP_USER_TIMEOUT is not None and sock is not None and sock.family != socket.AF_UNIX:
            silent, stalled = net.ping_interval + net.ping_timeout, net.stall_seconds
            patience = max(silent, stalled + net.close_timeout)
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, round(1000 * patience))

    def _guarded(self, act: Callable[..., None], *args: object) -> None:
        """Run what an outside event set off; an internal error ends this stream only."""
        try:
            act(*args)
        except Exception:
            _log.exception("a stream from %s failed", self.address or "the socket")
            self.transport.abort()

    # What is written.

    def _write(self, data: bytes) -> None:
        """Write whole frames of messages and events."""
        self._put(b"".join(map(self._form, frames.payloads(data))))

    def _tell(self, event: Event) -> None:
        self._put(self._form(encoder.encode(event)))

    def _put(self, data: bytes) -> None:
        if not (self._closing or self.transport.is_closing()):
            self._wrote_at = self.context.loop.time()
            self.transport.write(data)

    # Callbacks of the log.

    @property
    def principal(self) -> Principal:
        """The principal of its request."""
        return self.session.principal

    @property
    def owner(self) -> Owner:
        """The owner of what is read from the store for it."""
        return queries.owner(self.session.principal, self.address)

    @property
    def blocked(self) -> bool:
        """Whether its send buffer is full."""
        return self.reader.blocked

    def tell(self, frame: bytes) -> None:
        """Write an event."""
        self._write(frame)

    def gap(self, start: int, chunk: Chunk) -> Gap:
        """Return the event for what is lost between the seq `start` and a chunk."""
        return visible.gap(self, start, chunk)

    def fail(self, refused: RefusedError) -> None:
        """End the stream: the client resumes where it is, once the store can be read again."""
        self._refuse(refused)

    # Callbacks of the transport.

    def data_received(self, data: bytes) -> None:
        """Pass over what a client sends behind its request, up to a bound."""
        self._heard += len(data)
        if self._heard > _MOST_HEARD:
            self.transport.abort()

    def eof_received(self) -> bool:
        """Take the end of what the client sends for its end: nothing else tells of that."""
        return False

    def pause_writing(self) -> None:
        """Stop: the send buffer is full."""
        self._blocked_since = self.context.loop.time()
        self.context.memory.deliveries.hold(self, self.transport.get_write_buffer_size())
        self.context.catch_up.block(self.reader)
        self._set_timer()

    def resume_writing(self) -> None:
        """Go on: the send buffer has room again."""
        self.context.memory.deliveries.drop(self)
        if not self._closing:
            self.context.catch_up.unblock(self.reader)
            self.context.watches.resume(self)
            self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the stream."""
        self._closing = True
        if self.context.online is not None:
            self.context.online.leave(self.session.principal)
        self.context.catch_up.block(self.reader)
        self.context.watches.leave(self)
        self.context.timers.drop(self)
        self.context.limiter.leave(self)
        self.context.memory.deliveries.drop(self)

    # Time.

    def on_deadline(self, now: float) -> None:
        """Look after the stream: its session, a client that does not read, the heartbeat."""
        self._guarded(self._look_after, now)

    def _look_after(self, now: float) -> None:
        net = self.context.config.net
        if self._closing:
            self.transport.abort()
            return
        try:
            warning = session.review(self.session, self.context, now, busy=False)
        except RefusedError as refused:
            self._refuse(refused)
            return
        if warning is not None:
            self._tell(warning)
        if self.blocked and now >= self._blocked_since + net.stall_seconds:
            self._end(POLICY_VIOLATION, "did not read what it asked for", "connection_timeout")
            return
        if not self.blocked and now >= self._wrote_at + net.ping_interval:
            self._put(b":\n\n" if self._sent_events else b"\n")
        self._set_timer()

    def _set_timer(self) -> None:
        net = self.context.config.net
        stalled = self._blocked_since + net.stall_seconds
        due = stalled if self.blocked else self._wrote_at + net.ping_interval
        self.context.timers.set(self, min(due, self.session.due))

    # Its end.

    def shut_down(self, back_in: float = 0.0) -> None:
        """Hand over what is pending and end, because the server stops."""
        self._guarded(self._go_away, back_in)

    def disconnect(self, why: str, back_in: float | None) -> None:
        """End, because a moderator says so.

        The client is asked to come back in `back_in` seconds, or not to.
        """
        self._guarded(self._expel, why, back_in)

    def _expel(self, why: str, back_in: float | None) -> None:
        again = UNSET if back_in is None else round(back_in * 1000)
        reason = CODES[POLICY_VIOLATION].reason
        self._end(POLICY_VIOLATION, why, reason, again, for_good=back_in is None)

    def _go_away(self, back_in: float) -> None:
        self.context.hub.release(self.reader)
        self._end(GOING_AWAY, "", "normal_closure", round(back_in * 1000))

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abort()

    def _refuse(self, refused: RefusedError) -> None:
        again = UNSET if refused.retry_after is None else round(1000 * refused.retry_after)
        self.context.audit.refused(self.address, refused, quote=False, path="/api/stream")
        self._tell(error(refused))
        self._end(refused.code, refused.issue, CODES[refused.code].reason, again)

    def _end(
        self,
        code: int,
        why: str,
        reason: Reason,
        again: int | UnsetType = UNSET,
        *,
        for_good: bool = False,
    ) -> None:
        """Say that it ends, and close when that is read, or after a while."""
        if self._closing:
            return
        if code != GOING_AWAY:
            self.context.audit.closed(self.address, code, why)
        self.context.limiter.closed(self.address, code)
        back = False if for_good else UNSET
        self._tell(Disconnected(reason=reason, reconnect_after_ms=again, reconnect=back))
        self._closing = True
        self.context.catch_up.block(self.reader)
        self.context.watches.leave(self)
        self.transport.close()
        patience = self.context.config.net.close_timeout
        self.context.timers.set(self, self.context.loop.time() + patience)


def _types(filters: Filters, principal: Principal) -> list[MessageType]:
    """Return the types that are asked for, all that may be read if none are."""
    if filters.type is UNSET:
        return sorted(principal.readable, key=TYPES.index)
    return [filters.type] if isinstance(filters.type, str) else filters.type
