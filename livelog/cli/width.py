"""Columns that text takes on a terminal: East Asian characters and emoji take two, accents none."""

from __future__ import annotations

from itertools import accumulate
from unicodedata import category, east_asian_width

_WITHOUT_WIDTH = ("Mn", "Me", "Cf")
"""Categories of characters that are drawn onto the one before them, or not at all."""


def width(text: str) -> int:
    """Return the columns that a text without control characters takes."""
    return len(text) if text.isascii() else sum(map(_width_of, text))


def _width_of(character: str) -> int:
    if category(character) in _WITHOUT_WIDTH:
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def padded(text: str, columns: int) -> str:
    """Return a text with spaces behind it, so that it takes this many columns; a longer one as it
    is.
    """
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """Return a text that takes at most this many columns, with … where its end is missing."""
    if width(text) <= columns:
        return text
    kept = sum(upto < columns for upto in accumulate(map(_width_of, text)))
    return f"{text[:kept]}…"
