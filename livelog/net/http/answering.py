"""Answers of a connection that speaks HTTP: one request after the other, from a table of routes.

Requests wait until those before them are answered (RFC 9112 section 9.3.2), and an answer is
written as fast as the client reads it. The table is in `routes`; how requests come in stands in
`connection`, how the connection ends in `lifetime`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import NamedTuple

from livelog.budget.memory import SMALL_BYTES
from livelog.budget.slices import long_step
from livelog.errors import RefusedError, failure
from livelog.net import queries
from livelog.net.blocks import BlockedError
from livelog.net.context import Context
from livelog.net.http.lifetime import Lifetime
from livelog.net.http.message import CONTINUE, Request, Response, error_response
from livelog.net.http.routes import answer
from livelog.net.http.state import RECEIVING, State
from livelog.net.http.stream.connection import Stream

_log = logging.getLogger(__name__)

_SLICE = 64 * 1024
"""Bytes of an answer that are written before a look at whether the client reads."""
_SAFE = ("GET", "HEAD")
"""Methods of requests whose answers are not worth the work for a client that is gone."""


class Pending(NamedTuple):
    """A request that waits to be answered, or to be refused without a look at what it asks."""

    request: Request
    refused: RefusedError | None = None


class Answering(Lifetime):
    """A connection whose requests are answered."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pending: deque[Pending] = deque()
        self.task: asyncio.Task[None] | None = None
        self.answering: Request | None = None
        self.continue_due = False  # a client waits for an interim response, behind earlier answers

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

    def _ask_for_body(self) -> None:
        """Write the interim response that is due; all earlier requests are answered."""
        if self.continue_due:
            self.continue_due = False
            self.transport.write(CONTINUE)

    # Requests that wait or are given up.

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
