"""Findings of the doctor, and how errors and answers are worded in them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

BETWEEN = "something between answers in its place"
"""The likely cause of an answer that is not livelog's."""
TOLD = (403, 429, 503)
"""Statuses for which livelog itself tells the reason, where it is livelog that answers."""


class Finding(NamedTuple):
    """The result of one check."""

    good: bool
    text: str


class Hopeless(Exception):
    """Raised where nothing further can be tried; the text is a finding."""


def plain(error: Exception) -> str:
    """Return what an exception says, for people."""
    if isinstance(error, TimeoutError):
        return "no answer"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def issue(error: dict[str, Any]) -> str:
    """Return what an `error` of the server says."""
    details = error.get("details", {})
    return str(details.get("issue") or error.get("error_message"))


def issue_in(body: bytes, otherwise: str = BETWEEN) -> str:
    """Return the issue that livelog tells in a body; what is not livelog's tells none."""
    try:
        return issue(json.loads(body))
    except (ValueError, AttributeError, RecursionError):
        return otherwise


def ms(seconds: float) -> str:
    """Write a duration in milliseconds."""
    return f"{1000 * seconds:.1f} ms"
