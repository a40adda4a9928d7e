"""A connection that speaks HTTP; every connection starts as one.

The parser turns bytes into events. A WebSocket upgrade hands the transport over to the WebSocket's
`Connection`; other requests are answered from the table of routes, with keep-alive, one after the
other (RFC 9112 section 9.3.2). Requests are bounded in size by the parser, in time by the rules of
`state`. A refused request gets its answer, then the connection closes in two steps, so that the
answer is not lost to a reset (RFC 9112 section 9.6).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from email.utils import formatdate
from functools import lru_cache
from typing import NamedTuple, cast

from livelog.budget.memory import SMALL_BYTES
from livelog.budget.slices import long_step
from livelog.errors import RefusedError, failure
from livelog.net import queries
from livelog.net.blocks import BlockedError
from livelog.net.context import Context
from livelog.net.http import upgrade
from livelog.net.http.admission import admit
from livelog.net.http.errors import HttpRefusedError, is_malformed
from livelog.net.http.handlers import ROUTES, answer
from livelog.net.http.message import CONTINUE, Request, Response, error_response
from livelog.net.http.parser import (
    ContinueExpected,
    Event,
    HeadComplete,
    Malformed,
    RequestComplete,
    RequestParser,
    UpgradeRequested,
)
from livelog.net.http.state import RECEIVING, RULES, State
from livelog.net.http.stream import Stream
from livelog.net.proxyprotocol import PrefaceReader
from livelog.net.transport import address_of, half_close

_log = logging.getLogger(__name__)


_SLICE = 64 * 1024
"""Bytes of an answer that are written before a look at whether the client reads."""
_SLOWEST = 1024
"""Bytes a second that a client must read at least of what waits for it, or it is stalled."""
_SAFE = ("GET", "HEAD")
"""Methods of requests whose answers are not worth the work for a client that is gone."""


@lru_cache(maxsize=1)
def _date(now: int) -> str:
    """Return the time, in seconds since 1970, as RFC 9110 section 5.6.7 has it."""
    return formatdate(now, usegmt=True)


class Pending(NamedTuple):
    """A request that waits to be answered, or to be refused without a look at what it asks."""

    request: Request
    refused: RefusedError | None = None


class HttpConnection(asyncio.Protocol):
    """A connection that has not become a WebSocket (yet)."""

    routes = ROUTES

    def __init__(self, context: Context) -> None:
        self.context = context
        self.state = State.CLOSED
        self.rule = RULES[self.state]  # kept, because an enum is slow to look up by
        # The other end.
        self.transport: asyncio.Transport
        self.address = ""  # the peer's; with the PROXY protocol the client's
        self.behind_proxy = False  # the peer is a trusted proxy, its requests name their clients
        self.half_closed = False  # the client sends no more
        # What is being received.
        self.preface: PrefaceReader | None = None
        self.parser = RequestParser(context.config.net.max_body_bytes)
        # What is being answered.
        self.pending: deque[Pending] = deque()
        self.task: asyncio.Task[None] | None = None
        self.answering: Request | None = None
        self.drained: asyncio.Future[None] | None = None  # set while the send buffer is full
        self.stopping = False  # the present answer is the last one
        self.slow = False  # the send buffer was full at some time
        self.unsent = 0  # bytes of answers that waited for the client when it was last looked at
        self.began: float | None = None  # when the work on the answer did, in the loop's time
        self.continue_due = False  # a client waits for an interim response, behind earlier answers

    # Callbacks of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the client, and wait for its request."""
        # A cast, because uvloop's transports are not registered as asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.address = address_of(self.transport)
        trusted = self.context.proxies.trusts(self.address)
        try:
            self.context.limiter.enter(self, "" if trusted else self.address)
        except RefusedError as refused:
            self._turn_away(refused)
            return
        self._enter(self._expect_proxy() if trusted else State.WAITING)

    def _expect_proxy(self) -> State:
        if self.context.config.net.proxy_header == "proxy-protocol":
            self.preface = PrefaceReader()
            return State.PREFACE
        self.behind_proxy = True
        return State.WAITING

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if not self.rule.reads:
            return
        if self.rule.busy:
            self.transport.pause_reading()
        try:
            data = data if self.preface is None else self._read_preface(self.preface, data)
            if data:
                self._receive(data)
        except MemoryError as error:
            _log.exception("a request from %s could not be taken", self.address or "the socket")
            self.parser.close()
            self._refuse(self.parser.request, failure(error))
        except Exception:
            _log.exception("a request from %s could not be handled", self.address or "the socket")
            self.transport.abort()

    def eof_received(self) -> bool:
        """Answer what the client has asked for, although it sends no more."""
        self.stopping = self.half_closed = True
        if self.state is State.ANSWERING and self._may_be_given_up:
            self._enter(State.LEFT)
        return self.rule.busy

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._leave()
        self.pending.clear()
        # A cancelled task holds the answer, in frames that refer to this object: as a cycle they
        # would be kept until the garbage collector comes by.
        task, self.task = self.task, None
        if task is not None:
            task.cancel()

    def pause_writing(self) -> None:
        """Note that the client does not read its answers."""
        self.slow = True
        self.drained = self.context.loop.create_future()

    def resume_writing(self) -> None:
        """Go on, the client has read its answers."""
        if self.drained is not None and not self.drained.done():
            self.drained.set_result(None)
        self.drained = None
        if self.state is State.LINGERING and self.unsent:
            self.unsent = 0
            self._set_timer()
            self._end_writing()

    # Calls of the server.

    def on_deadline(self, now: float) -> None:
        """End a state that has lasted too long."""
        rule = self.rule
        if rule.flushes and self._is_read():
            self._set_timer()
            return
        if rule.silent:
            self.context.audit.report("silent", self.address, "connected and did not ask")
        if rule.late:
            refused = HttpRefusedError(408, rule.late, "took too long to arrive")
            self._refuse(self.parser.request, refused)
        else:
            self.transport.abort()

    def shut_down(self, back_in: float = 0.0) -> None:
        """Finish a request that is being answered or has a head, because the server stops."""
        self.stopping = True
        if self.rule.unasked:
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abort()

    def give_way(self) -> bool:
        """Be evicted for another connection, unless there is something to answer."""
        if self.rule.busy:
            return False
        self.transport.abort()
        return True

    def turn_out(self) -> None:
        """Refuse what is under way, if its client has been blocked by a moderator meanwhile.

        What may have changed something is carried through: to publish ends by itself then.
        """
        request = self.parser.request if self.state is State.BODY else self.answering
        if request is None:
            return
        try:
            self.context.limiter.blocked.check(request.principal.id, request.address)
        except BlockedError as refused:
            if self.state is State.STALLED:  # a part of its answer is written
                self.transport.abort()
            elif self.state is State.BODY or self._may_be_given_up:
                self._give_up()
                self._refuse(request, refused)

    @property
    def _may_be_given_up(self) -> bool:
        """Whether nothing is lost when the request that is being answered is not."""
        return self.answering is not None and self.answering.method in _SAFE

    def _give_up(self) -> None:
        """Answer nothing of what was asked for."""
        self.parser.close()
        self.pending.clear()
        task, self.task, self.answering = self.task, None, None
        if task is not None:
            task.cancel()

    # Receiving.

    def _read_preface(self, preface: PrefaceReader, data: bytes) -> bytes:
        """Add `data` to the PROXY header; return what follows it, once it is complete."""
        try:
            found = preface.feed(data)
        except ValueError as error:
            self._refuse(Request(), HttpRefusedError(400, "proxy header", str(error)))
            return b""
        if found is None:
            return b""
        self.preface = None
        self.address = found.address or self.address
        self._enter(State.WAITING)
        return found.rest

    def _receive(self, data: bytes) -> None:
        for event in self.parser.feed(data):
            if not self._take(event):
                self.parser.close()
                break
        self._count_bodies()
        if self.rule.reads and not self.rule.busy:  # neither upgraded nor closing
            self._proceed()

    def _count_bodies(self) -> None:
        """Count the bodies that have arrived; refuse the last one if there is no room for it."""
        current, memory = self.parser.request, self.context.memory
        size = len(current.body) if self.parser.stage == "body" else 0
        for each in self.pending:
            size += len(each.request.body)
        if not (size or memory.bodies.size_of(self)):
            return
        owner = queries.owner(current.principal, current.address or self.address)
        try:
            memory.hold_body(self, size, owner)
        except RefusedError as refused:
            self.parser.close()
            if self.pending and self.pending[-1].request is current:
                self.pending.pop()
            self.pending.append(Pending(current, refused))

    def _take(self, event: Event) -> bool:
        """Act on an event; False when nothing that follows it matters."""
        match event:
            case HeadComplete(request):
                return self._admit(request)
            case ContinueExpected():
                self.continue_due = True
            case RequestComplete(request):
                self.continue_due = False
                self.pending.append(Pending(request))
            case UpgradeRequested(request, rest):
                self._upgrade(request, rest)
            case Malformed(request, refused):
                self.pending.append(Pending(request, refused))
        return True

    def _admit(self, request: Request) -> bool:
        self.context.limiter.heard(self)
        try:
            admit(self.context, request, self.address, behind_proxy=self.behind_proxy)
        except RefusedError as refused:
            self.pending.append(Pending(request, refused))
        return request.admitted

    def _proceed(self) -> None:
        """Answer what is complete, or wait for the rest."""
        if not self.pending:
            if self.parser.stage in RECEIVING:
                self._enter(RECEIVING[self.parser.stage])
                self._ask_for_body()
        elif (refused := self.pending[0].refused) is not None:
            self._refuse(self.pending[0].request, refused)
        else:
            self._enter(State.ANSWERING)
            self.answering = self.pending[0].request
            # It is read on, to notice when the client is gone, until it sends something.
            self.task = self.context.loop.create_task(self._answer_pending())

    def _ask_for_body(self) -> None:
        """Write the interim response that is due; all earlier requests are answered."""
        if self.continue_due:
            self.continue_due = False
            self.transport.write(CONTINUE)

    def _upgrade(self, request: Request, rest: bytes) -> None:
        if self.pending or self.rule.busy:
            refused = HttpRefusedError(400, "upgrade", "earlier requests are not answered yet")
            self.pending.append(Pending(request, refused))
            return
        try:
            upgrade.check(self.context, request)
        except RefusedError as refused:
            self.pending.append(Pending(request, refused))
            return
        websocket, response = upgrade.accept(self.context, request)
        self.transport.write(response)
        if websocket is None:
            self._linger()
        else:
            self._leave()
            upgrade.hand_over(self.context, self.transport, websocket, request, rest)

    # Answering.

    async def _answer_pending(self) -> None:
        while self.pending:
            request, refused = self.pending.popleft()
            if refused is not None:
                self._refuse(request, refused)
                return
            self.answering = request
            self._count_bodies()  # from now on the handler does
            self.began = self.context.loop.time()
            try:
                response = await self._answer(request)
                if isinstance(response, Stream):
                    self._hand_over(response, request)
                    return
                if len(response.body) > SMALL_BYTES:
                    await long_step()
                keep_alive = request.keep_alive and not self.stopping
                data = self._serialized(response, request, keep_alive=keep_alive)
                del response  # or its body would be held a second time until the client has read
                await self._write_in_slices(data)
                if not keep_alive:
                    self._linger()
                    return
                await self._breathe()
            finally:
                self.answering = None
                self.context.memory.answers.drop(request)
                self.context.memory.bodies.drop(request)
        self.task = None
        self._wait_for_next()

    def _hand_over(self, stream: Stream, request: Request) -> None:
        """Let a stream take over the transport."""
        head = self._serialized(stream.head, request, keep_alive=False)
        self.task = None
        self._leave()
        stream.open(self.transport, head)
        if self.half_closed:
            self.transport.close()  # as a stream does when its client sends no more

    async def _answer(self, request: Request) -> Response | Stream:
        try:
            return await answer(self.context, request, self.routes)
        except RefusedError as refused:
            where = {"path": self._path_of(request), "method": request.method}
            self.context.audit.refused(request.address, refused, quote=False, **where)
            self.context.limiter.refused(request.address, refused)
            return error_response(refused)
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path)
            return error_response(failure(error))

    async def _breathe(self) -> None:
        """Let the loop run other work between requests, and wait until the client reads."""
        if self.drained is None:
            await asyncio.sleep(0)
        else:
            self._enter(State.STALLED)
            await self.drained
            self._enter(State.ANSWERING)

    def _wait_for_next(self) -> None:
        if self.stopping:  # since the last answer
            self._linger()
        elif not self.transport.is_closing():
            self._enter(RECEIVING.get(self.parser.stage, State.IDLE))
            self._ask_for_body()
            self.transport.resume_reading()

    async def _write_in_slices(self, data: bytes) -> None:
        """Write as the client reads: what TLS has taken at once cannot be seen waiting."""
        for start in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            self.transport.write(memoryview(data)[start : start + _SLICE])
            if self.drained is not None:
                await self._breathe()

    def _serialized(self, response: Response, request: Request, *, keep_alive: bool) -> bytes:
        cors = self.context.origins.headers(request.header("origin")) if request.admitted else {}
        with_body = request.method != "HEAD"
        date = _date(int(time.time()))
        self._log_access(response, request)
        return response.serialize(date, cors, keep_alive=keep_alive, body=with_body)

    def _log_access(self, response: Response, request: Request) -> None:
        if (access := self.context.access) is None or not request.method:
            return
        began, self.began = self.began, None
        seconds = None if began is None else self.context.loop.time() - began
        address, path = request.address or self.address, self._path_of(request)
        size, user = len(response.body), request.principal.id
        access.answered(address, request.method, path, response.status, size, user, seconds)

    def _path_of(self, request: Request) -> str:
        """Return the path for a log: that of a route, for any other may hold a secret."""
        if not request.target:
            return ""
        return request.path if request.path in self.routes else "*"

    # Ends.

    def _refuse(self, request: Request, refused: RefusedError) -> None:
        """Answer with an error and close: what follows on the connection cannot be trusted."""
        address = request.address or self.address
        self.context.audit.refused(address, refused, path=self._path_of(request))
        if is_malformed(refused):
            self.context.limiter.failed(address)
        else:
            self.context.limiter.refused(address, refused)
        self.transport.write(self._serialized(error_response(refused), request, keep_alive=False))
        self._linger()

    def _turn_away(self, refused: RefusedError) -> None:
        """Refuse a connection that has asked for nothing yet, and be done with it."""
        self.context.audit.refused(self.address, refused)
        answer = self._serialized(error_response(refused), Request(), keep_alive=False)
        self.transport.write(answer)
        self.transport.close()

    def _linger(self) -> None:
        """Close our direction, then wait a while for the client to close its own."""
        if self.transport.is_closing():
            return
        self._enter(State.LINGERING)
        if self.transport.get_write_buffer_size():
            # A transport that is closed tells no more whether the client reads. So wait until the
            # buffer is empty: `low` is when it is told, and `high` makes sure that it is.
            self.transport.set_write_buffer_limits(high=1, low=0)
        else:
            self._end_writing()

    def _end_writing(self) -> None:
        if self.half_closed:
            self.transport.close()
        else:
            self.transport.resume_reading()
            half_close(self.transport)

    def _leave(self) -> None:
        self._enter(State.CLOSED)
        self.context.memory.bodies.drop(self)
        self.context.limiter.leave(self)
        self.parser.close()

    def _enter(self, state: State) -> None:
        if state is self.state:
            return
        self.state, self.rule = state, RULES[state]
        self.unsent = self.transport.get_write_buffer_size() if self.rule.flushes else 0
        self._set_timer()

    def _set_timer(self) -> None:
        net = self.context.config.net
        timeout = self.rule.timeout
        if timeout is None:
            self.context.timers.drop(self)
        else:
            seconds = net.stall_seconds if self.unsent or self._hides_the_rest else timeout(net)
            self.context.timers.set(self, self.context.loop.time() + seconds)

    @property
    def _hides_the_rest(self) -> bool:
        """Whether the end of an answer that is read slowly may wait below TLS, unseen."""
        return self.slow and self.rule.flushes and not self.transport.can_write_eof()

    def _is_read(self) -> bool:
        """Return whether the client, since the last look, has read as fast as it must."""
        before, self.unsent = self.unsent, self.transport.get_write_buffer_size()
        least = _SLOWEST * self.context.config.net.stall_seconds
        return before > 0 and before - self.unsent >= min(before, least)
