"""Turns for those who send much: nobody is held up by how much others have to say.

What arrives is carried out at once as long as there is time in this turn of the loop. When there is
not, or others wait already, a connection waits in line, with what it has sent; the line is served
in turns of a millisecond each, a few in every turn of the loop. So the fan-out goes on whatever is
asked of the server, and who sends little waits for a turn of each of those who send much, not for
all that they have sent.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from time import perf_counter
from typing import Protocol

from livelog.budget import HOLD_SECONDS, TURN_SECONDS


class Busy(Protocol):
    """A connection that has more to do."""

    def go_on(self, until: float) -> bool:
        """Do some of it, up to this time of `perf_counter`; is there more?"""

    def __hash__(self) -> int: ...


class Scheduler:
    """The line, and the time that is left."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._line: OrderedDict[Busy, None] = OrderedDict()
        self._until = 0.0
        """When the time is over in this turn of the loop; 0 while nobody has used any."""

    def is_free(self) -> bool:
        """Whether there is time now, and nobody waits for it."""
        if self._line:
            return False
        now = perf_counter()
        if not self._until:
            self._until = now + HOLD_SECONDS
            self._loop.call_soon(self._begin_anew)
        return now < self._until

    def wait(self, busy: Busy) -> None:
        """Get in line."""
        if not self._line:
            self._loop.call_soon(self._serve)
        self._line.setdefault(busy)

    def drop(self, busy: Busy) -> None:
        """It does not wait any more."""
        self._line.pop(busy, None)

    def _begin_anew(self) -> None:
        self._until = 0.0

    def _serve(self) -> None:
        now = perf_counter()
        until = now + HOLD_SECONDS
        while self._line and now < until:
            busy, _ = self._line.popitem(last=False)
            if busy.go_on(now + TURN_SECONDS):
                self._line[busy] = None
            now = perf_counter()
        if self._line:
            self._loop.call_soon(self._serve)
