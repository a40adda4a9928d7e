"""Findings of the doctor, and how errors and answers are worded in them."""

from __future__ import annotations

from typing import Any, NamedTuple


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


def ms(seconds: float) -> str:
    """Write a duration in milliseconds."""
    return f"{1000 * seconds:.1f} ms"
