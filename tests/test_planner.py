"""The planner over all its sources: memory, open end, sealed and merged segments find the same.

The oracle is a loop over `Query.matches`, and one written from the words of the design. The bound
below which candidates are read instead of looked up is set low and high, so that both ways are
taken with few messages.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from msgspec import structs, to_builtins

from livelog.fanout.audience import Reader
from livelog.fanout.hub import Hub
from livelog.index import keys, numbers, plan, positions, postings, terms
from livelog.index.index import Index
from livelog.index.paging import Span
from livelog.index.query import NOTHING, Query, Subscription, compile_query
from livelog.log.window import Window
from livelog.store.reader import indexfile, segment, segments, segmentwriter
from livelog.wire.commands import Filters
from livelog.wire.record import Record
from tests import test_where_matching as means
from tests.support.disk import Disk
from tests.support.expressions import NOW, findable, with_values
from tests.support.party import Silent
from tests.support.strategies import Json, askers, filters, messages, principal, record, split
from tests.test_query import complete, plainly, visible

UNBOUNDED = 10**6
MAX_KEYS, MAX_PATHS = terms.MAX_KEYS, numbers.MAX_PATHS


@pytest.fixture(autouse=True, scope="module", params=[0, 2, 32], ids="few={}".format)
def small_bounds(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "_FEW", request.param)
        patch.setattr(postings, "_READY_FROM", 4)
        patch.setattr(postings, "_GRAIN", 2)
        patch.setattr(positions, "RARE", 3)
        patch.setattr(keys, "_JOINED", 2)
        patch.setattr(numbers, "_BLOCK", 4)
        patch.setattr(numbers, "_FREQUENT", 2)
        patch.setattr(numbers, "_JOINED", 1)
        if request.param == 2:  # not everything has a key
            patch.setattr(terms, "MAX_KEYS", 3)
            patch.setattr(numbers, "MAX_PATHS", 1)
        patch.setattr(segment, "_READ_FIRST", 1)
        patch.setattr(segment, "_READ_AT_ONCE", 2)
        patch.setattr(segmentwriter, "_JOINED_FROM", 2)
        patch.setattr(segment, "_TERMS_PER_QUERY", 3)
        patch.setattr(segments, "_INDEXED_PER_STEP", 1)
        yield


class Disks:
    """One store on disk, whose messages are brought from an open end into larger segments."""

    def __init__(self, folder: str, records: list[Record]) -> None:
        self.disk = Disk(Path(folder) / "live.db")
        self.disk.write(records)
        self.records = records

    def stages(self) -> Iterator[str]:
        """Yield the name of each state that the index is in."""
        for name, sealed_at, merged_at_once in [
            ("open end", UNBOUNDED, UNBOUNDED),
            ("sealed", 2, UNBOUNDED),
            ("merged", 2, 2),
        ]:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(segments, "SEALED_AT", sealed_at)
                patch.setattr(segments, "_MERGED_AT_ONCE", merged_at_once)
                patch.setattr(segments, "_LARGEST", UNBOUNDED)
                if name == "sealed":  # by twos, not all messages of the open end in one
                    self.reopen_without_index()
                self.disk.settle()
                self.disk.reader._stored.segments._check()
            yield name

    def reopen_without_index(self) -> None:
        self.disk.reader.close()
        indexfile.remove(f"{self.disk.path}-index")
        self.disk.reopen()

    def counts(self) -> list[int]:
        """Return the sizes of the sealed segments."""
        return [one.count for one in self.disk.reader._stored.segments._sealed]

    def page(self, query: Query, limit: int, offset: int) -> tuple[int, list[bytes]]:
        page = self.disk.page(query, len(self.records), Span(limit, offset))
        return page.total, page.payloads

    def frames(self, query: Query) -> list[bytes]:
        """Return the frames that a reader gets who follows from the beginning."""
        cursor, end, received = 0, len(self.records), b""
        while cursor < end:
            chunk = self.disk.chunk(cursor, end, subscribed(query), 1)
            assert chunk.cursor > cursor
            cursor, received = chunk.cursor, received + b"".join(chunk.frames)
        return split(received)


def subscribed(query: Query) -> Subscription:
    return NOTHING.with_types(dict.fromkeys(sorted(query.types), query))


def in_memory(records: list[Record], query: Query, within: range) -> tuple[set[int], set[int]]:
    """Return the seqs that a search of the index and one of a part of it find."""
    index = Index(max_queued=3)
    for one in records:
        index.add(one)

    def read(position: int) -> bytes:
        return records[position].payload

    found = plan.finish(plan.find(index, query, read))
    parted = plan.finish(plan.find(index, query, read, within))
    return {records[p].seq for p in found}, {records[p].seq for p in parted}


def of_window(
    records: list[Record], query: Query, limit: int, offset: int
) -> tuple[int, list[bytes]]:
    window = Window(100, 1 << 20)
    for one in records:
        window.append(one)
    waiting = plan.finish(window.find(query))
    while window.work():
        pass
    matches = plan.finish(window.find(query))
    assert waiting.payloads(0, 100) == matches.payloads(0, 100)
    return matches.total, matches.payloads(offset, limit)


def resumed(records: list[Record], query: Query) -> list[bytes]:
    """Return the frames that a reader gets who resumes from the beginning, some at a time."""
    window = Window(100, 1 << 20)
    for one in records:
        window.append(one)
    cursor, received = 0, b""
    while cursor < window.newest:
        chunk = window.after(cursor, subscribed(query), 1, is_over=lambda: True)
        cursor, received = chunk.cursor, received + b"".join(chunk.frames)
    return split(received)


def live(records: list[Record], query: Query) -> list[bytes]:
    """Return the frames that a subscriber with this query gets."""
    hub, received = Hub(), list[bytes]()
    reader = Reader(received.append, Silent())
    reader.subscription = subscribed(query)
    hub.join(reader)
    for one in records:
        hub.publish(one)
    plan.finish(hub.matching())
    hub.begin()
    hub.flush(100)
    return split(b"".join(received))


Question = tuple[Filters, str | None]
"""Filters, and the id of the principal that asks."""


def agree(sources: list[Json], asked: list[Question], limit: int, offset: int) -> None:
    """Assert that all sources have the same answers, and the right ones."""
    sources = [one | {"id": f"id_{seq}"} for seq, one in enumerate(sources, 1)]
    records = [record(one, seq) for seq, one in enumerate(sources, 1)]
    expected: list[tuple[Query, list[Record]]] = []
    for wanted, asker in asked:
        query, plain = compile_query(principal(asker), wanted, now=NOW), to_builtins(wanted)
        matching = [one for one in records if query.matches(one)]
        assert matching == [
            one
            for one, source in zip(records, sources, strict=True)
            if visible(source, asker)
            and plainly(source, plain)
            and means.plainly(source, plain.get("where", {"and": []}))
        ]
        expected.append((query, matching))

    def page_of(matching: list[Record]) -> tuple[int, list[bytes]]:
        newest_first = [one.payload for one in reversed(matching)]
        return len(matching), newest_first[offset : offset + limit]

    for query, matching in expected:
        within = range(offset, offset + limit)
        seqs = {one.seq for one in matching}
        parted = seqs & {one.seq for one in records[offset : offset + limit]}
        assert in_memory(records, query, within) == (seqs, parted)
        assert of_window(records, query, limit, offset) == page_of(matching)
        assert live(records, query) == [one.frame for one in matching]
        assert resumed(records, query) == [one.frame for one in matching]
    with tempfile.TemporaryDirectory() as folder:
        disks = Disks(folder, records)
        try:
            for stage in disks.stages():
                for query, matching in expected:
                    assert disks.page(query, limit, offset) == page_of(matching), stage
                    assert disks.frames(query) == [one.frame for one in matching], stage
        finally:
            disks.disk.close()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(with_values(messages).map(complete), min_size=1, max_size=12),
    st.lists(st.tuples(filters, st.just({"and": []}) | findable, askers), min_size=1, max_size=4),
    st.integers(1, 12),
    st.integers(0, 6),
)
def test_all_sources_find_what_a_plain_loop_finds(
    sources: list[Json], asked: list[tuple[Filters, Json, str | None]], limit: int, offset: int
) -> None:
    questions = [(structs.replace(wanted, where=where), asker) for wanted, where, asker in asked]
    agree(sources, questions, limit, offset)


def test_all_sources_tell_a_phrase_from_its_words() -> None:
    """With more candidates than are read, the words of a phrase are looked up, and then read."""
    notes = ["red dragon", "dragon red", "a red dragon", "red or dragon"] * 10
    sources = [
        complete({"type": "system", "event": "error", "data": {"note": note}}) for note in notes
    ]
    texts = ['"red dragon"', "red dragon", "drag", '"ed dra"', '"a red" dragon', "dr re ag"]
    agree(sources, [(Filters(text=text), None) for text in texts], limit=50, offset=10)


READ = {
    "gate -channel:trade": 0,
    "dragon OR channel:trade OR -type:user": 0,
    "NOT (timestamp:>2020-01-01 dragon)": 0,
    '"red dragon"': 100,
    "gat*": 0,
    "author_id:u2 OR participants.username:Bob OR leader_id:50": 0,
    "author_id:u1 gate": 0,
    "metadata.level:>3": 0,
    "metadata.level:>3 gate": 0,
    "-(gate metadata.level:>3)": 0,
    "gate OR metadata.level:>3": 0,
    "channel:trade (metadata.level:5 OR dragon)": 0,
    "metadata.level:* -metadata.channel:gen*": 0,
    "channel:* user_badge:* OR metadata.class:mage": 0,
    "metadata.note:long*": 100,
    "metadata.note:short": 0,
    "content:*": 0,
    "content:gate": 200,
    "type:us* raid_name:* OR type:*": 0,
    "metadata.at:>2020-01-01": 100,
    "metadata.big:>9007199254740993": 1,
    "metadata.big:>9007199254740990": 0,
}
"""Expression → the number of messages that are read to answer it, of those below."""


@pytest.mark.parametrize("where", READ)
def test_only_what_lookups_leave_open_is_read(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "MAX_KEYS", MAX_KEYS)
    monkeypatch.setattr(numbers, "MAX_PATHS", MAX_PATHS)
    contents = ["red dragon", "dragon red", "gate", "the gate"] * 50
    sources: list[Json] = [
        {
            "type": "user",
            "user_id": "u1",
            "username": "Ann",
            "content": content,
            "metadata": {
                "channel": ["general", "trade"][number % 2],
                "level": number % 10,
                "note": ["short", "long" * 20][number % 2],
                "at": ["never", "2025-12-03"][number % 2],
                "big": 2**53 + 1 if number == 7 else number,
            },
        }
        for number, content in enumerate(contents)
    ]
    sources += [{"type": "system", "event": "error"}] * 50
    records = [record(source, seq) for seq, source in enumerate(sources, 1)]
    index, read = Index(), list[int]()
    for one in records:
        index.add(one)

    def noted(position: int) -> bytes:
        read.append(position)
        return records[position].payload

    query = compile_query(principal(None), Filters(where=where), now=NOW)
    found = plan.finish(plan.find(index, query, noted))
    assert [records[at] for at in found] == [one for one in records if query.matches(one)]
    assert (len(read), len(set(read))) == (READ[where], READ[where])


def test_the_stages_on_disk_are_what_they_are_called(tmp_path: Path) -> None:
    sample = {"type": "system", "event": "error", "data": {"note": "red dragon"}}
    disks = Disks(str(tmp_path), [record(sample, seq) for seq in range(1, 10)])
    assert [(stage, disks.counts()) for stage in disks.stages()] == [
        ("open end", []),
        ("sealed", [2, 2, 2, 2]),
        ("merged", [8]),
    ]
    disks.disk.close()
