"""The flusher: the timer that starts the rounds of hub and catch-up.

A round sends what has gathered; then the flusher rests for as long as the pacing demands. A round
is cut into slices of time, between which the loop runs other work. The flusher runs on demand: hub
and catch-up signal that they have work, and without work no timer is set.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter

from livelog.budget.slices import Pace, Slice, in_background
from livelog.fanout.batching import BatchedAudience
from livelog.fanout.catchup import CatchUp
from livelog.fanout.hub import Hub
from livelog.fanout.pacing import Pacing

_log = logging.getLogger(__name__)


_REVIEW_SECONDS = 1.0
"""Shortest time between two choices of what is compressed, at which readers can join."""


class Flusher:
    """The driver of `hub` and `catch_up` on `loop`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, hub: Hub, catch_up: CatchUp, pacing: Pacing
    ) -> None:
        self._loop = loop
        self._hub = hub
        self._catch_up = catch_up
        self._pacing = pacing
        self._pace = Pace()
        """Readers that are written to between two looks at the clock."""
        hub.on_work = catch_up.on_work = self._wake
        hub.on_unmatched = self._match
        hub.on_batch = self._close_later
        self._matching: asyncio.Task[None] | None = None
        self._next: asyncio.Handle | None = None
        self._next_start = 0.0
        self._next_review = 0.0
        self._waiting_since = 0.0
        """Time at which messages began to wait; of those that came in a round, its end. By a finer
        clock than the loop's, which counts in milliseconds."""
        self._started = 0.0
        self._spent = 0.0

    def _match(self) -> None:
        """Match messages with filters on text, until all are."""
        self._matching = in_background(self._hub.matching(), "matching messages with filters")

    def _close_later(self, audience: BatchedAudience, number: int) -> None:
        """Close a batch that has begun, once its time is over."""
        self._loop.call_later(audience.batch / 1000, self._hub.close_batch, audience, number)

    def _wake(self) -> None:
        """Schedule a round as soon as the pacing allows, unless one is scheduled or under way."""
        if self._next is None:
            self._waiting_since = perf_counter()
            if self._loop.time() < self._next_start:
                self._next = self._loop.call_at(self._next_start, self._begin)
            else:
                self._next = self._loop.call_soon(self._begin)

    def _flush(self) -> bool:
        """Write until the slice is over; return True while the round is unfinished."""
        slice = Slice()
        try:
            unfinished = True
            while unfinished and not slice.is_over():
                with self._pace:
                    unfinished = self._hub.flush(self._pace.size)
        except Exception:
            # An error of one reader must not end the fan-out: the next slice continues behind it.
            _log.exception("a connection could not be written to")
        return unfinished

    def _begin(self) -> None:
        self._started = self._loop.time()
        if self._started >= self._next_review:
            self._next_review = self._started + _REVIEW_SECONDS
            self._review()
        self._hub.begin()
        try:
            self._catch_up.step(Slice())
        except Exception:
            # The failed reader is out of the queue already, so the next round does not fail again.
            _log.exception("a connection could not catch up")
        self._spent = self._loop.time() - self._started
        self._slice()

    def _review(self) -> None:
        try:
            self._hub.review()
        except Exception:
            _log.exception("an audience could not be compressed")

    def _slice(self) -> None:
        started = self._loop.time()
        unfinished = self._flush()
        now = self._loop.time()
        self._spent += now - started
        if unfinished:
            self._next = self._loop.call_soon(self._slice)
            return
        self._next = None
        self._hub.waits.add(perf_counter() - self._waiting_since)
        self._next_start = self._pacing.next_start(self._started, self._spent, now)
        if not (self._hub.idle and self._catch_up.idle):
            self._wake()
