"""The index against a plain list: whatever is appended, evicted and renumbered, both agree."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livelog.auth.principal import ANYBODY
from livelog.index.analysis.answer import answer
from livelog.index.analysis.question import Question
from livelog.index.plan import finish
from livelog.index.query import Query, Subscription, compile_query
from livelog.index.terms import key, terms
from livelog.index.where.expression import ALL
from livelog.index.where.parser import parse
from livelog.log import indexing
from livelog.log.ingest import convert
from livelog.log.window import Window
from livelog.wire.commands import Filters
from livelog.wire.messages import TYPES, encoder
from livelog.wire.record import Draft, Record, place
from livelog.wire.timestamps import format_moment
from tests.support.ways import counted
from tests.test_analysis import plainly, told

WORDS = ["dragon", "dragonmaster", "lair", "drag", "on", "ancient", "x1", "été", "straße", "a"]
PARTS = [*WORDS, "rag", "ai", "ß", "ss", "1", "zz", "dr"]
USERS = ["user_1", "user_2", "user_3"]

WHERE = [
    *("metadata.n:>=3", "metadata.n:1..4 OR metadata.n:true", "-metadata.n:>9007199254740992"),
    *("metadata.n:0.5", "metadata.note:*", "metadata.note:x*", "-metadata.note:a*", "metadata:*"),
    *("metadata.channel:general", "data.text:*", "author_id:user_1 -metadata.n:*"),
]

FREE = ["metadata.n", "metadata.note", "metadata.channel", "data.user_id"]

contents = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)
messages = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("user"),
            "user_id": st.sampled_from(USERS),
            "username": st.sampled_from(WORDS),
            "content": contents,
            "metadata": st.fixed_dictionaries(
                {},
                optional={
                    "channel": st.sampled_from(["general", "trade", ["general"]]),
                    "n": st.integers(0, 6) | st.sampled_from([2**53, 2**53 + 1, 0.5, True]),
                    "note": st.sampled_from(["red", "x" * 65]) | st.uuids().map(str),
                },
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("system"),
            "event": st.sampled_from(["user_joined", "error"]),
            "data": st.fixed_dictionaries({"user_id": st.sampled_from(USERS), "text": contents}),
        }
    ),
)
phrases = st.lists(st.sampled_from(PARTS), min_size=1, max_size=2).map(tuple)
queries = st.builds(
    Query,
    reads_as=st.none() | st.sampled_from(USERS),
    types=st.sets(st.sampled_from(TYPES), min_size=1).map(frozenset),
    keys=st.lists(
        st.sampled_from([key("user_id", u) for u in USERS] + [key("channel", "general")]),
        max_size=2,
        unique=True,
    ).map(tuple),
    phrases=st.lists(phrases, max_size=2).map(tuple),
    date_from=st.integers(0, 30),
    date_to=st.integers(0, 40),
    where=st.sampled_from([ALL, *(parse(where, 0.0) for where in WHERE)]),
)


fields = st.sampled_from(["", "type", "user_id", "username", "channel", *FREE])


class WindowAgainstAList(RuleBasedStateMachine):
    """Each step does the same to a window and to a list of records."""

    way = "read"

    def __init__(self) -> None:
        super().__init__()
        self.counting = counted(self.way)
        self.counting.__enter__()
        self.window = Window(max_messages=8, max_bytes=60_000)
        self.records: list[Record] = []
        self.seq = 0

    @rule(message=messages, time=st.integers(0, 40), step=st.integers(1, 5))
    def append(self, message: dict[str, Any], time: int, step: int) -> None:
        self.seq += step
        known = convert({**message, "id": f"id_{self.seq}", "timestamp": format_moment(time)})
        draft = Draft(f"id_{self.seq}", message["type"], time, *terms(known), encoder.encode(known))
        record = place(draft, self.seq)
        self.window.append(record)
        self.window.evict(self.seq)
        self.records.append(record)
        self.follow()

    def follow(self) -> None:
        while self.records and self.records[0].seq <= self.window.evicted_upto:
            self.records.pop(0)

    @rule(steps=st.integers(1, 40))
    def work(self, steps: int) -> None:
        while steps and self.window.work():
            steps -= 1
        self.follow()

    @rule(query=queries, limit=st.integers(1, 4), offset=st.integers(0, 6))
    def read(self, query: Query, limit: int, offset: int) -> None:
        found = finish(self.window.find(query))
        self.follow()
        hits = [record.payload for record in reversed(self.records) if query.matches(record)]
        assert (found.payloads(offset, limit), found.total) == (
            hits[offset : offset + limit],
            len(hits),
        )

    @rule(query=queries, message=messages, time=st.integers(0, 40))
    def read_while_messages_come(self, query: Query, message: dict[str, Any], time: int) -> None:
        reading = self.window.find(query)
        before = {record.payload for record in self.records if query.matches(record)}
        if next(reading, self) is self:
            return  # too small a search to be interrupted
        self.append(message, time, 1)
        found = finish(reading)
        kept = {record.payload for record in self.records[:-1]}
        assert set(found.payloads(0, 100)) == before & kept
        assert found.total == len(before & kept)

    @rule(
        query=queries,
        types=st.sets(st.sampled_from(TYPES), min_size=1),
        back=st.integers(0, 12),
        max_bytes=st.integers(1, 3000),
    )
    def read_on(self, query: Query, types: set[Any], back: int, max_bytes: int) -> None:
        self.work(10**6)  # or it would be evicted while it is read
        wanted = Subscription().with_types(dict.fromkeys(sorted(types), query))
        cursor = start = max(0, self.seq - back)
        found: list[bytes] = []
        while cursor < self.seq:
            chunk = self.window.after(cursor, wanted, max_bytes)
            assert chunk.cursor > cursor
            cursor = chunk.cursor
            found += chunk.frames
        hits = [r.frame for r in self.records if r.seq > start and wanted.wants(r)]
        assert found == hits

    @rule(query=queries, field=fields, other=fields, interval=st.sampled_from([0, 10]))
    def count(self, query: Query, field: str, other: str, interval: int) -> None:
        self.follow()
        question = Question(field, other, interval, limit=3)
        expected = plainly([one for one in self.records if query.matches(one)], question)
        tally = finish(self.window.analyze(query, question)).tally
        finish(tally.spell(self.window.at))
        assert told(finish(answer(tally))) == expected

    @rule()
    def renumber(self) -> None:
        self.window._renumber()

    def teardown(self) -> None:
        self.counting.__exit__(None, None, None)

    @invariant()
    def agree(self) -> None:
        self.window._check()
        assert len(self.window) == len(self.records)
        for one in self.records:
            assert self.window.lookup(one.id) == (one.seq, one.payload)


class CountedByList(WindowAgainstAList):
    way = "by list"


class CountedByNumber(WindowAgainstAList):
    way = "by number"


class Passing(WindowAgainstAList):
    way = "passing"


TestWindowAgainstAList = WindowAgainstAList.TestCase
TestCountedByList = CountedByList.TestCase
TestCountedByNumber = CountedByNumber.TestCase
TestPassing = Passing.TestCase


def test_positions_are_renumbered_before_they_grow_too_large(monkeypatch: Any) -> None:
    monkeypatch.setattr(indexing, "_RENUMBER_AT", 20)
    machine = WindowAgainstAList()
    for number in range(100):
        machine.append(
            {"type": "user", "user_id": "u", "username": "n", "content": f"word{number}"}, number, 1
        )
        machine.agree()
    machine.read(compile_query(ANYBODY, Filters(text="word9")), 100, 0)
    assert machine.window._index.end <= 21


def test_swept_words_are_dropped_from_the_index() -> None:
    window = Window(max_messages=50, max_bytes=1 << 20)
    machine = WindowAgainstAList()
    machine.window = window
    for number in range(5000):
        machine.append(
            {"type": "user", "user_id": "u", "username": "n", "content": f"w{number}"}, number, 1
        )
        machine.records = machine.records[-50:]
    assert len(window._index._words) < 3000
    window._check()
