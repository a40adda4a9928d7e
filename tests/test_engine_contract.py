"""The contract of an engine, for the local one and for a toy that orders elsewhere.

Over the ingest, the log and the doors as they are: order per submitter, one answer per batch with
an outcome per draft, deduplication, authors, refusals and the end.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from livelog.auth.principal import PROGRAM
from livelog.engine.base import Committed, Done, MakeEngine, Outcome
from livelog.engine.local import LocalEngine
from livelog.errors import POLICY_VIOLATION, SERVER_ERROR, RefusedError
from livelog.log.ingest import Ingest, convert
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.base import Bounds, Store
from livelog.store.memory import MemoryJournal
from livelog.wire.record import Draft, Receipt, Record
from tests.support.toyengine import Broker
from tests.support.wire import TYPES, House, Json, on_uvloop, serving, soon, until, user

Make = Callable[[], MakeEngine]
ENGINES: dict[str, Make] = {
    "local": lambda: LocalEngine,
    "toy": lambda: Broker(random.randrange(1000)).engine,
    "toy that refuses": lambda: Broker(random.randrange(1000), refusing=0.3).engine,
}
CALM = {name: make for name, make in ENGINES.items() if "refuses" not in name}
each_engine = pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES)
each_calm_engine = pytest.mark.parametrize("make", CALM.values(), ids=CALM)


class LateJournal(MemoryJournal):
    """Says that records are safe, or not, when a test wants it to."""

    def __init__(self) -> None:
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


# Over ingest and log.


@each_engine
@on_uvloop
async def test_each_batch_is_answered_once_with_an_outcome_per_draft(make: Make) -> None:
    stage = Stage(make)
    sizes = [1, 0, 3, 100, 1, 2, 0, 40]
    batches = [[stage.draft() for _ in range(size)] for size in sizes]
    for batch in batches:
        stage.submit(*batch)
    for batch, outcomes in zip(batches, await stage.answered(), strict=True):
        assert len(outcomes) == len(batch)
        for draft, outcome in zip(batch, outcomes, strict=True):
            assert away(outcome) or (isinstance(outcome, Receipt) and outcome.id == draft.id)


@each_engine
@on_uvloop
async def test_batches_keep_their_order_and_what_is_acknowledged_is_delivered_once(
    make: Make,
) -> None:
    stage = Stage(make)
    for _ in range(200):
        stage.submit(*(stage.draft() for _ in range(random.randrange(4))))
        if random.random() < 0.2:
            await asyncio.sleep(random.choice([0, 0.001]))
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
@on_uvloop
async def test_a_submit_from_inside_of_an_answer_comes_behind_and_is_answered_too(
    make: Make,
) -> None:
    stage = Stage(make)

    def go_on(outcomes: Sequence[Outcome]) -> None:
        if len(stage.answers) < 30:
            stage.submit(stage.draft(), stage.draft(), then=go_on)

    stage.submit(stage.draft(), stage.draft(), then=go_on)
    await until(lambda: len(stage.answers) == 30, "the last submit")
    given = [seq for outcomes in await stage.answered() for seq in seqs(outcomes)]
    assert [record.seq for record in stage.delivered] == given == sorted(given)


@each_calm_engine
@on_uvloop
async def test_an_id_is_taken_once_within_a_batch_and_across_batches(make: Make) -> None:
    """Also while the first batch with it is still under way."""
    stage = Stage(make)
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
@on_uvloop
async def test_an_id_of_somebody_else_is_refused_in_its_own_outcome(make: Make) -> None:
    """It is neither delivered nor acknowledged, and what comes with it is not concerned."""
    stage = Stage(make)
    mine, others = stage.draft("a", author="u1"), stage.draft("a", author="u2")
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
@on_uvloop
async def test_publishers_that_insist_get_all_through_once_and_in_their_order(make: Make) -> None:
    stage = Stage(make)

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


@each_calm_engine
@on_uvloop
async def test_an_answer_waits_for_the_sink_and_says_when_it_failed(make: Make) -> None:
    stage = Stage(make)
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
@on_uvloop
async def test_after_the_end_all_is_answered_and_nothing_is_taken(make: Make) -> None:
    stage = Stage(make)
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


# Through the doors.


def body(*messages: Json) -> str:
    return json.dumps(messages)


@each_calm_engine
@on_uvloop
async def test_all_doors_publish_through_it(make: Make) -> None:
    """Two sockets, a large body and the program itself: everybody's order is kept."""
    async with serving(engine=make(), limits=False) as house:
        live = await house.client(f"?message_types={','.join(TYPES)}")
        assert (await live.event())["action"] == "subscribed"
        sockets = [await house.client() for _ in range(2)]
        posting = asyncio.create_task(_post(house, 250))
        for number in range(40):
            for name, client in zip("ab", sockets, strict=True):
                message = user(id=f"{name}{number}")
                await client.tell("publish", message=message, request_id=f"{name}{number}")
        inside = [(await house.server.publish(user(id=f"i{number}"))) for number in range(5)]
        places = dict([*inside, *await soon(posting)])
        for client in sockets:
            replies = [await client.event() for _ in range(40)]
            assert [reply["id"] for reply in replies] == [reply["request_id"] for reply in replies]
            places |= {reply["id"]: reply["seq"] for reply in replies}
        delivered = [await live.event() for _ in range(len(places))]
        assert {event["id"]: event["seq"] for event in delivered} == places
        assert await live.everything() == []
        assert [event["seq"] for event in delivered] == sorted(places.values())
        ids = [event["id"] for event in delivered]
        for name in "abhi":
            numbers = [int(id[1:]) for id in ids if id[0] == name]
            assert numbers == list(range(len(numbers)))


async def _post(house: House, count: int) -> list[tuple[str, int]]:
    http = await house.http()
    messages = [user(id=f"h{number}") for number in range(count)]
    answer = await http.ask("POST", "/api/messages", body(*messages))
    assert answer.status == 201, answer
    return [(receipt["id"], receipt["seq"]) for receipt in answer.json["messages"]]


@each_calm_engine
@on_uvloop
async def test_a_socket_is_told_that_an_id_is_somebody_elses(make: Make) -> None:
    async with serving(engine=make()) as house:
        client = await house.client()
        mine = await client.ask("publish", message=user(id="a"))
        assert mine["action"] == "published"
        error = await client.ask("publish", message=user(id="a", user_id="u2"), request_id=7)
        assert (error["action"], error["error_code"], error["request_id"]) == ("error", 1008, 7)
        issue = "is that of a message by somebody else"
        assert error["details"] == {"field": "message.id", "issue": issue}
        again = await client.ask("publish", message=user(id="a"))
        assert again["seq"] == mine["seq"]


@each_calm_engine
@on_uvloop
async def test_a_message_under_somebody_elses_id_alone_is_forbidden(make: Make) -> None:
    async with serving(engine=make()) as house:
        http = await house.http()
        await http.ask("POST", "/api/messages", body(user(id="a")))
        head = house.context.log.head
        answer = await http.ask("POST", "/api/messages", body(user(id="a", user_id="u2")))
        assert (answer.status, answer.json["error_code"]) == (403, 1008)
        assert answer.json["details"]["field"] == "id"
        assert house.context.log.head == head


@on_uvloop
async def test_what_the_local_engine_knows_refuses_the_whole_body() -> None:
    async with serving() as house:
        http = await house.http()
        await http.ask("POST", "/api/messages", body(user(id="a")))
        head = house.context.log.head
        others = body(user(id="b"), user(id="a", user_id="u2"), user(id="c"))
        answer = await http.ask("POST", "/api/messages", others)
        assert (answer.status, answer.json["details"]["index"]) == (403, 1)
        assert house.context.log.head == head


@each_calm_engine
@on_uvloop
async def test_a_body_refused_in_part_says_which_ids_are_acknowledged(make: Make) -> None:
    """Two authors with one id in the same body: only the engine can see that."""
    async with serving(engine=make()) as house:
        http = await house.http()
        messages = [user(id="a"), user("made"), user(id="a", user_id="u2"), user(id="b")]
        lines = "\n\n".join(map(json.dumps, messages))
        kind = "application/x-ndjson"
        answer = await http.ask("POST", "/api/messages", lines, Content_Type=kind)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        details: dict[str, Any] = answer.json["details"]
        assert answer.json["error_code"] == 1011
        assert details["refused"] == [{"line": 5, "id": "a"}]
        assert details["issue"].startswith("1 of 4 messages are not acknowledged: id: is that of")
        stored = (await http.ask("GET", "/api/history")).json["messages"]
        assert [one["id"] for one in reversed(stored)] == details["acknowledged"]
        assert [one["content"] for one in reversed(stored)] == ["hello", "made", "hello"]


@on_uvloop
async def test_a_body_refused_as_a_whole_by_the_engine_is_answered_with_its_reason() -> None:
    broker = Broker(refusing=1.0)
    async with serving(engine=broker.engine) as house:
        http = await house.http()
        answer = await http.ask("POST", "/api/messages", body(*[user()] * 250))
        assert (answer.status, answer.json["details"]["issue"]) == (500, "the broker is away")
        assert (await http.ask("GET", "/api/history")).json["total_count"] == 0


@on_uvloop
async def test_a_large_body_can_be_published_again_after_a_refusal_in_part() -> None:
    """What was acknowledged keeps its place; the rest follows."""
    broker = Broker(refusing=0.5, seed=3)
    async with serving(engine=broker.engine, limits=False) as house:
        http = await house.http()
        messages = [user(id=f"m{number}") for number in range(500)]
        acknowledged: set[str] = set()
        partly = 0
        for _ in range(100):
            answer = await http.ask("POST", "/api/messages", body(*messages))
            if answer.status == 201:
                break
            known = set(answer.json["details"].get("acknowledged", []))
            refused = [one["id"] for one in answer.json["details"].get("refused", [])]
            partly += bool(known)
            assert not known or sorted([*known, *refused]) == sorted(m["id"] for m in messages)
            acknowledged |= known
            stored = (await http.ask("GET", "/api/history?limit=1000")).json["messages"]
            assert {one["id"] for one in stored} == acknowledged
        assert answer.status == 201
        assert partly
        stored = (await http.ask("GET", "/api/history?limit=1000")).json["messages"]
        assert len(stored) == 500
        assert {one["id"]: one["seq"] for one in stored} == {
            one["id"]: one["seq"] for one in answer.json["messages"]
        }


@on_uvloop
async def test_two_servers_on_one_broker_tell_the_same_in_the_same_order() -> None:
    broker = Broker(random.randrange(1000))
    async with serving(engine=broker.engine) as one, serving(engine=broker.engine) as other:
        houses = [one, other]
        watching = [await house.client("?message_types=user") for house in houses]
        for client in watching:
            assert (await client.event())["action"] == "subscribed"
        publishers = [await house.client() for house in houses]
        for number in range(30):
            for name, client in zip("ab", publishers, strict=True):
                await client.tell("publish", message=user(id=f"{name}{number}"))
        told = [[await client.event() for _ in range(60)] for client in watching]
        assert told[0] == told[1]
        given = [message["seq"] for message in told[0]]
        assert given == sorted(given)
        for name in "ab":
            ids = [message["id"] for message in told[0] if message["id"][0] == name]
            assert ids == [f"{name}{number}" for number in range(30)]


@on_uvloop
async def test_a_client_that_leaves_before_the_answer_leaves_no_trace() -> None:
    broker = Broker(random.randrange(1000))
    async with serving(engine=broker.engine) as house:
        for _ in range(10):
            client, http = await house.client(), await house.http()
            await client.tell("publish", message=user("socket"))
            await http.ask("POST", "/api/messages", body(user("http")))
            client.close()
            http.close()
        await house.emptied()
        head = await house.server.publish(user("last"))
        assert head.seq == house.context.log.head
