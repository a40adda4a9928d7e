"""The window against a plain list: what it keeps, what it finds, by page and by chunk."""

from __future__ import annotations

import json

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from livelog.auth.principal import ANYBODY
from livelog.index.plan import finish
from livelog.index.query import EVERYTHING, NOTHING, Query, Subscription, compile_query
from livelog.log.window import Matches, Window
from livelog.wire.commands import Filters
from livelog.wire.messages import TYPES
from livelog.wire.record import Known, Record
from tests.support.strategies import Json, messages, record, subscriptions
from tests.support.strategies import queries as asked

queries = st.just(EVERYTHING) | asked
ALL = NOTHING.with_types(dict.fromkeys(TYPES, EVERYTHING))


class WindowAgainstAList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.window = Window(1, 1)
        self.kept: list[Record] = []
        self.last = self.evicted_upto = self.safe_upto = 0

    @initialize(
        count=st.integers(1, 12),
        size=st.sampled_from([1, 600, 2500, 10**6]),
        follows=st.sampled_from([0, 10]),
    )
    def open(self, count: int, size: int, follows: int) -> None:
        self.window = Window(count, size, follows)
        self.last = self.evicted_upto = self.safe_upto = follows

    @rule(message=messages, step=st.integers(1, 3), id=st.sampled_from(["a", "b", "c"]))
    def append(self, message: Json, step: int, id: str) -> None:
        """TimeIndex are out of order and ids come again: both are no concern of the window."""
        self.last += step
        new = record({"id": id, **message}, self.last)
        self.window.append(new)
        self.kept.append(new)
        self.evict(self.safe_upto)

    @rule(unsafe=st.integers(0, 6))
    def settle(self, unsafe: int) -> None:
        """All but the last few are on disk."""
        self.safe_upto = max(self.safe_upto, self.last - unsafe)
        self.evict(self.safe_upto)

    @rule(kept=st.integers(0, 20))
    def trim(self, kept: int) -> None:
        upto = self.last - kept
        self.window.trim(upto)
        while self.kept and self.kept[0].seq <= upto:
            self.evicted_upto = self.kept.pop(0).seq

    def evict(self, upto: int) -> None:
        self.window.evict(upto)
        while len(self.kept) > self.window.max_messages or (
            len(self.kept) > 1 and sum(len(one.frame) for one in self.kept) > self.window.max_bytes
        ):
            if self.kept[0].seq > upto:
                return
            self.evicted_upto = self.kept.pop(0).seq

    @rule(query=queries, limit=st.integers(1, 5), offset=st.integers(0, 8))
    def read(self, query: Query, limit: int, offset: int) -> None:
        found = finish(self.window.find(query))
        matching = [one for one in reversed(self.kept) if query.matches(one)]
        page = [one.payload for one in matching[offset : offset + limit]]
        assert found.payloads(offset, limit) == page
        assert found.total == len(matching)
        for seq in range(self.last + 2):
            assert found.newer(seq) == sum(one.seq > seq for one in matching)

    @rule(
        wanted=subscriptions | st.just(ALL),
        back=st.integers(0, 20),
        max_bytes=st.sampled_from([1, 400, 10**6]),
    )
    def after(self, wanted: Subscription, back: int, max_bytes: int) -> None:
        """Chunk by chunk, a reader gets all that is left of what it wants, once and in order."""
        cursor = since = max(self.evicted_upto, self.last - back)
        found: list[bytes] = []
        while cursor < self.last:
            chunk = self.window.after(cursor, wanted, max_bytes)
            assert chunk.cursor > cursor
            assert sum(map(len, chunk.frames[:-1])) < max_bytes
            found += chunk.frames
            cursor = chunk.cursor
        assert found == [one.frame for one in self.kept if one.seq > since and wanted.wants(one)]
        assert cursor == self.last

    @invariant()
    def agree(self) -> None:
        self.window._check()
        assert len(self.window) == len(self.kept)
        assert self.window.evicted_upto == self.evicted_upto
        assert self.window.newest == (self.kept[-1].seq if self.kept else self.evicted_upto)
        newest = {one.id: Known(one.seq, one.payload) for one in self.kept}
        for id in {"a", "b", "c", *newest}:
            assert self.window.lookup(id) == newest.get(id)


def seqs_of(matches: Matches) -> list[int]:
    return [json.loads(payload)["seq"] for payload in matches.payloads(0, 10_000)]


WindowAgainstAList.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestWindowAgainstAList = WindowAgainstAList.TestCase


def filled(count: int, kept: int = 10**9) -> Window:
    window = Window(kept, 10**9)
    for seq in range(1, count + 1):
        window.append(record({"type": "system", "event": "error", "id": f"s{seq}"}, seq))
        window.evict(seq)
    return window


def test_the_newest_message_stays_even_when_it_alone_is_too_big() -> None:
    window = Window(10, 1)
    for seq in (1, 2):
        window.append(record({"type": "system", "event": "error"}, seq))
        window.evict(seq)
        assert len(window) == 1
    assert window.evicted_upto == 1


def test_what_has_fallen_out_long_ago_is_not_kept_in_secret() -> None:
    window = filled(5000, kept=10)
    window._check()
    assert len(window._frames) < 10 + 4096
    assert window.lookup("s4990") is None
    known = window.lookup("s4991")
    assert known is not None
    assert known.seq == 4991
    assert seqs_of(finish(window.find(EVERYTHING))) == list(range(5000, 4990, -1))


def test_a_long_search_pauses_and_what_comes_and_goes_meanwhile_is_not_in_it() -> None:
    window = Window(2500, 10**9)
    for seq in range(1, 2501):
        window.append(
            record({"type": "system", "event": "error", "data": {"a": "red dragon"}}, seq)
        )
    steps = window.find(compile_query(ANYBODY, Filters(text='"red dragon"')))
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found: Matches = stop.value
            break
        pauses += 1
        seq = 2500 + pauses
        window.append(
            record({"type": "system", "event": "error", "data": {"a": "red dragon"}}, seq)
        )
        window.evict(seq)
    assert pauses >= 20
    assert seqs_of(found) == list(range(2500, pauses, -1))
    assert found.total == 2500 - pauses


def test_a_chunk_looks_at_a_bounded_number_of_records_and_moves_on_without_a_match() -> None:
    window = filled(2500)
    nothing_matches = NOTHING.with_types({"user": EVERYTHING})
    cursor, chunks = 0, 0
    while cursor < 2500:
        chunk = window.after(cursor, nothing_matches, 10**6)
        assert chunk.frames == []
        assert 0 < chunk.scanned <= 1000
        cursor, chunks = chunk.cursor, chunks + 1
    assert chunks == 3


@given(st.integers(0, 2000))
def test_a_reader_at_the_head_or_beyond_gets_nothing_and_stays(beyond: int) -> None:
    chunk = HUNDRED.after(100 + beyond, ALL, 10**6)
    assert (chunk.frames, chunk.cursor) == ([], 100 + beyond)


HUNDRED = filled(100)


def test_dates_filter_on_the_timestamp_not_on_the_order() -> None:
    window = Window(10, 10**6)
    for seq, hour in enumerate([12, 9, 15, 10], start=1):
        at = f"2025-12-03T{hour:02}:00:00Z"
        window.append(record({"type": "system", "event": "error", "timestamp": at}, seq))
    until_noon = compile_query(ANYBODY, Filters(date_to="2025-12-03T12:00:00Z"))
    assert seqs_of(finish(window.find(until_noon))) == [4, 2, 1]
