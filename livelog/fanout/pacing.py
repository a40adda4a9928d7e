"""How long the fan-out rests between two rounds.

Small writes are dear: each costs a system call here and wakes a reader there. So fan-out gets a
share of the loop's time: a round that took `spent` seconds is paid off by `spent / share` seconds,
and what arrives meanwhile rides in the next round. Batches grow by themselves, exactly when they
must. Time in which nothing was sent is credited, a little of it: a message after a pause leaves at
once, and so does one behind a round that happened to be slow. The rest is shortened when round and
rest together, the longest that a message waits for its turn, would miss the latency target.
"""

from __future__ import annotations

CREDIT = 0.025
"""Seconds of idle time that count: enough to ride out a slow round, too little for a burst of
small writes."""


class Pacing:
    """`share` of the loop's time for fan-out; `target` for a message's latency, in seconds."""

    def __init__(self, share: float, target: float) -> None:
        self._share = share
        self._target = target
        self._paid_at = 0.0  # when all rounds so far will have been paid off

    def next_start(self, started: float, spent: float, now: float) -> float:
        """When the next round may start, after one that took `spent` seconds since `started`.

        `now` is when it ended: later than `started + spent` if the loop did other work in between.
        """
        paid_at = max(self._paid_at, started - CREDIT) + spent / self._share
        latest = now + max(0.0, self._target - spent)
        self._paid_at = min(paid_at, latest)
        return self._paid_at
