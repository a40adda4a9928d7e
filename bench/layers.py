"""Where the CPU of a delivery goes: `python -m bench floor`.

One process writes a message to each of 1000 connections, fifty times a second, and another one
reads them on the other core, as in the row of `table` that is compared with the floor. Each layer
does what the one before it does, and one thing more; what else could write is measured beside them.
All take turns, round by round, so that a busy moment of the machine falls on all alike, and the
figure of each is the median of its rounds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count, repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time_ns
from typing import Any, cast

import uvloop

from bench import report
from bench.clients import SINK
from bench.counting import draft, reader
from bench.report import Figures
from bench.server import pin_load
from livelog.fanout.hub import Hub
from livelog.wire.record import place

SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit the loop
SEQ = 10**15
STEP = 256
"""Readers between two looks at the clock, about as many as the flusher takes."""

Made = asyncio.Queue[asyncio.Transport]
Write = Callable[[bytes], object]
Doing = dict[str, Callable[[], object]]
"""What is done in a round, by its name."""

LAYERS = {
    "to /dev/null": "into the kernel and back, and Python's call of it",
    "to TCP": "TCP, the loopback, waking the reader",
    "to transports": "uvloop's transport",
    "by the hub": "the hub",
}
"""The layers, and what each adds to the one before."""


@dataclass(frozen=True)
class Delivering:
    """Settings of the measurement."""

    connections: int = 1000
    rate: float = 50.0
    rounds: int = 250


class Held(asyncio.Protocol):
    """A connection that is written to."""

    def __init__(self, made: Made) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.put_nowait(cast(asyncio.Transport, transport))


def read(addresses: Iterable[Any], connections: int) -> None:
    """Open connections to each address, and read them to their end."""
    pin_load()
    poll, sockets = select.epoll(), dict[int, socket.socket]()
    for address in addresses:
        for _ in range(connections):
            sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
            sock.connect(address)
            sock.setblocking(False)
            sockets[sock.fileno()] = sock
            poll.register(sock, select.EPOLLIN | select.EPOLLET)
    while sockets:
        for descriptor, _ in poll.poll():
            if not sockets[descriptor].recv_into(SINK, 0, socket.MSG_TRUNC):
                sockets.pop(descriptor).close()


class Fanout:
    """A hub, and readers that are written to in these ways."""

    def __init__(self, writes: Iterable[Write]) -> None:
        self._hub, self._seqs = Hub(0), count(SEQ)
        self._draft = draft(0)
        for write in writes:
            self._hub.join(reader(write, 0))
        self.frame = place(self._draft, SEQ).frame

    def round(self) -> None:
        """Publish a message, and write it to all."""
        self._hub.publish(place(self._draft, next(self._seqs)))
        self._hub.begin()
        while self._hub.flush(STEP):
            pass


def mapped(descriptors: list[int], data: bytes) -> None:
    """Write to descriptors in a loop that is not Python's."""
    deque(map(os.write, descriptors, repeat(data)), maxlen=0)


def looped(writes: Iterable[Callable[[Any], object]], data: Any) -> None:
    """Write in a loop of Python."""
    for write in writes:
        write(data)


def floor(transports: list[asyncio.Transport], data: bytes) -> None:
    """Write as the floor does."""
    for transport in transports:
        transport.write(data)


async def rounds(work: Delivering, folder: Path) -> dict[str, list[float]]:
    """Return the CPU of a delivery in each round, in microseconds."""
    loop, number, path = asyncio.get_running_loop(), work.connections, str(folder / "socket")
    made, made_there = Made(), Made()
    local = await loop.create_unix_server(lambda: Held(made_there), path, backlog=4096)
    server = await loop.create_server(lambda: Held(made), "127.0.0.1", 0, backlog=4096)
    addresses = [server.sockets[0].getsockname(), path]
    process = SPAWN.Process(target=read, args=(addresses, number), daemon=True)
    process.start()
    tcp, unix = [[await queue.get() for _ in range(number)] for queue in (made, made_there)]
    with ExitStack() as opened:
        found = await timed(work_of(tcp, unix, opened), work)
    for transport in (*tcp, *unix):
        transport.close()
    for each in (local, server):
        each.close()
    await asyncio.to_thread(process.join)
    return found


async def timed(doing: Doing, work: Delivering) -> dict[str, list[float]]:
    """Do all in turns; return the CPU of a delivery of each, in microseconds."""
    found: dict[str, list[float]] = {name: [] for name in doing}
    for _ in range(work.rounds):
        for name, do in doing.items():
            await asyncio.sleep(1 / work.rate)
            start = process_time_ns()
            do()
            found[name].append((process_time_ns() - start) / 1000 / work.connections)
    return found


def work_of(
    tcp: list[asyncio.Transport], unix: list[asyncio.Transport], opened: ExitStack
) -> Doing:
    """Return what is measured: the layers, and what else could write."""
    descriptors = [transport.get_extra_info("socket").fileno() for transport in tcp]
    sockets = [socket.socket(fileno=os.dup(number)) for number in descriptors]
    sends = [opened.enter_context(sock).send for sock in sockets]
    null = os.open(os.devnull, os.O_WRONLY)
    opened.callback(os.close, null)
    lines = [transport.writelines for transport in tcp]
    hub = Fanout(transport.write for transport in tcp)
    data = hub.frame
    layers = (partial(mapped, [null] * len(tcp)), partial(mapped, descriptors), partial(floor, tcp))
    return {
        **{name: partial(do, data) for name, do in zip(LAYERS, layers, strict=False)},
        "by the hub": hub.round,
        "by the hub, not written": Fanout([len] * len(tcp)).round,
        "to transports in the order of a set": partial(floor, [*set(tcp)], data),
        "to transports with writelines": partial(looped, lines, [data]),
        "to sockets with send": partial(looped, sends, data),
        "by the hub to sockets with send": Fanout(sends).round,
        "to transports, four messages at once": partial(floor, tcp, 4 * data),
        "to transports of a Unix socket": partial(floor, unix, data),
    }


def measured(work: Delivering) -> Figures:
    """Return the CPU of a delivery, in microseconds, by how it is written."""
    with TemporaryDirectory() as folder:
        found = uvloop.run(rounds(work, Path(folder)))
    return {name: median(each) for name, each in found.items()}


def tables(found: Figures) -> str:
    """Return what each layer adds, and what else could write, beside the transports."""
    layers, before = list[list[str]](), 0.0
    for name, what in LAYERS.items():
        more, before = found[name] - before, found[name]
        layers.append([f"written {name}", report.number(before), report.number(more), what])
    base = found["to transports"]
    others = [
        [f"written {name}", report.number(us), f"{us / base:.2f}"]
        for name, us in found.items()
        if name not in LAYERS
    ]
    return "\n\n".join(
        (
            report.table(("layer", "CPU us/delivery", "more", "which is"), layers),
            report.table(("what else", "CPU us/delivery", "/ to transports"), others),
        )
    )
