"""Segments of the index on disk against a list of records, and on a disk that fails.

Segments are made very small, so that sealing and merging happen all the time.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant, rule

from livelog.auth.principal import ANYBODY
from livelog.index.numbers import Piece
from livelog.index.paging import Page, Span
from livelog.index.plan import finish
from livelog.index.query import EVERYTHING, NOTHING, Query, compile_query
from livelog.index.terms import is_redacted
from livelog.store.database.connection import Connection, Rows
from livelog.store.reader import indexfile, searches, segments, segmentwriter, stored
from livelog.store.reader.answers import StoredMessages
from livelog.store.reader.calls import PageCall, Progress
from livelog.store.reader.indexfile import DAMAGES, FORMAT
from livelog.store.reader.openend import OpenEnd
from livelog.store.reader.rows import Row
from livelog.store.reader.searches import NotIndexedError
from livelog.store.reader.segment import KEY as KEY_SIGN
from livelog.store.reader.segment import Segment
from livelog.store.reader.segments import Segments
from livelog.wire import frames
from livelog.wire.commands import Filters
from livelog.wire.stubs import stub_of
from tests.support.disk import KEY, Disk
from tests.support.keeping import sample
from tests.support.segments import SAMPLE, DiskMachine, queries, small_segments
from tests.support.strategies import record, split

__all__ = ["small_segments"]  # a fixture

TERMS_PER_STEP = segmentwriter._TERMS_PER_STEP
TERMS_PER_COMMIT = segmentwriter._TERMS_PER_COMMIT

each_key = pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])


def pairs_of(pieces: Iterable[tuple[str, Piece]]) -> dict[str, list[tuple[float, int]]]:
    """Values and positions by path."""
    found: dict[str, list[tuple[float, int]]] = {}
    for path, piece in pieces:
        found.setdefault(path, []).extend(piece.pairs())
    return {path: sorted(pairs) for path, pairs in found.items()}


def is_as_if_made_now(segment: Segment, disk: Disk) -> None:
    """Compare a segment with the index of its messages as they are now."""
    end = OpenEnd(segment.first)
    for row in disk.reader._stored.rows.after(segment.first - 1, segment.count):
        end.add(row.record())
    lists = {KEY_SIGN + key: found for key, found in end.index.terms()}
    assert dict(segment.postings(0)) == lists | dict(end.index.words())
    stored = ((path, piece) for path in segment.paths() for piece in segment.pieces(path))
    assert pairs_of(stored) == pairs_of(end.index.pieces())
    assert segment.times() == end.times.tobytes()


class SegmentsAgainstAList(DiskMachine):
    """Sealing, merging, dropping and reopening in any order leave every message to be found."""

    @property
    def segments(self) -> Segments:
        return self.disk.reader._stored.segments

    @rule()
    def settle(self) -> None:
        """Finish all work: no open end is left to seal, and no neighbours to merge."""
        self.disk.settle()
        assert not self.segments._sealing
        assert len(self.segments._open.index) < 4
        assert self.segments.is_clean
        for segment in self.segments._sealed:
            if segment.first >= self.disk.reader._stored.rows.first_position:
                is_as_if_made_now(segment, self.disk)

    @rule(places=st.sets(st.integers(0, 200), max_size=6), reason=st.sampled_from(["", "a" * 50]))
    def redact(self, places: set[int], reason: str) -> None:
        """Redact some messages, perhaps again."""
        chosen = {place % len(self.kept) for place in places} if self.kept else set()
        self.last += 1
        self.disk.redact([self.kept[place].seq for place in chosen], self.last, reason)
        for place in chosen:
            one = self.kept[place]
            stub = stub_of(frames.payload(one.frame), reason)
            self.kept[place] = one if is_redacted(one.keys) else Row(0, one.seq, stub).record()

    @rule(steps=st.integers(1, 60))
    def fail(self, steps: int) -> None:
        """Let a job fail in the middle, as on a full disk."""
        while steps and self.disk.reader.work():
            steps -= 1
        if self.segments._job is not None:
            self.segments._abandon(sqlite3.OperationalError("database or disk is full"))

    @rule(query=queries)
    def find(self, query: Query) -> None:
        reader, rows = self.segments, self.disk.reader._stored.rows
        first, last = rows.first_position, rows.position_upto(self.last)
        while reader.end <= last:
            reader.work()
        with reader.reading(first, last) as parts:
            found = [
                rows.seq_at(part.first + place)
                for part in parts
                for place in finish(reader.matches(part, query, first, last))
            ]
        assert found == [one.seq for one in self.kept if query.matches(one)]

    @invariant()
    def agree(self) -> None:
        self.segments._check()


SegmentsAgainstAList.TestCase.settings = settings(
    stateful_step_count=30, phases=[Phase.reuse, Phase.generate]
)
TestSegmentsAgainstAList = SegmentsAgainstAList.TestCase


@each_key
def test_segments_are_merged_so_that_few_are_left(tmp_path: Path, key: bytes) -> None:
    disk = Disk(tmp_path / "live.db", key)
    disk.write([record(SAMPLE, seq) for seq in range(1, 201)])
    disk.settle()
    with disk.reader._stored.segments.reading(0, 1000) as parts:
        counts = [part.end - part.first for part in parts]
    assert sum(counts) == 200
    assert max(counts) > 50
    assert len(counts) < 12
    assert disk.page(compile_query(ANYBODY, Filters(text="dragon")), 200, Span(1, 150)).total == 200
    disk.close()


@each_key
def test_a_segment_without_what_was_redacted_is_as_if_it_were_indexed_again(
    tmp_path: Path, key: bytes
) -> None:
    disk, words = Disk(tmp_path / "live.db", key), ["dragon", "drag", "agony", "gold"]
    disk.write(
        [
            record(
                {
                    **SAMPLE,
                    "data": {
                        "note": f"{words[seq % 4]} secret{'' if seq % 10 else seq}",
                        "level": 7 if seq % 3 else seq,
                        "depth": 50 + seq % 2,
                        "user_id": f"u{seq % 100 if seq % 10 else seq}",
                    },
                },
                seq,
            )
            for seq in range(1, 301)
        ]
    )
    disk.settle()
    assert any(True for one in disk.reader._stored.segments._sealed for _ in one.joined())
    gone = range(10, 301, 10)
    disk.redact(gone, 301)
    disk.settle()
    sealed = disk.reader._stored.segments._sealed
    assert sum(one.count for one in sealed) > 290
    for segment in sealed:
        segment._check()
        is_as_if_made_now(segment, disk)
    query = compile_query(ANYBODY, Filters(text="secret"))
    assert disk.page(query, 301, Span(1)).total == 270
    query = compile_query(ANYBODY, Filters(where="data.depth:>=50"), now=0.0)
    assert disk.page(query, 301, Span(1)).total == 270
    disk.reopen()
    assert disk.page(query, 301, Span(1)).total == 270
    # Of all of its messages.
    disk.redact(range(1, 301), 302)
    disk.settle()
    for segment in disk.reader._stored.segments._sealed:
        segment._check()
        is_as_if_made_now(segment, disk)
        assert not segment.words()
        assert not segment.paths()
    disk.close()


@pytest.mark.parametrize("older", [2, FORMAT - 1])
def test_an_index_with_other_terms_is_made_again(tmp_path: Path, older: int) -> None:
    disk = Disk(tmp_path / "live.db")
    disk.write([record({**SAMPLE, "data": {"note": "İSTANBUL"}}, seq) for seq in range(1, 101)])
    disk.settle()
    disk.reader.close()
    # A version before words were what they are now, and one with another version of Unicode.
    with closing(sqlite3.connect(tmp_path / "live.db-index", isolation_level=None)) as index:
        index.execute("UPDATE owner SET format = ?", (older,))
        index.execute("DELETE FROM posting")
    disk.reopen()
    found = disk.page(compile_query(ANYBODY, Filters(text="istanbul")), 100, Span(1))
    assert found.total == 100
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
        disk_again.reader.close()
    shutil.copy(tmp_path / "live.db-index", tmp_path / "other.db-index")
    other.reopen()
    assert other.page(EVERYTHING, 100, Span(100)).total == 10
    index = tmp_path / "live.db-index"
    index.write_bytes(b"not an index at all" + index.read_bytes()[19:])
    disk.reopen()
    assert disk.page(EVERYTHING, 100, Span(100)).total == 30
    disk.close()
    other.close()


@each_key
def test_an_index_that_cannot_be_written_is_kept_in_memory_until_it_can(
    tmp_path: Path, key: bytes
) -> None:
    disk = Disk(tmp_path / "live.db", key)
    disk.write([record(SAMPLE, seq) for seq in range(1, 41)])
    disk.settle()
    index = disk.reader._stored.segments._connection
    [[pages]] = index.execute("PRAGMA page_count")
    index.execute(f"PRAGMA max_page_count = {pages}")
    for first in range(41, 161, 20):
        notes = [(seq, {"note": f"red dragon {seq}"}) for seq in range(first, first + 20)]
        disk.write([record(SAMPLE | {"data": note}, seq) for seq, note in notes])
        for _ in range(20):
            disk.reader.work()
        found = disk.page(compile_query(ANYBODY, Filters(text="dragon")), 1000, Span(1000))
        assert [seq_of(payload) for payload in found.payloads] == [*range(first + 19, 0, -1)]
    assert disk.reader._stored.segments._sealing
    index.execute("PRAGMA max_page_count = 100000")
    disk.settle()
    assert not disk.reader._stored.segments._sealing
    assert disk.page(EVERYTHING, 1000, Span(1000)).total == 160
    disk.reopen()
    assert disk.page(EVERYTHING, 1000, Span(1000)).total == 160
    disk.close()


def words_of(seq: int, count: int = 400) -> str:
    return " ".join(f"{seq}x{number}" for number in range(count))


@each_key
def test_many_distinct_words_are_sealed_early_and_merged_only_while_they_fit(
    tmp_path: Path, key: bytes
) -> None:
    """The memory of the open end and of a merge is bounded, however few the messages are."""
    memory = 2 << 20
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SEALED_AT", 8192)
        patch.setattr(segments, "_LARGEST", 1 << 20)
        # As in use: with commits of a few terms each, these take most of the time.
        patch.setattr(segmentwriter, "_TERMS_PER_STEP", TERMS_PER_STEP)
        patch.setattr(segmentwriter, "_TERMS_PER_COMMIT", TERMS_PER_COMMIT)
        disk = Disk(tmp_path / "live.db", key, memory)
        for first in range(1, 81, 10):
            fresh = [SAMPLE | {"data": {"note": words_of(seq)}} for seq in range(first, first + 10)]
            disk.write([record(one, first + place) for place, one in enumerate(fresh)])
        index = disk.reader._stored.segments
        while disk.reader.work():
            assert index._open.bytes < memory // 2 + 500 * 500
            assert index._cache._bytes <= memory // 4
        assert len(index._sealed) > 2
        assert sum(one.count for one in index._sealed) > 50
        assert max(one.characters for one in index._sealed) <= memory // 8
        for seq in (1, 40, 80):
            found = disk.page(compile_query(ANYBODY, Filters(text=f"{seq}x77")), 80, Span(80))
            assert seq in [seq_of(payload) for payload in found.payloads]
            assert index._cache._bytes <= memory // 4
        index._check()
        disk.close()


@each_key
def test_an_index_that_is_made_anew_has_larger_segments(tmp_path: Path, key: bytes) -> None:
    disk = Disk(tmp_path / "live.db", key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "_BULK", 8)
        disk.write([record(SAMPLE, seq) for seq in range(1, 201)])
        sizes = set()
        while disk.reader.work():
            sizes |= {one.count for one in disk.reader._stored.segments._sealed[:1]}
    assert min(sizes) >= 32
    assert len(disk.reader._stored.segments._open.index) < 4
    assert disk.reader.progress == Progress(200, 200)
    disk.close()


def test_a_call_is_told_how_far_an_index_is_that_is_being_made(tmp_path: Path) -> None:
    """Pages without conditions and readers that resume need no index."""
    disk = Disk(tmp_path / "live.db")
    disk.write([record(SAMPLE, seq) for seq in range(1, 201)])
    disk.reader.work()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searches, "_SCANNED_PER_PAGE", 100 * stored.ROW_COST)
        patch.setattr(searches, "_INDEXED_SECONDS", 0)
        with pytest.raises(NotIndexedError) as told:
            disk.page(compile_query(ANYBODY, Filters(text="dragon")), 200, Span(1))
        assert 0 < told.value.share < 0.1
        assert told.value.seconds >= 1
        page = disk.page(EVERYTHING, 200, Span(3, 150))
        assert ([*map(seq_of, page.payloads)], page.total) == ([50, 49, 48], 200)
        cursor, found = 0, 0
        wanted = NOTHING.with_types({"system": compile_query(ANYBODY, Filters(text="dragon"))})
        while cursor < 200:
            chunk = disk.chunk(cursor, 200, wanted, 2000)
            assert chunk.cursor > cursor
            cursor, found = chunk.cursor, found + len(split(b"".join(chunk.frames)))
        assert found == 200
    disk.settle()
    assert disk.page(compile_query(ANYBODY, Filters(text="dragon")), 200, Span(1)).total == 200
    disk.close()


def test_a_segment_that_a_call_reads_stays_until_the_call_has_ended(tmp_path: Path) -> None:
    """Merging and trimming go on meanwhile, and what has been trimmed is not given."""
    disk = Disk(tmp_path / "live.db")
    disk.write([record(SAMPLE, seq) for seq in range(1, 18)])
    for _ in range(20):
        disk.reader.work()
    query = compile_query(ANYBODY, Filters(text='"red dragon"'))
    steps = disk.reader.answer(PageCall(query, 0, 17, Span(20), 0))
    with disk.reader.snapshot():
        next(steps)
    disk.trim(4, deleted=True)
    disk.write([record(SAMPLE, seq) for seq in range(18, 101)])
    disk.settle()
    page = finish(steps)
    assert isinstance(page, Page)
    assert [*map(seq_of, page.payloads)] == [*range(17, 4, -1)]
    assert page.total == 13
    disk.settle()
    assert not disk.reader._stored.segments._dropped
    disk.reader._stored.segments._check()
    disk.close()


QUERIES = [
    compile_query(ANYBODY, Filters(text="dragon", severity="info")),
    compile_query(ANYBODY, Filters(text="ago")),
    compile_query(ANYBODY, Filters(text="nowhere")),
    compile_query(ANYBODY, Filters(username="nobody")),
    compile_query(ANYBODY, Filters(type="system", user_id="u3")),
    compile_query(ANYBODY, Filters(date_from="2026-01-10T00:00:00Z")),
]


def test_a_flipped_bit_in_the_index_never_changes_an_answer(tmp_path: Path) -> None:
    """It is found out, and then the index is made again, or it is where nothing is read."""
    disk = Disk(tmp_path / "live.db")
    disk.write([record(sample(number), number) for number in range(1, 121)])
    disk.settle()
    right = [disk.page(query, 120, Span(1000)) for query in QUERIES]
    disk.reader.close()
    index = tmp_path / "live.db-index"
    good = index.read_bytes()
    found_out = 0
    for place in range(100, len(good), len(good) // 240):
        damaged = bytearray(good)
        damaged[place] ^= 1 << place % 8
        indexfile.remove(str(index))
        index.write_bytes(damaged)
        try:
            disk.reader = StoredMessages(disk.path, b"")
            answers = [disk.page(query, 120, Span(1000)) for query in QUERIES]
        except DAMAGES:  # at which the process makes it again
            found_out += 1
            disk.reader.close()
            continue
        assert answers == right, place
        disk.reader.close()
    assert found_out > 2
    disk.reader = StoredMessages(disk.path, b"")
    disk.close()


@pytest.mark.parametrize(
    ("where", "gone"),
    [
        ("metadata.class:m*", "\x03metadata.class=mage"),
        ("metadata.class:*", "\x03metadata.class=bard"),
        ("metadata.class:*", "\x03metadata.class=tank"),
        ("metadata.class:mage", "\x03metadata.class=mage"),
        ("metadata.level:>1", "\x020"),
    ],
)
def test_a_key_or_number_that_is_missing_in_a_segment_is_noticed(
    tmp_path: Path, where: str, gone: str
) -> None:
    known = {"type": "user", "user_id": "u", "username": "n", "content": "c"}
    metadata = [{"class": name, "level": n} for n, name in enumerate(["mage", "tank", "bard"] * 20)]
    sources = [{**known, "metadata": one} for one in metadata]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SEALED_AT", 60)
        disk = Disk(tmp_path / "live.db")
        disk.write([record(source, seq) for seq, source in enumerate(sources, 1)])
        disk.settle()
    sealed = disk.reader._stored.segments._connection
    query = compile_query(ANYBODY, Filters(where=where), now=0.0)
    assert disk.page(query, 60, Span(1, 0)).total >= 20
    sealed.execute("DELETE FROM posting WHERE term = ?", (gone,))
    disk.reader._stored.segments._cache._values.clear()
    with pytest.raises(sqlite3.DatabaseError, match="damaged"):
        disk.page(query, 60, Span(1, 0))
    disk.close()


def test_words_that_read_like_keys_are_no_keys(tmp_path: Path) -> None:
    said = [
        "type=dm",
        "user_id=u9",
        "metadata.x=y",
        "metadata.x<",
        "data*",
        "\x03user_id=u9",
        "\x021",
    ]
    known = {"type": "user", "user_id": "u", "username": "n"}
    sources = [{**known, "content": f"{word} {word}"} for word in said] * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SEALED_AT", 5)
        patch.setattr(segments, "_MERGED_AT_ONCE", 2)
        disk = Disk(tmp_path / "live.db")
        disk.write([record(source, seq) for seq, source in enumerate(sources, 1)])
        disk.settle()
        disk.reader._stored.segments._check()
    expected = {"type:dm OR user_id:u9": 0, "metadata.x:y OR metadata.x:*": 0, "user_id": 4, "x": 4}
    for where, total in expected.items():
        query = compile_query(ANYBODY, Filters(where=where), now=0.0)
        assert disk.page(query, 14, Span(1, 0)).total == total
    disk.close()


def seq_of(payload: bytes) -> int:
    return int(json.loads(payload)["seq"])


class FullOnce:
    """A connection to the index; one of its commits finds the disk full, after some that do not."""

    def __init__(self, connection: Connection, good: int) -> None:
        self._connection = connection
        self._good = good
        self.failed = False

    def execute(self, sql: str, *values: Any) -> Rows:
        if sql == "COMMIT" and not self.failed:
            self._good -= 1
            if self._good < 0:
                self.failed = True
                self._connection.execute("ROLLBACK")
                raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@each_key
@pytest.mark.parametrize("good", range(8))
def test_a_commit_that_fails_leaves_all_messages_to_be_found(
    tmp_path: Path, key: bytes, good: int
) -> None:
    """The segments that were trimmed are dropped first, then new ones are sealed and merged."""
    disk = Disk(tmp_path / "live.db", key)
    disk.write([record(SAMPLE, seq) for seq in range(1, 31)])
    disk.settle()
    disk.trim(25, deleted=False)
    index = disk.reader._stored.segments
    index._connection = failing = FullOnce(index._connection, good)
    disk.write([record(SAMPLE, seq) for seq in range(31, 71)])
    for _ in range(200):
        disk.reader.work()
        assert disk.page(EVERYTHING, 70, Span(1)).total == 45
    assert failing.failed
    disk.settle()
    assert disk.page(EVERYTHING, 70, Span(1)).total == 45
    index._check()
    disk.close()


@each_key
def test_a_value_with_a_nul_is_found_on_disk(tmp_path: Path, key: bytes) -> None:
    disk = Disk(tmp_path / "live.db", key)
    message = {"type": "user", "user_id": "u", "username": "a\0b", "content": "c"}
    disk.write([record(message, seq) for seq in range(1, 11)])
    disk.settle()
    assert disk.page(compile_query(ANYBODY, Filters(username="a\0b")), 10, Span(1)).total == 10
    disk.close()
