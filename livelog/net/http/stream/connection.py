"""A stream: made for a request, and opened on the transport of its connection.

It takes the transport over from the HTTP connection, as a WebSocket does, and is a reader of the
log like any other: what it writes differs, what it gets and when does not. The end of the
connection is the end of the response (RFC 9112 section 6.3), so nothing is buffered for chunks. A
heartbeat goes out when nothing else does; that a client is gone, the kernel finds out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from msgspec import UNSET, UnsetType

from livelog.auth.principal import Principal
from livelog.budget.owner import Owner
from livelog.errors import CODES, GOING_AWAY, POLICY_VIOLATION, Reason, RefusedError
from livelog.fanout.audience import Reader
from livelog.index.paging import Chunk
from livelog.net import queries
from livelog.net.context import Context
from livelog.net.http.message import Request, Response
from livelog.net.http.stream.format import EVENT_STREAM, NDJSON, as_line, as_sent_event
from livelog.net.http.stream.request import Follow, prepare
from livelog.net.transport import give_up_after
from livelog.net.websocket import session, visible
from livelog.net.websocket.session import Session
from livelog.wire import frames
from livelog.wire.events import Disconnected, Event, Gap, encoder, error
from livelog.wire.ids import uuid7

_log = logging.getLogger(__name__)

_MOST_HEARD = 16 * 2**10
"""Bytes that a client may send behind its request; they have no meaning."""


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
        self._sent_events = EVENT_STREAM in ",".join(request.all("accept")).lower()
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
        self._start = await prepare(self, command, last_id)

    @property
    def head(self) -> Response:
        """The head of the answer."""
        return Response(
            b"",
            content_type=EVENT_STREAM if self._sent_events else NDJSON,
            # nginx would buffer it otherwise, and a cache would keep it.
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            endless=True,
        )

    def open(self, transport: asyncio.Transport, head: bytes) -> None:
        """Take the transport over, and begin."""
        self.transport = transport
        self.context.limiter.upgraded(self, self.address)
        transport.set_protocol(self)
        # What the kernel does not take is reported at once: a slow client costs a place in the log.
        transport.set_write_buffer_limits(high=1, low=0)
        transport.resume_reading()  # to see when the client goes
        give_up_after(transport, self._patience)
        self.session.identify(
            self.session.principal, self.context.clock(), self.context.loop.time()
        )
        if self.context.online is not None:
            self.context.online.enter(self.session.principal, self.context.clock())
        self._put(head)
        self._guarded(self._start)
        self._set_timer()

    @property
    def _patience(self) -> float:
        """Seconds of silence after which the client is gone.

        The kernel counts the time in which a client that is alive has no room, too, so that time
        is left to it.
        """
        net = self.context.config.net
        silent = net.ping_interval + net.ping_timeout
        return max(silent, net.stall_seconds + net.close_timeout)

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

    def send(self, event: Event) -> None:
        """Write an event."""
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
            self.send(warning)
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
        self.send(error(refused))
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
        # An event, because the end of such a response says nothing of why it ended.
        self.send(Disconnected(reason=reason, reconnect_after_ms=again, reconnect=back))
        self._closing = True
        self.context.catch_up.block(self.reader)
        self.context.watches.leave(self)
        self.transport.close()
        patience = self.context.config.net.close_timeout
        self.context.timers.set(self, self.context.loop.time() + patience)
