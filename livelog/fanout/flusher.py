"""The flusher: the timer that starts the rounds of hub and catch-up.

A round sends what has gathered; then the flusher rests for as long as the pacing demands. It runs
on demand: hub and catch-up signal that they have work, and without work no timer is set.
"""

from __future__ import annotations

import asyncio
import logging

from livelog.fanout.catchup import CatchUp
from livelog.fanout.hub import Hub
from livelog.fanout.pacing import Pacing

_log = logging.getLogger(__name__)

WRITES_PER_SLICE = 256
"""Writes after which the loop runs other work: about 2 ms."""


class Flusher:
    """The driver of `hub` and `catch_up` on `loop`."""

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
        """Schedule a round as soon as the pacing allows, unless one is scheduled or under way."""
        if self._next is None:
            if self._loop.time() < self._next_start:
                self._next = self._loop.call_at(self._next_start, self._begin)
            else:
                self._next = self._loop.call_soon(self._begin)

    def _flush(self) -> bool:
        try:
            return self._hub.flush(WRITES_PER_SLICE)
        except Exception:
            # An error of one reader must not end the fan-out: the next slice continues behind it.
            _log.exception("a connection could not be written to")
            return True

    def _begin(self) -> None:
        self._started = self._loop.time()
        self._hub.begin()
        try:
            self._catch_up.step()
        except Exception:
            # The failed reader is out of the queue already, so the next round does not fail again.
            _log.exception("a connection could not catch up")
        self._spent = self._loop.time() - self._started
        self._slice()

    def _slice(self) -> None:
        started = self._loop.time()
        unfinished = self._flush()
        now = self._loop.time()
        self._spent += now - started
        if unfinished:
            self._next = self._loop.call_soon(self._slice)
            return
        self._next = None
        self._next_start = self._pacing.next_start(self._started, self._spent, now)
        if not (self._hub.idle and self._catch_up.idle):
            self._wake()
