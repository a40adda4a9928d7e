"""The log: one commit reaches window, store and hub in order; reads lead back to the same bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import cast

import pytest

from livelog.auth.principal import ANYBODY
from livelog.budget.owner import INTERNAL
from livelog.errors import SERVER_ERROR, RefusedError
from livelog.fanout.audience import Reader
from livelog.fanout.catchup import CatchUp
from livelog.fanout.flusher import Flusher
from livelog.fanout.hub import Hub
from livelog.fanout.pacing import Pacing
from livelog.index.paging import Page, Span
from livelog.index.query import EVERYTHING, NOTHING, compile_query
from livelog.log import intake
from livelog.log import log as log_module
from livelog.log.idtable import IdTable
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.base import Bounds, Done, Store, StoreReader
from livelog.store.memory import MemoryJournal, open_memory
from livelog.wire import frames
from livelog.wire.acts import Announce, Enacted, Group, Redact
from livelog.wire.commands import Filters
from livelog.wire.record import Record
from livelog.wire.stubs import is_stub
from tests.support.party import Silent
from tests.support.strategies import record, split
from tests.support.wire import on_each_loop, on_uvloop, until, user

SYSTEM = NOTHING.with_types({"system": EVERYTHING})


def records(*seqs: int) -> list[Record]:
    data = {"note": "red dragon"}
    return [record({"type": "system", "event": "error", "data": data}, seq) for seq in seqs]


class LateJournal(MemoryJournal):
    """Says that records are safe, or not, when a test wants it to."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Record] = []
        self.waiting: list[Done] = []

    def append(self, records: Sequence[Record], done: Done) -> None:
        self.kept += records
        self.waiting.append(done)

    def enact(self, enacted: Enacted, done: Done) -> None:
        def written(refused: RefusedError | None) -> None:
            super(LateJournal, self).enact(enacted, done)

        self.waiting.append(written)


class Place:
    """A log and what has happened around it."""

    def __init__(self, journal: MemoryJournal | None = None, window: int = 10_000) -> None:
        self.hub = Hub()
        self.wakes = 0
        self.told: list[RefusedError | None] = []
        self.received: list[bytes] = []
        store = Store(journal or MemoryJournal(), None, Bounds())
        self.log = Log(Window(window, 10**9), store, [self.hub])
        self.hub.on_work = self.wake
        reader = Reader(self.received.append, Silent())
        reader.subscription = SYSTEM
        self.hub.join(reader)

    def wake(self) -> None:
        self.wakes += 1

    def commit(self, *seqs: int) -> list[Record]:
        fresh = records(*seqs)
        self.log.commit(fresh, self.told.append)
        return fresh


def test_what_is_committed_is_in_the_window_the_store_and_the_hub() -> None:
    journal = LateJournal()
    place = Place(journal)
    fresh = place.commit(1, 2, 5)
    assert place.log.head == 5
    chunk = place.log.read_after(0, SYSTEM, 10**6)
    assert chunk is not None
    assert chunk.frames == [one.frame for one in fresh]
    assert journal.kept == fresh
    assert place.wakes == 1
    place.hub.begin()
    place.hub.flush(10)
    assert place.received == [b"".join(one.frame for one in fresh)]


def test_delivery_does_not_wait_for_the_store_but_the_receipt_does() -> None:
    journal = LateJournal()
    place = Place(journal)
    place.commit(1)
    assert not place.hub.idle
    assert place.told == []
    refused = RefusedError(SERVER_ERROR, "", "the disk is full")
    for done, outcome in zip(journal.waiting, [refused], strict=True):
        done(outcome)
    assert place.told == [refused]


def test_without_a_store_a_message_is_safe_at_once() -> None:
    place = Place()
    place.commit(1)
    assert place.told == [None]


def test_what_an_earlier_process_gave_out_is_below_the_start_of_a_new_one() -> None:
    assert open_memory(1_764_763_201.5).bounds.last_seq > 1_764_763_200_999_999


def test_an_id_is_known_as_long_as_the_window_has_it() -> None:
    place = Place(window=2)
    fresh = place.commit(1, 2, 3)
    known = [place.log.lookup(f"id_{seq}") for seq in (1, 2, 3)]
    assert known == [None, (2, fresh[1].payload), (3, fresh[2].payload)]


def test_a_publisher_that_goes_on_at_once_does_not_disturb_the_order() -> None:
    """A journal may answer before `append` returns, and the one who is told may commit again."""
    place = Place()

    def go_on(refused: RefusedError | None) -> None:
        place.told.append(refused)
        if place.log.head < 12:
            first = place.log.head + 1
            place.log.commit(records(first, first + 1), go_on)

    place.log.commit(records(1, 2, 3), go_on)
    assert place.log.head == 13
    assert place.told == [None] * 6
    place.hub.begin()
    place.hub.flush(10)
    delivered = [json.loads(frames.payload(one))["seq"] for one in split(place.received[0])]
    assert delivered == list(range(1, 14))
    chunk = place.log.read_after(0, SYSTEM, 10**6)
    assert chunk is not None
    assert b"".join(chunk.frames) == place.received[0]


@on_each_loop
async def test_a_commit_of_a_later_turn_of_the_loop_is_flushed() -> None:
    """As an engine makes that orders elsewhere: nobody has to wake the flusher for it."""
    place = Place()
    loop = asyncio.get_running_loop()
    Flusher(loop, place.hub, CatchUp(place.log, place.hub), Pacing(0.5, 0.09))
    for seq in (1, 2):
        loop.call_later(0.01 * seq, place.commit, seq)
        assert len(place.received) < seq
        # mypy cannot infer a lambda with a default, which binds the number of this round.
        await until(lambda seq=seq: len(place.received) == seq, "flushed")  # type: ignore[misc]


def test_a_page_of_history_has_the_bytes_that_were_delivered() -> None:
    place = Place()
    fresh = place.commit(*range(1, 11))
    page = asyncio.run(place.log.read(EVERYTHING, Span(3, 2), INTERNAL))
    assert page.payloads == [one.payload for one in (fresh[7], fresh[6], fresh[5])]
    assert page.total == 10
    assert [json.loads(payload)["seq"] for payload in page.payloads] == [8, 7, 6]


@pytest.mark.parametrize(("limit", "offset", "seqs"), [(5, 0, [2, 1]), (5, 2, []), (1, 1, [1])])
def test_a_page_at_the_end_is_short_or_empty(limit: int, offset: int, seqs: list[int]) -> None:
    place = Place()
    place.commit(1, 2)
    page = asyncio.run(place.log.read(EVERYTHING, Span(limit, offset), INTERNAL))
    assert ([json.loads(payload)["seq"] for payload in page.payloads], page.total) == (seqs, 2)


def test_other_tasks_run_while_a_long_read_goes_on() -> None:
    place = Place()
    place.commit(*range(1, 5001))
    iterations = 0

    async def others() -> None:
        nonlocal iterations
        while True:
            iterations += 1
            await asyncio.sleep(0)

    async def read() -> int:
        busy = asyncio.create_task(others())
        page = await place.log.read(
            compile_query(ANYBODY, Filters(text='"red dragon"')), Span(10, 4000), INTERNAL
        )
        busy.cancel()
        return page.total

    assert asyncio.run(read()) == 5000
    assert iterations >= 4


class FullJournal(MemoryJournal):
    """Fails, having called `done` or not."""

    def __init__(self, *, told: bool) -> None:
        super().__init__()
        self.told = told
        self.fails = True

    def append(self, records: Sequence[Record], done: Done) -> None:
        if self.told or not self.fails:
            done(None)
        if self.fails:
            raise MemoryError


@pytest.mark.parametrize("told", [False, True])
def test_a_log_whose_journal_fails_takes_nothing_more_and_says_so(told: bool) -> None:
    journal = FullJournal(told=told)
    place = Place(journal)
    place.commit(1)
    journal.fails = False
    place.commit(2)
    assert len(place.told) == 2, "each is told once"
    assert (place.told[0] is None) == told
    assert place.told[1] is not None
    assert place.told[1].code == SERVER_ERROR
    assert place.log.refusal is not None
    assert "has failed" in place.log.refusal.issue
    assert place.log.head == 1
    place.log._window._check()
    place.hub.begin()
    place.hub.flush(10)
    assert len(place.received) == 1


def test_what_cannot_be_appended_is_refused_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = LateJournal()
    place = Place(journal)
    place.commit(1)
    add, added = IdTable.add, list[str]()

    def fail(table: IdTable, id: str) -> None:
        if added:
            raise MemoryError
        added.append(id)
        add(table, id)

    with monkeypatch.context() as patch:
        patch.setattr(IdTable, "add", fail)
        place.commit(2, 3)
    [refused] = place.told
    assert refused is not None
    assert refused.code == SERVER_ERROR
    assert place.log.refusal is None
    assert (place.log.head, [one.seq for one in journal.kept]) == (1, [1])
    assert place.log.lookup("id_2") is None
    place.log._window._check()
    place.commit(4)
    place.hub.begin()
    place.hub.flush(10)
    assert [json.loads(frames.payload(one))["seq"] for one in split(place.received[0])] == [1, 4]


def test_a_publisher_or_subscriber_that_fails_is_no_matter_of_the_others() -> None:
    place = Place()
    calls: list[RefusedError | None] = []

    class Failing:
        def publish(self, record: Record) -> None:
            raise MemoryError

    def done(refused: RefusedError | None) -> None:
        calls.append(refused)
        raise RuntimeError("gone")

    place.log._subscribers = [Failing(), place.hub]
    place.log.commit(records(1, 2), done)
    assert calls == [None]
    place.commit(3)
    place.hub.begin()
    place.hub.flush(10)
    seqs = [json.loads(frames.payload(one))["seq"] for one in split(place.received[0])]
    assert seqs == [1, 2, 3]


def test_a_log_whose_index_is_far_behind_tells_publishers_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place()
    monkeypatch.setattr(intake, "_MAX_BACKLOG_BYTES", 10_000)
    place.commit(*range(1, 201))
    refused = place.log.refusal
    assert refused is not None
    assert refused.retry_after
    while place.log.refusal is not None:
        assert place.log.work()
    place.log._window._check()
    for _ in place.log.indexing():
        pass
    assert not place.log._window.waiting_bytes


def test_what_a_lower_bound_evicts_is_swept_without_another_message() -> None:
    place = Place()
    for seq in range(1, 21):
        text = " ".join(f"{word:05x}" for word in range(1000 * seq, 1000 * seq + 1000))
        place.log.commit([record(user(text), seq)], place.told.append)
    for _ in place.log.indexing():
        pass
    woken: list[None] = []
    place.log.on_work = lambda: woken.append(None)
    place.log.bound(2**20)
    assert woken == [None]
    for _ in place.log.indexing():
        pass
    assert place.log.memory <= 2**20
    place.log.bound(2**20)
    assert woken == [None], "nothing is left to do"


@on_each_loop
async def test_a_page_that_needs_only_the_window_does_not_wait_long_for_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Busy:
        async def page(self, *asked: object, **more: object) -> Page:
            await asyncio.Event().wait()
            raise AssertionError("nothing sets it")

    monkeypatch.setattr(log_module, "_STORE_ASKED", 0.01)
    busy = cast(StoreReader, Busy())
    log = Log(Window(100, 10**9, follows=10), Store(MemoryJournal(), busy, Bounds(10)), [])
    log.commit(records(11, 12, 13), lambda refused: None)
    page = await log.read(EVERYTHING, Span(2), INTERNAL)
    assert (len(page.payloads), page.total, page.incomplete) == (2, 3, True)


def test_acts_are_told_of_before_they_are_written() -> None:
    journal = LateJournal()
    log = Place(journal).log
    for seq in (3, 5, 8):
        act = Announce(by="mod", at="2026-01-01T12:00:00.000Z", message=seq - 1, severity="info")
        log.apply(seq, act, lambda refused: None)
    journal.waiting[0](None)
    assert [each.seq for each in log.acts()] == [8, 5, 3]
    assert [each.seq for each in log.acts(8, 1)] == [5]
    assert [each.seq for each in log.acts(5)] == [3]
    for written in journal.waiting[1:]:
        written(None)
    assert [each.seq for each in log.acts()] == [8, 5, 3]
    assert not log._acts._unwritten


@pytest.mark.parametrize("stored", [False, True])
@on_uvloop
async def test_a_page_under_way_has_no_text_that_is_redacted_meanwhile(
    monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    act = Redact(by="mod", at="2026-01-01T12:00:00.000Z", groups=(Group("system", (2, 12)),))
    old = [frames.payload(each.frame) for each in records(3, 2, 1)]

    def redact() -> None:
        log.apply(20, act, lambda refused: None)

    class Slow:
        async def page(self, *asked: object, **more: object) -> Page:
            redact()
            return Page(old, 3, 0)

    async def turn() -> None:
        redact()

    slow = cast(StoreReader, Slow()) if stored else None
    monkeypatch.setattr("livelog.log.pages.SMALL_BYTES", 10**9 if stored else 0)
    monkeypatch.setattr("livelog.log.pages.long_step", turn)
    log = Log(Window(100, 10**9, follows=10), Store(MemoryJournal(), slow, Bounds(10)), [])
    log.commit(records(11, 12, 13), lambda refused: None)
    page = await log.read(EVERYTHING, Span(9), INTERNAL)
    stubs = [is_stub(payload) for payload in page.payloads]
    assert stubs == [False, True, False, False, True, False][: 6 if stored else 3]
