"""A toy of an engine that orders elsewhere: nodes on one broker, in a single process.

The broker takes batches from its nodes, those of one node in their order and the nodes in any. It
answers later, or before `submit` has returned; it refuses some batches, and single drafts when it
is told to. Every node is told of every record, whoever submitted it. Ids are compared where the
order is made, so a node cannot tell in advance that an id is somebody else's.

At the end stand the engines that the tests of the contract are run with.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from livelog.config.address import shared_log
from livelog.engine.base import ActDone, Answer, Done, MakeEngine, Outcome, Present, Sink, repeated
from livelog.engine.local import LocalEngine
from livelog.engine.nats.engine import StreamEngine
from livelog.engine.nats.jetstream import JetStream
from livelog.errors import GOING_AWAY, SERVER_ERROR, RefusedError
from livelog.wire.acts import Act
from livelog.wire.record import Draft, Known, Origin, Receipt, Record, place
from tests.support.brokers import fresh_url
from tests.support.sharedstream import SharedStream

SPAN = 1024
"""Seqs that a batch may take: they rise, and are not dense."""


class Broker:
    """Owner of the order of all its nodes."""

    def __init__(self, seed: int = 0, refusing: float = 0.0) -> None:
        self.refusing = refusing
        """Share of the batches that are refused as a whole."""
        self.refuse: Callable[[Draft], RefusedError | None] = lambda draft: None
        """Called with each draft: the reason to refuse this one alone."""
        self.away: RefusedError | None = None
        """The reason why nodes take nothing now."""
        self._dice = random.Random(seed)
        self._nodes: list[Node] = []
        self._known: dict[str, Known] = {}
        self._last = 0
        self._serving = False

    def engine(self, clock: Callable[[], float]) -> Node:
        """Make one more node; it has no use for a clock."""
        return Node(self)

    def join(self, node: Node, head: int) -> None:
        """Let `node` take part; all seqs to come are above its head."""
        self._nodes.append(node)
        self._last = max(self._last, head)

    def wake(self, node: Node) -> None:
        """Serve a batch, now or later."""
        at_once = not self._serving and len(node.queue) == 1 and self._dice.random() < 0.2
        if at_once:
            self._serve(node)
        elif self._dice.random() < 0.5:
            asyncio.get_running_loop().call_soon(self._serve_any)
        else:
            asyncio.get_running_loop().call_later(self._dice.random() / 500, self._serve_any)

    def _serve_any(self) -> None:
        waiting = [node for node in self._nodes if node.queue]
        if waiting:
            self._serve(self._dice.choice(waiting))

    def _serve(self, node: Node) -> None:
        drafts, done = node.queue.popleft()
        self._serving = True  # what `done` submits is served after every node has this batch
        try:
            if self._dice.random() < self.refusing:
                done([RefusedError(SERVER_ERROR, "", "the broker is away")] * len(drafts))
            else:
                self._order(node, drafts, done)
        finally:
            self._serving = False

    def _order(self, origin: Node, drafts: Sequence[Draft], done: Done) -> None:
        self._last += SPAN
        records: list[Record] = []
        outcomes = [self._outcome(draft, records) for draft in drafts]

        def committed(refused: RefusedError | None) -> None:
            unsafe = [each if isinstance(each, RefusedError) else refused for each in outcomes]
            done(outcomes if refused is None else [each for each in unsafe if each is not None])

        for node in self._nodes:
            node.sink.commit(records, committed if node is origin else lambda refused: None)

    def act(self, origin: Node, act: Act, done: ActDone) -> None:
        """Give an act its place at once; the node that it came by answers."""
        self._last += SPAN
        seq = self._last

        def applied(refused: RefusedError | None) -> None:
            done(seq if refused is None else refused)

        for node in self._nodes:
            node.sink.apply(seq, act, applied if node is origin else lambda refused: None)

    def _outcome(self, draft: Draft, records: list[Record]) -> Outcome:
        if (refused := self.refuse(draft)) is not None:
            return refused
        if (known := self._known.get(draft.id)) is not None:
            return repeated(draft, known)
        record = place(draft, self._last + len(records))
        records.append(record)
        self._known[draft.id] = Known(record.seq, record.payload)
        return Receipt(draft.id, record.seq)


class Node:
    """The engine of one process, as the rest of livelog sees it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._closed = False
        self.sink: Sink
        self.queue: deque[tuple[Sequence[Draft], Done]] = deque()

    async def open(self) -> Origin | None:
        """Return None: each node has a log of its own, if the same."""
        return None

    def start(self, sink: Sink) -> None:
        """Take part in the broker's order."""
        self.sink = sink
        self._broker.join(self, sink.head)

    def introduce(self, present: Present) -> None:
        """Do nothing."""

    def answer_with(self, answer: Answer) -> None:
        """Do nothing."""

    async def ask(self, question: bytes, seconds: float) -> dict[str, bytes | None]:
        """Return nothing: nodes of this broker do not know each other."""
        return {}

    async def ready(self, seconds: float | None = None) -> None:
        """Return at once."""

    def submit(self, drafts: Sequence[Draft], done: Done) -> None:
        """Hand `drafts` to the broker."""
        if self._closed:
            done([_gone()] * len(drafts))
            return
        self.queue.append((drafts, done))
        self._broker.wake(self)

    def act(self, act: Act, done: ActDone) -> None:
        """Hand an act to the broker."""
        if self._closed:
            done(_gone())
        else:
            self._broker.act(self, act, done)

    def refusal(self, draft: Draft | None = None) -> RefusedError | None:
        """Return the reason when it has closed or the broker is away, whatever the draft."""
        return _gone() if self._closed else self._broker.away or self.sink.refusal

    lag = None
    kept_seconds = None
    nodes = None
    impaired = ""
    unready = ""

    async def close(self) -> None:
        """Answer what is still under way: it was not published."""
        self._closed = True
        while self.queue:
            drafts, done = self.queue.popleft()
            done([_gone()] * len(drafts))


def _gone() -> RefusedError:
    return RefusedError(GOING_AWAY, "", "the node is gone")


Make = Callable[[], MakeEngine]


def shared(seed: int, faults: float) -> Make:
    """Make nodes of a stream in memory: each has a stream of its own."""

    def make() -> MakeEngine:
        view = SharedStream(seed, faults).view()
        return lambda clock: StreamEngine(view, silence=0.05)

    return make


def on_nats() -> MakeEngine:
    """Make a node of a new log on a real broker."""
    address = shared_log(fresh_url())
    return lambda clock: StreamEngine(JetStream(address.servers, address.name))


ENGINES: dict[str, Make] = {
    "local": lambda: LocalEngine,
    "toy": lambda: Broker(seed=1).engine,
    "another toy": lambda: Broker(seed=2).engine,
    "toy that refuses": lambda: Broker(seed=3, refusing=0.3).engine,
    "stream": shared(seed=4, faults=0),
    "stream behind a bad network": shared(seed=5, faults=0.2),
    "NATS": on_nats,
}
ARCHIVING = {
    name: make for name, make in ENGINES.items() if "stream" not in name and name != "NATS"
}
"""Those whose answers wait for this node's store; others have a majority of brokers for that."""
CALM = {name: make for name, make in ENGINES.items() if "refuses" not in name}
each_engine = pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES)
_BOTH = {name: make for name, make in CALM.items() if name in ARCHIVING}
each_calm_archiving_engine = pytest.mark.parametrize("make", _BOTH.values(), ids=_BOTH)
each_calm_engine = pytest.mark.parametrize("make", CALM.values(), ids=CALM)
_QUIET = {name: make for name, make in CALM.items() if name != "NATS"}
each_door_engine = pytest.mark.parametrize("make", _QUIET.values(), ids=_QUIET)
"""For servers in which nothing may be logged; a single broker is warned of."""
