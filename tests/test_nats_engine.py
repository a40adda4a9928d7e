"""Nodes on a stream in memory: one log, whatever the network does, and what stops a node."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from livelog.auth.principal import PROGRAM
from livelog.engine.base import Outcome
from livelog.engine.nats import batch
from livelog.engine.nats.engine import StreamEngine
from livelog.engine.nats.places import Rebase
from livelog.errors import POLICY_VIOLATION, SERVER_ERROR, RefusedError
from livelog.log.ingest import Ingest, convert
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.base import Bounds, Store
from livelog.store.memory import MemoryJournal
from livelog.wire.acts import Group, Redact
from livelog.wire.record import Draft, Receipt, Record
from tests.support.sharedstream import SPAN, SharedStream
from tests.support.wire import on_uvloop, soon, until, user

REDACTION = Redact(by="m", at="2025-12-03T12:00:00Z", groups=(Group("user", (1,)),))


class FullableJournal(MemoryJournal):
    """A store whose disk may be full."""

    full: RefusedError | None = None

    def refusal(self) -> RefusedError | None:
        return self.full


class Node:
    """A node: an engine and a log, and what its subscribers are told."""

    def __init__(self, shared: SharedStream, head: int = 0, patience: float = 10.0) -> None:
        self.journal = FullableJournal()
        self.delivered: list[Record] = []
        store = Store(self.journal, None, Bounds(last_seq=head))
        self.log = Log(Window(10_000, 10**9), store, [self])
        self.view = shared.view()
        self.engine = StreamEngine(self.view, patience=patience, silence=0.02)
        self.ingest = Ingest(self.engine, time.time, 1 << 16)
        self.engine.start(self.log)

    def publish(self, record: Record) -> None:
        """Be told by the log."""
        self.delivered.append(record)

    @property
    def places(self) -> list[tuple[int, str]]:
        return [(record.seq, record.id) for record in self.delivered]

    def draft(self, id: str, author: str = "u1") -> Draft:
        return self.ingest.admit(PROGRAM, convert(user(user_id=author, id=id)))

    async def outcomes(self, *drafts: Draft) -> Sequence[Outcome]:
        answered = asyncio.get_running_loop().create_future()
        self.ingest.publish(drafts, answered.set_result)
        outcomes: Sequence[Outcome] = await soon(answered)
        return outcomes

    async def sent(self, id: str, author: str = "u1") -> Outcome:
        [outcome] = await self.outcomes(self.draft(id, author))
        return outcome


@contextlib.asynccontextmanager
async def nodes(shared: SharedStream, count: int = 1, **how: float) -> AsyncIterator[list[Node]]:
    made = [Node(shared, **how) for _ in range(count)]  # type: ignore[arg-type]  # a head is an int
    try:
        yield made
    finally:
        for node in made:
            await node.engine.close()


def foreign(shared: SharedStream, format: str, body: bytes) -> int:
    """Append what is not from these nodes."""
    return shared.append(f"foreign{shared.last}", format, body)


@pytest.mark.parametrize("seed", range(3))
@on_uvloop
async def test_nodes_deliver_one_log_over_a_bad_network(seed: int) -> None:
    """Publishers that publish again at other nodes, and nodes that come later."""
    shared, dice = SharedStream(seed, faults=0.3), random.Random(seed)
    async with nodes(shared, 3) as house:

        async def publisher(name: str) -> dict[str, int]:
            places = {}
            for number in range(10):
                id = f"{name}{number}"
                outcome = await house[dice.randrange(3)].sent(id)
                assert isinstance(outcome, Receipt)
                again = await dice.choice(house).sent(id) if dice.random() < 0.3 else outcome
                assert again == outcome
                places[id] = outcome.seq
            return places

        given = await asyncio.gather(*(publisher(name) for name in "pqrs"))
        house.append(Node(shared))
        places = {id: seq for each in given for id, seq in each.items()}
        for node in house:
            await until(lambda node=node: len(node.delivered) >= 40, "all of it")  # type: ignore[misc]  # node is bound
            assert node.places == house[0].places
            assert {id: seq for seq, id in node.places} == places
            assert [seq for seq, _ in node.places] == sorted(places.values())


class Machine:
    """A machine on which a node runs, dies and runs again, with what it has archived."""

    def __init__(self, shared: SharedStream) -> None:
        self._shared = shared
        self.archived: list[tuple[int, str]] = []
        self.run()

    def run(self) -> None:
        """Start a node behind what is archived."""
        self.died = asyncio.Event()
        self.node = Node(self._shared, head=self.archived[-1][0] if self.archived else 0)

    async def die(self) -> None:
        """Let the node die with all that is under way."""
        self.died.set()
        self.archived += self.node.places
        self.node.delivered.clear()
        await self.node.view.close()
        for task in self.node.engine._tasks:
            task.cancel()
        await asyncio.sleep(0)

    async def sent(self, id: str, author: str = "u1") -> Outcome | None:
        """Publish at the node; None if it dies before it has answered."""
        sending = asyncio.create_task(self.node.sent(id, author))
        dying = asyncio.create_task(self.died.wait())
        await asyncio.wait([sending, dying], return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        if sending.done():
            return sending.result()
        sending.cancel()
        return None


@pytest.mark.parametrize("seed", range(3))
@on_uvloop
async def test_nodes_die_and_brokers_are_away_and_all_logs_stay_the_same(seed: int) -> None:
    shared, dice = SharedStream(seed, faults=0.1), random.Random(seed)
    machines = [Machine(shared) for _ in range(3)]
    acknowledged: dict[str, int] = {}

    async def publisher(name: str) -> None:
        for number in range(15):
            id = f"{name}{number}"
            while id not in acknowledged:
                outcome = await dice.choice(machines).sent(id)
                if isinstance(outcome, Receipt):
                    acknowledged[id] = outcome.seq
            await asyncio.sleep(0.01)

    publishing = asyncio.gather(*(publisher(name) for name in "pqr"))
    while not publishing.done():
        machine = dice.choice(machines)
        await machine.die()
        shared.away, shared.leaderless = dice.random() < 0.3, dice.random() < 0.3
        await asyncio.sleep(dice.random() / 20)
        shared.away = shared.leaderless = False
        machine.run()
        await asyncio.sleep(dice.random() / 10)
    await publishing
    places = sorted((seq, id) for id, seq in acknowledged.items())
    for machine in machines:
        node = machine.node
        await until(lambda node=node: node.log.head >= places[-1][0], "all of it")  # type: ignore[misc]  # node is bound
        assert machine.archived + node.places == places
        await node.engine.close()


@on_uvloop
async def test_an_id_belongs_to_its_first_author_on_every_node() -> None:
    shared = SharedStream()
    async with nodes(shared, 2) as (one, other):
        first = await one.sent("a")
        await until(lambda: other.delivered, "the message")
        assert await other.sent("a") == first
        with pytest.raises(RefusedError) as caught:
            other.draft("a", "u2")
        assert (caught.value.code, caught.value.field) == (POLICY_VIOLATION, "id")
        shared.now += SPAN
        later = await other.sent("b")
        assert isinstance(later, Receipt)
        assert isinstance(first, Receipt)
        again = await one.sent("a", "u2")
        assert isinstance(again, Receipt)
        assert again.seq > later.seq > first.seq


@on_uvloop
async def test_a_client_that_was_off_line_for_minutes_gets_its_first_seq_at_any_node() -> None:
    """Clients send again for ten minutes; also at a node that has been started meanwhile."""
    shared = SharedStream()
    async with nodes(shared, 2) as (one, other):
        first = await one.sent("a")
        shared.now += SPAN * 10 // 15
        async with nodes(shared) as [late]:
            assert await late.sent("a") == await other.sent("a") == first
            await until(lambda: late.log.head == one.log.head, "level")
            assert late.places == one.places
            assert [id for _, id in one.places] == ["a"]


@on_uvloop
async def test_two_nodes_that_publish_an_id_at_once_place_it_once() -> None:
    shared = SharedStream()
    async with nodes(shared, 2) as (one, other):
        drafts = one.draft("a"), other.draft("a", "u2")
        mine, others = await asyncio.gather(one.outcomes(drafts[0]), other.outcomes(drafts[1]))
        won = [outcome for outcome in (*mine, *others) if isinstance(outcome, Receipt)]
        assert len(won) == 1
        await until(lambda: len(one.delivered) == len(other.delivered) == 1, "the message")
        assert one.places == other.places == [(won[0].seq, "a")]


@on_uvloop
async def test_what_comes_while_a_batch_is_on_its_way_rides_in_the_next() -> None:
    shared = SharedStream()
    async with nodes(shared) as [node]:
        answers = [node.outcomes(node.draft(f"m{number}")) for number in range(300)]
        await soon(asyncio.gather(*answers))
        assert [id for _, id in node.places] == [f"m{number}" for number in range(300)]
        assert len(shared.entries) < 10


@on_uvloop
async def test_without_brokers_publishers_are_told_and_reads_go_on() -> None:
    shared = SharedStream()
    async with nodes(shared, patience=0.5) as [node]:
        while isinstance(await node.sent("a"), RefusedError):
            pass
        assert node.engine.impaired == ""
        await until(lambda: node.engine.lag == 0, "no lag")
        shared.away = True
        refused = await node.sent("b")
        assert isinstance(refused, RefusedError)
        assert refused.code == SERVER_ERROR
        assert refused.issue == "not acknowledged, publish it again with the same id"
        assert refused.details["id"] == "b"
        await until(lambda: node.engine.lag, "a lag")
        shared.away = False
        while isinstance(await node.sent("b"), RefusedError):
            pass
        await until(lambda: not node.engine.lag, "no lag")
        assert [id for _, id in node.places] == ["a", "b"]


@on_uvloop
async def test_a_node_that_is_behind_for_long_says_so_and_why() -> None:
    shared = SharedStream()
    async with nodes(shared) as [node]:
        await node.engine.ready()
        shared.away = True
        node.engine._follower._level_at -= 100
        node.engine._follower._heard_at -= 100
        await until(lambda: "does not answer" in node.engine.impaired, "an issue")
        assert "behind the log" in node.engine.impaired


@on_uvloop
async def test_the_log_tells_once_that_a_node_is_degraded_and_that_it_is_well_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("livelog.engine.nats.herald._LOOKED_EVERY", 0.005)
    shared = SharedStream()
    async with nodes(shared) as [node]:
        await node.engine.ready()
        for count in (1, 2):
            shared.away = True
            node.engine._follower._level_at -= 100
            node.engine._follower._heard_at -= 100
            await until(lambda: caplog.text.count("degraded: ") == count, "a word")  # noqa: B023 - at once
            shared.away = False
            await until(lambda: caplog.text.count("well again") == count, "another")  # noqa: B023 - at once
    assert caplog.text.count("degraded: ") == caplog.text.count("well again") == 2


@on_uvloop
async def test_a_batch_that_is_not_acknowledged_for_long_shows_in_the_health() -> None:
    """Also where everything that others publish comes through."""
    shared = SharedStream()
    async with nodes(shared, patience=30) as [node]:
        await node.engine.ready()
        shared.leaderless = True
        waiting = asyncio.create_task(node.sent("a"))
        await until(lambda: node.engine._unsent, "an attempt")
        mine = node.engine._mine
        assert mine is not None
        node.engine._mine = mine._replace(since=mine.since - 100)
        assert node.engine.impaired == "nothing is acknowledged: the broker does not answer"
        shared.leaderless = False
        assert isinstance(await waiting, Receipt)
        await until(lambda: not node.engine.impaired, "health")


@on_uvloop
async def test_without_a_majority_what_is_there_is_read() -> None:
    shared = SharedStream()
    async with nodes(shared) as [node]:
        await node.engine.ready()
        node.engine._stream.connected = False  # type: ignore[attr-defined]  # nothing comes live
        shared.append("x", *batch.encode([node.draft("a").payload]))
        shared.leaderless = True
        await until(lambda: node.delivered, "the message")


@on_uvloop
async def test_a_full_disk_holds_up_this_node_and_not_the_log() -> None:
    shared = SharedStream()
    async with nodes(shared, 2) as (one, other):
        await one.sent("a")
        await until(lambda: other.delivered, "the message")
        other.journal.full = RefusedError(SERVER_ERROR, "", "the disk is full", retry_after=1)
        assert isinstance(await one.sent("b"), Receipt)
        assert other.engine.refusal() is other.journal.full
        await until(lambda: other.engine.lag, "a lag")
        assert len(other.delivered) == 1
        other.journal.full = None
        await until(lambda: other.places == one.places, "the rest")


# What stops a node, and what does not.


@pytest.mark.parametrize(
    ("format", "body"), [("", b"hello"), (batch.PLAIN, b"hello"), (batch.COMPRESSED, b"hello")]
)
@on_uvloop
async def test_an_entry_of_a_stranger_is_passed_over_by_all(
    format: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    shared = SharedStream()
    async with nodes(shared, 2) as (one, other):
        first = await one.sent("a")
        foreign(shared, format, body)
        second = await one.sent("b")
        assert isinstance(first, Receipt)
        assert isinstance(second, Receipt)
        assert second.seq == first.seq + 2 * batch.MAX_MESSAGES
        await until(lambda: other.places == one.places, "the same")
    assert "entry 2 of the stream is passed over" in caplog.text


@pytest.mark.parametrize(
    ("format", "body"), [("redaction/1", b""), (batch.PLAIN, b'{"type":"reaction","id":"a"}')]
)
@on_uvloop
async def test_an_entry_of_a_newer_version_stops_a_node_by_name(format: str, body: bytes) -> None:
    shared = SharedStream()
    async with nodes(shared) as [node]:
        await node.sent("a")
        foreign(shared, format, body)
        await until(lambda: node.engine.impaired, "the end")
        assert "entry 2 of the stream has" in node.engine.impaired
        assert "too old for the log" in node.engine.impaired
        with pytest.raises(RefusedError, match="too old"):
            node.draft("b")
        assert node.log.lookup("a") is not None


@on_uvloop
async def test_an_act_is_applied_by_all_nodes_at_the_same_place() -> None:
    shared, dice = SharedStream(1, faults=0.3), random.Random(1)
    async with nodes(shared, 3) as house:
        seen: list[list[int]] = [[] for _ in house]
        for node, entries in zip(house, seen, strict=True):
            node.log.on_act.append(lambda seq, act, entries=entries: entries.append(seq))  # type: ignore[misc]  # entries is bound
        for number in range(10):
            await dice.choice(house).sent(f"m{number}")
            enacted: asyncio.Future[int | RefusedError] = asyncio.get_running_loop().create_future()
            dice.choice(house).engine.act(REDACTION, enacted.set_result)
            assert isinstance(await soon(enacted), int)
        late = Node(shared)
        house.append(late)
        for node in house:
            await until(lambda node=node: len(node.log.acts()) >= 10, "all acts")  # type: ignore[misc]  # node is bound
            assert node.log.acts() == house[0].log.acts()
            assert node.log.head == house[0].log.head
        assert seen[0] == seen[1] == seen[2] == [one.seq for one in reversed(late.log.acts())]
        assert len(set(seen[0])) == 10
        again = Node(shared, head=late.log.head)
        house.append(again)
        await again.sent("last")
        assert again.log.acts() == []  # what it has applied does not come again


@on_uvloop
async def test_the_author_of_an_act_is_told_when_nobody_answers() -> None:
    shared = SharedStream()
    async with nodes(shared, patience=0.05) as [node]:
        await node.sent("a")
        shared.away = True
        enacted: asyncio.Future[int | RefusedError] = asyncio.get_running_loop().create_future()
        node.engine.act(REDACTION, enacted.set_result)
        refused = await soon(enacted)
        assert isinstance(refused, RefusedError)
        assert "not known to be applied" in refused.issue


@on_uvloop
async def test_a_publisher_is_told_when_its_node_stops() -> None:
    shared = SharedStream()
    async with nodes(shared) as [node]:
        await node.engine.ready()
        shared.leaderless = True
        waiting = asyncio.create_task(node.outcomes(node.draft("a")))
        await asyncio.sleep(0.01)
        foreign(shared, "redaction/1", b"")
        [refused] = await soon(waiting)
        assert isinstance(refused, RefusedError)
        assert refused.details["id"] == "a"


@on_uvloop
async def test_a_stream_that_is_made_anew_stops_a_node_before_it_takes_of_it() -> None:
    """Also where there is never silence, and the new one is soon longer than the old one was."""
    shared = SharedStream()
    async with nodes(shared) as [node]:
        first = await node.sent("a")
        shared.make_anew()
        payload = node.draft("b").payload
        for number in range(100):
            shared.append(f"new{number}", *batch.encode([payload]))
            if number % 10 == 0:
                await asyncio.sleep(0.005)
        await until(lambda: "made anew" in node.engine.impaired, "the end")
        assert isinstance(first, Receipt)
        assert node.places == [(first.seq, "a")]


@on_uvloop
async def test_what_a_node_of_an_older_stream_publishes_is_passed_over_by_all() -> None:
    shared = SharedStream()
    async with nodes(shared) as [node]:
        shared.append("stale", *batch.encode([node.draft("a").payload]), base=shared.base - 1)
        await node.sent("b")
        assert [id for _, id in node.places] == ["b"]


@on_uvloop
async def test_a_stream_that_has_lost_its_end_stops_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not at once: a broker that starts may not have read all of it yet."""
    shared = SharedStream()
    async with nodes(shared) as [node]:
        await node.sent("a")
        shared.last = 0
        await until(
            lambda: "ends at batch 0, and this node has 1" in node.engine._follower.unanswered,
            "doubt",
        )
        assert not node.engine.impaired
        monkeypatch.setattr("livelog.engine.nats.extent._LOST_SECONDS", 0)
        await until(lambda: "lost what they had acknowledged" in node.engine.impaired, "the end")


@on_uvloop
async def test_a_node_publishes_nothing_while_the_stream_is_shorter_than_its_log() -> None:
    """The seqs of what was lost would be used twice."""
    shared = SharedStream()
    async with nodes(shared, patience=0.3) as [node]:
        await node.sent("a")
        await node.sent("b")
        shared.lose(1)
        await until(lambda: "ends at batch 1" in node.engine._follower.unanswered, "doubt")
        refused = await node.sent("c")
        assert isinstance(refused, RefusedError)
        assert shared.last == 1


@on_uvloop
async def test_what_the_brokers_had_lost_is_restored_on_all_nodes_at_its_seqs() -> None:
    shared = SharedStream()
    async with nodes(shared) as [node]:
        for id in "abcde":
            await node.sent(id)
        places, records = node.places, node.delivered
    shared.lose(3)
    async with nodes(shared) as [late]:  # has what the stream has
        await until(lambda: len(late.delivered) == 3, "what there is")
        rebased = batch.Rebased(shared.base + 2**30, places[-1][0])
        shared.append("rebase", *batch.encode_control(rebased))
        shared.rebases = (Rebase(4, rebased.base, rebased.until),)
        shared.append("x", *batch.encode([late.draft("x").payload]))
        for record in records[3:]:
            shared.append(f"restored {record.id}", *batch.encode_restored([record.payload]))
        head = places[-1][0]
        async with nodes(shared, head=head) as [archive], nodes(shared, head=places[3][0]) as [odd]:
            outcome = await archive.sent("f")
            assert isinstance(outcome, Receipt)
            assert outcome.seq > rebased.base
            new = [(outcome.seq, "f")]
            await until(lambda: len(late.delivered) == 6, "all of it")
            await until(lambda: len(odd.delivered) == 2, "all of it")
            assert late.places == places + new
            assert odd.places == places[4:] + new
            assert archive.places == new
            assert await late.sent("d") == Receipt("d", places[3][0])
        async with nodes(shared, head=outcome.seq) as [again]:
            assert await again.sent("e") == Receipt("e", places[4][0])
            assert again.places == []


@pytest.mark.parametrize("body", [b"", b'{"base":1,"until":2}', b"nonsense"])
@on_uvloop
async def test_a_rebase_of_a_stranger_changes_nothing(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    shared = SharedStream()
    async with nodes(shared) as [node]:
        first = await node.sent("a")
        foreign(shared, "rebase/1", body)
        second = await node.sent("b")
        assert isinstance(first, Receipt)
        assert isinstance(second, Receipt)
        assert second.seq == first.seq + 2 * batch.MAX_MESSAGES
    assert "entry 2 of the stream is passed over" in caplog.text


@on_uvloop
async def test_a_deleted_entry_is_passed_and_one_that_was_too_old_is_not() -> None:
    shared = SharedStream()
    async with nodes(shared) as [writer]:
        for id in "abcdef":
            await writer.sent(id)
        shared.drop(2)
        shared.drop(6)
        async with nodes(shared) as [late]:
            await until(lambda: len(late.delivered) == 4, "all but two")
            await soon(late.engine.ready())
            assert late.engine.unready == ""
            assert isinstance(await late.sent("g"), Receipt)
        shared.expire(4)
        async with nodes(shared) as [later]:
            await until(lambda: later.engine.impaired, "the end")
            assert "no longer has what comes next" in later.engine.impaired


# What a node remembers.


@on_uvloop
async def test_a_node_that_starts_again_knows_the_ids_of_the_last_span() -> None:
    shared = SharedStream()
    async with nodes(shared) as [node]:
        places = [await node.sent(id) for id in ("a", "b", "c")]
        head = node.log.head
    async with nodes(shared, head=head) as [again]:
        assert await again.sent("b") == places[1]
        refused = await again.outcomes(again.draft("new"), again.draft("c"))
        assert refused[1] == places[2]
        assert [id for _, id in again.places] == ["new"]


@pytest.mark.parametrize("seed", range(5))
@on_uvloop
async def test_nodes_that_start_in_the_middle_of_a_stream_decide_as_the_others(seed: int) -> None:
    shared, dice = SharedStream(seed, faults=0.2), random.Random(seed)
    async with nodes(shared) as [steady]:
        head, found = 0, list[tuple[int, str]]()
        for _ in range(6):
            async with nodes(shared, head=head) as [node]:
                for _ in range(5):
                    shared.now += dice.choice([1, SPAN // 3, SPAN // 2])
                    await node.sent(dice.choice("abcd"))
                await until(lambda: node.log.head == steady.log.head, "level")
                found += node.places
                head = node.log.head
        assert found == steady.places
