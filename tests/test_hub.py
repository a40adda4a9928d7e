"""The hub and the catch-up against a plain model: everyone gets what it asked for, once, in order.

The model keeps for each reader what it is still to get: records in seq order, decided by a plain
look at its subscription. Rounds run in slices of any size, the window forgets, and readers come,
go, change their minds and get blocked (in the middle of a write, too) between the slices.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from livelog.auth.principal import ANYBODY
from livelog.budget.slices import Slice
from livelog.fanout import batching as batching_module
from livelog.fanout import compression as compression_module
from livelog.fanout import hub as hub_module
from livelog.fanout import routing as routing_module
from livelog.fanout.audience import Audience, Reader
from livelog.fanout.batching import BatchedAudience
from livelog.fanout.catchup import CatchUp
from livelog.fanout.hub import Hub
from livelog.index.plan import finish
from livelog.index.query import EVERYTHING, NOTHING, Query, Subscription, compile_query
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.memory import open_memory
from livelog.wire import frames
from livelog.wire.commands import Filters
from livelog.wire.messages import MessageType
from livelog.wire.record import Record
from tests.support.decoding import Decoder
from tests.support.decoding import messages as messages_in
from tests.support.party import Silent
from tests.support.strategies import Json, record, split

BATCHES = [0, 0, 25, 25, 40]
"""Milliseconds of a batch that clients ask for."""
BOTH: dict[MessageType, Query] = {"user": EVERYTHING, "system": EVERYTHING}
NOON = "2025-12-03T12:00:00Z"
EVENING = "2025-12-03T20:00:00Z"


def only(name: MessageType, **filters: Any) -> dict[MessageType, Query]:
    return {name: compile_query(ANYBODY, Filters(**filters), now=0)}


SUBSCRIPTIONS = [
    NOTHING.with_types(queries)
    for queries in (
        BOTH,
        only("user"),
        only("system"),
        only("user", channel="general"),
        only("user", channel="trade", user_id="u1"),
        only("user") | only("dm"),
        only("user", text="dragon"),
        only("user", text='"red dragon"', user_id="u2"),
        only("user", text="go"),
        only("user", text="ann"),
        only("user", date_from=EVENING),
        only("user", channel="general") | only("system"),
        only("user", text="go") | only("system", severity="error"),
        only("user", type=["dm"]),
        only("user", type=["user", "dm"]) | only("system", text="error", severity="info"),
        # These share an audience, and have something of their own beside it.
        only("user", user_id="u1") | only("system"),
        only("user", user_id="u2") | only("system"),
        only("user", user_id="u2", text="dragon") | only("system"),
        # Expressions, some of which need no more than a record has.
        only("user", where="channel:trade OR user_id:u1"),
        only("user", where="-channel:trade") | only("system", where="NOT severity:info"),
        only("user", where="dragon -red*") | only("system"),
        only("user", where='gold OR "red dragon" OR (channel:trade -user_id:u2)'),
        only("user", where="-go content:*"),
        only("user", where="gold OR user_id:u2", user_id="u2") | only("system", where="error"),
    )
]


subscriptions = st.one_of(
    st.sampled_from(SUBSCRIPTIONS),
    st.sampled_from(
        [
            NOTHING.with_types(only("user") | only("dm")),
            NOTHING.with_types(only("user", user_id="u1") | only("system")),
        ]
    ),
)
"""Half of them are of a few, so that readers often share an audience."""


def user(user_id: str, channel: str, content: str, timestamp: str) -> Json:
    return {
        "type": "user",
        "user_id": user_id,
        "username": "Ann",
        "content": content,
        "timestamp": timestamp,
        "metadata": {"channel": channel},
    }


def dm(content: str) -> Json:
    return {
        "type": "dm",
        "from_user_id": "u1",
        "from_username": "Ann",
        "to_user_id": "u2",
        "content": content,
    }


def system(severity: str = "info") -> Json:
    return {"type": "system", "event": "error", "severity": severity}


messages = st.one_of(
    st.builds(
        user,
        st.sampled_from(["u1", "u2"]),
        st.sampled_from(["general", "trade"]),
        st.sampled_from(["red dragon", "dragon red", "gold", "dragons go", "go", ""]),
        st.sampled_from([NOON, EVENING]),
    ),
    st.sampled_from(["info", "error"]).map(system),
    st.sampled_from(["dragon", "go"]).map(dm),
)


class Transport:
    """Where a reader writes to. It may report a full buffer from inside a write."""

    def __init__(self, catch_up: CatchUp) -> None:
        self.catch_up = catch_up
        self.decoder = Decoder()
        self.writes: list[bytes] = []
        self.room: int | None = None
        """Bytes it takes before it reports a full buffer."""
        self.taken_bytes = 0
        self.reader = Reader(self.write, Silent())

    def write(self, data: bytes) -> None:
        assert not self.reader.blocked, "written to while blocked"
        assert data
        self.writes.append(data)
        self.taken_bytes += len(data)
        if self.room is not None:
            self.room -= len(data)
            if self.room <= 0:
                self.room = None
                self.catch_up.block(self.reader)

    def take(self) -> list[bytes]:
        """The frames that have arrived since the last time."""
        found = split(b"".join(self.writes))
        self.writes.clear()
        return found

    def read(self) -> list[bytes]:
        """The payloads of these frames; direct messages are not compressed."""
        found = []
        for frame in self.take():
            before = self.decoder.compressed
            found.append(self.decoder.payload(frame))
            if self.decoder.compressed > before:
                assert self.reader.deflates
                assert b'"type":"dm"' not in found[-1]
                assert b'"action"' not in found[-1]
        return found


class Client:
    """A transport with what the model says must still arrive there."""

    def __init__(self, catch_up: CatchUp, began: int, deflates: bool = False) -> None:
        self.began = began
        self.transport = Transport(catch_up)
        self.reader = self.transport.reader
        self.reader.deflates = deflates
        self.subscription = NOTHING
        self.since = 0
        """Everything wanted up to here has arrived or has been told to be lost."""
        self.due: list[Record] = []
        self.batch = 0

    def receive(self, window: Window) -> None:
        """Check what has arrived against what was due, item by item."""
        for payload in self.transport.read():
            if payload.startswith(b'{"action":"gap"'):
                gap = json.loads(payload)
                gone = max(window.evicted_upto, self.began)
                assert self.since <= gap["from"] < gap["to"] <= gone
                assert all(one.seq > gap["from"] for one in self.due), "not lost"
                self.since = gap["to"]
                self.due = [one for one in self.due if one.seq > gap["to"]]
                continue
            assert payload.startswith(b"[") is bool(self.batch)
            for message in messages_in(payload) if self.batch else [payload]:
                assert self.due, "more than was asked for"
                first = self.due.pop(0)
                assert message == first.payload, "not in order, not asked for, or not once"
                self.since = first.seq


class HubAgainstAModel(RuleBasedStateMachine):
    clients: Any = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub()
        self.records: list[Record] = []
        self.present: list[Client] = []
        self.transports: list[Transport] = []
        self.in_round = False
        self.timers: list[tuple[BatchedAudience, int]] = []
        """Batches that are to be closed after a while."""
        self.matching = self.hub.matching()

    @initialize(
        target=clients,
        crowd=st.integers(0, 4),
        subscription=subscriptions,
        batch=st.sampled_from(BATCHES),
        began=st.sampled_from([0, 5]),
        window=st.sampled_from([5, 12, 10_000]),
        head=st.integers(0, 3),
    )
    def start(
        self,
        crowd: int,
        subscription: Subscription,
        batch: int,
        began: int,
        window: int,
        head: int,
    ) -> Any:
        """Begin with some readers of one audience, that can inflate."""
        self.began = began
        self.hub = Hub(began)
        self.matching = self.hub.matching()
        self.window = Window(window, 1 << 30)
        self.log = Log(self.window, open_memory((began + 1.5) / 1e6), [self.hub])
        self.catch_up = CatchUp(self.log, self.hub)
        self.hub.on_batch = lambda audience, number: self.timers.append((audience, number))
        self.publish([system()] * head)
        each = [self.arrive(subscription, batch, deflates=True) for _ in range(crowd)]
        return multiple(*each)

    @rule(
        target=clients,
        subscription=subscriptions,
        batch=st.sampled_from(BATCHES),
        deflates=st.sampled_from([True, True, False]),
    )
    def arrive(self, subscription: Subscription, batch: int, deflates: bool) -> Client:
        client = Client(self.catch_up, self.began, deflates)
        self.present.append(client)
        self.transports.append(client.transport)
        self.change(client, subscription, batch)
        return client

    @rule(target=clients, client=clients)
    def arrive_alike(self, client: Client) -> Client:
        """One more that shares an audience."""
        made: Client = self.arrive(client.subscription, client.batch, deflates=True)
        return made

    @rule(
        client=clients,
        subscription=subscriptions | st.just(NOTHING),
        batch=st.sampled_from(BATCHES),
    )
    def change(self, client: Client, subscription: Subscription, batch: int) -> None:
        """It holds from the head on for a live reader, from its place on for one behind."""
        live = client.reader.audience is not None or not client.subscription.parts
        place = self.hub._head_for(client.reader) if live else self.hub.position(client.reader)
        assert self.catch_up.move(client.reader, subscription, batch=batch) == place
        client.receive(self.window)
        client.batch = batch
        if live:
            due = [one for one in client.due if one.seq <= place]
            assert not due, "what was asked for before the change comes before its answer"
        self.expect(client, subscription, place)

    @rule(
        client=clients,
        subscription=subscriptions | st.just(NOTHING),
        back=st.integers(0, 15),
    )
    def resume(self, client: Client, subscription: Subscription, back: int) -> None:
        since = max(0, self.hub.head - back)
        self.catch_up.move(client.reader, subscription, since)
        client.receive(self.window)
        self.expect(client, subscription, since)

    def expect(self, client: Client, subscription: Subscription, place: int) -> None:
        client.subscription = subscription
        client.since = place
        client.due = [one for one in self.records if one.seq > place and subscription.wants(one)]

    @rule(batch=st.lists(messages, min_size=1, max_size=4), skipped=st.integers(0, 1))
    def publish(self, batch: list[Json], skipped: int = 0) -> None:
        first = self.hub.head + 1 + skipped
        fresh = [record(message, seq) for seq, message in enumerate(batch, first)]
        self.records += fresh
        self.log.commit(fresh, lambda refused: None)
        for client in self.present:
            client.due += [one for one in fresh if client.subscription.wants(one)]

    @rule(size=st.integers(1, 3))
    def slice(self, size: int) -> None:
        """Act as the flusher: a round begins when the one before has ended."""
        if not self.in_round:
            self.hub.begin()
            self.catch_up.step(Slice(60))
        self.in_round = self.hub.flush(size)

    @precondition(lambda self: not self.in_round)
    @rule()
    def review(self) -> None:
        """A second is over: audiences are chosen to be compressed, and members let in."""
        self.hub.review()
        streams = [one for one in self.hub._deflating if one.stream is not None]
        assert len(streams) <= compression_module.MOST
        assert all(one.size >= compression_module.FEWEST for one in streams)

    @rule(batch=st.lists(messages, min_size=1, max_size=4))
    def second(self, batch: list[Json]) -> None:
        """Messages come, and a second is over after each of two rounds."""
        for _ in range(2):
            self.publish(batch)
            self.settle()
            self.review()
        self.publish(batch)

    @rule(count=st.integers(1, 3))
    def wait(self, count: int) -> None:
        """The time of some batches is over, of which some were closed before."""
        for timer in self.timers[:count]:
            self.hub.close_batch(*timer)
        del self.timers[:count]

    @rule(steps=st.integers(1, 5))
    def match(self, steps: int) -> None:
        """Messages are matched with filters on text in steps, one after the other."""
        for _ in range(steps):
            if next(self.matching, self) is self:
                self.matching = self.hub.matching()

    @rule(client=clients)
    def block(self, client: Client) -> None:
        self.catch_up.block(client.reader)

    @rule(client=clients, size=st.integers(1, 1000))
    def block_in_a_write(self, client: Client, size: int) -> None:
        client.transport.room = size

    @rule(client=clients)
    def unblock(self, client: Client) -> None:
        if client.reader.blocked:
            self.catch_up.unblock(client.reader)

    @rule(client=consumes(clients))
    def vanish(self, client: Client) -> None:
        """For good: its transport asserts that it is never written to again."""
        self.catch_up.block(client.reader)
        self.present.remove(client)

    @property
    def all_matched(self) -> bool:
        return self.hub.matched == self.hub.head

    @property
    def is_idle(self) -> bool:
        return self.hub.idle and self.catch_up.idle and self.all_matched

    @precondition(lambda self: self.present)
    @rule()
    def settle(self) -> None:
        while self.timers or self.in_round or not self.is_idle:
            self.match(1)
            self.wait(1)
            self.slice(2)
        for client in self.present:
            client.receive(self.window)
            assert client.reader.blocked or not client.due, "everybody has everything"
            assert client.reader.blocked or self.hub.position(client.reader) == self.hub.head

    @invariant()
    def everyone_has_what_its_position_says(self) -> None:
        self.hub._check()
        for client in self.present:
            client.receive(self.window)
            place = self.hub.position(client.reader)
            assert client.since <= place <= self.hub.head
            assert all(one.seq > place for one in client.due), "position overstates"

    @invariant()
    def every_byte_is_counted(self) -> None:
        written = sum(transport.taken_bytes for transport in self.transports)
        assert written == self.hub.delivered_bytes + self.catch_up.written_bytes

    def teardown(self) -> None:
        for client in self.present:
            client.transport.room = None
            self.unblock(client)
        self.settle()
        for client in self.present:
            self.catch_up.block(client.reader)
        assert not self.hub._audiences
        for routing in (self.hub._routing, self.hub._text_routing):
            assert not routing._routes
            assert not routing._by_user
            assert not any(routing._unfiltered.values())
            assert not any(routing._letters.values())


HubAgainstAModel.TestCase.settings = settings(max_examples=100, stateful_step_count=40)


class TestHubAgainstAModel(HubAgainstAModel.TestCase):  # type: ignore[misc, valid-type]  # made later
    def setUp(self) -> None:
        """Take few of everything, so that bounds are reached."""
        super().setUp()
        for module, name, value in (
            (compression_module, "MOST", 2),
            (compression_module, "FEWEST", 1),
            (batching_module, "BATCH_MESSAGES", 4),
        ):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)


def test_a_member_joins_a_stream_at_a_full_flush_and_reads_plain_until_then() -> None:
    with mock.patch.object(compression_module, "FEWEST", 2):
        place = Place(0)
        early, late = (Client(place.catch_up, 0, deflates=True) for _ in range(2))
        other = Client(place.catch_up, 0)
        everything = NOTHING.with_types(BOTH)
        for client in (early, other):
            place.catch_up.move(client.reader, everything)
        numbers = iter(range(1, 100))

        def second(*, review: bool = True) -> None:
            place.log.commit([record(system(), next(numbers))], lambda refused: None)
            place.hub.begin()
            while place.hub.flush(1):
                pass
            if review:
                place.hub.review()
            place.hub._check()

        def compressed() -> list[int]:
            for client in (early, late, other):
                client.transport.read()
            return [client.transport.decoder.compressed for client in (early, late, other)]

        second()
        second(review=False)
        assert compressed() == [0, 0, 0], "one is too few"
        place.catch_up.move(late.reader, everything)
        second()
        assert compressed() == [0, 0, 0]
        second(review=False)
        assert compressed() == [1, 1, 0]
        place.catch_up.block(late.reader)
        second(review=False)
        place.catch_up.unblock(late.reader)
        place.catch_up.step(Slice(60))
        second(review=False)
        assert compressed() == [3, 1, 0], "it reads plain after it has caught up"
        second()
        second(review=False)
        assert compressed() == [5, 2, 0]
        place.catch_up.block(late.reader)
        second()
        second(review=False)
        assert compressed() == [6, 2, 0], "one is too few again"


class Place:
    """A hub, the log before it, and clients that want every message."""

    def __init__(self, clients: int) -> None:
        self.hub = Hub()
        self.log = Log(Window(100, 1 << 20), open_memory(), [self.hub])
        self.catch_up = CatchUp(self.log, self.hub)
        self.transports = [Transport(self.catch_up) for _ in range(clients)]
        for transport in self.transports:
            self.catch_up.move(transport.reader, SUBSCRIPTIONS[0])

    def publish(self) -> bytes:
        """Another message; returns its frame."""
        new = record(system(), self.hub.head + 1)
        self.log.commit([new], lambda refused: None)
        return new.frame

    @property
    def written(self) -> list[bytes]:
        return sorted((b"".join(transport.writes) for transport in self.transports), key=len)


def test_a_message_that_comes_in_the_middle_of_a_round_reaches_those_still_to_come() -> None:
    place = Place(4)
    first = place.publish()
    place.hub.begin()
    assert place.hub.flush(2)
    second = place.publish()
    assert not place.hub.flush(100)
    assert place.written == [first, first, first + second, first + second]
    place.hub.begin()
    assert not place.hub.flush(100)
    assert place.written == [first + second] * 4
    assert place.hub.idle
    assert place.hub.delivered == 4 * 2


def test_members_of_an_audience_are_handed_the_very_same_bytes() -> None:
    place = Place(3)
    both = [place.publish(), place.publish()]
    place.hub.begin()
    place.hub.flush(100)
    [first, *others] = (transport.writes for transport in place.transports)
    assert first == [b"".join(both)]
    assert all(other[0] is first[0] for other in others)


def test_members_are_written_to_in_the_order_in_which_they_joined() -> None:
    place, order = Place(100), list[int]()
    joined = place.transports[50:] + place.transports[:50]  # not that of their addresses
    for number, transport in enumerate(joined):
        place.catch_up.block(transport.reader)
        place.catch_up.unblock(transport.reader)
        transport.reader.write = partial(_noted, order, number)
    place.publish()
    place.hub.begin()
    place.hub.flush(1000)
    assert order == list(range(100))


def _noted(order: list[int], number: int, data: bytes) -> None:
    order.append(number)


def test_a_single_message_is_handed_on_without_a_copy() -> None:
    place = Place(2)
    frame = place.publish()
    place.hub.begin()
    place.hub.flush(100)
    assert all(transport.writes[0] is frame for transport in place.transports)


def test_who_leaves_in_the_middle_of_a_round_does_not_hold_up_the_others() -> None:
    place = Place(4)
    frame = place.publish()
    place.hub.begin()
    assert place.hub.flush(1)
    for transport in place.transports:
        if not transport.writes:
            place.catch_up.block(transport.reader)
            break
    assert not place.hub.flush(100)
    assert place.written == [b"", frame, frame, frame]


def test_a_reader_that_cannot_be_written_to_is_passed_over() -> None:
    place = Place(4)

    def broken(data: bytes) -> None:
        raise OSError("broken pipe")

    place.transports[2].reader.write = broken
    frame = place.publish()
    place.hub.begin()
    with pytest.raises(OSError, match="broken pipe"):
        place.hub.flush(100)
    assert not place.hub.flush(100)
    assert place.written == [b"", frame, frame, frame]
    assert (place.hub.delivered, place.hub.delivered_bytes) == (3, 3 * len(frame))
    place.hub._check()


def test_a_message_is_shown_to_the_audiences_it_may_concern_only() -> None:
    """Many audiences with filters of their own cost a look-up, not a question each."""
    place = Place(0)
    for number in range(1000):
        subscription = NOTHING.with_types(only("user", user_id=f"u{number}"))
        place.catch_up.move(Transport(place.catch_up).reader, subscription)
    asked = {term for _, term in place.hub._routing._routes}
    assert len(asked) == 1000
    place.log.commit([record(user("u7", "general", "", NOON), 1)], lambda refused: None)
    assert [audience.seqs for audience in place.hub._dirty] == [[1]]


def test_readers_that_differ_in_what_is_theirs_alone_share_an_audience() -> None:
    """Ten thousand users who read their own messages beside the public ones are one audience."""
    place = Place(0)
    transports = [Transport(place.catch_up) for _ in range(100)]
    for number, transport in enumerate(transports):
        mine = only("user", user_id=f"u{number}") | only("system")
        place.catch_up.move(transport.reader, NOTHING.with_types(mine))
    assert len(place.hub._audiences) == 1
    own = record(user("u7", "general", "", NOON), 1)
    public = record(system(), 2)
    place.log.commit([own, public], lambda refused: None)
    place.hub.begin()
    assert not place.hub.flush(1000)
    for number, transport in enumerate(transports):
        assert transport.writes == [own.frame + public.frame if number == 7 else public.frame]
    assert place.hub.idle


def test_what_is_for_one_costs_the_others_nothing() -> None:
    place = Place(3)
    mine = only("user", user_id="u1") | only("system")
    owner, other = (Transport(place.catch_up) for _ in range(2))
    place.catch_up.move(owner.reader, NOTHING.with_types(mine))
    place.catch_up.move(
        other.reader, NOTHING.with_types(only("user", user_id="u2") | only("system"))
    )
    place.log.commit([record(user("u1", "general", "", NOON), 1)], lambda refused: None)
    place.hub.begin()
    [shared] = {owner.reader.audience, other.reader.audience}
    assert shared is not None
    assert list(shared.waiting) == [owner.reader]


class Long:
    """Readers with filters on text, and the log before them."""

    def __init__(self, *texts: str) -> None:
        self.hub = Hub()
        self.log = Log(Window(100, 1 << 24), open_memory(), [self.hub])
        self.catch_up = CatchUp(self.log, self.hub)
        self.transports = [Transport(self.catch_up) for _ in texts]
        for transport, text in zip(self.transports, texts, strict=True):
            wanted = NOTHING.with_types(only("user", text=text))
            self.catch_up.move(transport.reader, wanted)

    def publish(self, content: str) -> None:
        message = {"type": "user", "user_id": "u1", "username": "Ann", "content": content}
        self.log.commit([record(message, self.hub.head + 1)], lambda refused: None)

    def settle(self) -> list[list[int]]:
        for _ in self.hub.matching():
            self.hub._check()
        while not (self.hub.idle and self.catch_up.idle):
            self.hub.begin()
            self.catch_up.step(Slice(60))
            self.hub.flush(100)
        pieces = [transport.take() for transport in self.transports]
        return [[json.loads(frames.payload(one))["seq"] for one in some] for some in pieces]


@pytest.mark.parametrize("count", [1, 40])
def test_filters_on_text_are_matched_in_steps_after_a_message_was_published(count: int) -> None:
    words = [f"w{number:04}" for number in range(count)]
    place = Long(*words)
    place.publish(" ".join(f"w{number:04}" for number in range(0, 8000, 2)))
    place.publish("w0001")
    assert place.hub.idle, "nothing is matched while a message is published"
    assert place.hub.matched == 0
    assert sum(1 for _ in place.hub.matching()) > count
    assert place.hub.matched == place.hub.head == 2
    expected = [[1] if number % 2 == 0 else [2] if number == 1 else [] for number in range(count)]
    assert place.settle() == expected


def test_the_steps_are_short_for_a_text_of_a_single_word_and_for_very_many_audiences() -> None:
    place = Long(*[f"{number}w" for number in range(100, 140)])
    place.publish("a" * 60_000)
    assert sum(1 for _ in place.hub.matching()) > 25
    routing = routing_module.Routing()
    for number in range(5000):
        since = f"2020-01-01T00:00:00.{number:06}Z"
        subscription = NOTHING.with_types(only("user", text="go", date_from=since))
        routing.add(Audience(subscription, by_text=True))
    message = {"type": "user", "user_id": "u1", "username": "Ann", "content": "go"}
    assert sum(1 for _ in routing.matching(record(message, 1))) > 2


def test_a_step_tests_few_expressions_with_a_long_message() -> None:
    routing = routing_module.Routing()
    for number in range(100):
        subscription = NOTHING.with_types(only("user", where=f"-w{number}"))
        routing.add(Audience(subscription, by_text=True))
    short, long = (record(user("u1", "general", text, NOON), 1) for text in ("go", "go " * 2000))
    assert sum(1 for _ in routing.matching(long)) >= 100
    assert sum(1 for _ in routing.matching(short)) < 50


def test_an_expression_is_asked_where_a_message_has_one_of_the_terms_it_requires(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    routing, asked = routing_module.Routing(), list[Subscription]()

    def noted(subscription: Subscription, name: MessageType) -> Query | None:
        asked.append(subscription)
        return query(subscription, name)

    query = Subscription.query
    monkeypatch.setattr(Subscription, "query", noted)
    wheres = [f"(user_id:u{n} OR {n:03}w*) -red" for n in range(100, 300)]
    wheres += [
        "-red",
        "gold OR metadata.level:>3",
        "channel:50",
        "NOT (NOT dragon)",
        "author_id:u9",
    ]
    audiences = [
        Audience(NOTHING.with_types(only("user", where=where)), by_text=True) for where in wheres
    ]
    for audience in audiences:
        routing.add(audience)
    concerned = finish(routing.matching(record(user("u107", "general", "the 212ways", NOON), 1)))
    assert {audiences.index(one) for one in concerned.audiences} == {7, 112, 200}
    assert {wheres[audiences.index(one)] for one in audiences if one.subscription in asked} == {
        wheres[7],
        wheres[112],
        wheres[200],
    }
    assert len(asked) == 3
    asked.clear()
    levelled = user("u1", "general", "the way", NOON)
    levelled["metadata"] |= {"level": 5, "channel": 50}
    concerned = finish(routing.matching(record(levelled, 2)))
    assert {audiences.index(one) for one in concerned.audiences} == {200, 201, 202}
    assert len(asked) == 3
    for audience in audiences:
        routing.remove(audience)
    routing._check(set())
    assert not routing._routes


@pytest.mark.parametrize("failing", ["dragon", "word"])
def test_a_filter_that_fails_is_no_matter_of_the_others(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Long("dragon", "word", "here")
    place.publish("dragon word here")

    def fail(phrase: tuple[str, ...], text: str) -> bool:
        if phrase == (failing,):
            raise MemoryError
        return phrase[0] in text

    with monkeypatch.context() as patch:
        patch.setattr(routing_module, "occurs", fail)
        for _ in place.hub.matching():
            pass
    place.hub._check()
    assert place.settle() == [[1], [1], [1]], "that one reads the log"


def test_readers_with_filters_read_the_log_when_too_much_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "_MAX_UNMATCHED", 1000)
    place = Long("dragon", "lair")
    for number in range(20):
        place.publish("the dragon" if number % 2 else "its lair")
    place.hub._check()
    assert place.settle() == [list(range(2, 21, 2)), list(range(1, 20, 2))]
    assert place.hub.matched == place.hub.head


@pytest.mark.parametrize("nth", range(3))
def test_an_audience_that_cannot_take_a_message_reads_it_from_the_log(nth: int) -> None:
    place = Place(3)
    place.publish()

    class Full(list[int]):
        def append(self, seq: int) -> None:
            raise MemoryError

    [audience] = place.hub._audiences.values()
    audience.seqs = audience.ends = Full(audience.seqs)
    for _ in range(nth):
        place.publish()
    place.hub._check()
    while not (place.hub.idle and place.catch_up.idle):
        place.hub.begin()
        place.catch_up.step(Slice(60))
        place.hub.flush(100)
    for transport in place.transports:
        pieces = transport.take()
        got = [json.loads(frames.payload(one))["seq"] for one in pieces]
        assert got == list(range(1, nth + 2))
