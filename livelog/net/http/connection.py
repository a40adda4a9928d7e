"""A connection that speaks HTTP; every connection starts as one.

The parser turns bytes into events. A WebSocket upgrade hands the transport over to the WebSocket's
`Connection`; other requests are admitted, and wait to be answered, which `answering` does. Requests
are bounded in size by the parser, in time by the rules of `state`, which `lifetime` keeps to.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from livelog.errors import RefusedError, failure
from livelog.net.context import Context
from livelog.net.http import upgrade
from livelog.net.http.admission import admit
from livelog.net.http.answering import Answering, Pending
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.message import Request
from livelog.net.http.parser import (
    ContinueExpected,
    Event,
    HeadComplete,
    Malformed,
    RequestComplete,
    UpgradeRequested,
)
from livelog.net.http.state import RECEIVING, State
from livelog.net.proxyprotocol import PrefaceReader
from livelog.net.transport import address_of

_log = logging.getLogger(__name__)


class HttpConnection(Answering):
    """A connection that has not become a WebSocket (yet)."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.behind_proxy = False  # the peer is a trusted proxy, its requests name their clients
        self.preface: PrefaceReader | None = None

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

    def _upgrade(self, request: Request, rest: bytes) -> None:
        if self.pending or self.rule.busy:
            # Behind the 101 comes no HTTP, and so no answer to these (RFC 9110 section 7.8).
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
            self._leave()  # from now on it is counted as a WebSocket
            upgrade.hand_over(self.context, self.transport, websocket, request, rest)
