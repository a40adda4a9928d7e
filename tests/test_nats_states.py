"""Nodes on a stream in memory, through any sequence of mishaps, against a rule of six lines."""

from __future__ import annotations

import asyncio
import json

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livelog.engine.base import Outcome
from livelog.engine.nats import batch
from livelog.errors import POLICY_VIOLATION, SERVER_ERROR, RefusedError
from livelog.wire.record import Receipt
from tests.support.sharedstream import SPAN, SharedStream
from tests.support.wire import until
from tests.test_nats_engine import Machine

NODES = 3
numbers = st.integers(0, NODES - 1)
ids = st.sampled_from("abcd")
authors = st.sampled_from(["u1", "u2"])

Place = tuple[int, str]


def expected(shared: SharedStream) -> list[Place]:
    """The log that a stream is: an id that was met within the span before is a repetition."""
    met, log = dict[str, int](), list[Place]()
    for entry in shared.entries:
        lines = batch.decode(entry.format, entry.body) if entry.format else []
        for index, line in enumerate(lines):
            id = json.loads(line)["id"]
            if met.get(id, -SPAN) <= entry.time - SPAN:
                log.append((batch.seq_of(shared.base, entry.number, index), id))
            met[id] = entry.time
    return log


class Cluster(RuleBasedStateMachine):
    """Three machines, of which each runs a node or not."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.shared = SharedStream()
        self.machines: list[Machine] = []
        self.dead = set[int]()
        self.sending = list[asyncio.Task[tuple[str, str, Outcome | None]]]()
        self.written = set[tuple[str, str]]()
        """Ids and authors of all that was ever sent."""
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        self.machines = [Machine(self.shared) for _ in range(NODES)]

    @rule(
        sends=st.lists(st.tuples(numbers, ids, authors), min_size=1, max_size=6),
        age=st.sampled_from([0, 0, SPAN // 3, SPAN // 2, SPAN]),
        faults=st.sampled_from([0.0, 0.2, 0.5]),
        milliseconds=st.sampled_from([0, 3, 10, 40]),
        stranger=st.booleans(),
    )
    def publish(
        self,
        sends: list[tuple[int, str, str]],
        age: int,
        faults: float,
        milliseconds: int,
        stranger: bool,
    ) -> None:
        """Publish some messages, each at a node, after a while, while a share of all goes wrong."""
        self.shared.now += age
        self.shared.faults = faults
        self.runner.run(self._publish(sends, milliseconds / 1000, stranger))

    async def _publish(
        self, sends: list[tuple[int, str, str]], seconds: float, stranger: bool
    ) -> None:
        async def sent(machine: Machine, id: str, author: str) -> tuple[str, str, Outcome | None]:
            try:
                return id, author, await machine.sent(id, author)
            except RefusedError as refused:  # before it was submitted
                return id, author, refused

        if stranger:
            self.shared.append(f"stranger{self.shared.last}", "", b"hello")
        for number, id, author in sends:
            if number not in self.dead:
                self.written.add((id, author))
                self.sending.append(asyncio.create_task(sent(self.machines[number], id, author)))
            await asyncio.sleep(seconds / len(sends))

    @rule(number=numbers)
    def kill(self, number: int) -> None:
        if number not in self.dead:
            self.dead.add(number)
            self.runner.run(self.machines[number].die())

    @rule(number=numbers)
    def start(self, number: int) -> None:
        if number in self.dead:
            self.dead.discard(number)
            self.runner.run(self._start(number))

    async def _start(self, number: int) -> None:
        self.machines[number].run()

    @rule(away=st.booleans(), leaderless=st.booleans())
    def take_the_brokers_or_their_majority_away(self, away: bool, leaderless: bool) -> None:
        self.shared.away, self.shared.leaderless = away, leaderless

    @rule(number=numbers, full=st.booleans())
    def fill_the_disk(self, number: int, full: bool) -> None:
        issue = RefusedError(SERVER_ERROR, "", "the disk is full", retry_after=1)
        self.machines[number].node.journal.full = issue if full else None

    @invariant()
    def every_node_has_a_beginning_of_the_log(self) -> None:
        log = expected(self.shared)
        for machine in self.machines:
            found = self._found(machine)
            assert found == log[: len(found)]

    @staticmethod
    def _found(machine: Machine) -> list[Place]:
        return machine.archived + machine.node.places

    def teardown(self) -> None:
        try:
            self.runner.run(self._end())
        finally:
            self.runner.close()

    async def _end(self) -> None:
        """Mend everything: all nodes come to have all, and answers were right."""
        shared = self.shared
        shared.faults, shared.away, shared.leaderless = 0.0, False, False
        for number, machine in enumerate(self.machines):
            machine.node.journal.full = None
            if number in self.dead:
                machine.run()
        answers = await asyncio.gather(*self.sending)
        log = expected(shared)
        for machine in self.machines:
            await until(
                lambda machine=machine: self._found(machine)[-1:] >= log[-1:],  # type: ignore[misc]  # it is bound
                "the end of the log",
            )
            assert self._found(machine) == log
            assert not machine.node.engine.impaired
            await machine.node.engine.close()
        for id, author, outcome in answers:
            if isinstance(outcome, Receipt):
                assert (outcome.seq, id) in log
                assert outcome.id == id
            elif outcome is not None and outcome.code == POLICY_VIOLATION:
                assert any(other != author for known, other in self.written if known == id)


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=20,
    stateful_step_count=40,
    phases=[Phase.generate],  # time passes for real: a smaller example need not fail again
)
