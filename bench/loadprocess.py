"""The load in a process of its own, so that something else can be timed beside it.

A measurement beside the load first calls `wait_for_stream`: before, subscribers still connect. If
the load fails, so does the measurement.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from bench import load
from bench.load import Load
from bench.report import Figures
from bench.server import Server

SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit the sockets of the opener
EXTRA_SECONDS = 120  # beyond its own time: connecting, draining, the farewells of the stalled


class LoadProcess:
    """Load that runs in another process."""

    def __init__(self, work: Load, pipe: Connection) -> None:
        self._limit = work.warmup + work.seconds + EXTRA_SECONDS
        self._pipe = pipe

    def wait_for_stream(self) -> None:
        self._receive()

    def figures(self) -> Figures:
        while (received := self._receive()) is None:
            pass
        return received

    def _receive(self) -> Figures | None:
        if not self._pipe.poll(self._limit):
            raise SystemExit("the load did not end in its time")
        try:
            received: Figures | None = self._pipe.recv()
        except EOFError:
            raise SystemExit("the load failed: see above") from None
        return received


def _work(work: Load, server: Server, pipe: Connection) -> None:
    pipe.send(load.run(work, server, lambda: pipe.send(None)))


@contextmanager
def running(work: Load, server: Server) -> Iterator[LoadProcess]:
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_work, args=(work, server, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    try:
        yield LoadProcess(work, ours)
    finally:
        process.join(1)
        process.terminate()
        process.join()


def figures(work: Load, server: Server) -> Figures:
    with running(work, server) as on_its_way:
        return on_its_way.figures()
