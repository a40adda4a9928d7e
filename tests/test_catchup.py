"""Readers that are behind: they alternate, are told what is gone, and join at the head."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from livelog.auth.principal import ANYBODY
from livelog.budget.memory import CHUNK_BYTES
from livelog.budget.slices import Slice
from livelog.errors import SERVER_ERROR, RefusedError
from livelog.fanout import catchup
from livelog.fanout.audience import Reader
from livelog.fanout.catchup import STEP_BYTES, CatchUp
from livelog.fanout.hub import Hub
from livelog.index.paging import Chunk
from livelog.index.plan import finish
from livelog.index.query import EVERYTHING, NOTHING, Subscription, compile_query
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.memory import open_memory
from livelog.wire import frames
from livelog.wire.commands import Filters
from livelog.wire.record import Record
from tests.support.party import Silent
from tests.support.strategies import Json, record, split
from tests.support.wire import no_faults, on_uvloop, only_faults, until

SYSTEM = NOTHING.with_types({"system": EVERYTHING})
USERS = NOTHING.with_types({"user": EVERYTHING})


class Client:
    """A reader and what has been written to it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.party = Silent()
        self.reader = Reader(self.write, self.party)

    def write(self, data: bytes) -> None:
        assert not self.reader.blocked
        self.writes.append(data)

    @property
    def messages(self) -> list[Json]:
        return [json.loads(frames.payload(frame)) for frame in split(b"".join(self.writes))]

    @property
    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.messages if "seq" in message]


class Place:
    """Log, hub and catch-up, and the flusher's order of things."""

    def __init__(self, window: int = 100_000, began: int = 0) -> None:
        self.hub = Hub(began)
        store = open_memory((began + 1.5) / 1e6)
        self.log = Log(Window(window, 10**9), store, [self.hub])
        self.catch_up = CatchUp(self.log, self.hub)

    def fill(self, count: int, size: int = 0) -> list[Record]:
        head = self.hub.head
        fresh = [
            record({"type": "system", "event": "error", "data": {"x": "y" * size}}, head + n)
            for n in range(1, count + 1)
        ]
        self.log.commit(fresh, lambda refused: None)
        return fresh

    def tick(self) -> None:
        self.hub.begin()
        self.catch_up.step(Slice(60))
        finish(self.hub.matching())
        while self.hub.flush(2):
            pass
        self.hub._check()

    def settle(self) -> int:
        ticks = 0
        while not (self.hub.idle and self.catch_up.idle):
            self.tick()
            ticks += 1
        return ticks

    def reader(self, subscription: Subscription, since: int | None = None) -> Client:
        client = Client()
        self.catch_up.move(client.reader, subscription, since)
        return client


def test_a_new_reader_gets_what_comes_not_what_was() -> None:
    place = Place()
    place.fill(3)
    client = place.reader(SYSTEM)
    assert place.catch_up.idle
    place.fill(2)
    place.settle()
    assert client.seqs == [4, 5]


@pytest.mark.parametrize("since", range(4))
def test_since_gets_everything_after_it_and_then_what_comes(since: int) -> None:
    place = Place()
    place.fill(3)
    client = place.reader(SYSTEM, since)
    place.fill(1)
    place.settle()
    place.fill(1)
    place.settle()
    assert client.seqs == list(range(since + 1, 6))


def test_since_again_gets_it_again() -> None:
    place = Place()
    place.fill(3)
    client = place.reader(SYSTEM, 0)
    place.settle()
    place.catch_up.move(client.reader, SYSTEM, 1)
    place.settle()
    assert client.seqs == [1, 2, 3, 2, 3]


def test_what_is_gone_is_told_once_before_what_is_left() -> None:
    place = Place(window=3)
    place.fill(10)
    client = place.reader(SYSTEM, 2)
    place.settle()
    assert client.messages[0] == {"action": "gap", "from": 2, "to": 7}
    assert client.seqs == [8, 9, 10]
    assert len(client.messages) == 4
    assert place.hub.position(client.reader) == 10


def test_who_comes_back_to_a_new_process_is_told_what_it_may_have_missed() -> None:
    place = Place(began=100)
    before, all_there_is = place.reader(SYSTEM, 60), place.reader(SYSTEM, 0)
    place.settle()
    assert before.messages == [{"action": "gap", "from": 60, "to": 100}]
    assert all_there_is.messages == []
    place.fill(2)
    place.settle()
    assert before.seqs == all_there_is.seqs == [101, 102]


def test_who_has_missed_nothing_is_told_nothing() -> None:
    place = Place(window=3)
    place.fill(10)
    client = place.reader(SYSTEM, 7)
    place.settle()
    assert [message["seq"] for message in client.messages] == [8, 9, 10]


def test_a_blocked_reader_keeps_its_place_and_is_told_of_the_gap_when_it_comes_back() -> None:
    place = Place(window=5)
    client = place.reader(SYSTEM, 0)
    place.fill(2)
    place.settle()
    place.catch_up.block(client.reader)
    place.fill(20)
    assert place.settle() == 0, "nobody is there to be written to"
    assert place.hub.position(client.reader) == 2
    place.catch_up.unblock(client.reader)
    place.settle()
    assert client.messages[2] == {"action": "gap", "from": 2, "to": 17}
    assert client.seqs == [1, 2, 18, 19, 20, 21, 22]


def test_a_gap_is_told_even_when_nothing_after_it_is_wanted() -> None:
    place = Place(window=3)
    place.fill(10)
    client = place.reader(USERS, 0)
    place.settle()
    assert client.messages == [{"action": "gap", "from": 0, "to": 7}]


def test_readers_alternate_and_a_step_is_bounded() -> None:
    place = Place()
    place.fill(64, size=CHUNK_BYTES // 8)
    clients = [place.reader(SYSTEM, 0) for _ in range(6)]
    place.hub.begin()
    place.catch_up.step(Slice(60))
    served = [client for client in clients if client.writes]
    total = sum(len(write) for client in clients for write in client.writes)
    assert len(served) < len(clients)
    assert total < STEP_BYTES + 2 * CHUNK_BYTES
    assert all(len(client.writes) == 1 for client in served), "one chunk each"
    place.catch_up.step(Slice(60))
    assert all(client.writes for client in clients), "readers without a chunk come first"
    place.hub.flush(1)
    place.settle()
    assert all(client.seqs == list(range(1, 65)) for client in clients)


def test_a_reader_that_finds_nothing_stops_when_the_time_is_over() -> None:
    place = Place()
    place.fill(6000)
    clients = [place.reader(USERS, 0) for _ in range(3)]
    place.hub.begin()
    place.catch_up.step(Slice(0))
    assert sum(client.reader.cursor for client in clients) < 3 * 6000
    place.settle()
    assert all(place.hub.position(client.reader) == 6000 for client in clients)


def test_a_reader_that_cannot_be_served_is_told_of_a_gap_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place()
    place.fill(10)
    clients = [place.reader(subscription, 0) for subscription in (SYSTEM, USERS, SYSTEM)]
    read = place.log.read_after

    def fail(cursor: int, wanted: Subscription, *rest: Any) -> Chunk | None:
        if wanted == USERS:
            raise MemoryError
        return read(cursor, wanted, *rest)

    monkeypatch.setattr(place.log, "read_after", fail)
    place.settle()
    assert [client.seqs for client in clients] == [list(range(1, 11)), [], list(range(1, 11))]
    assert clients[1].messages == [{"action": "gap", "from": 0, "to": 10}]
    assert clients[1].reader.audience is not None


def test_more_comes_in_while_a_reader_catches_up_and_it_gets_that_too() -> None:
    place = Place()
    place.fill(40, size=CHUNK_BYTES // 8)
    client = place.reader(SYSTEM, 0)
    while not place.catch_up.idle:
        if place.hub.head < 60:
            place.fill(1)
        place.tick()
    place.settle()
    assert client.seqs == list(range(1, place.hub.head + 1))


def test_a_change_holds_from_where_the_reader_is() -> None:
    place = Place()
    place.fill(3)
    behind, live = place.reader(SYSTEM, 0), place.reader(SYSTEM)
    place.fill(1)
    for client in (behind, live):
        place.catch_up.move(client.reader, NOTHING)
    assert place.catch_up.idle
    place.fill(1)
    place.settle()
    assert live.seqs == [4], "asked for before the change, so still handed over"
    assert behind.seqs == [], "had not come so far"
    assert [place.hub.position(client.reader) for client in (live, behind)] == [5, 5]


def test_a_change_while_blocked_holds_from_its_place_on_and_nothing_is_written() -> None:
    place = Place()
    client = place.reader(SYSTEM)
    place.fill(1)
    place.catch_up.block(client.reader)
    error = compile_query(ANYBODY, Filters(severity="error"))
    place.catch_up.move(client.reader, NOTHING.with_types({"system": error}))
    assert client.writes == []
    place.fill(1)
    place.catch_up.unblock(client.reader)
    place.settle()
    assert client.seqs == []
    assert place.hub.position(client.reader) == 2


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5))
def test_all_readers_get_all_from_their_places(asked: list[tuple[int, int]]) -> None:
    place = Place(window=12)
    place.fill(20)
    clients = [(min(since, 20), place.reader(SYSTEM, min(since, 20))) for since, _ in asked]
    for _, more in asked:
        place.fill(more % 3)
        place.tick()
    place.settle()
    for since, client in clients:
        gaps = [message for message in client.messages if message.get("action") == "gap"]
        [lost] = [gap["to"] for gap in gaps] or [since]
        assert client.seqs == list(range(lost + 1, place.hub.head + 1))
        assert not gaps or gaps == client.messages[:1] == [
            {"action": "gap", "from": since, "to": lost}
        ]


class CatchUpMachine(RuleBasedStateMachine):
    """Readers that come, block and go in whatever order get each message once, in order."""

    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.place = Place()  # a window that loses nothing
        self.sinces: dict[Client, int] = {}

    @rule(count=st.integers(1, 4), large=st.booleans())
    def publish(self, count: int, large: bool) -> None:
        self.place.fill(count, size=CHUNK_BYTES if large else 0)

    @rule(target=readers, back=st.integers(0, 6) | st.none())
    def subscribe(self, back: int | None) -> Client:
        head = self.place.hub.head
        since = None if back is None else max(0, head - back)
        client = self.place.reader(SYSTEM, since)
        self.sinces[client] = head if since is None else since
        return client

    @rule(client=readers, back=st.integers(0, 6))
    def resume(self, client: Client, back: int) -> None:
        """Ask for some of it again."""
        since = max(0, self.place.hub.head - back)
        client.writes.clear()
        self.place.catch_up.move(client.reader, SYSTEM, since)
        self.sinces[client] = since

    @rule(client=readers)
    def block(self, client: Client) -> None:
        self.place.catch_up.block(client.reader)

    @rule(client=readers)
    def unblock(self, client: Client) -> None:
        if client.reader.blocked:
            self.place.catch_up.unblock(client.reader)

    @rule(client=consumes(readers))
    def leave(self, client: Client) -> None:
        self.place.catch_up.block(client.reader)
        self.place.catch_up.move(client.reader, NOTHING)
        del self.sinces[client]

    @rule()
    def tick(self) -> None:
        self.place.tick()

    @rule()
    def settle(self) -> None:
        self.place.settle()
        for client in self.sinces:
            if not client.reader.blocked:
                assert client.reader.audience is not None, "live"
                assert self.place.hub.position(client.reader) == self.place.hub.head

    @invariant()
    def each_has_what_is_before_its_place(self) -> None:
        self.place.catch_up._check()
        self.place.hub._check()
        for client, since in self.sinces.items():
            position = self.place.hub.position(client.reader)
            assert client.seqs == [*range(since + 1, position + 1)]


CatchUpMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestCatchUp = CatchUpMachine.TestCase


@on_uvloop
async def test_an_error_that_fills_the_send_buffer_ends_no_fetch() -> None:
    """A write that blocks the reader cancels what is fetched for it."""
    place = Place(window=1)
    place.fill(3)

    async def unreadable(*asked: object) -> Chunk:
        raise RefusedError(SERVER_ERROR, "", "the store cannot be read")

    def write(data: bytes) -> None:
        written.append(data)
        place.catch_up.block(reader)

    written: list[bytes] = []
    reader = Reader(write, Silent())
    with pytest.MonkeyPatch.context() as patch, no_faults():
        patch.setattr(place.log, "read_after", lambda *asked: None)
        patch.setattr(place.log, "fetch_after", unreadable)
        place.catch_up.move(reader, SYSTEM, since=0)
        place.tick()
        await until(lambda: written, "the error")
        await asyncio.sleep(0)
        gc.collect()
    [data] = written
    actions = [json.loads(frames.payload(frame))["action"] for frame in split(data)]
    assert actions == ["error", "gap"]
    assert reader.blocked
    place.catch_up._check()


@on_uvloop
async def test_what_cannot_be_read_now_is_tried_again_and_never_becomes_a_gap() -> None:
    """The reader is told in the end, and can resume where it was."""
    place = Place(window=1)
    place.fill(3)
    asked: list[int] = []

    async def later(cursor: int, *asking: object) -> Chunk:
        asked.append(cursor)
        raise RefusedError(SERVER_ERROR, "", "the store does not answer", retry_after=1)

    client = Client()
    with pytest.MonkeyPatch.context() as patch, no_faults():
        patch.setattr(catchup, "RETRIES", (0.0, 0.0))
        patch.setattr(place.log, "read_after", lambda *asked: None)
        patch.setattr(place.log, "fetch_after", later)
        place.catch_up.move(client.reader, SYSTEM, since=0)
        place.tick()
        await until(lambda: client.party.failures, "a failure")
    assert asked == [0, 0, 0]
    assert client.writes == []
    assert client.reader.cursor == 0
    assert not place.catch_up._fetches


@on_uvloop
async def test_an_internal_error_of_a_fetch_ends_the_reading_and_strands_nobody() -> None:
    """The reader would stay where it is for ever, and its client wait."""
    place = Place(window=1)
    place.fill(3)

    async def broken(*asked: object) -> Chunk:
        raise RuntimeError("the transport is closed")

    client = Client()
    with pytest.MonkeyPatch.context() as patch, only_faults("could not be served from the store"):
        patch.setattr(place.log, "read_after", lambda *asked: None)
        patch.setattr(place.log, "fetch_after", broken)
        place.catch_up.move(client.reader, SYSTEM, since=0)
        place.tick()
        await until(lambda: client.party.failures, "a failure")
    [refused] = client.party.failures
    assert refused.code == SERVER_ERROR
    assert "closed" not in refused.issue
    assert client.writes == []
    assert client.reader.cursor == 0
    assert not place.catch_up._fetches
