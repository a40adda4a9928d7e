"""The HTTP door: every connection starts here.

The request head is parsed by httptools. A WebSocket upgrade hands the transport over to a
`Connection`; anything else is answered from the table of routes, with keep-alive, one request
after the other. Heads and bodies are bounded in size and time. A refused request gets its answer,
then the connection closes in two steps, so that the answer is not lost to a reset.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

import httptools
from websockets.datastructures import Headers
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

from livelog.errors import (
    GOING_AWAY,
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    SERVER_ERROR,
    RefusedError,
)
from livelog.net import proxyprotocol
from livelog.net.addresses import address_of
from livelog.net.context import Context
from livelog.net.http.handlers import Request, Response, answer
from livelog.net.http.parser import admit
from livelog.net.websocket.connection import Connection
from livelog.wire import WEBSOCKET_PATH
from livelog.wire.events import encoder, error

_log = logging.getLogger(__name__)
_websocket_log = logging.getLogger("livelog.websocket")
_websocket_log.setLevel(logging.WARNING)  # it would report every connection
_MAX_HEAD_BYTES = 16 * 1024
_HEADERS = {"X-Content-Type-Options": "nosniff"}  # no answer is to be run as a script
_RETRY_SOON = {"Retry-After": "5"}


class HttpConnection(asyncio.Protocol):
    """A connection that has not become a WebSocket (yet)."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.address = ""  # the peer's; with the PROXY protocol the client's
        self.behind_proxy = False  # the peer is a trusted proxy, its requests say whose they are
        self.preface: bytearray | None = None  # the PROXY header, while it is being received
        self.transport: asyncio.Transport
        self.parser = httptools.HttpRequestParser(self)
        # The request that is being received.
        self.request = Request()
        self.in_head = True
        self.head_ended = False  # within the bytes that are being parsed
        self.head_bytes = 0
        self.refused: RefusedError | None = None
        # Requests that wait for their turn, and the task that answers them.
        self.queue: deque[Request] = deque()
        self.task: asyncio.Task[None] | None = None
        self.drained: asyncio.Future[None] | None = None  # the client is slow to read its answers
        self.stopping = False  # no further requests are taken
        self.ended = False  # the client has closed its direction
        self.closing = False

    # Callbacks of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        # A cast, because uvloop's transports are not registered as asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.address = address_of(self.transport)
        trusted = self.context.proxies.trusts(self.address)
        try:
            self.context.limiter.enter(self, "" if trusted else self.address)
        except RefusedError as refused:
            self._turn_away(refused)
            return
        if trusted:
            self._expect_proxy()
        self._set_timer(self.context.config.net.head_timeout)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self.closing:
            return
        try:
            data = data if self.preface is None else self._read_preface(data)
            if data:
                self._feed(data)
        except Exception:
            _log.exception("a request from %s could not be handled", self.address or "the socket")
            self.transport.abort()

    def eof_received(self) -> bool:
        """The client sends no more; what it has asked for is still answered."""
        self.stopping = self.ended = True
        return self.task is not None and not self.closing

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has gone."""
        self.closing = True
        self._leave()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self.drained = self.context.loop.create_future()
        self._set_timer(self.context.config.net.stall_seconds)

    def resume_writing(self) -> None:
        """The client has read its answers."""
        if self.drained is not None and not self.drained.done():
            self.drained.set_result(None)
        self.drained = None

    def on_deadline(self, now: float) -> None:
        """Something took too long: a head, a body, reading an answer, asking, or closing."""
        idle = self.task is None and self.in_head and not self.head_bytes
        if self.preface is not None or (idle and not self.request.target):
            self.context.audit.report("silent", self.address, "connected and did not ask")
        if self.closing or self.drained is not None or idle:
            self.transport.abort()
        elif self.task is None:
            part = "head" if self.in_head else "body"
            self._refuse(RefusedError(PROTOCOL_ERROR, part, "took too long to arrive", status=408))

    def shut_down(self, back_in: float = 0.0) -> None:
        """The server stops: finish what is being answered or has a head, close the rest."""
        self.stopping = True
        if self.task is None and self.in_head:
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abort()

    def give_way(self) -> bool:
        """Too many are waiting, and this one longest."""
        if self.task is None:
            self.transport.abort()
        return self.task is None

    # Callbacks of the parser. Refusals wait until it has returned.

    def on_message_begin(self) -> None:
        """A request starts."""
        self.request = Request()
        self.in_head = True
        self.head_bytes = 0
        self._set_timer(self.context.config.net.head_timeout)

    def on_url(self, url: bytes) -> None:
        """The target of the request, or a part of it."""
        self.head_bytes += len(url)
        self.request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header, or a trailer behind a body, which nobody here believes."""
        self.head_bytes += len(name) + len(value) + 4  # colon, space and line end
        if not self.in_head:
            return
        self.request.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self.in_head = False
        self.head_ended = True
        self.context.limiter.heard(self)
        self.request.method = self.parser.get_method().decode("ascii")
        self.request.version = self.parser.get_http_version()
        self.request.keep_alive = self.parser.should_keep_alive()
        self._set_timer(self.context.config.net.body_timeout)
        if self.head_bytes > _MAX_HEAD_BYTES:
            self._head_too_large()
        else:
            self._admit()
        length = self.request.header("content-length")
        if self.refused is not None:
            return
        if length.isdigit() and int(length) > self.context.config.net.max_body_bytes:
            self._body_too_large()
        elif self.request.header("expect").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if len(self.request.body) + len(body) > self.context.config.net.max_body_bytes:
            self._body_too_large()
        elif self.refused is None:
            self.request.body += body

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self.refused is None and not self.parser.should_upgrade():
            self.in_head, self.head_bytes = True, 0
            self.queue.append(self.request)

    # Requests.

    def _expect_proxy(self) -> None:
        if self.context.config.net.proxy_header == "proxy-protocol":
            self.preface = bytearray()
        else:
            self.behind_proxy = True

    def _read_preface(self, data: bytes) -> bytes:
        """Add `data` to the PROXY header; returns what follows it, once it is complete."""
        assert self.preface is not None
        self.preface += data
        try:
            found = proxyprotocol.read(self.preface)
        except ValueError as error:
            self._refuse(RefusedError(PROTOCOL_ERROR, "proxy header", str(error)))
            return b""
        if found is None:
            return b""
        rest, self.preface = bytes(self.preface[found.size :]), None
        self.address = found.address or self.address
        return rest

    def _admit(self) -> None:
        try:
            admit(self.context, self.request, self.address, behind_proxy=self.behind_proxy)
        except RefusedError as refused:
            self.refused = self.refused or refused

    def _feed(self, data: bytes) -> None:
        self.head_ended = not self.in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self.queue:
                self._upgrade(data[upgrade.args[0] :])
                return
            self.refused = self.refused or RefusedError(
                PROTOCOL_ERROR, "upgrade", "earlier requests are not answered yet"
            )
        except httptools.HttpParserError as error:
            self.refused = self.refused or RefusedError(
                PROTOCOL_ERROR, "request", f"not HTTP: {error}"
            )
        if not self.head_ended:
            # The parser reports headers when they are whole; one that never ends shows only here.
            self.head_bytes += len(data)
            if self.head_bytes > 2 * _MAX_HEAD_BYTES:
                self._head_too_large()
        if self.queue and self.task is None:
            self.transport.pause_reading()
            self.task = self.context.loop.create_task(self._answer_queue())
        elif self.refused is not None and self.task is None:
            self._refuse(self.refused)

    async def _answer_queue(self) -> None:
        while self.queue:
            request = self.queue.popleft()
            response = await self._answer(request)
            keep_alive = request.keep_alive and not self.stopping
            self._write(response, request, keep_alive=keep_alive)
            if not keep_alive:
                self._finish()
                return
            # Others get their turn, however many requests came at once.
            await (self.drained or asyncio.sleep(0))
        self.task = None
        if self.refused is not None:
            self._refuse(self.refused)
        elif not self.transport.is_closing():
            self.transport.resume_reading()
            self._set_timer(self.context.config.net.idle_timeout)

    async def _answer(self, request: Request) -> Response:
        try:
            return await answer(self.context, request)
        except RefusedError as refused:
            self.context.audit.refused(request.address, refused, quote=False)
            self.context.limiter.refused(request.address, refused, "http answer")
            return _error(refused)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            return _error(RefusedError(SERVER_ERROR, "", "the server failed, see its log"))

    def _head_too_large(self) -> None:
        issue = f"larger than {_MAX_HEAD_BYTES} bytes"
        self.refused = RefusedError(PROTOCOL_ERROR, "head", issue, status=431)

    def _body_too_large(self) -> None:
        issue = f"larger than {self.context.config.net.max_body_bytes} bytes"
        self.refused = RefusedError(MESSAGE_TOO_BIG, "body", issue)

    # The WebSocket handshake.

    def _upgrade(self, rest: bytes) -> None:
        request = self.request
        if self.refused is not None:
            self._refuse(self.refused)
        elif request.header("upgrade").lower() != "websocket":
            self._refuse(
                RefusedError(PROTOCOL_ERROR, "upgrade", "only websocket is offered", status=501)
            )
        elif request.path != WEBSOCKET_PATH:
            issue = f"no WebSocket here, it is at {WEBSOCKET_PATH}"
            self._refuse(RefusedError(PROTOCOL_ERROR, "path", issue, status=404))
        elif self.context.ending.is_set():
            issue = "the server is shutting down"
            self._refuse(RefusedError(GOING_AWAY, "", issue, headers=_RETRY_SOON))
        else:
            self._check_limit_and_shake_hands(rest)

    def _check_limit_and_shake_hands(self, rest: bytes) -> None:
        try:
            self.context.limiter.check_upgrade(self.request.address)
        except RefusedError as refused:
            self._refuse(refused)
        else:
            self._shake_hands(rest)

    def _shake_hands(self, rest: bytes) -> None:
        websocket = ServerProtocol(
            # The handshake's head is parsed already, so the protocol starts behind it.
            state=State.OPEN,
            max_size=self.context.config.net.max_frame_bytes,
            logger=_websocket_log,
        )
        response = websocket.accept(
            Handshake(
                self.request.target.decode("latin-1"),
                Headers(self.request.headers),
                self.request.method,
                f"HTTP/{self.request.version}",
            )
        )
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers["Sec-WebSocket-Version"] = "13"  # RFC 6455 section 4.2.2
            self.transport.write(response.serialize())
            self._finish()
            return
        self.transport.write(response.serialize())
        connection = Connection(self.context, self.transport, websocket, self.request.address)
        self._leave()
        self.transport.set_protocol(connection)
        request, query = self.request, self.request.query
        connection.open(query.get("message_types", ""), query.get("since", ""), request.credential)
        if rest:
            connection.data_received(rest)

    # Ends.

    def _write(self, response: Response, request: Request, *, keep_alive: bool) -> None:
        status = HTTPStatus(response.status)
        cors = self.context.origins.headers(request.header("origin")) if request.admitted else {}
        headers = {**_HEADERS, **cors, **response.headers}
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body)}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        data = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
        if not (self.closing or self.transport.is_closing()):
            self.transport.write(data if request.method == "HEAD" else data + response.body)

    def _refuse(self, refused: RefusedError) -> None:
        """Answer with an error and close: what follows on the connection cannot be trusted."""
        address = self.request.address or self.address
        self.context.audit.refused(address, refused)
        self.context.limiter.refused(address, refused)
        self._write(_error(refused), self.request, keep_alive=False)
        self._finish()

    def _turn_away(self, refused: RefusedError) -> None:
        """Refuse a connection that has asked for nothing yet, and be done with it."""
        self.context.audit.refused(self.address, refused)
        self._write(_error(refused), self.request, keep_alive=False)
        self.closing = True
        self.transport.close()

    def _finish(self) -> None:
        """Close our direction, then wait a while for the client to close its own."""
        if self.closing or self.transport.is_closing():
            return
        self.closing = True
        self._set_timer(self.context.config.net.close_timeout)
        if self.ended or not self.transport.can_write_eof():  # TLS closes in its own two steps
            self.transport.close()
        else:
            self.transport.resume_reading()
            self.transport.write_eof()

    def _set_timer(self, seconds: float) -> None:
        self.context.timers.set(self, self.context.loop.time() + seconds)

    def _leave(self) -> None:
        self.context.limiter.leave(self)
        self.context.timers.drop(self)
        del self.parser  # it refers back to us, which would keep both alive for a while


def _error(refused: RefusedError) -> Response:
    return Response(encoder.encode(error(refused)), refused.status, headers=refused.headers)
