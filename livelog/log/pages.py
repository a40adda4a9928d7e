"""Pages that reach from the window into the store: what each of the two has, put together.

While the store is asked, no more frames are held than may have room on the page: the window may
evict them meanwhile, and then no account counts them.
"""

from __future__ import annotations

from dataclasses import replace

from livelog.budget.memory import SMALL_BYTES
from livelog.budget.owner import Owner
from livelog.budget.slices import long_step
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
    first += reach(newer, len(newer), len(newer) - 1, span.max_bytes).start
    newer = matches.frames(first, span.limit)
    older = await reader.page(query, upto, span, owner, ahead=matches.total)
    start = max(first, older.offset)
    reaching = newer[start - first :]
    cut = older.truncated or start > older.offset
    nearest = len(reaching) + older.nearest
    older = replace(older, offset=start, truncated=cut)
    return await joined(reaching, older, nearest, matches.total, span.max_bytes)


def reach(newer: list[bytes], limit: int, nearest: int, max_bytes: int) -> range:
    """Return the places on a page that may have room, if it begins with the frames in `newer`.

    It may go on in the store up to `limit`, with messages of any size. The last place in `newer`
    is in it in any case, unless those before it take all the room.
    """

    def size(place: int) -> int:
        return len(newer[place]) if place < len(newer) else 0

    places = fitting(limit, nearest, size, max_bytes)
    # There may be fewer messages than the page could take: then the last one is the nearest.
    return range(min(places.start, max(0, len(newer) - 1)), places.stop)


async def joined(newer: list[bytes], older: Page, nearest: int, ahead: int, max_bytes: int) -> Page:
    """Put a page together: frames in the window, and behind them those that the store has."""
    found = [*newer, *older.payloads]
    size = sum(map(len, found))
    if size > SMALL_BYTES:
        await long_step()
    if size <= max_bytes:  # nearly every page
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
