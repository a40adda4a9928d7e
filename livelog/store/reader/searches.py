"""Searches of the messages on disk: pages of what matches a query, and analyses of it.

What is not indexed yet is read one by one, as far as that goes. Readers that are behind and want
the next messages, oldest first, get them from `chunks`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyroaring import BitMap

from livelog.index.analysis.question import Counts
from livelog.index.analysis.question import Part as Counted
from livelog.index.analysis.tally import Tally
from livelog.index.paging import Page, fitting
from livelog.index.plan import Steps
from livelog.index.query import BEGINNING_OF_TIME, END_OF_TIME, Query
from livelog.store.reader.calls import AnalyzeCall, PageCall
from livelog.store.reader.openend import Part
from livelog.store.reader.stored import (
    FETCHED_FIRST,
    ROW_COST,
    Stored,
    as_many_as_fit,
    cost,
    pauses_behind,
)
from livelog.wire.messages import TYPES

_SCANNED_PER_PAGE = 24 << 20
"""Cost of the messages that are read one by one where there is no index yet; some 100
milliseconds."""

_INDEXED_SECONDS = 5.0
"""Estimate of the time up to which a page waits for the index, where it cannot do without: half of
the deadline. A process that takes the place of another one has this much to do again."""


class NotIndexedError(Exception):
    """Messages that a call needs are not indexed yet, and too many to be read one by one."""

    def __init__(self, share: float, seconds: float) -> None:
        super().__init__(f"the index is being made, {share:.0%} of the messages can be searched")
        self.share = round(share, 3)
        self.seconds = round(max(1.0, seconds), 1)
        """Estimate of the time after which they are indexed."""


Found = list[tuple[Part, BitMap]]


class Searches:
    """Pages and analyses of `stored`, in steps."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._rows = stored.rows

    def page(self, call: PageCall) -> Steps[Page]:
        """Return a page of matches, newest first."""
        first = self._rows.position_upto(max(call.after, self._rows.trimmed_upto)) + 1
        last = self._rows.position_upto(call.upto)
        if _has_no_conditions(call.query):  # the positions are dense, so no index is needed
            everything = Part(first, max(first, last + 1), None)
            found = [(everything, BitMap(range(last + 1 - first)))]
            return (yield from self._page_of_intact(call, found))
        try:
            found = yield from self._matches(call.query, first, last)
        except NotIndexedError as error:
            if error.seconds > _INDEXED_SECONDS or self._stored.rests_until:
                raise
            yield from self._index_upto(last)
            found = yield from self._matches(call.query, first, last)
        return (yield from self._page_of_intact(call, found))

    def _matches(self, query: Query, first: int, last: int) -> Steps[Found]:
        """Find what matches from `first` to `last`. Raises `NotIndexedError`."""
        found: Found = []
        with self._stored.segments.reading(first, last) as parts:
            # First what may be refused.
            behind = max(first, self._stored.segments.end)
            newest = yield from self._unindexed(query, behind, last)
            for part in parts:
                matches = yield from self._stored.segments.matches(part, query, first, last)
                found.append((part, matches))
                yield
        return [*found, newest]

    def _index_upto(self, last: int) -> Steps[None]:
        """Index the messages up to `last`, in the time of the call that needs it."""
        while self._stored.segments.end <= last and self._stored.segments.work():
            yield

    def analyze(self, call: AnalyzeCall) -> Steps[Counts]:
        """Count matches."""
        first = self._rows.position_upto(max(call.after, self._rows.trimmed_upto)) + 1
        last = self._rows.position_upto(call.upto)
        tally = Tally(call.question)
        with self._stored.segments.reading(first, last) as parts:
            # First what may be refused.
            behind = max(first, self._stored.segments.end)
            newest = yield from self._unindexed(call.query, behind, last)
            for part in parts:
                matches = yield from self._stored.segments.matches(part, call.query, first, last)
                yield from tally.add(self._counted(part, matches))
            yield from tally.add(self._counted(*newest))
        yield from tally.spell(self._rows.payload)
        return (yield from tally.packed())

    def _counted(self, part: Part, matches: BitMap) -> Counted:
        """Return matches as they are counted, without the damaged ones."""
        damaged = [p - part.first for p in self._rows.damaged if part.first <= p < part.end]

        def messages(positions: BitMap) -> Iterator[tuple[int, bytes]]:
            rows = self._stored.rows_at(part, positions)
            return ((row.position - part.first, row.payload) for row in rows)

        def place(position: int) -> int:
            return part.first + position

        return Counted(matches - BitMap(damaged), part.source, messages, place)

    def _unindexed(self, query: Query, first: int, last: int) -> Steps[tuple[Part, BitMap]]:
        """Find what matches among messages that are not indexed yet, by reading them one by one.

        Raises `NotIndexedError` when that would take long.
        """
        matches, room = BitMap(), _SCANNED_PER_PAGE
        if (last + 1 - first) * ROW_COST > room:
            raise self._not_indexed(last)
        for row in self._stored.rows_from(first):
            if row.position > last:
                break
            room -= cost(row)
            if room < 0:
                raise self._not_indexed(last)
            if row.matches(query):
                matches.add(row.position - first)
            if pauses_behind(row):
                yield
        return Part(first, max(first, last + 1), None), matches

    def _not_indexed(self, last: int) -> NotIndexedError:
        progress = self._stored.segments.progress
        share = progress.indexed / max(1, progress.count)
        return NotIndexedError(share, self._stored.segments.seconds_until(last))

    def _page_of_intact(self, call: PageCall, found: Found) -> Steps[Page]:
        """Make a page without the damaged messages, those included that show only now.

        A few of them show with each attempt, and thousands may lie side by side.
        """
        while True:
            self._forget_trimmed(found)
            damaged = self._rows.damaged
            for part, positions in found:
                positions -= BitMap(p - part.first for p in damaged if part.first <= p < part.end)
            page = self._page(call, found)
            if self._rows.damaged == damaged:
                return page
            yield

    def _page(self, call: PageCall, found: Found) -> Page:
        def newer(seq: int) -> int:
            return call.ahead + self._newer(found, seq)

        offset, limit = call.span.resolve(newer)
        skipped = max(0, offset - call.ahead)
        wanted = limit - max(0, min(limit, call.ahead - offset))
        positions = _newest(found, skipped, wanted)
        nearest = call.span.nearest(newer, offset) - (limit - wanted)
        kept, payloads = self._fitting(positions, nearest, call.span.max_bytes)
        offset += limit - wanted + kept.start if kept.start else 0
        total = sum(len(positions) for _, positions in found)
        return Page(payloads, total, offset, len(kept) < len(positions), nearest - kept.start)

    def _fitting(
        self, positions: list[int], nearest: int, max_bytes: int
    ) -> tuple[range, list[bytes]]:
        """Read the messages at `positions` that fit on a page; no others are read."""
        read: dict[int, bytes] = {}
        count = FETCHED_FIRST

        def size(place: int) -> int:
            nonlocal count
            if place not in read:
                first = max(0, place + 1 - count) if place < nearest else place
                some = range(first, place + 1 if place < nearest else place + count)
                read.update(self._payloads(positions, some))
                count = as_many_as_fit(list(read.values()))
            return len(read[place])

        kept = fitting(len(positions), nearest, size, max_bytes)
        return kept, [payload for place in kept if (payload := read[place])]

    def _payloads(self, positions: list[int], places: range) -> dict[int, bytes]:
        """Read the messages at some places of `positions` at once; empty where there is none."""
        wanted = {positions[place]: place for place in places if place < len(positions)}
        found = dict.fromkeys(wanted.values(), b"")
        found |= {wanted[row.position]: row.payload for row in self._rows.at(wanted)}
        return found

    def _forget_trimmed(self, found: Found) -> None:
        first = self._rows.first_position
        for part, positions in found:
            if part.first < first:
                positions.remove_range(0, first - part.first)

    def _newer(self, found: Found, seq: int) -> int:
        """Count the matches with a seq above this one."""
        position = self._rows.position_upto(seq)
        return sum(
            len(positions) - positions.rank(position - part.first)
            if position >= part.first
            else len(positions)
            for part, positions in found
        )


def _has_no_conditions(query: Query) -> bool:
    return (
        len(query.types) == len(TYPES)
        and query.own is None
        and not (query.keys or query.phrases or query.test)
        and (query.date_from, query.date_to) == (BEGINNING_OF_TIME, END_OF_TIME)
    )


def _newest(found: Found, skipped: int, wanted: int) -> list[int]:
    """Return the positions of `wanted` matches behind the `skipped` newest ones, newest first."""
    positions: list[int] = []
    for part, inside in reversed(found):
        count = len(inside) - skipped
        skipped = max(0, -count)
        chosen = inside[max(0, count - wanted + len(positions)) : max(0, count)]
        positions += [part.first + position for position in reversed(chosen)]
    return positions
