"""Answers of the reading process against a plain list: pages, chunks and records, after any change.

Segments are made very small, so that sealing and merging happen all the time.
"""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import rule

from livelog.auth.principal import ANYBODY
from livelog.index.paging import Page, Span
from livelog.index.plan import Steps, finish
from livelog.index.query import EVERYTHING, NOTHING, Query, Subscription, compile_query
from livelog.store.reader import searches
from livelog.store.reader.answers import Answer
from livelog.store.reader.calls import PageCall, RecordsCall
from livelog.store.reader.rows import Row, Rows
from livelog.store.reader.searches import NotIndexedError
from livelog.wire.commands import Filters
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


def test_a_search_does_not_wait_for_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads what is not indexed, a bounded amount at a step, and indexes nothing itself.

    Somebody has published words that take a while to be indexed.
    """
    disk = Disk(tmp_path / "live.db")
    disk.write([record(SAMPLE, seq) for seq in range(1, 101)])
    disk.settle()
    indexed = disk.reader.progress.indexed
    words = [" ".join(f"{seq}x{place}" for place in range(5000)) for seq in range(101, 161)]
    flood = [SAMPLE | {"data": {"note": f"red dragon {some}"}} for some in words]
    disk.write([record(one, 101 + place) for place, one in enumerate(flood)])
    matches, read = Row.matches, 0

    def counted(row: Row, query: Query) -> bool:
        nonlocal read
        read += 1
        return matches(row, query)

    monkeypatch.setattr(Row, "matches", counted)
    for text, total in [("dragon", 160), ("130x77", 1), ("nowhere", 0)]:
        query = compile_query(ANYBODY, Filters(text=text))
        steps = disk.reader.answer(PageCall(query, 0, 160, Span(10), 0))
        taken = read = 0
        with disk.reader.snapshot():
            while (page := ended(steps)) is None:
                taken += 1
                assert read <= taken  # each of them is long
        assert isinstance(page, Page)
        assert page.total == total
        assert read == 60
    assert disk.reader.progress.indexed == indexed
    disk.close()


def ended(steps: Steps[Answer]) -> Answer | None:
    """Take a step; return the answer after the last one."""
    try:
        next(steps)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    return None


@pytest.mark.parametrize("room", [100 * 2048, 101 * 2500])
def test_a_search_that_would_read_too_much_is_refused_early(tmp_path: Path, room: int) -> None:
    """At once if the messages are too many, and in the middle if they are too long."""
    disk = Disk(tmp_path / "live.db")
    note = {"note": "red dragon " * 100}
    disk.write([record(SAMPLE | {"data": note}, seq) for seq in range(1, 102)])
    steps = disk.reader.answer(PageCall(DRAGONS, 0, 101, Span(10), 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searches, "_SCANNED_PER_PAGE", room)
        patch.setattr(searches, "_INDEXED_SECONDS", 0)
        with disk.reader.snapshot(), pytest.raises(NotIndexedError) as told:
            finish(steps)
    assert told.value.share == 0
    assert told.value.seconds >= 1
    assert disk.page(DRAGONS, 101, Span(10)).total == 101
    disk.close()


def test_a_search_that_would_read_too_much_has_a_little_indexed_first(tmp_path: Path) -> None:
    """As after the reading process was replaced: what is not sealed has to be indexed again."""
    disk = Disk(tmp_path / "live.db")
    disk.write([record(SAMPLE, seq) for seq in range(1, 102)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searches, "_SCANNED_PER_PAGE", 0)
        assert disk.page(DRAGONS, 101, Span(10)).total == 101
    assert disk.reader.progress.indexed == 101
    disk.close()


DRAGONS = compile_query(ANYBODY, Filters(text="dragon"))


def test_a_search_holds_few_large_messages_that_are_not_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path / "live.db")
    large = {**SAMPLE, "data": {"note": "x" * 60_000}}
    disk.write([record(large, seq) for seq in range(1, 40)])
    held: list[int] = []
    after = Rows.after

    def counted(rows: Rows, position: int, limit: int) -> list[Row]:
        found = after(rows, position, limit)
        held.append(sum(len(row.payload) for row in found))
        return found

    monkeypatch.setattr(Rows, "after", counted)
    query = Query(types=frozenset(["system"]), reads_as=None, keys=("event=nothing",))
    assert disk.page(query, 40, Span(5)).total == 0
    assert len(held) > 8
    assert max(held) < 300_000
    disk.close()
