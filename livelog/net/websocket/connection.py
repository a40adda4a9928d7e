"""One WebSocket connection: transport, protocol and a place in the log.

Bytes that arrive go through `websockets`' Sans-I/O protocol, which knows framing and the closing
handshake; text messages become commands, commands are answered in the order they came. Delivery
does not pass here: the hub writes shared frames straight to the transport.

Back-pressure: when the transport reports a full send buffer, the connection stops reading and its
reader leaves the live set; when the buffer has drained, both go on. A connection that stays full
for too long is closed. While a command takes time, what follows it waits in `backlog` and reading
stops, so a client that sends without reading costs one read buffer and no more. So it is when a
client sends a lot at once: everybody has a turn before it goes on.

Closing: `disconnected` and the close frame go out, then the peer has a while to answer, because
closing the socket at once could reset data that is still in flight. Whatever goes wrong, no
exception leaves a callback.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter

from msgspec import UNSET, UnsetType
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from livelog.auth import credentials
from livelog.auth.credentials import Credential
from livelog.auth.principal import ANYBODY, NOBODY, Principal
from livelog.errors import (
    ABNORMAL_CLOSURE,
    AUTHENTICATION_FAILED,
    CODES,
    GOING_AWAY,
    INVALID_TOKEN,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    RATE_LIMIT_EXCEEDED,
    SERVER_ERROR,
    UNSUPPORTED_DATA,
    Reason,
    RefusedError,
)
from livelog.fanout.audience import Reader
from livelog.net.addresses import limited_as
from livelog.net.allowance import Allowance, Exhausted
from livelog.net.context import Context
from livelog.net.limiter import Scope
from livelog.net.websocket.commands import COMMANDS, subscription
from livelog.net.websocket.inbox import Inbox, Message
from livelog.net.websocket.keepalive import Due, Keepalive
from livelog.net.websocket.session import Session, authenticated
from livelog.wire import frames, validation
from livelog.wire.commands import AnyCommand, RequestId, command_decoder, request_id_of
from livelog.wire.events import (
    Authenticated,
    Connected,
    Disconnected,
    Event,
    Unsubscribed,
    encoder,
    error,
)
from livelog.wire.ids import uuid7

_log = logging.getLogger(__name__)
_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_HELD_AGAINST = (AUTHENTICATION_FAILED, INVALID_TOKEN, RATE_LIMIT_EXCEEDED)
"""Ends that lead to a block of the address when there are many; to be slow or silent does not."""


class Connection(asyncio.Protocol):
    """A WebSocket after its handshake."""

    __slots__ = (
        # What it is made of, for life.
        "context",
        "transport",
        "websocket",
        "reader",
        "id",
        "address",
        # Who it is, and what its URL asks for until that is known.
        "admission",
        "opening",
        # What it may still send, and what waits to be sent to it.
        "allowance",
        "outbox",
        # The message that is being put together from fragments.
        "assembler",
        # A command that takes time, and the frames that wait behind it or for our turn.
        "task",
        "backlog",
        # Its end.
        "keepalive",
        "closing",
    )

    def __init__(
        self,
        context: Context,
        transport: asyncio.Transport,
        websocket: ServerProtocol,
        address: str,
    ) -> None:
        self.context = context
        self.transport = transport
        self.websocket = websocket
        self.reader = Reader(transport.write)
        self.id = f"conn_{uuid7(int(context.clock() * 1000))}"
        self.address = address
        self.admission = (
            Session(ANYBODY)
            if context.auth is None
            else Session(NOBODY, context.loop.time() + context.config.auth.auth_timeout)
        )
        self.opening: tuple[str, str] | None = None
        self.allowance = Allowance(context.config) if context.config.limits.enforced else None
        self.outbox: list[bytes] = []
        self.assembler = Inbox()
        self.task: asyncio.Task[None] | None = None
        self.backlog: deque[Frame] | None = None
        self.keepalive = Keepalive(context.config, context.loop.time())
        self.closing = False

    # Its life: opened by the HTTP door, ended by `close`, by the peer or by the network.

    def open(
        self, message_types: str = "", since: str = "", credential: Credential = credentials.NOTHING
    ) -> None:
        """Greet, look at who it is, and subscribe if the URL asks for it."""
        self.context.peers.add(self)
        self.context.subscribers[limited_as(self.address)] += 1
        # A write goes out at once, and what the kernel does not take is reported at once. Not 0,
        # at which TLS transports report every write.
        self.transport.set_write_buffer_limits(high=1, low=0)
        self._set_timer()
        self.send(Connected(connection_id=self.id, message="Successfully connected to live log"))
        if message_types or since:
            self.opening = message_types, since
        if credential != credentials.NOTHING and not self.admission.admitted:
            self._carry_out(credential.command())
        self._guarded(self._carry_out_opening)

    def close(
        self, code: int, why: str, reason: Reason | None = None, again: int | UnsetType = UNSET
    ) -> None:
        """Say `disconnected`, send a close frame and give the peer a while to answer.

        `again` is when to come back, in milliseconds.
        """
        if self.closing:
            return
        if code != GOING_AWAY:
            self._report(code, why)
        if code in _HELD_AGAINST:
            self.context.limiter.failed(self.address)
        self._begin_closing(reason or CODES[code].reason, again)
        if self.websocket.state is State.OPEN:
            self.websocket.send_close(code, why)
        self._pump()

    def shut_down(self, back_in: float = 0.0) -> None:
        """The server stops: hand over what is pending, and ask to come back in so many seconds."""
        self._guarded(self._say_goodbye, round(back_in * 1000))

    def _say_goodbye(self, again: int) -> None:
        self.context.hub.release(self.reader)
        self.close(GOING_AWAY, "the server is shutting down", "normal_closure", again)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport has gone, one way or the other."""
        self.closing = True
        self.context.catch_up.block(self.reader)
        self.context.timers.drop(self)
        self.context.scheduler.drop(self)
        self.context.peers.discard(self)
        here = limited_as(self.address)
        self.context.subscribers[here] -= 1
        if not self.context.subscribers[here]:
            del self.context.subscribers[here]
        if self.task is not None:
            self.task.cancel()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abort()

    # What arrives.

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        self.keepalive.heard = self.context.loop.time()
        self._guarded(self._receive, data)

    def eof_received(self) -> None:
        """The peer will send no more: the transport closes by itself."""
        self.websocket.receive_eof()

    def _receive(self, data: bytes) -> None:
        said_goodbye = self.closing
        self.websocket.receive_data(data)
        for frame in self.websocket.events_received():
            assert isinstance(frame, Frame)  # requests are parsed at the HTTP door
            self._take(frame)
        if self.websocket.parser_exc is not None and not self.closing:
            self._protocol_failed(self.websocket.parser_exc)
        self._pump(only_the_end=said_goodbye)

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._hurry()
            if not self.closing:
                self._begin_closing("normal_closure")
        elif self.task is not None:
            self._put_back(frame)
        elif self.backlog or not self.context.scheduler.is_free():
            self._put_back(frame)
            self.context.scheduler.wait(self)
        elif not self.closing:
            self._process(frame)

    def _put_back(self, frame: Frame) -> None:
        if self.backlog is None:
            self.backlog = deque()
            self.transport.pause_reading()
        self.backlog.append(frame)

    def _hurry(self) -> None:
        """The peer has said goodbye: what it said before has no other time."""
        while self.backlog and self.task is None and not self.closing:
            self._process(self.backlog.popleft())

    def _process(self, frame: Frame) -> None:
        if not self._spend("messages", frame.data):
            self.assembler.drop()
        elif frame.opcode in _DATA:
            message = self.assembler.add(frame)
            if message is not None:
                self._on_message(message)

    def _on_message(self, message: Message) -> None:
        if message.binary:
            issue = "binary frames are not supported, send JSON as text"
            self.refuse(RefusedError(UNSUPPORTED_DATA, "", issue))
            return
        try:
            command = command_decoder.decode(message.data)
        except (ValueError, RecursionError) as error:
            refused = validation.refusal(error, AnyCommand, message.data)
            self.refuse(refused, request_id_of(message.data))
        else:
            if not COMMANDS[type(command)].counts or self._spend("commands", message.data):
                self._carry_out(command)

    def _carry_out(self, command: AnyCommand) -> None:
        request_id = command.request_id
        entry = COMMANDS[type(command)]
        try:
            if not (self.admission.admitted or entry.anybody):
                raise credentials.failed("authenticate first", field="action")
            reply = entry.handler(self, command)
        except RefusedError as refused:
            self._deny(refused, request_id)
        except Exception:
            self._fault_of_command(command)
        else:
            if isinstance(reply, Event):
                reply.request_id = request_id
                self.send(reply)
            elif reply is not None:
                self.task = self.context.loop.create_task(self._answer_later(reply, command))

    async def _answer_later(
        self, reply: Callable[[], Awaitable[Event]], command: AnyCommand
    ) -> None:
        try:
            event = await reply()
            event.request_id = command.request_id
            self.send(event)
        except RefusedError as refused:
            self._deny(refused, command.request_id)
        except Exception:
            self._fault_of_command(command)
        self.task = None
        self._guarded(self._carry_out_opening)
        if self.backlog is not None:
            self.context.scheduler.wait(self)

    def go_on(self, until: float) -> bool:
        """It is our turn to work off the backlog."""
        self._guarded(self._work_off_backlog, until)
        return bool(self.backlog) and self._may_go_on

    def _work_off_backlog(self, until: float) -> None:
        while self.backlog and self._may_go_on and perf_counter() < until:
            self._process(self.backlog.popleft())
        if self.backlog is not None and not self.backlog and self.task is None:
            self.backlog = None
            self._resume_reading()

    @property
    def _may_go_on(self) -> bool:
        return self.task is None and not self.reader.blocked

    def _carry_out_opening(self) -> None:
        if self.opening is not None and self.admission.admitted:
            asked, self.opening = self.opening, None
            self._carry_out(subscription(*asked))

    # Who it is.

    @property
    def principal(self) -> Principal:
        """Who is connected; nobody as long as it is not known."""
        return self.admission.principal

    async def introduce(self, credential: Credential) -> Authenticated:
        """Become who the credential proves. Raises `RefusedError`."""
        assert self.context.auth is not None
        principal = await self.context.auth.check(credential)
        self.admission.enter(principal, self.context.clock(), self.context.loop.time())
        self._end_forbidden()
        self._set_timer()
        return authenticated(principal)

    def _end_forbidden(self) -> None:
        """What a new token does not allow any more ends, and the client is told."""
        reader = self.reader
        forbidden = frozenset(reader.subscription.types) - self.principal.readable
        if forbidden:
            left = reader.subscription.without(forbidden)
            place = self.context.catch_up.move(reader, left)
            self.send(Unsubscribed(message_types=left.types, filters=left.filters, seq=place))

    def _deny(self, refused: RefusedError, request_id: RequestId | UnsetType = UNSET) -> None:
        """Refuse; who has not proved who they are does not get a second try."""
        self.refuse(refused, request_id)
        if not self.admission.admitted:
            self.close(refused.code, refused.issue)

    def _review(self, now: float) -> None:
        """It is due to look at who it is, and whether it still is."""
        try:
            if not self.admission.admitted and self.task is not None:
                self.admission.due = (
                    now + self.context.config.auth.auth_timeout
                )  # is being looked up
            elif now >= self.admission.due:
                warning = self.admission.review(self.context.clock(), now)
                if warning is not None:
                    self.send(warning)
            if self.context.auth is not None and not self.context.auth.stands(self.principal):
                raise credentials.invalid("the API key was revoked")
        except RefusedError as refused:
            self.refuse(refused)
            self.close(refused.code, refused.issue)

    # What is sent, besides the log itself.

    def send(self, event: Event) -> None:
        """Send an event; nothing, once the connection is closing or broken."""
        self.outbox.append(frames.text(encoder.encode(event)))
        self._empty_outbox()

    def send_soon(self, event: Event) -> None:
        """Send an event in one write with all that is sent so in this turn of the loop."""
        if not self.outbox:
            self.context.loop.call_soon(self._empty_outbox)
        self.outbox.append(frames.text(encoder.encode(event)))

    def _empty_outbox(self) -> None:
        if self.outbox and not (self.closing or self.transport.is_closing()):
            self.transport.write(b"".join(self.outbox))
        self.outbox.clear()

    def refuse(self, refused: RefusedError, request_id: RequestId | UnsetType = UNSET) -> None:
        """Send an `error`: the command was not carried out, the connection lives."""
        self.context.audit.refused(self.address, refused, quote=False)
        self.send(error(refused, request_id))

    def _pump(self, *, only_the_end: bool = False) -> None:
        """Send what the protocol has to say by itself: pongs, close frames, the end.

        After the goodbye only the end is left: pongs would pile up, since reading goes on.
        """
        for data in self.websocket.data_to_send():
            if self.transport.is_closing():
                return
            if data:
                if not only_the_end:
                    self.transport.write(data)
            elif self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()  # TLS knows no half of a connection

    def _spend(self, scope: Scope, data: bytes | bytearray | memoryview) -> bool:
        """Take one of the allowance for `data`; False when the client is told that it cannot."""
        if self.allowance is None:
            return True
        now = self.context.loop.time()
        try:
            warning = self.allowance.spend(scope, now)
            self._spend_shared(self.allowance, scope, now)
        except RefusedError as refused:
            self.refuse(refused, request_id_of(data))
            return False
        except Exhausted as exhausted:
            self.close(RATE_LIMIT_EXCEEDED, str(exhausted))
            return False
        if warning is not None:
            self.send(warning)
        return True

    def _spend_shared(self, allowance: Allowance, scope: Scope, now: float) -> None:
        """Take it from what all connections of the user, and of the address, have together."""
        try:
            self.context.limiter.spend(scope, self.address, self.principal)
        except RefusedError as refused:
            raise allowance.refusal(refused, now) from None

    # Back-pressure.

    def pause_writing(self) -> None:
        """The send buffer is full."""
        self.keepalive.blocked_since = self.context.loop.time()
        self.context.catch_up.block(self.reader)
        if not self.closing:
            self.transport.pause_reading()
            self._set_timer()

    def resume_writing(self) -> None:
        """The send buffer has drained."""
        if self.closing:
            return
        self.keepalive.heard = self.context.loop.time()  # taking data is a sign of life, too
        self.context.catch_up.unblock(self.reader)
        self._set_timer()
        if self.backlog is None:
            self._resume_reading()
        elif self.task is None:
            self.context.scheduler.wait(self)

    def _resume_reading(self) -> None:
        if not (self.reader.blocked or self.transport.is_closing()):
            self.transport.resume_reading()

    # Time.

    def on_deadline(self, now: float) -> None:
        """Look after the connection: close what is stalled or dead, ping what is silent."""
        if self.closing:
            self.transport.abort()
            return
        self._review(now)
        if not self.closing:
            _ON_DUE[self.keepalive.due(now, blocked=self.reader.blocked)](self)
        if not self.closing:
            self._set_timer()

    def _ping(self) -> None:
        self.keepalive.pinged = self.context.loop.time()
        self.websocket.send_ping(b"")
        self._pump()

    def _end_stalled(self) -> None:
        self.close(POLICY_VIOLATION, "did not read what it asked for", "connection_timeout")

    def _end_silent(self) -> None:
        self.close(POLICY_VIOLATION, "did not answer a ping", "connection_timeout")

    def _set_timer(self) -> None:
        now = self.context.loop.time()
        deadline = self.keepalive.deadline(now, blocked=self.reader.blocked)
        self.context.timers.set(self, min(deadline, self.admission.due))

    # Ends.

    def _begin_closing(self, reason: Reason, again: int | UnsetType = UNSET) -> None:
        blocked = self.reader.blocked
        self.context.catch_up.block(self.reader)
        self.send(Disconnected(reason=reason, reconnect_after_ms=again))
        self.closing = True
        self.backlog = None
        if self.task is not None:
            self.task.cancel()
        config = self.context.config
        # A client that does not read can only be told when it reads again.
        patience = config.net.stall_seconds if blocked else config.net.close_timeout
        self.context.timers.set(self, self.context.loop.time() + patience)
        if not self.transport.is_closing():
            self.transport.resume_reading()  # to see the peer's close

    def _protocol_failed(self, error: Exception) -> None:
        """The peer broke RFC 6455; `websockets` has a close frame ready."""
        sent = self.websocket.close_sent
        code = sent.code if sent is not None else ABNORMAL_CLOSURE
        self._report(code, str(error))
        self.context.limiter.failed(self.address)
        self.refuse(RefusedError(code if code in CODES else PROTOCOL_ERROR, "", str(error)))
        self._begin_closing("protocol_error")

    def _report(self, code: int, why: str) -> None:
        """Tell the log that the connection ends, and why."""
        self.context.audit.report(f"end {code}", self.address, f"is disconnected: {code} {why}")

    def _fault_of_command(self, command: AnyCommand) -> None:
        _log.exception("%s: %s failed", self.id, type(command).__name__)
        self._deny(
            RefusedError(SERVER_ERROR, "", "the server failed, see its log"), command.request_id
        )

    def _guarded(self, act: Callable[..., None], *args: object) -> None:
        """Run what an outside event set off; a fault of ours ends this connection, nothing else."""
        try:
            act(*args)
        except RefusedError as refused:
            self.refuse(refused)
        except Exception:
            _log.exception("%s: %s failed", self.id, act.__name__)
            self.transport.abort()


_ON_DUE: dict[Due, Callable[[Connection], None]] = {
    Due.NOTHING: lambda connection: None,
    Due.PING: Connection._ping,
    Due.END_STALLED: Connection._end_stalled,
    Due.END_SILENT: Connection._end_silent,
}
