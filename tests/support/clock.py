"""Clocks that tests set: by hand, or ahead of the machine's."""

from __future__ import annotations

import time


class Clock:
    """Tells the time that a test has set."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Ahead:
    """Tells the time of the machine, and what a test has skipped besides."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        return time.time() + self.skipped
