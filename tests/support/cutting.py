"""A TCP proxy that cuts, mutes and refuses: the network as a client meets it on a bad day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self


class Proxy:
    """Passes bytes between its own port and `target`, until it is told otherwise."""

    def __init__(self, target: int) -> None:
        self.target = target
        """The port that new connections are passed on to."""
        self.accepted = 0
        self._muted = 0  # how many connections, from the first on, are mute
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.port = 0

    @property
    def url(self) -> str:
        """Where a client finds the target through the proxy."""
        return f"ws://127.0.0.1:{self.port}/ws/live-log"

    async def listen(self) -> Self:
        """Accept connections (again), on the same port as before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def refuse(self) -> None:
        """Accept no further connections."""
        self._server.close()

    def mute(self) -> None:
        """From now on throw away what the target sends over the connections there are."""
        self._muted = self.accepted

    def cut(self) -> None:
        """Reset all connections, wherever they are in a message."""
        for writer in self._open:
            writer.transport.abort()

    async def close(self) -> None:
        """Be gone."""
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = self.accepted
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        loop = asyncio.get_running_loop()
        for source, sink, number in [(reader, far_writer, 0), (far_reader, writer, connection)]:
            task = loop.create_task(self._pass_on(source, sink, number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int
    ) -> None:
        """`number` is that of the connection towards the client, and 0 away from it."""
        with suppress(OSError, RuntimeError):  # the latter is uvloop's, for a transport just cut
            while data := await source.read(4096):
                if not 0 < number <= self._muted:
                    sink.write(data)
                    await sink.drain()
        sink.close()
        self._open.discard(sink)


@asynccontextmanager
async def proxying(target: int) -> AsyncIterator[Proxy]:
    """A proxy in front of a port."""
    proxy = await Proxy(target).listen()
    try:
        yield proxy
    finally:
        await proxy.close()
