"""The WebSocket handshake (RFC 6455 section 4.2), and the check of who may make one.

The head has been parsed and admitted already; `websockets` checks the fields of the handshake and
computes the answer. Its protocol object then starts behind the handshake, and the transport is
handed over to the WebSocket's `Connection`.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.http11 import Request as Handshake
from websockets.http11 import Response as Answer
from websockets.protocol import State
from websockets.server import ServerProtocol

from livelog.errors import GOING_AWAY, RefusedError
from livelog.net.context import Context
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.message import Request
from livelog.net.websocket import deflate
from livelog.net.websocket.connection import Connection
from livelog.net.websocket.framing import ServerFraming
from livelog.wire import WEBSOCKET_PATH

_log = logging.getLogger("livelog.websocket")
_log.setLevel(logging.WARNING)  # it would report every connection

_RETRY_ENDING = 5.0
"""Seconds after which the next server is taken to be up."""


def check(context: Context, request: Request) -> None:
    """Raise `RefusedError` unless the request asks for a WebSocket that may be opened now."""
    if request.method == "CONNECT":
        raise HttpRefusedError(501, "method", "CONNECT is not offered here")
    if request.path != WEBSOCKET_PATH:
        raise HttpRefusedError(404, "path", f"no WebSocket here, it is at {WEBSOCKET_PATH}")
    if request.has_body:
        # What follows the head would be taken for frames, or by a proxy for a body.
        raise HttpRefusedError(400, "body", "a WebSocket handshake has none")
    if context.ending.is_set():
        raise RefusedError(GOING_AWAY, "", context.draining.reason, retry_after=_RETRY_ENDING)
    context.limiter.check_upgrade(request.address)


def accept(context: Context, request: Request) -> tuple[ServerProtocol | None, bytes]:
    """Return the protocol of the new WebSocket, None if the handshake is invalid, and the answer.

    No subprotocol is agreed to, and no extension but compression, unless that is switched off.
    """
    compresses = context.config.fanout.compression == "shared"
    websocket = ServerFraming(
        extensions=deflate.SHARED if compresses else None,
        state=State.OPEN,  # it starts behind the handshake
        max_size=context.config.net.max_frame_bytes,
        logger=_log,
    )
    answer = websocket.accept(_handshake(request))
    if answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
        return websocket, answer.serialize()
    return None, _refusal(answer)


def _handshake(request: Request) -> Handshake:
    """Return the request as `websockets` wants it, with the fields of a handshake only: that is
    a good part of the time a handshake takes."""
    fields = Headers(
        (name, value)
        for name, value in request.headers
        if name == "connection" or name.startswith("sec-websocket-")
    )
    # Of what may be a list with other offers (RFC 9110 section 7.8; RFC 6455 section 4.2.1).
    fields["upgrade"] = "websocket"
    target = request.target.decode("latin-1")
    return Handshake(target, fields, request.method, f"HTTP/{request.version}")


def _refusal(answer: Answer) -> bytes:
    answer.headers["Sec-WebSocket-Version"] = "13"  # RFC 6455 section 4.2.2
    return answer.serialize()


def hand_over(
    context: Context,
    transport: asyncio.Transport,
    websocket: ServerProtocol,
    request: Request,
    rest: bytes,
) -> None:
    """Let a WebSocket connection take over the transport; `rest` are its first bytes."""
    connection = Connection(context, transport, websocket, request.address, request.agent)
    transport.set_protocol(connection)
    query = request.query
    types, since, batch = (query.get(name, "") for name in ("message_types", "since", "batch"))
    connection.open(types, since, request.credential, batch)
    # A client has to wait for the answer before it sends frames (RFC 6455 section 4.1). One that
    # does not loses nothing.
    if rest:
        connection.data_received(rest)
