"""Answers of the reading process against a plain list: pages, chunks and records, after any change.

Segments are made very small, so that sealing and merging happen all the time.
"""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import rule

from livelog.index.paging import Span
from livelog.index.query import EVERYTHING, NOTHING, Query, Subscription
from livelog.store.reader.calls import RecordsCall
from tests.support.disk import Disk
from tests.support.segments import SAMPLE, DiskMachine, queries, small_segments
from tests.support.strategies import record, split, subscriptions

__all__ = ["small_segments"]  # a fixture


class StoreReaderAgainstAList(DiskMachine):
    @rule(
        query=queries,
        limit=st.integers(1, 5),
        offset=st.integers(0, 8),
        unseen=st.integers(0, 10),
    )
    def page(self, query: Query, limit: int, offset: int, unseen: int) -> None:
        upto = self.last - unseen
        hits = [one for one in reversed(self.kept) if one.seq <= upto and query.matches(one)]
        page = self.disk.page(query, upto, Span(limit, offset))
        assert page.payloads == [one.payload for one in hits[offset : offset + limit]]
        assert (page.total, page.offset) == (len(hits), offset)

    @rule(
        query=queries,
        limit=st.integers(1, 5),
        anchor=st.sampled_from(["before", "after", "around"]),
        back=st.integers(0, 30),
        ahead=st.integers(0, 6),
    )
    def page_beside(self, query: Query, limit: int, anchor: str, back: int, ahead: int) -> None:
        """As if `ahead` newer matches were in the window: only what lies behind them is given."""
        seq = max(0, self.last - back)
        hits = [one for one in reversed(self.kept) if query.matches(one)]
        span = Span(limit, anchor=anchor, seq=seq)  # type: ignore[arg-type]  # one of the three
        first, length = span.resolve(lambda seq: ahead + sum(one.seq > seq for one in hits))
        behind = [b""] * ahead + [one.payload for one in hits]
        page = self.disk.page(query, self.last, span, ahead)
        assert page.payloads == [one for one in behind[first : first + length] if one]
        assert (page.total, page.offset) == (len(hits), first)

    @rule(
        wanted=subscriptions,
        back=st.integers(-3, 40),
        ahead=st.integers(1, 60),
        max_bytes=st.sampled_from([1, 500, 10**6]),
    )
    def resume(self, wanted: Subscription, back: int, ahead: int, max_bytes: int) -> None:
        """Chunk by chunk, a reader gets all that it wants, once and in order.

        Neither its cursor nor the end need be the seq of a message: after a start seqs go on above
        those that may have been given out and lost.
        """
        cursor = since = max(self.disk.trimmed_upto, self.last - back)
        upto = cursor + ahead
        found: list[bytes] = []
        while cursor < upto:
            chunk = self.disk.chunk(cursor, upto, wanted, max_bytes)
            assert cursor < chunk.cursor <= upto
            found += split(b"".join(chunk.frames))
            cursor = chunk.cursor
        hits = [one for one in self.kept if since < one.seq <= upto and wanted.wants(one)]
        assert found == [one.frame for one in hits]

    @rule(back=st.integers(0, 20), unseen=st.integers(0, 5), limit=st.integers(1, 10))
    def recall(self, back: int, unseen: int, limit: int) -> None:
        """A record that was read is the one that was written."""
        cursor, upto = max(self.disk.trimmed_upto, self.last - back), self.last - unseen
        answer = self.disk.answer(RecordsCall(cursor, upto, limit))
        assert answer == [one for one in self.kept if cursor < one.seq <= upto][:limit]


StoreReaderAgainstAList.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, phases=[Phase.reuse, Phase.generate]
)
TestStoreReaderAgainstAList = StoreReaderAgainstAList.TestCase


def test_a_chunk_tells_what_was_given_up_since_it_was_asked_for(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "live.db")
    disk.write([record(SAMPLE, seq) for seq in range(1, 31)])
    wanted = NOTHING.with_types({"system": EVERYTHING})
    for upto, deleted in [(10, False), (20, True), (30, True)]:
        disk.trim(upto, deleted=deleted)
        chunk = disk.chunk(5, 30, wanted, 10**6)
        assert chunk.lost_upto == upto
        count = len(split(b"".join(chunk.frames)))
        while chunk.cursor < 30:
            chunk = disk.chunk(chunk.cursor, 30, wanted, 10**6)
            assert chunk.lost_upto == 0
            count += len(split(b"".join(chunk.frames)))
        assert count == 30 - upto
        assert disk.chunk(upto, 30, wanted, 10**6).lost_upto == 0
    disk.close()
