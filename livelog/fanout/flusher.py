"""The flusher: one round sends what has gathered, then rests as the pacing says.

The only timer of the fan-out. It runs on demand: hub and catch-up signal that they have work, and
when neither has any the flusher sleeps.
"""

from __future__ import annotations

import asyncio
import logging

from livelog.fanout.catchup import CatchUp
from livelog.fanout.hub import Hub
from livelog.fanout.pacing import Pacing

_log = logging.getLogger(__name__)

WRITES_PER_SLICE = 256
"""About 2 ms of writing, after which the loop may do something else."""


class Flusher:
    """Drives `hub` and `catch_up` on `loop`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, hub: Hub, catch_up: CatchUp, pacing: Pacing
    ) -> None:
        self._loop = loop
        self._hub = hub
        self._catch_up = catch_up
        self._pacing = pacing
        hub.on_work = catch_up.on_work = self._wake
        self._next: asyncio.Handle | None = None
        self._next_start = 0.0
        self._started = 0.0
        self._spent = 0.0

    def _wake(self) -> None:
        """Send what there is as soon as the pace allows."""
        if self._next is None:
            if self._loop.time() < self._next_start:
                self._next = self._loop.call_at(self._next_start, self._begin)
            else:
                self._next = self._loop.call_soon(self._begin)

    def _flush(self) -> bool:
        try:
            return self._hub.flush(WRITES_PER_SLICE)
        except Exception:
            # One reader's fault must not end the fan-out; the flush goes on behind that reader.
            _log.exception("a connection could not be written to")
            return True

    def _begin(self) -> None:
        self._started = self._loop.time()
        self._hub.begin()
        try:
            self._catch_up.turn()
        except Exception:
            # The reader has left the queue, and the beat goes on.
            _log.exception("a connection could not catch up")
        self._spent = self._loop.time() - self._started
        self._slice()

    def _slice(self) -> None:
        started = self._loop.time()
        goes_on = self._flush()
        now = self._loop.time()
        self._spent += now - started
        if goes_on:
            self._next = self._loop.call_soon(self._slice)
            return
        self._next = None
        self._next_start = self._pacing.next_start(self._started, self._spent, now)
        if not (self._hub.idle and self._catch_up.idle):
            self._wake()
