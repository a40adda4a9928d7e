"""Pages that reach from the window into the store: what each of the two has, put together."""

from __future__ import annotations

from livelog.budget.owner import Owner
from livelog.index.paging import Page, Span, fitting
from livelog.index.query import Query
from livelog.log.window import Matches
from livelog.store.base import StoreReader
from livelog.wire import frames


async def read_around_the_past(
    reader: StoreReader, query: Query, span: Span, matches: Matches, upto: int, owner: Owner
) -> Page:
    """Return a page that lies around a seq in the store, and may reach into the window."""
    first = max(0, matches.total - span.limit)
    newer = matches.frames(first, span.limit)
    older = await reader.page(query, upto, span, owner, ahead=matches.total)
    reaching = newer[older.offset - first :] if older.offset < matches.total else []
    nearest = len(reaching) + older.nearest
    return joined(reaching, older, nearest, matches.total, span.max_bytes)


def reach(newer: list[bytes], limit: int, nearest: int, max_bytes: int) -> bool:
    """Tell whether messages that follow the frames in `newer` may have room on their page."""

    def size(place: int) -> int:
        return len(newer[place]) if place < len(newer) else 0

    return len(newer) < limit and fitting(limit, nearest, size, max_bytes).stop > len(newer)


def joined(newer: list[bytes], older: Page, nearest: int, ahead: int, max_bytes: int) -> Page:
    """Put a page together: frames in the window, and behind them those that the store has."""
    found = [*newer, *older.payloads]
    if sum(map(len, found)) <= max_bytes:  # nearly every page
        kept = range(len(found))
    else:
        kept = fitting(len(found), nearest, lambda place: len(found[place]), max_bytes)
    fresh = frames.unframed(newer[kept.start : kept.stop])
    stored = found[max(kept.start, len(newer)) : kept.stop]
    return Page(
        fresh + stored,
        ahead + older.total,
        older.offset + kept.start,
        older.truncated or len(kept) < len(found),
        nearest - kept.start,
        older.incomplete,
    )
