"""The archive against a plain list: what it finds on disk, by page and by chunk, whatever happens.

Segments are made much smaller than they are in earnest, so that sealing and merging happen all the
time.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livelog.auth.principal import ANYBODY
from livelog.fanout.audience import Reader
from livelog.fanout.hub import Hub
from livelog.index.paging import Span
from livelog.index.query import EVERYTHING, NOTHING, Query, Subscription, compile_query
from livelog.log.window import Window
from livelog.store.database.connection import Connection, Rows
from livelog.store.reader import segment, segments
from livelog.store.reader.calls import RecordsCall
from livelog.wire.commands import Filters
from livelog.wire.record import Record
from tests.support.disk import KEY, Disk
from tests.support.strategies import Json, filters, messages, record, split, subscriptions
from tests.support.strategies import queries as asked
from tests.test_query import complete, plainly
from tests.test_window import finish

queries = st.just(EVERYTHING) | asked


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SEALED_AT", 4)
        patch.setattr(segments, "_INDEXED_PER_STEP", 3)
        patch.setattr(segments, "_LARGEST", 128)
        patch.setattr(segment, "_JOINED_FROM", 2)
        yield


each_key = pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])

SAMPLE = {"type": "system", "event": "error", "data": {"note": "red dragon"}}


class ArchiveAgainstAList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.disk = Disk(self.folder / "live.db")
        self.kept: list[Record] = []
        self.last = 0

    def teardown(self) -> None:
        self.disk.close()
        shutil.rmtree(self.folder)

    @rule(batch=st.lists(messages, min_size=1, max_size=5), step=st.integers(1, 3))
    def append(self, batch: list[Json], step: int) -> None:
        fresh = []
        for message in batch:
            self.last += step
            fresh.append(record(complete(message) | {"id": f"id_{self.last}"}, self.last))
        self.disk.write(fresh)
        self.kept += fresh

    @rule(steps=st.integers(1, 20))
    def work(self, steps: int) -> None:
        for _ in range(steps):
            self.disk.archive.work()

    @rule(losing_the_index=st.booleans())
    def start_again(self, losing_the_index: bool) -> None:
        self.disk.archive.close()
        if losing_the_index:
            segments.remove(f"{self.disk.path}-index")
        self.disk.reopen()

    @rule(kept=st.integers(0, 30), deleted=st.booleans())
    def trim(self, kept: int, deleted: bool) -> None:
        upto = max(self.disk.trimmed_upto, self.last - kept)
        self.disk.trim(upto, deleted=deleted)
        self.kept = [one for one in self.kept if one.seq > upto]

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

    @rule(wanted=subscriptions, back=st.integers(0, 40), max_bytes=st.sampled_from([1, 500, 10**6]))
    def resume(self, wanted: Subscription, back: int, max_bytes: int) -> None:
        """Chunk by chunk, a reader gets all that it wants, once and in order."""
        cursor = since = max(self.disk.trimmed_upto, self.last - back)
        found: list[bytes] = []
        while cursor < self.last:
            chunk = self.disk.chunk(cursor, self.last, wanted, max_bytes)
            assert cursor < chunk.cursor <= self.last
            found += split(b"".join(chunk.frames))
            cursor = chunk.cursor
        assert found == [one.frame for one in self.kept if one.seq > since and wanted.wants(one)]

    @rule(back=st.integers(0, 20), unseen=st.integers(0, 5), limit=st.integers(1, 10))
    def recall(self, back: int, unseen: int, limit: int) -> None:
        """A record that was read is the one that was written."""
        cursor, upto = max(self.disk.trimmed_upto, self.last - back), self.last - unseen
        answer = self.disk.archive.answer(RecordsCall(cursor, upto, limit))
        assert answer == [one for one in self.kept if cursor < one.seq <= upto][:limit]

    @invariant()
    def nothing_is_indexed_twice(self) -> None:
        parts = self.disk.archive._catalog.parts(0, 1 << 40)
        for one, next_one in pairwise(parts):
            assert one.end <= next_one.first


ArchiveAgainstAList.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, phases=[Phase.reuse, Phase.generate]
)
TestArchiveAgainstAList = ArchiveAgainstAList.TestCase


def live(records: list[Record], query: Query) -> list[bytes]:
    """The frames that a subscriber with this query gets."""
    hub, received = Hub(), list[bytes]()
    reader = Reader(received.append)
    reader.subscription = NOTHING.with_types(dict.fromkeys(sorted(query.types), query))
    hub.join(reader)
    for one in records:
        hub.publish(one)
    hub.begin()
    hub.flush(100)
    return split(b"".join(received))


def in_memory(records: list[Record], query: Query) -> list[bytes]:
    window = Window(100, 1 << 20)
    for one in records:
        window.append(one)
    return finish(window.find(query)).payloads(0, 100)


def on_disk(records: list[Record], query: Query) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder) / "live.db")
        try:
            disk.write(records)
            disk.settle()
            return disk.page(query, len(records), Span(100)).payloads
        finally:
            disk.close()


@settings(max_examples=100)
@given(st.lists(messages.map(complete), min_size=1, max_size=12), filters)
def test_live_memory_disk_and_a_plain_loop_find_the_same(
    found: list[Json], wanted: Filters
) -> None:
    query = compile_query(ANYBODY, wanted)
    records = [record(one | {"id": f"id_{seq}"}, seq) for seq, one in enumerate(found, 1)]
    plain = msgspec.to_builtins(wanted)
    matching = [one for one, source in zip(records, found, strict=True) if plainly(source, plain)]
    newest_first = [one.payload for one in reversed(matching)]
    assert live(records, query) == [one.frame for one in matching]
    assert in_memory(records, query) == newest_first
    assert on_disk(records, query) == newest_first


@each_key
def test_segments_are_merged_so_that_few_are_left(tmp_path: Path, key: bytes) -> None:
    disk = Disk(tmp_path / "live.db", key)
    disk.write([record(SAMPLE, seq) for seq in range(1, 201)])
    disk.settle()
    counts = [part.end - part.first for part in disk.archive._catalog.parts(0, 1000)]
    assert sum(counts) == 200
    assert max(counts) > 50
    assert len(counts) < 12
    assert disk.page(compile_query(ANYBODY, Filters(text="dragon")), 200, Span(1, 150)).total == 200
    disk.close()


@each_key
def test_an_index_that_is_damaged_or_of_another_log_is_made_again(
    tmp_path: Path, key: bytes
) -> None:
    disk = Disk(tmp_path / "live.db", key)
    disk.write([record(SAMPLE, seq) for seq in range(1, 31)])
    disk.settle()
    other = Disk(tmp_path / "other.db", key)
    other.write([record(SAMPLE, seq) for seq in range(1, 11)])
    for disk_again in (disk, other):
        disk_again.archive.close()
    shutil.copy(tmp_path / "live.db-index", tmp_path / "other.db-index")
    other.reopen()
    assert other.page(EVERYTHING, 100, Span(100)).total == 10
    index = tmp_path / "live.db-index"
    index.write_bytes(b"not an index at all" + index.read_bytes()[19:])
    disk.reopen()
    assert disk.page(EVERYTHING, 100, Span(100)).total == 30
    disk.close()
    other.close()


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


@each_key
def test_an_index_that_cannot_be_written_is_kept_in_memory_until_it_can(
    tmp_path: Path, key: bytes
) -> None:
    disk = Disk(tmp_path / "live.db", key)
    disk.write([record(SAMPLE, seq) for seq in range(1, 41)])
    disk.settle()
    index = disk.archive._catalog._connection
    [[pages]] = index.execute("PRAGMA page_count")
    index.execute(f"PRAGMA max_page_count = {pages}")
    for first in range(41, 161, 20):
        notes = [(seq, {"note": f"red dragon {seq}"}) for seq in range(first, first + 20)]
        disk.write([record(SAMPLE | {"data": note}, seq) for seq, note in notes])
        for _ in range(20):
            disk.archive.work()
        found = disk.page(compile_query(ANYBODY, Filters(text="dragon")), 1000, Span(1000))
        assert [seq_of(payload) for payload in found.payloads] == [*range(first + 19, 0, -1)]
    assert disk.archive._catalog._sealing
    index.execute("PRAGMA max_page_count = 100000")
    disk.settle()
    assert not disk.archive._catalog._sealing
    assert disk.page(EVERYTHING, 1000, Span(1000)).total == 160
    disk.reopen()
    assert disk.page(EVERYTHING, 1000, Span(1000)).total == 160
    disk.close()


def seq_of(payload: bytes) -> int:
    return int(json.loads(payload)["seq"])


class FullOnce:
    """A connection to the index whose first commit finds the disk full."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.failed = False

    def execute(self, sql: str, *values: Any) -> Rows:
        if sql == "COMMIT" and not self.failed:
            self.failed = True
            self._connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@each_key
@pytest.mark.parametrize("before", [2, 8, 30])
def test_a_commit_that_fails_leaves_everything_to_be_found(
    tmp_path: Path, key: bytes, before: int
) -> None:
    """In whatever it was about to do: seal, merge or drop."""
    disk = Disk(tmp_path / "live.db", key)
    disk.write([record(SAMPLE, seq) for seq in range(1, before + 1)])
    disk.settle()
    index = disk.archive._catalog
    index._connection = failing = FullOnce(index._connection)
    disk.write([record(SAMPLE, seq) for seq in range(before + 1, before + 31)])
    while not failing.failed:
        disk.archive.work()
        assert disk.page(EVERYTHING, before + 30, Span(1)).total == before + 30
    disk.settle()
    assert disk.page(EVERYTHING, before + 30, Span(1)).total == before + 30
    parts = index.parts(0, 1 << 40)
    assert all(one.end == next_one.first for one, next_one in pairwise(parts))
    disk.close()


@each_key
def test_a_value_with_a_nul_is_found_on_disk(tmp_path: Path, key: bytes) -> None:
    disk = Disk(tmp_path / "live.db", key)
    message = {"type": "user", "user_id": "u", "username": "a\0b", "content": "c"}
    disk.write([record(message, seq) for seq in range(1, 11)])
    disk.settle()
    assert disk.page(compile_query(ANYBODY, Filters(username="a\0b")), 10, Span(1)).total == 10
    disk.close()
