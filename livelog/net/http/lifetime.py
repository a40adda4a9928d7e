"""The life of a connection that speaks HTTP: its states, the time each may last, and its end.

It ends with a refusal, with the answer behind which it is not kept alive, at a deadline, or as the
server says. It closes in two steps then, so that the last answer is not lost to a reset (RFC 9112
section 9.6). The rules of the states are the table in `state`; how requests come in stands in
`connection`, how they are answered in `answering`.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache

from livelog.errors import RefusedError
from livelog.net.context import Context
from livelog.net.http.errors import HttpRefusedError, is_malformed
from livelog.net.http.message import Request, Response, error_response
from livelog.net.http.parser import RequestParser
from livelog.net.http.routes import ROUTES
from livelog.net.http.state import RULES, State
from livelog.net.transport import half_close

_SLOWEST = 1024
"""Bytes a second that a client must read at least of what waits for it, or it is stalled."""


@lru_cache(maxsize=1)
def _date(now: int) -> str:
    """Return the time, in seconds since 1970, as RFC 9110 section 5.6.7 has it."""
    return formatdate(now, usegmt=True)


class Lifetime(asyncio.Protocol):
    """The transport of a connection, with its state and its deadline."""

    routes = ROUTES

    def __init__(self, context: Context) -> None:
        self.context = context
        self.state = State.CLOSED
        self.rule = RULES[self.state]  # kept, because an enum is slow to look up by
        # The other end.
        self.transport: asyncio.Transport
        self.address = ""  # the peer's; with the PROXY protocol the client's
        self.half_closed = False  # the client sends no more
        # What is read and written.
        self.parser = RequestParser(context.config.net.max_body_bytes)
        self.began: float | None = None  # when the work on the answer did, in the loop's time
        self.stopping = False  # the present answer is the last one
        self.drained: asyncio.Future[None] | None = None  # set while the send buffer is full
        self.slow = False  # the send buffer was full at some time
        self.unsent = 0  # bytes of answers that waited for the client when it was last looked at

    # Callbacks of the transport: whether the client reads.

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

    # States and deadlines.

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

    # Responses.

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
