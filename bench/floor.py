"""The floor: a bare uvloop server that writes prebuilt bytes to every transport and does no more.

`python -m bench.floor`. Its CPU per delivery is what livelog's is compared with, so it writes in
the same way (one shared `bytes`, `transport.write`, no write buffer) and under the same load. It
parses no JSON, keeps nothing and checks nothing: what a publisher sends is forwarded as it is, due
stamp included, under a server's frame header. It greets and acknowledges with constant bytes, only
so that the load need not know which server it talks to.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import uvloop
from websockets.speedups import apply_mask

from bench import websocket

HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n" % websocket.ACCEPT
)


def outgoing(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


CONNECTED = outgoing(b'{"action":"connected"}')
PUBLISHED = outgoing(b'{"action":"published"}')


class Connection(asyncio.Protocol):
    # Shared by all connections; written to in the order in which they came, as livelog does.
    audience: dict[asyncio.Transport, None] = {}  # noqa: RUF012

    transport: asyncio.Transport
    upgraded = False
    buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own, of the same shape
        self.transport.set_write_buffer_limits(0)

    def connection_lost(self, error: Exception | None) -> None:
        self.audience.pop(self.transport, None)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.upgraded:
            self._forward()
        elif b"\r\n\r\n" in self.buffer:
            self._upgrade()

    def _upgrade(self) -> None:
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.upgraded = True
        self.transport.write(HEAD + CONNECTED)
        if b"message_types=" in head:
            self.audience[self.transport] = None

    def _forward(self) -> None:
        while (payload := self._next()) is not None:
            shared = outgoing(payload)
            for transport in self.audience:
                transport.write(shared)
            self.transport.write(PUBLISHED)

    def _next(self) -> bytes | None:
        """Return the payload of the next whole text frame; a close frame ends the connection."""
        data = self.buffer
        if len(data) < 2:
            return None
        if data[0] & 15 == websocket.CLOSE:
            self.transport.close()
            return None
        start = 4 if data[1] & 127 == 126 else 2
        size = int.from_bytes(data[2:4], "big") if start == 4 else data[1] & 127
        end = start + 4 + size
        if len(data) < end:
            return None
        self.buffer = data[end:]
        return apply_mask(data[start + 4 : end], data[start : start + 4])


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        Connection, "127.0.0.1", 0, family=socket.AF_INET, backlog=4096
    )
    port = server.sockets[0].getsockname()[1]
    print(f"floor ready on ws://127.0.0.1:{port}/ws/live-log", flush=True)
    stopped = asyncio.Event()
    loop.add_signal_handler(15, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    uvloop.run(main())
