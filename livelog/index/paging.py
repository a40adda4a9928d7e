"""Pages and chunks: the two forms in which past messages are read.

All messages that match a query form one list, newest first, wherever they are kept. A page is a
slice of it: asked for by its offset, or by a seq that it has to begin, end or lie around, which
becomes an offset once the number of newer matches is known. A page is bounded in messages and in
bytes; if the bytes run out first, the messages nearest to the place asked for are on it, and one at
least. Readers that follow the log get chunks instead: frames in seq order, and the cursor behind
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from livelog.budget.memory import PAGE_BYTES

Anchor = Literal["before", "after", "around"]

Newer = Callable[[int], int]
"""Count the matches with a seq above this one."""


@dataclass(frozen=True, slots=True)
class Span:
    """Place and size of a page: up to `limit` matches and `max_bytes`, from `offset` on or beside
    the message of a seq.

    `before`: the newest ones that are older than `seq`. `after`: those that follow `seq` directly.
    `around`: those with `seq` in their middle.
    """

    limit: int
    offset: int = 0
    anchor: Anchor | None = None
    seq: int = 0
    max_bytes: int = PAGE_BYTES

    def resolve(self, newer: Newer) -> tuple[int, int]:
        """Return offset and limit of the page within all matches."""
        return _RESOLVE[self.anchor](self, newer)

    def nearest(self, newer: Newer, offset: int) -> int:
        """Return the place, within a page at `offset`, of the message that is kept in any case."""
        if self.anchor == "after":
            return newer(self.seq) - 1 - offset
        return newer(self.seq) - offset if self.anchor == "around" else 0


def _from_offset(span: Span, newer: Newer) -> tuple[int, int]:
    return span.offset, span.limit


def _before(span: Span, newer: Newer) -> tuple[int, int]:
    return newer(span.seq - 1), span.limit


def _after(span: Span, newer: Newer) -> tuple[int, int]:
    following = newer(span.seq)
    limit = min(span.limit, following)
    return following - limit, limit


def _around(span: Span, newer: Newer) -> tuple[int, int]:
    return max(0, newer(span.seq) - span.limit // 2), span.limit


_RESOLVE = {None: _from_offset, "before": _before, "after": _after, "around": _around}


def fitting(count: int, nearest: int, size: Callable[[int], int], max_bytes: int) -> range:
    """Return the places around `nearest` whose messages fit into `max_bytes` together.

    `size` tells the bytes of the message at a place from 0 to `count`; it is asked once for each,
    in the order of their distance, and not any more after the first that does not fit. The place
    `nearest` is in the result in any case.
    """
    if not count:
        return range(0)
    nearest = min(max(nearest, 0), count - 1)
    first, end = nearest, nearest + 1
    room = max_bytes - size(nearest)
    while first > 0 or end < count:
        to_older = first == 0 or (end < count and end - nearest <= nearest - first + 1)
        room -= size(end if to_older else first - 1)
        if room < 0:
            break
        first, end = (first, end + 1) if to_older else (first - 1, end)
    return range(first, end)


@dataclass(frozen=True, slots=True)
class Page:
    """Messages that match a query, newest first."""

    payloads: list[bytes]
    total: int
    """Number of all matches."""
    offset: int
    """Place of the first of `payloads` among all matches."""
    truncated: bool = False
    """Messages were left out, because their bytes are too many."""
    nearest: int = 0
    """Place in `payloads` of the message nearest to the one that the page was asked beside; before
    the first or behind the last if that is not among them."""
    incomplete: bool = False
    """The store could not be asked: `total` counts the matches in the window only."""


@dataclass(slots=True)
class Chunk:
    """The next messages for a reader that is behind."""

    frames: list[bytes]
    cursor: int
    """Seq up to which the reader has been served once it has them."""
    lost_upto: int = field(default=0)
    """If not 0, messages after the old cursor and up to this seq are gone."""
    act: int = field(default=0)
    """If not 0, the reader is told of the redaction at this seq, behind the messages."""
