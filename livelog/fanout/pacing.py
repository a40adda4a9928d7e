"""Pacing: the rest between two rounds of the fan-out.

Small writes are expensive: each costs a system call here and a wake-up at the client. So fan-out
gets a share of the loop's time: after a round that took `spent` seconds the next one starts
`spent / share` seconds after its start, and messages that arrive meanwhile are sent together.
Batches therefore grow with the load. Idle time is credited, up to `CREDIT`: a message after a pause
is sent at once, and so is one behind a single slow round. The rest is shortened when round and rest
together, which is the longest that a message waits, would exceed the latency target.
"""

from __future__ import annotations

CREDIT = 0.025
"""Maximum seconds of credited idle time: enough for one slow round, too few for a burst of small
writes."""


class Pacing:
    """The schedule of rounds: `share` of the loop's time, `target` latency in seconds."""

    def __init__(self, share: float, target: float) -> None:
        self._share = share
        self._target = target
        self._paid_at = 0.0  # time at which the rounds so far keep to the share

    def next_start(self, started: float, spent: float, now: float) -> float:
        """Return when the next round may start, after one that took `spent` seconds.

        The round began at `started` and ended at `now`, which is later than `started + spent` if
        the loop did other work between its slices.
        """
        paid_at = max(self._paid_at, started - CREDIT) + spent / self._share
        latest = now + max(0.0, self._target - spent)
        self._paid_at = min(paid_at, latest)
        return self._paid_at
