"""Waits that a server asks for, within bounds; the commands that only print know them, too."""

from __future__ import annotations

SHORTEST, LONGEST = 0.1, 3600.0
"""Bounds in seconds of a wait that a server asks for."""
PAUSE = 1.0
"""Seconds to wait after a refusal over a limit that names no time."""


def held(asked: object, otherwise: float) -> float:
    """Return the wait in seconds that a server asks for, within bounds.

    Without bounds a server in error could make its clients spin, or stay away for good. What is not
    a number counts as `otherwise`.
    """
    if isinstance(asked, bool) or not isinstance(asked, (int, float)):
        asked = otherwise
    return min(max(SHORTEST, asked), LONGEST)
