"""Proxies between brokers and nodes, so that any way between two of them can be cut.

A way that is cut behaves as a network does: connections stay, what is sent waits, and what is
dialled is not answered. When it is whole again, all that has waited goes on.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from bench.brokers import HOST, Direct

CHUNK = 1 << 16


class Cuts(Direct):
    """All ways, each by the names of its two ends."""

    def __init__(self) -> None:
        self._ports: dict[tuple[str, str], tuple[socket.socket, int]] = {}
        self._whole: dict[frozenset[str], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def way(self, source: str, target: str, port: int) -> str:
        """Return the address that leads from `source` to `target`, which listens on `port`."""
        ends = source, target
        if ends not in self._ports:
            self._ports[ends] = socket.create_server((HOST, 0)), port
        return f"{HOST}:{self._ports[ends][0].getsockname()[1]}"

    async def open(self) -> None:
        """Let through what comes, on all ways that have been asked for."""
        for (source, target), (listening, port) in self._ports.items():
            whole = self._whole.setdefault(frozenset((source, target)), asyncio.Event())
            whole.set()
            self._start(self._accept(listening, port, whole))

    def cut(self, *names: str) -> None:
        """Cut every way between one of `names` and anybody else."""
        for ends, whole in self._whole.items():
            if len(ends & set(names)) == 1:
                whole.clear()

    def heal(self) -> None:
        for whole in self._whole.values():
            whole.set()

    async def close(self) -> None:
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listening, _ in self._ports.values():
            listening.close()

    def _start(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, port: int, whole: asyncio.Event) -> None:
        listening.setblocking(False)
        while True:
            accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
            self._start(self._carry(accepted, port, whole))

    async def _carry(self, accepted: socket.socket, port: int, whole: asyncio.Event) -> None:
        """Carry what comes on one connection, in both directions, until either end closes it."""
        near = await asyncio.open_connection(sock=accepted)
        try:
            await whole.wait()
            with suppress(OSError):
                far = await asyncio.open_connection(HOST, port)
                both = [
                    asyncio.ensure_future(_pass(one[0], other[1], whole))
                    for one, other in ((near, far), (far, near))
                ]
                try:
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for each in both:
                        each.cancel()
                    far[1].transport.abort()
        finally:
            near[1].transport.abort()


async def _pass(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, whole: asyncio.Event
) -> None:
    with suppress(OSError):
        while data := await source.read(CHUNK):
            await whole.wait()
            target.write(data)
            await target.drain()
        await whole.wait()
