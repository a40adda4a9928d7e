"""An echo server behind the parser, the inbox and the close handling of a WebSocket connection.

    python -m tests.autobahn.echo [PORT]

prints its URL and runs until it is terminated. It is livelog with three changes: a message is sent
back in place of being carried out as a command, compressed if that was agreed to, no events are
sent, and a turn may last long, so that a busy machine does not put an answer off until the
connection has failed. There are no limits, and messages may have 16 MiB, the most that is allowed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

import uvloop
from websockets.server import ServerProtocol

from livelog import Config, Server
from livelog.fanout.compression import Stream
from livelog.net import scheduler
from livelog.net.websocket import dispatch
from livelog.net.websocket.connection import Connection
from livelog.wire import frames

_TEXT_TO_BINARY = 0x03
"""The bits in which their opcodes differ."""

_streams: WeakKeyDictionary[ServerProtocol, Stream] = WeakKeyDictionary()
"""The stream of each connection that agreed to compression: an audience of its own."""


def _echo(connection: Any, data: bytes, *, binary: bool) -> None:
    framed = frames.text(data)
    if connection.reader.deflates:
        framed = _compressed(connection, framed)
    first = framed[0] ^ _TEXT_TO_BINARY if binary else framed[0]
    connection.transport.write(bytes((first,)) + framed[1:])


def _compressed(connection: Connection, unit: bytes) -> bytes:
    stream = _streams.get(connection.websocket)
    if stream is None:
        stream = _streams[connection.websocket] = Stream(members=1, skipped=0)
        stream.readers = 1
    stream.add(unit, private=False)
    return stream.frames.pop()


def _send_nothing(connection: Connection, event: object) -> None:
    """No `connected`, no `error`, no `disconnected`: only frames that RFC 6455 asks for."""


async def serve(port: int) -> None:
    """Echo until cancelled."""
    config = Config(port=port, store="memory", limits=False, max_frame_bytes=16 * 2**20)
    with (
        mock.patch.object(dispatch, "message", _echo),
        mock.patch.object(Connection, "send", _send_nothing),
        mock.patch.object(scheduler, "HOLD_SECONDS", 60.0),
    ):
        async with Server(config) as server:
            print(server.url, flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]) if sys.argv[1:] else 0))
