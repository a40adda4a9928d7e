"""Bounds of an expression, and the refusal of one that is wrong."""

from __future__ import annotations

from typing import Any

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.folding import expanding
from livelog.index.text import MAX_WORDS
from livelog.index.where.expression import Expression, leaves, words_in

FIELD = "filters.where"

MAX_LENGTH = 2000
"""Maximum length of an expression, in code points."""

MAX_EXPANDING = 64
"""Maximum number of its characters that become three or more, which takes long."""

MAX_LEAVES = 64
"""Maximum number of conditions."""

MAX_DEPTH = 16
"""Maximum number of NOTs and parentheses inside each other."""


def refused(issue: str, allowed: str | list[str], **details: Any) -> RefusedError:
    """Return the refusal of an expression, for this reason; `allowed` says what is right."""
    return RefusedError(PROTOCOL_ERROR, FIELD, issue, allowed=allowed, **details)


class Placed:
    """Adds the place to the details of a refusal in a block, unless it has one already."""

    def __init__(self, **place: Any) -> None:
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, RefusedError) and not self._place.keys() <= error.details.keys():
            raise error.explain(self._place) from None


class Counts:
    """Numbers of conditions and of words up to some place of an expression."""

    def __init__(self) -> None:
        self._leaves = 0
        self._words = 0

    def add(self, node: Expression) -> None:
        """Count what is in `node`. Raises `RefusedError` when it is too much."""
        found = list(leaves(node))
        self._leaves += len(found) or 1
        self._words += sum(map(words_in, found))
        if self._leaves > MAX_LEAVES:
            raise refused("has too many conditions", f"at most {MAX_LEAVES} conditions")
        if self._words > MAX_WORDS:
            raise refused("has too many words to look for", f"at most {MAX_WORDS} words")


def check_length(text: str, **place: Any) -> None:
    """Check the length of an expression, also in its folded form. Raises `RefusedError`."""
    if len(text) > MAX_LENGTH:
        issue = f"has {len(text)} characters"
        raise refused(issue, f"at most {MAX_LENGTH} characters", **place)
    if expanding(text) > MAX_EXPANDING:
        issue = "has too many characters that stand for three or more, such as \ufdfa"
        raise refused(issue, f"at most {MAX_EXPANDING} of them", **place)


def check_depth(depth: int) -> None:
    """Check how many NOTs and parentheses stand inside each other. Raises `RefusedError`."""
    if depth > MAX_DEPTH:
        issue = "has too many NOTs or parentheses inside each other"
        raise refused(issue, f"at most {MAX_DEPTH} inside each other")
