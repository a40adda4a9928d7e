"""The contract of an engine, for the local one and for a toy that orders elsewhere.

Over ingest and log as they are: order per submitter, one answer per batch with an outcome per
draft, deduplication, authors, refusals and the end. `test_engine_doors.py` goes on through the
doors.
"""

from __future__ import annotations

import asyncio
import functools
import random
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from livelog.auth.principal import PROGRAM
from livelog.engine.base import Committed, Done, Outcome
from livelog.errors import POLICY_VIOLATION, SERVER_ERROR, RefusedError
from livelog.log.ingest import Ingest, convert
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.base import Bounds, Store
from livelog.store.memory import MemoryJournal
from livelog.wire.acts import Group, Redact
from livelog.wire.record import Draft, Receipt, Record
from tests.support.toyengine import (
    Make,
    each_calm_archiving_engine,
    each_calm_engine,
    each_engine,
)
from tests.support.wire import run, soon, until, user


class LateJournal(MemoryJournal):
    """Says that records are safe, or not, when a test wants it to."""

    def __init__(self) -> None:
        super().__init__()
        self.late = False
        self.waiting: list[Committed] = []

    def append(self, records: Sequence[Record], done: Committed) -> None:
        self.waiting.append(done)
        if not self.late:
            self.settle()

    def settle(self, refused: RefusedError | None = None) -> None:
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(refused)


class Stage:
    """Ingest, an engine and a log, and all that a subscriber is told."""

    def __init__(self, make: Make) -> None:
        self.journal = LateJournal()
        self.delivered: list[Record] = []
        self.log = Log(Window(10_000, 10**9), Store(self.journal, None, Bounds()), [self])
        self.engine = make()(time.time)
        self.engine.start(self.log)
        self.ingest = Ingest(self.engine, time.time, 1 << 16)
        self.answers: list[list[Sequence[Outcome]]] = []
        """What each submit was answered with, call by call."""

    def publish(self, record: Record) -> None:
        """Be told by the log."""
        self.delivered.append(record)

    def draft(self, id: str = "", content: str = "", author: str = "u1") -> Draft:
        given = {"id": id} if id else {}
        return self.ingest.admit(PROGRAM, convert(user(content, user_id=author, **given)))

    def submit(self, *drafts: Draft, then: Done = lambda outcomes: None) -> int:
        """Submit a batch; returns its number."""
        number, thread = len(self.answers), threading.get_ident()
        self.answers.append([])

        def done(outcomes: Sequence[Outcome]) -> None:
            assert threading.get_ident() == thread
            self.answers[number].append(outcomes)
            then(outcomes)

        self.ingest.publish(drafts, done)
        return number

    async def answered(self) -> list[Sequence[Outcome]]:
        """The answers of all submits, one each."""
        await until(lambda: all(self.answers), "all answers")
        await asyncio.sleep(0.01)  # a second one would come now
        assert [len(answers) for answers in self.answers] == [1] * len(self.answers)
        return [answers[0] for answers in self.answers]

    async def insist(self, *drafts: Draft) -> Sequence[Outcome]:
        """Submit a batch until it is not refused for being unlucky."""
        while True:
            answered = asyncio.get_running_loop().create_future()
            self.submit(*drafts, then=answered.set_result)
            outcomes: Sequence[Outcome] = await soon(answered)
            if not any(away(outcome) for outcome in outcomes):
                return outcomes


def away(outcome: Outcome) -> bool:
    """It is worth another attempt."""
    return isinstance(outcome, RefusedError) and outcome.code == SERVER_ERROR


def seqs(outcomes: Sequence[Outcome]) -> list[int]:
    return [outcome.seq for outcome in outcomes if isinstance(outcome, Receipt)]


def on_stage(test: Callable[[Stage], Coroutine[Any, Any, None]]) -> Callable[[Make], None]:
    """A test that is a coroutine function of a stage, which is cleared at the end."""

    @functools.wraps(test, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def wrapper(make: Make) -> None:
        async def main() -> None:
            stage = Stage(make)
            try:
                await test(stage)
            finally:
                await stage.engine.close()

        run(main())

    del wrapper.__wrapped__  # pytest would look at its arguments
    return wrapper


@each_engine
@on_stage
async def test_each_batch_is_answered_once_with_an_outcome_per_draft(stage: Stage) -> None:
    sizes = [1, 0, 3, 100, 1, 2, 0, 40]
    batches = [[stage.draft() for _ in range(size)] for size in sizes]
    for batch in batches:
        stage.submit(*batch)
    for batch, outcomes in zip(batches, await stage.answered(), strict=True):
        assert len(outcomes) == len(batch)
        for draft, outcome in zip(batch, outcomes, strict=True):
            assert away(outcome) or (isinstance(outcome, Receipt) and outcome.id == draft.id)


@each_engine
@on_stage
async def test_batches_keep_their_order_and_what_is_acknowledged_is_delivered_once(
    stage: Stage,
) -> None:
    dice = random.Random(1)
    for _ in range(200):
        stage.submit(*(stage.draft() for _ in range(dice.randrange(4))))
        if dice.random() < 0.2:
            await asyncio.sleep(dice.choice([0, 0.001]))
    receipts = [
        outcome
        for outcomes in await stage.answered()
        for outcome in outcomes
        if isinstance(outcome, Receipt)
    ]
    assert receipts == [(record.id, record.seq) for record in stage.delivered]
    given = [receipt.seq for receipt in receipts]
    assert given == sorted(set(given))
    assert stage.log.head == given[-1]


@each_engine
@on_stage
async def test_a_submit_from_inside_of_an_answer_comes_behind_and_is_answered_too(
    stage: Stage,
) -> None:

    def go_on(outcomes: Sequence[Outcome]) -> None:
        if len(stage.answers) < 30:
            stage.submit(stage.draft(), stage.draft(), then=go_on)

    stage.submit(stage.draft(), stage.draft(), then=go_on)
    await until(lambda: len(stage.answers) == 30, "the last submit")
    given = [seq for outcomes in await stage.answered() for seq in seqs(outcomes)]
    assert [record.seq for record in stage.delivered] == given == sorted(given)


@each_calm_engine
@on_stage
async def test_an_id_is_taken_once_within_a_batch_and_across_batches(stage: Stage) -> None:
    """Also while the first batch with it is still under way."""
    stage.submit(stage.draft("a"), stage.draft("b"), stage.draft("a", "changed"))
    stage.submit(stage.draft("b"), stage.draft("c"))
    first, second = await stage.answered()
    assert first[2] == first[0]
    assert second[0] == first[1]
    stage.submit(stage.draft("c"), stage.draft("a"))
    third = (await stage.answered())[2]
    assert third == [second[1], first[0]]
    assert [record.id for record in stage.delivered] == ["a", "b", "c"]
    assert b"changed" not in stage.delivered[0].payload


@each_calm_engine
@on_stage
async def test_an_id_of_somebody_else_is_refused_in_its_own_outcome(stage: Stage) -> None:
    """It is neither delivered nor acknowledged, and what comes with it is not concerned.

    Ids of authors compare byte for byte, too: these two look alike.
    """
    mine = stage.draft("a", author="Jos\u00e9")
    others = stage.draft("a", author="Jose\u0301")
    stage.submit(mine, others, stage.draft("b"))
    stage.submit(others, mine)
    first, second = await stage.answered()
    for refused in (first[1], second[0]):
        assert isinstance(refused, RefusedError)
        assert (refused.code, refused.field) == (POLICY_VIOLATION, "id")
        assert refused.issue == "is that of a message by somebody else"
    assert second[1] == first[0]
    assert [record.id for record in stage.delivered] == ["a", "b"]


@each_engine
@on_stage
async def test_an_act_has_its_place_behind_what_has_been_answered(stage: Stage) -> None:
    entries: list[int] = []
    stage.log.on_act.append(lambda seq, act: entries.append(len(stage.delivered)))
    for count in (1, 2):
        await stage.insist(stage.draft(), stage.draft())
        enacted: asyncio.Future[int | RefusedError] = asyncio.get_running_loop().create_future()
        act = Redact(by="m", at="2025-12-03T12:00:00Z", groups=(Group("user", (1,)),))
        stage.engine.act(act, enacted.set_result)
        seq = await soon(enacted)
        assert seq == stage.log.head > stage.delivered[-1].seq
        assert [one.seq for one in stage.log.acts(limit=1)] == [seq]
        assert entries == [2, 4][:count]
    await stage.insist(stage.draft())
    assert stage.delivered[-1].seq > stage.log.acts()[0].seq


@each_engine
@on_stage
async def test_publishers_that_insist_get_all_through_once_and_in_their_order(stage: Stage) -> None:

    async def publisher(name: str) -> list[int]:
        given: list[int] = []
        for number in range(30):
            batch = [stage.draft(f"{name}.{number}.{part}") for part in range(number % 4)]
            given += seqs(await stage.insist(*batch))
            if number % 5 == 0:  # the answer was lost
                assert seqs(await stage.insist(*batch)) == given[len(given) - len(batch) :]
        return given

    every = await asyncio.gather(*(publisher(name) for name in "pqr"))
    assert all(given == sorted(set(given)) for given in every)
    assert sorted(seq for given in every for seq in given) == [r.seq for r in stage.delivered]
    published = 3 * sum(number % 4 for number in range(30))
    assert len({record.id for record in stage.delivered}) == len(stage.delivered) == published


@each_calm_archiving_engine
@on_stage
async def test_an_answer_waits_for_the_sink_and_says_when_it_failed(stage: Stage) -> None:
    stage.journal.late = True
    stage.submit(stage.draft("a"), stage.draft("a", author="u2"))
    await until(lambda: stage.journal.waiting, "a commit")
    assert stage.answers == [[]]
    assert [record.id for record in stage.delivered] == ["a"]
    full = RefusedError(SERVER_ERROR, "", "the disk is full")
    stage.journal.settle(full)
    [[receipt, refused]] = await stage.answered()
    assert receipt is full
    assert isinstance(refused, RefusedError)
    assert refused.code == POLICY_VIOLATION
    stage.submit(stage.draft("a"))
    await until(lambda: stage.journal.waiting, "a commit")
    stage.journal.settle()
    assert seqs((await stage.answered())[1]) == [stage.delivered[0].seq]


@each_engine
@on_stage
async def test_after_the_end_all_is_answered_and_nothing_is_taken(stage: Stage) -> None:
    draft = stage.draft()
    assert stage.engine.refusal() is None
    assert stage.engine.refusal(draft) is None
    for _ in range(20):
        stage.submit(stage.draft(), stage.draft())
    await stage.engine.close()
    assert stage.engine.refusal() is not None
    stage.submit(draft, draft)
    with pytest.raises(RefusedError):
        stage.draft()
    *before, after = await stage.answered()
    assert [isinstance(outcome, RefusedError) for outcome in after] == [True, True]
    given = [seq for outcomes in before for seq in seqs(outcomes)]
    assert given == [record.seq for record in stage.delivered]
