"""Suggestions for mistyped names: of a setting, an option or a command."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_CUTOFF = 0.7
"""Similarity from 0 to 1 below which a name is no suggestion: one or two letters of a short one."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" with the known name closest to `name`, or "" without one.

    Upper and lower case are equal, and so are hyphens and underscores. The suggestion has the
    spelling of `known`.

    >>> suggestion("prot", ["host", "port"])
    "; did you mean 'port'?"
    """
    spellings = {_folded(each): each for each in known}
    close = get_close_matches(_folded(name), spellings, n=1, cutoff=_CUTOFF)
    return f"; did you mean '{spellings[close[0]]}'?" if close else ""


def _folded(name: str) -> str:
    return name.casefold().replace("_", "-")
