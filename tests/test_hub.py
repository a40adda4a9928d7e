"""The hub and the catch-up against a plain model: everyone gets what it asked for, once, in order.

The model keeps for each reader the stretches of the log it is entitled to: from which seq on which
subscription holds. Rounds run in slices of any size, and readers come, go, change their minds and
get blocked (in the middle of a write, too) between the slices.
"""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from livelog.catchup import CatchUp
from livelog.hub import Hub, Reader
from livelog.ingest import convert
from livelog.log import Log
from livelog.messages import MessageType, encoder
from livelog.pacing import Pacing
from livelog.protocol import Filters
from livelog.query import NOTHING, Query, Subscription, compile_query
from livelog.record import Draft, Record, place, terms
from livelog.store.memory import MemoryStore
from livelog.window import Window

CHANNELS = ["general", "trade"]
EVERYTHING: dict[MessageType, Query] = {"user": Query(), "system": Query()}


def only(name: MessageType, **filters: Any) -> dict[MessageType, Query]:
    return {name: compile_query(Filters(**filters))}


SUBSCRIPTIONS = [
    NOTHING.with_types(queries)
    for queries in (
        EVERYTHING,
        only("user"),
        only("system"),
        only("user", channel="general"),
        only("user", channel="trade", user_id="u1"),
        only("user", text="dragon"),
        only("user", text='"red dragon"', user_id="u2"),
        only("user", date_from="1970-01-01T00:00:00.000020Z"),
        only("user", channel="general") | only("system"),
        only("user", text="go") | only("system", severity="error"),
    )
]


def record(seq: int, message: dict[str, Any]) -> Record:
    known = convert({**message, "id": f"id_{seq}", "timestamp": "2025-12-03T12:00:00Z"})
    return place(Draft(f"id_{seq}", message["type"], seq, terms(known), encoder.encode(known)), seq)


messages = st.one_of(
    st.builds(
        lambda user, channel, content: {
            "type": "user",
            "user_id": user,
            "username": "Ann",
            "content": content,
            "metadata": {"channel": channel},
        },
        st.sampled_from(["u1", "u2"]),
        st.sampled_from(CHANNELS),
        st.sampled_from(["red dragon", "dragon red", "gold", "dragons", ""]),
    ),
    st.sampled_from(["info", "error"]).map(
        lambda severity: {"type": "system", "event": "error", "severity": severity}
    ),
)


class Client:
    """A reader, the transport it writes to, and what the model expects to find there."""

    def __init__(self, catch_up: CatchUp) -> None:
        self.catch_up = catch_up
        self.received: list[bytes] = []
        self.expected: list[tuple[int, bytes]] = []
        """What is to be in `received` since it last resumed, with the seqs."""
        self.block_after: int | None = None
        self.reader = Reader(self.write)

    def write(self, data: bytes) -> None:
        assert not self.reader.blocked, "written to while blocked"
        assert data
        self.received.append(data)
        if self.block_after is not None:
            self.block_after -= 1
            if self.block_after <= 0:
                self.block_after = None
                self.catch_up.block(self.reader)

    @property
    def data(self) -> bytes:
        return b"".join(self.received)


class HubAgainstAModel(RuleBasedStateMachine):
    clients: Any = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub()
        self.log = Log(Window(10_000, 1 << 30), MemoryStore(), self.hub, lambda: None)
        self.catch_up = CatchUp(self.log, self.hub)
        self.records: list[Record] = []
        self.present: list[Client] = []
        self.in_round = False

    @rule(target=clients)
    def arrive(self) -> Client:
        client = Client(self.catch_up)
        self.present.append(client)
        return client

    @rule(client=clients, subscription=st.sampled_from([*SUBSCRIPTIONS, NOTHING]))
    def change(self, client: Client, subscription: Subscription) -> None:
        if client.reader.blocked:
            return  # its commands are not read
        self.catch_up.move(client.reader, subscription)
        place = self.hub.position(client.reader)
        client.expected = [(seq, frame) for seq, frame in client.expected if seq <= place]
        self.entitle(client, place)

    @rule(client=clients, subscription=st.sampled_from(SUBSCRIPTIONS), back=st.integers(0, 8))
    def resume(self, client: Client, subscription: Subscription, back: int) -> None:
        if client.reader.blocked:
            return
        client.received.clear()
        client.expected.clear()
        since = max(0, self.hub.head - back)
        self.catch_up.move(client.reader, subscription, since)
        self.entitle(client, since)

    def entitle(self, client: Client, place: int) -> None:
        for past in self.records:
            if past.seq > place and client.reader.subscription.wants(past):
                client.expected.append((past.seq, past.frame))

    @rule(batch=st.lists(messages, min_size=1, max_size=4))
    def publish(self, batch: list[dict[str, Any]]) -> None:
        fresh = [record(self.hub.head + 1 + i, message) for i, message in enumerate(batch)]
        self.records += fresh
        self.log.commit(fresh, lambda refused: None)
        for client in self.present:
            for new in fresh:
                if client.reader.subscription.wants(new):
                    client.expected.append((new.seq, new.frame))

    @rule(size=st.integers(1, 3))
    def slice(self, size: int) -> None:
        """What the ticker does: a round begins when the one before has ended."""
        if not self.in_round:
            self.hub.begin()
            self.catch_up.turn()
        self.in_round = self.hub.flush(size)

    @rule(client=clients)
    def block(self, client: Client) -> None:
        self.catch_up.block(client.reader)

    @rule(client=clients, writes=st.integers(1, 3))
    def block_in_a_write(self, client: Client, writes: int) -> None:
        client.block_after = writes

    @rule(client=clients)
    def unblock(self, client: Client) -> None:
        if client.reader.blocked:
            self.catch_up.unblock(client.reader)

    @rule(client=consumes(clients))
    def vanish(self, client: Client) -> None:
        self.catch_up.block(client.reader)
        self.present.remove(client)

    @invariant()
    def nobody_has_more_or_less_than_its_position_says(self) -> None:
        self.hub._check()
        for client in self.present:
            place = self.hub.position(client.reader)
            due = [frame for seq, frame in client.expected if seq <= place]
            assert client.data == b"".join(due)

    def teardown(self) -> None:
        for client in self.present:
            client.block_after = None
            if client.reader.blocked:
                self.catch_up.unblock(client.reader)
        while self.in_round or not (self.hub.idle and self.catch_up.idle):
            self.slice(2)
        for client in self.present:
            assert client.data == b"".join(frame for _, frame in client.expected)
            self.catch_up.block(client.reader)
        assert not self.hub._audiences
        assert not self.hub._unfiltered or not any(self.hub._unfiltered.values())
        assert not self.hub._routes


HubAgainstAModel.TestCase.settings = settings(max_examples=300, stateful_step_count=40)
TestHubAgainstAModel = HubAgainstAModel.TestCase


def subscribed(hub: Hub, catch_up: CatchUp, subscription: Subscription) -> Client:
    client = Client(catch_up)
    catch_up.move(client.reader, subscription)
    return client


def test_a_message_that_comes_in_the_middle_of_a_round_reaches_those_still_to_come() -> None:
    hub = Hub()
    log = Log(Window(100, 1 << 20), MemoryStore(), hub, lambda: None)
    catch_up = CatchUp(log, hub)
    clients = [subscribed(hub, catch_up, SUBSCRIPTIONS[0]) for _ in range(4)]
    first, second = (record(seq, {"type": "system", "event": "error"}) for seq in (1, 2))
    log.commit([first], lambda refused: None)
    hub.begin()
    assert hub.flush(2)
    log.commit([second], lambda refused: None)
    assert not hub.flush(100)
    whole = first.frame + second.frame
    assert sorted(len(client.data) for client in clients) == sorted(
        [len(first.frame)] * 2 + [len(whole)] * 2
    )
    hub.begin()
    assert not hub.flush(100)
    assert all(client.data == whole for client in clients)
    assert hub.idle


def test_members_of_an_audience_are_handed_the_very_same_bytes() -> None:
    hub = Hub()
    log = Log(Window(100, 1 << 20), MemoryStore(), hub, lambda: None)
    catch_up = CatchUp(log, hub)
    clients = [subscribed(hub, catch_up, SUBSCRIPTIONS[0]) for _ in range(3)]
    batch = [record(seq, {"type": "system", "event": "error"}) for seq in (1, 2)]
    log.commit(batch, lambda refused: None)
    hub.begin()
    hub.flush(100)
    assert len({id(client.received[0]) for client in clients}) == 1


def test_a_message_after_a_pause_may_leave_at_once_and_fan_out_keeps_to_its_share() -> None:
    pacing = Pacing(share=0.5, target=1.0)
    assert pacing.next_start(started=100.0, spent=0.010, now=100.010) <= 100.010
    now = 100.010
    for _ in range(100):
        now = max(now, pacing.next_start(started=now, spent=0.010, now=now + 0.010))
    assert 100 * 0.010 / (now - 100.0) < 0.52


def test_the_rest_never_endangers_the_latency_target() -> None:
    pacing = Pacing(share=0.1, target=0.05)
    now = 0.0
    for _ in range(20):
        start = pacing.next_start(started=now, spent=0.03, now=now + 0.03)
        assert start - now <= 0.05 + 1e-9
        now = start
