"""Durations for which a provider's answer counts, which no setting of a clock may prolong."""

from __future__ import annotations

import time
from typing import NamedTuple


class Since(NamedTuple):
    """A moment, by the clock that people set and by the one that nobody does."""

    unix: float
    monotonic: float

    def elapsed(self, now: float) -> float:
        """Return the seconds since then at the Unix time `now`, or more if that was set forward."""
        return max(now - self.unix, time.monotonic() - self.monotonic)


def since(now: float) -> Since:
    """Return the present moment, which is `now` in Unix time."""
    return Since(now, time.monotonic())
