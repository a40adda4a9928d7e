"""One WebSocket connection, from its handshake to the end of its transport.

Bytes that arrive go through `websockets`' Sans-I/O protocol, which knows framing (RFC 6455) and the
close handshake: `receiving` passes its frames to the `inbox`, messages from there go to `dispatch`.
`backpressure` handles slow clients, `deadlines` silent ones, `closing` has the close handshake.
Delivery does not pass here: the hub writes shared frames straight to the transport. Whatever goes
wrong, no exception leaves a callback.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from msgspec import UNSET, UnsetType
from websockets.server import ServerProtocol

from livelog.auth import credentials
from livelog.auth.credentials import Credential
from livelog.auth.principal import Principal
from livelog.budget.owner import Owner
from livelog.errors import (
    GOING_AWAY,
    POLICY_VIOLATION,
    SERVER_ERROR,
    Reason,
    RefusedError,
    failure,
)
from livelog.fanout.audience import Reader
from livelog.index.paging import Chunk
from livelog.net import queries
from livelog.net.context import Context
from livelog.net.transport import half_close
from livelog.net.websocket import (
    backpressure,
    closing,
    deadlines,
    dispatch,
    inbox,
    receiving,
    session,
    subscribing,
    visible,
)
from livelog.net.websocket.inbox import Inbox
from livelog.net.websocket.keepalive import Keepalive
from livelog.wire import frames
from livelog.wire.commands import RequestId
from livelog.wire.events import Connected, Event, Gap, encoder, error
from livelog.wire.ids import made_at, uuid7

_log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """A WebSocket after its handshake."""

    kind = "websocket"

    __slots__ = (
        "address", "agent", "asked_by_url", "closing", "context", "id", "inbox", "keepalive",
        "outbox", "quota", "reader", "session", "task", "transport", "websocket",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        transport: asyncio.Transport,
        websocket: ServerProtocol,
        address: str,
        agent: str = "",
    ) -> None:
        # For life.
        self.context = context
        self.transport = transport
        self.websocket = websocket
        self.reader = Reader(transport.write, self)
        self.reader.deflates = bool(websocket.extensions)
        self.id = f"conn_{uuid7(int(context.clock() * 1000))}"
        self.address = address
        self.agent = agent
        # The session, and the subscription in the URL until its principal is known.
        self.session = session.begin(context)
        self.asked_by_url: tuple[str, str] | None = None
        # The limits of what it sends, and events that wait to be sent to it.
        self.quota = context.limiter.quota()
        self.outbox: list[bytes] = []
        # A command that takes time, and what waits behind it; usually None.
        self.task: asyncio.Task[None] | None = None
        self.inbox: Inbox | None = None
        # Its end.
        self.keepalive = Keepalive(context.config, context.loop.time())
        self.closing = False

    # From the HTTP door's `open` to the transport's end.

    def open(
        self,
        message_types: str = "",
        since: str = "",
        credential: Credential = credentials.NOTHING,
        batch: str = "",
    ) -> None:
        """Greet, check the credential, and subscribe if the URL asks for it."""
        self.context.limiter.upgraded(self, self.address)
        if self.context.access is not None:
            self.context.access.opened(self.address, self.id)
        # A write goes out at once, and what the kernel does not take is reported at once. Not 0,
        # at which TLS transports report every write.
        self.transport.set_write_buffer_limits(high=1, low=0)
        self.set_timer()
        self.send(
            Connected(
                connection_id=self.id,
                message="Successfully connected to live log",
                max_message_bytes=self.context.config.net.max_frame_bytes,
                batch_ms=subscribing.BATCH_MS,
            )
        )
        if batch:
            self._guarded(self._gather, batch)
        if message_types or since:
            self.asked_by_url = message_types, since
        if credential != credentials.NOTHING and not self.session.identified:
            dispatch.command(self, credential.command())
        self._guarded(dispatch.subscription_in_url, self)

    def _gather(self, batch: str) -> None:
        self.reader.batch = subscribing.batch_in_url(batch)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection: the transport has gone, one way or the other."""
        if self.leaving:
            self._guarded(closing.peer_has_waited, self)
        self.closing = True
        if self.context.online is not None:
            self.context.online.unfollow(self)
            if self.session.identified:
                self.context.online.leave(self.principal)
        self.context.catch_up.block(self.reader)
        self.context.timers.drop(self)
        self.context.scheduler.drop(self)
        self.context.limiter.leave(self)
        self.context.watches.leave(self)
        self._log_end()
        backpressure.forget(self)
        self.context.memory.bodies.drop(self)
        # Cycles keep this object until the collector comes by, which counts objects and not bytes;
        # a cancelled task holds the frames with its answer.
        self.inbox = None
        self.websocket.reader.buffer.clear()
        task, self.task = self.task, None
        if task is not None:
            task.cancel()

    def _log_end(self) -> None:
        if (access := self.context.access) is not None:
            seconds = max(0.0, self.context.clock() - made_at(self.id))
            user, code = self.principal.id, self.websocket.close_code
            access.ended(self.address, self.id, user, code, seconds)

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abort()

    def _guarded(self, act: Callable[..., object], *args: object) -> None:
        """Run what an outside event set off; an internal error ends this connection only."""
        try:
            self._publishing(act, *args)
        except RefusedError as refused:
            self.refuse(refused)
        except MemoryError as error:
            _log.exception("%s: %s failed", self.id, act.__name__)
            self.close(SERVER_ERROR, failure(error).issue)
        except Exception:
            _log.exception("%s: %s failed", self.id, act.__name__)
            self.transport.abort()

    def _publishing(self, act: Callable[..., object], *args: object) -> None:
        """Run it, and publish what it has gathered."""
        try:
            act(*args)
        finally:
            self.context.gathering.publish()

    # What arrives.

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self.keepalive.heard = self.context.loop.time()
        much = len(data) > receiving.PIECE_BYTES
        self._guarded(receiving.receive_much if much else receiving.receive, self, data)

    def eof_received(self) -> None:
        """Note that the peer will send no more: the transport closes by itself."""
        self.websocket.receive_eof()

    def go_on(self, until: float) -> bool:
        """Carry out frames that were held, in a turn that the scheduler gives."""
        self._guarded(inbox.go_on, self, until)
        return inbox.has_frames(self) and self.ready

    @property
    def ready(self) -> bool:
        """Whether another frame can be carried out now."""
        return self.task is None and not self.reader.blocked

    def answered(self) -> None:
        """Go on after a command that took time."""
        self.task = None
        self._guarded(dispatch.subscription_in_url, self)
        if self.leaving:
            self._guarded(closing.peer_closes, self)
        elif inbox.is_holding(self):
            self.context.scheduler.wait(self)

    # The session.

    @property
    def principal(self) -> Principal:
        """The principal of the session."""
        return self.session.principal

    @property
    def owner(self) -> Owner:
        """The owner of what is read from the store for its subscription."""
        return queries.owner(self.principal, self.address)

    def fail(self, refused: RefusedError) -> None:
        """Close: the client resumes where it is, once the store can be read again."""
        again = round(1000 * (refused.retry_after or 0))
        self.refuse(refused)
        self.close(refused.code, refused.issue, again=again)

    def gap(self, start: int, chunk: Chunk) -> Gap:
        """Return the event for what is lost between the seq `start` and a chunk."""
        return visible.gap(self, start, chunk)

    def identify(self, principal: Principal) -> None:
        """Begin or renew the session. Raises `RefusedError`."""
        context, is_new = self.context, not self.session.identified
        context.limiter.blocked.check_user(principal.id)  # again: a moment has passed
        self.session.identify(principal, context.clock(), context.loop.time())
        if is_new and context.online is not None:
            context.online.enter(principal, context.clock())
        self.set_timer()

    # What is sent, besides the log itself.

    def send(self, event: Event) -> None:
        """Send an event; nothing, once the connection is closing or broken."""
        self.tell(frames.text(encoder.encode(event)))

    def send_soon(self, event: Event) -> None:
        """Send an event in one write with all that is sent so in this iteration of the loop."""
        if not self.outbox:
            self.context.loop.call_soon(self._empty_outbox)
        self.outbox.append(frames.text(encoder.encode(event)))

    def tell(self, frame: bytes) -> None:
        """Send the frame of an event."""
        self.outbox.append(frame)
        self._empty_outbox()

    @property
    def blocked(self) -> bool:
        """Whether the send buffer is full."""
        return self.reader.blocked

    def refuse(
        self,
        refused: RefusedError,
        request_id: RequestId | UnsetType = UNSET,
        command: str = "",
    ) -> None:
        """Send an `error`: the command was not carried out, the connection lives."""
        audit = self.context.audit
        audit.refused(self.address, refused, quote=False, command=command, connection=self.id)
        self.send(error(refused, request_id))

    def _empty_outbox(self) -> None:
        if self.outbox and not (self.closing or self.transport.is_closing()):
            self.transport.write(b"".join(self.outbox))
        self.outbox.clear()

    def pump(self, *, only_the_end: bool = False) -> None:
        """Send what the protocol has to say by itself: pongs, close frames, the end.

        After our close frame only the end is left: pongs would pile up, since reading goes on.
        """
        for data in self.websocket.data_to_send():
            if self.transport.is_closing():
                return
            if data:
                if not only_the_end:
                    self.transport.write(data)
            else:
                half_close(self.transport)

    # Backpressure.

    def pause_writing(self) -> None:
        """Stop, because the send buffer is full."""
        backpressure.pause(self)

    def resume_writing(self) -> None:
        """Go on, because the send buffer has room again."""
        backpressure.resume(self)

    def resume_reading(self) -> None:
        """Read on, unless the send buffer is full."""
        if not (self.reader.blocked or self.transport.is_closing()):
            self.keepalive.heard = self.context.loop.time()  # it could not be heard before
            self.transport.resume_reading()

    # Deadlines.

    def on_deadline(self, now: float) -> None:
        """Look after the connection: close what is stalled or dead, ping what is silent."""
        if self.closing:
            self.transport.abort()
            return
        if self.leaving:
            self._guarded(closing.peer_has_waited, self)
            return
        self._guarded(deadlines.look_after, self, now)

    def set_timer(self) -> None:
        """Set the deadline anew, after something that moves it."""
        now = self.context.loop.time()
        blocked, held = self.reader.blocked, inbox.is_holding(self)
        deadline = self.keepalive.deadline(now, blocked=blocked, held=held)
        self.context.timers.set(self, min(deadline, self.session.due))

    # The close handshake.

    def close(
        self,
        code: int,
        why: str,
        reason: Reason | None = None,
        again: int | UnsetType = UNSET,
        *,
        for_good: bool = False,
    ) -> None:
        """Send `disconnected` and a close frame, and give the peer a while to answer.

        `again` is when to come back, in milliseconds; `for_good` asks not to come back.
        """
        closing.close(self, code, why, reason, again, for_good=for_good)

    def disconnect(self, why: str, back_in: float | None) -> None:
        """Close, because a moderator says so.

        The client is asked to come back in `back_in` seconds, or not to.
        """
        again = UNSET if back_in is None else round(back_in * 1000)
        close = partial(self.close, again=again, for_good=back_in is None)
        self._guarded(close, POLICY_VIOLATION, why)

    def shut_down(self, back_in: float = 0.0) -> None:
        """Hand over what is pending and close, because the server stops.

        The client is asked to come back in `back_in` seconds.
        """
        self._guarded(self._go_away, round(back_in * 1000))

    def _go_away(self, again: int) -> None:
        self.context.hub.release(self.reader)
        self.close(GOING_AWAY, self.context.draining.reason, "normal_closure", again)

    @property
    def leaving(self) -> bool:
        """Whether the peer has sent a close frame that is not answered yet."""
        return self.websocket.close_rcvd is not None and not self.closing

    def fail_frame(self, code: int, why: str) -> None:
        """Close after a breach of RFC 6455 that `websockets` does not see."""
        self.websocket.fail(code, why)
        closing.protocol_failed(self, why)
        self.pump()
