"""How long the fan-out rests between two flushes.

Small writes are dear: each costs a system call here and wakes a reader there. A flush that took
`spent` seconds is followed by a rest, so that fan-out takes at most `share` of the loop's time;
what arrives meanwhile rides in the next flush. So batches grow by themselves, exactly when they
must, and a message after a pause leaves at once. The rest is shortened when it would endanger the
latency target: in the worst case a message waits for a whole flush, the rest and its own flush.
"""

from __future__ import annotations

from typing import NamedTuple


class Pacing(NamedTuple):
    """`share` of the loop's time for fan-out, and the `target` for a message's latency, seconds."""

    share: float
    target: float

    def rest(self, spent: float) -> float:
        """Seconds to rest after a flush that took `spent` seconds."""
        by_share = spent * (1 - self.share) / self.share
        return max(0.0, min(by_share, self.target - 2 * spent))
