"""Who somebody is to the server, and what that lets them see and do.

A principal is a value: made where somebody proves who they are, asked wherever it matters.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody with an id and scopes."""

    id: str
    """The `sub` of a token, or the owner of an API key."""
    scopes: frozenset[str] = frozenset()
    expires: float | None = None
    """Unix time from which on it is no longer believed."""
    open: bool = False
    """The server has no authentication: everything is public."""

    @property
    def reads_as(self) -> str | None:
        """Whose direct messages they may read: those from or to this id; anybody's if None."""
        return None if self.open else self.id


ANYBODY = Principal("", open=True)
"""Whoever connects to a server without authentication."""
