"""The promises of a cluster, and where they are broken."""

from __future__ import annotations

SETTLE_SECONDS = 90
"""Seconds after a fault in which all nodes must have all there is."""

Place = tuple[int, str]
"""Seq and id of a message."""


class BrokenError(Exception):
    """A promise that was not kept."""


def demand(holds: object, issue: str) -> None:
    """Raise `BrokenError` unless a promise holds."""
    if not holds:
        raise BrokenError(issue)
