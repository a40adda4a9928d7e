"""The local engine: seqs that rise under any clock, and the first author of an id keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livelog.engine import local
from livelog.engine.base import Committed, Outcome
from livelog.engine.local import LocalEngine
from livelog.errors import GOING_AWAY, POLICY_VIOLATION, SERVER_ERROR, RefusedError
from livelog.wire.acts import Act, Enacted
from livelog.wire.record import Draft, Known, Origin, Receipt, Record
from livelog.wire.seqclock import AHEAD

NOW = datetime(2025, 12, 3, 12, tzinfo=UTC).timestamp()
BEGAN = int(NOW) * 1_000_000 - 1
"""Seq at which the logs begin."""
jumps = st.sampled_from([0.0, 0.0, 1e-7, 1e-6, 0.001, 1.0, -0.001, -3600.0, 3600.0])


class Sink:
    """A log in a dictionary, which may forget, refuse, be unreadable and answer late."""

    def __init__(self, head: int = BEGAN) -> None:
        self.head = head
        self.refusal: RefusedError | None = None
        self.unreadable: RefusedError | None = None
        self.late = False
        self.known: dict[str, Known] = {}
        self.seqs: list[int] = []
        self.waiting: list[Committed] = []

    def commit(self, records: Sequence[Record], done: Committed) -> None:
        for record in records:
            assert record.seq > self.head
            self.head = record.seq
            self.seqs.append(record.seq)
            self.known[record.id] = Known(record.seq, record.payload)
        self.waiting.append(done)
        if not self.late:
            self.settle()

    def settle(self, refused: RefusedError | None = None) -> None:
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(refused)

    def apply(self, seq: int, act: Act, done: Committed) -> None:
        assert seq > self.head
        self.head = seq
        self.seqs.append(seq)
        self.waiting.append(done)
        if not self.late:
            self.settle()

    def begin(self, origin: Origin) -> None:
        raise AssertionError("the order is made here")

    def lookup(self, id: str) -> Known | None:
        if self.unreadable is not None:
            raise self.unreadable
        return self.known.get(id)

    # What an engine asks that orders elsewhere.
    renewal = None
    lost_upto = 0
    forgot_acts = False

    def stored(self, upto: int, limit: int) -> list[tuple[int, str]]:
        return []

    def acts(self, before: int | None, limit: int) -> list[Enacted]:
        return []

    def has_act(self, first_seq: int) -> bool:
        return False


def draft(id: str, author: str = "u1", named: bool = True) -> Draft:
    payload = b'{"type":"user","id":"%b","user_id":"%b"}' % (id.encode(), author.encode())
    return Draft(id, "user", 0, (), "", (), payload, named)


def seqs_at(moments: Sequence[float], head: int = BEGAN) -> list[int]:
    """The seqs that messages get at these times."""
    now = iter(moments)
    engine, sink = LocalEngine(lambda: next(now), lambda: 0.0), Sink(head)
    engine.start(sink)
    for number in range(len(moments)):
        engine.submit([draft(f"m{number}")], lambda outcomes: None)
    return sink.seqs


@given(st.lists(jumps, max_size=200))
def test_seqs_rise_under_a_clock_that_stands_still_or_jumps_back(jumps: list[float]) -> None:
    moments = [NOW]
    for jump in jumps:
        moments.append(moments[-1] + jump)
    last = BEGAN
    for now, seq in zip(moments, seqs_at(moments), strict=True):
        assert seq == max(min(int(now * 1_000_000), BEGAN + AHEAD), last + 1)
        last = seq


def test_a_seq_is_the_time_in_microseconds_where_that_is_free() -> None:
    assert seqs_at([NOW, NOW, NOW + 1]) == [
        int(NOW) * 1_000_000,
        int(NOW) * 1_000_000 + 1,
        int(NOW + 1) * 1_000_000,
    ]


def test_a_new_engine_goes_on_above_the_head() -> None:
    head = int(NOW + 3600) * 1_000_000
    assert seqs_at([NOW, NOW], head) == [head + 1, head + 2]


def test_seqs_stay_exact_in_javascript_for_two_centuries() -> None:
    moment = datetime(2250, 1, 1, tzinfo=UTC).timestamp()
    [seq] = seqs_at([moment], int(moment * 1_000_000) - 1)
    assert seq < 2**53


def test_an_id_that_the_server_has_made_is_not_looked_up() -> None:
    engine, sink, told = LocalEngine(lambda: NOW), Sink(), list[Sequence[Outcome]]()
    engine.start(sink)
    sink.unreadable = RefusedError(SERVER_ERROR, "", "the disk is gone")
    assert engine.refusal(draft("a", named=False)) is None
    engine.submit([draft("a", named=False), draft("b")], told.append)
    assert told == [[Receipt("a", sink.head), sink.unreadable]]
    assert engine.refusal(draft("b")) is sink.unreadable


class LocalEngineAgainstADictionary(RuleBasedStateMachine):
    """Batches of few ids by few authors; the log forgets, fails, answers late, and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.closed = False
        self.sink = Sink()
        self.engine = LocalEngine(lambda: self.now, lambda: 0.0)
        self.engine.start(self.sink)
        self.owners: dict[str, tuple[str, int]] = {}
        """Author and seq of each id that is known."""
        self.expected: list[list[Outcome | str]] = []
        """What each batch is to be told: receipts, or the author who must not have the id."""
        self.told: dict[int, Sequence[Outcome]] = {}

    @rule(
        batch=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["u1", "u2"]))),
        jump=jumps,
    )
    def submit(self, batch: list[tuple[str, str]], jump: float) -> None:
        self.now += jump
        number, last = len(self.expected), self.sink.head
        drafts = [draft(id, author) for id, author in batch]
        expected: list[Outcome | str] = []
        for id, author in batch:
            if self.closed:
                expected.append("closed")
                continue
            if id not in self.owners:
                last = max(min(int(self.now * 1_000_000), BEGAN + AHEAD), last + 1)
                self.owners[id] = (author, last)
            first, seq = self.owners[id]
            expected.append(Receipt(id, seq) if first == author else "somebody else")
        self.expected.append(expected)

        def done(outcomes: Sequence[Outcome]) -> None:
            assert number not in self.told
            self.told[number] = outcomes

        self.engine.submit(drafts, done)
        assert self.sink.head == last

    @rule(late=st.booleans())
    def delay(self, late: bool) -> None:
        self.sink.late = late

    @rule()
    def settle(self) -> None:
        self.sink.settle()

    @rule()
    def fail(self) -> None:
        """Receipts become refusals; a refusal stays the one it was."""
        refused = RefusedError(SERVER_ERROR, "", "the disk is full")
        for number, expected in enumerate(self.expected):
            if number not in self.told:
                self.expected[number] = ["full" if isinstance(e, Receipt) else e for e in expected]
        self.sink.settle(refused)

    @rule(id=st.sampled_from("abcd"))
    def forget(self, id: str) -> None:
        self.sink.known.pop(id, None)
        self.owners.pop(id, None)

    @rule()
    def close(self) -> None:
        asyncio.run(self.engine.close())
        self.closed = True

    @invariant()
    def seqs_rise(self) -> None:
        assert self.sink.seqs == sorted(set(self.sink.seqs))

    @invariant()
    def every_batch_is_told_what_became_of_it(self) -> None:
        if not self.sink.waiting:
            assert self.told.keys() == set(range(len(self.expected)))
        for number, outcomes in self.told.items():
            assert [*map(spelled, outcomes)] == self.expected[number]

    @invariant()
    def what_would_be_refused_is_known_before(self) -> None:
        for id in "abcd":
            owner, _ = self.owners.get(id, ("", 0))
            for author in ("u1", "u2"):
                refused = self.engine.refusal(draft(id, author))
                assert (refused is None) == (not self.closed and owner in ("", author))


def spelled(outcome: Outcome) -> Outcome | str:
    """A receipt, or a refusal in a word."""
    if isinstance(outcome, Receipt):
        return outcome
    words = {POLICY_VIOLATION: "somebody else", SERVER_ERROR: "full", GOING_AWAY: "closed"}
    return words[outcome.code]


TestLocalEngineAgainstADictionary = LocalEngineAgainstADictionary.TestCase


def test_a_batch_that_cannot_be_placed_is_answered_once_and_commits_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(draft: Draft, seq: int) -> Record:
        raise MemoryError

    sink, told = Sink(), list[Sequence[Outcome]]()
    engine = LocalEngine(lambda: NOW)
    engine.start(sink)
    with monkeypatch.context() as patch:
        patch.setattr(local, "place", fail)
        engine.submit([draft("a"), draft("b")], told.append)
    [outcomes] = told
    assert [isinstance(one, RefusedError) and one.code for one in outcomes] == [SERVER_ERROR] * 2
    assert not sink.seqs
    engine.submit([draft("a")], told.append)
    assert isinstance(told[1][0], Receipt)
