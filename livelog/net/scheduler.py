"""The scheduler: fair shares of the loop's time for connections that send many commands.

A command is executed at once while there is time left in this iteration of the loop. If there is
none, or connections wait already, the connection is queued with the input it has. The queue is
served in turns of a millisecond, a few in every iteration. So the fan-out goes on under any load,
and a connection that sends little waits for one turn of each busy connection, not for all of their
input.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from time import perf_counter
from typing import Protocol

from livelog.budget.slices import HOLD_SECONDS, TURN_SECONDS


class Busy(Protocol):
    """A connection with unprocessed input."""

    def go_on(self, until: float) -> bool:
        """Process input until this time of `perf_counter`; return whether some is left."""

    def __hash__(self) -> int: ...


class Scheduler:
    """The queue of busy connections, and the time left in this iteration of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: OrderedDict[Busy, None] = OrderedDict()
        self._until = 0.0
        """End of the time for commands in this iteration of the loop; 0 before the first one."""

    def is_free(self) -> bool:
        """Return whether a command may run at once: time is left and the queue is empty."""
        if self._queue:
            return False
        now = perf_counter()
        if not self._until:
            self._until = now + HOLD_SECONDS
            self._loop.call_soon(self._reset)
        return now < self._until

    def wait(self, busy: Busy) -> None:
        """Enqueue a connection, unless it is in the queue."""
        if not self._queue:
            self._loop.call_soon(self._serve)
        self._queue.setdefault(busy)

    def drop(self, busy: Busy) -> None:
        """Remove a connection from the queue."""
        self._queue.pop(busy, None)

    def _reset(self) -> None:
        self._until = 0.0

    def _serve(self) -> None:
        now = perf_counter()
        until = now + HOLD_SECONDS
        while self._queue and now < until:
            busy, _ = self._queue.popitem(last=False)
            if busy.go_on(now + TURN_SECONDS):
                self._queue[busy] = None
            now = perf_counter()
        if self._queue:
            self._loop.call_soon(self._serve)
