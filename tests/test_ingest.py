"""Ingest: admission, stamps, duplicates, all or nothing, and what a program may hand over."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from livelog.auth.principal import PROGRAM, Principal
from livelog.engine.base import Outcome
from livelog.engine.local import LocalEngine
from livelog.errors import MESSAGE_TOO_BIG, POLICY_VIOLATION, PROTOCOL_ERROR, RefusedError
from livelog.fanout.audience import Reader
from livelog.fanout.hub import Hub
from livelog.index.plan import finish
from livelog.index.query import EVERYTHING, NOTHING
from livelog.log.ingest import Ingest, convert, decode
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.memory import open_memory
from livelog.wire import frames
from livelog.wire.messages import TYPES, AnyMessage, MessageType, UserMessage
from livelog.wire.record import Receipt
from livelog.wire.timestamps import parse_moment, timestamp
from tests.support.party import Silent
from tests.support.strategies import Json, messages, split
from tests.support.wire import EXAMPLES
from tests.test_explain import mutated

NOW = 1_764_763_200.1239


class House:
    """The path without doors: what is published, and what one subscriber to all gets."""

    def __init__(self, window: int = 100, types: Sequence[MessageType] = ("user", "dm")) -> None:
        self.now = NOW
        store = open_memory(NOW)
        self.hub = Hub(store.bounds.last_seq)
        self.log = Log(Window(window, 1 << 20), store, [self.hub])
        self.engine = LocalEngine(lambda: self.now)
        self.engine.start(self.log)
        self.ingest = Ingest(self.engine, lambda: self.now, max_bytes=2000)
        self.received: list[bytes] = []
        reader = Reader(self.received.append, Silent())
        reader.subscription = self.wanted = NOTHING.with_types(dict.fromkeys(types, EVERYTHING))
        reader.cursor = self.hub.head
        self.hub.join(reader)

    def publish(self, *messages: dict[str, Any]) -> list[Receipt]:
        drafts = [self.ingest.admit(PROGRAM, convert(message)) for message in messages]
        told: list[Sequence[Outcome]] = []
        self.ingest.publish(drafts, told.append)
        self.hub.begin()
        self.hub.flush(100)
        [outcomes] = told
        assert len(outcomes) == len(messages)
        return [outcome for outcome in outcomes if isinstance(outcome, Receipt)]


def user(**fields: Any) -> dict[str, Any]:
    return {"type": "user", "user_id": "u", "username": "Ann", "content": "hello", **fields}


def test_id_and_timestamp_are_made_when_they_are_left_out() -> None:
    house = House()
    [receipt] = house.publish(user())
    delivered = json.loads(frames.payload(house.received[0]))
    assert re.fullmatch(
        r"msg_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", receipt.id
    )
    assert delivered == {
        **user(),
        "id": receipt.id,
        "timestamp": "2025-12-03T12:00:00.123Z",
        "user_avatar": None,
        "user_badge": None,
        "metadata": {},
        "seq": receipt.seq,
    }
    assert list(delivered)[-1] == "seq"


@pytest.mark.parametrize(
    ("name", "prefix"),
    list(zip(EXAMPLES, ("msg_", "sys_", "dm_", "raid_", "party_", "guild_"), strict=True)),
)
def test_the_id_begins_as_the_type_does(name: str, prefix: str) -> None:
    message = {k: v for k, v in EXAMPLES[name].items() if k != "id"}
    assert House().publish(message)[0].id.startswith(prefix)


def test_what_the_producer_set_is_kept_as_it_was_written() -> None:
    house = House()
    house.publish(user(id="mine", timestamp="2020-02-29T23:59:59.123456+05:30"))
    delivered = json.loads(frames.payload(house.received[0]))
    assert delivered["id"] == "mine"
    assert delivered["timestamp"] == "2020-02-29T23:59:59.123456+05:30"


def test_an_id_that_the_store_could_not_keep_whole_is_refused() -> None:
    with pytest.raises(RefusedError, match="U\\+0000") as caught:
        House().publish(user(id="a\0b"))
    assert caught.value.field == "id"


@pytest.mark.parametrize(
    "wrong", ["now", "2025-12-03", "2025-12-03T12:00:00", "2025-02-30T12:00:00Z"]
)
def test_a_timestamp_that_is_none_is_refused(wrong: str) -> None:
    house = House()
    with pytest.raises(RefusedError) as caught:
        house.publish(user(timestamp=wrong))
    assert caught.value.field == "timestamp"
    assert len(house.log._window) == 0


def test_an_id_again_gives_the_first_ones_seq_and_delivers_nothing() -> None:
    house = House()
    [first] = house.publish(user(id="a"))
    again = house.publish(user(id="b"), user(id="a", content="again"), user(id="b"))
    assert [receipt.id for receipt in again] == ["b", "a", "b"]
    assert again[1] == first
    assert again[0] == again[2]
    assert len(house.log._window) == 2
    assert len(house.received) == 2


def test_a_principal_is_asked_before_anything_else() -> None:
    house = House()
    with pytest.raises(RefusedError) as caught:
        house.ingest.admit(Principal("v", frozenset(["publish"])), convert(user(timestamp="no")))
    assert caught.value.field == "user_id"
    [receipt] = house.publish(user(id="a"))
    own = Principal("u", frozenset(["publish"]))
    assert house.ingest.admit(own, convert(user(id="a"))).id == receipt.id


def test_an_id_of_somebody_else_is_refused_on_admission() -> None:
    """So that a door can refuse a whole body before any of it is published."""
    house = House()
    house.publish(user(id="a"))
    for taken in (user(id="a", user_id="v"), {"type": "system", "event": "error", "id": "a"}):
        with pytest.raises(RefusedError) as caught:
            house.ingest.admit(PROGRAM, convert(taken))
        assert (caught.value.code, caught.value.field) == (POLICY_VIOLATION, "id")


def test_nothing_is_admitted_once_the_engine_has_closed() -> None:
    house = House()
    asyncio.run(house.engine.close())
    with pytest.raises(RefusedError, match="stopping"):
        house.publish(user())


def test_an_id_that_has_left_the_window_is_new_again() -> None:
    house = House(window=2)
    [first] = house.publish(user(id="a"))
    house.publish(user(), user())
    [second] = house.publish(user(id="a"))
    assert second.seq > first.seq


def test_a_message_that_is_too_big_is_refused() -> None:
    house = House()
    draft = house.ingest.admit(PROGRAM, convert(user(content="")))
    room = 2000 - len(draft.payload)
    assert house.publish(user(content="x" * room))
    with pytest.raises(RefusedError) as caught:
        house.publish(user(content="x" * (room + 1)))
    assert caught.value.code == MESSAGE_TOO_BIG
    assert "2001" in caught.value.issue
    assert "2000" in caught.value.issue


def test_dates_find_a_message_by_the_timestamp_that_was_made_for_it() -> None:
    draft = House().ingest.admit(PROGRAM, convert(user()))
    assert draft.time == parse_moment(json.loads(draft.payload)["timestamp"], "")


@pytest.mark.parametrize(
    "value", [object(), {1, 2}.__iter__(), "\ud800", float, [[]] * 2 + [b"\xff" and object()]]
)
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(RefusedError):
        House().publish(user(metadata={"x": value}))


def test_a_struct_is_checked_as_strictly_as_json() -> None:
    message = convert(user())
    message.user_id = 5  # type: ignore[union-attr]  # what a careless program might do
    with pytest.raises(RefusedError) as caught:
        convert(message)
    assert caught.value.field == "user_id"


def test_a_clock_that_jumps_back_an_hour_does_not_disturb_the_order() -> None:
    house = House()
    [first] = house.publish(user())
    house.now -= 3600
    [second] = house.publish(user())
    assert second.seq == first.seq + 1


@given(st.integers(0, 4_000_000_000_000))
def test_the_timestamp_made_is_the_time_in_milliseconds(milliseconds: int) -> None:
    text = timestamp(milliseconds / 1000 + 0.0001)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert parse_moment(text, "") == milliseconds * 1000


@given(messages)
def test_whatever_a_producer_sets_is_delivered_as_it_is(message: Json) -> None:
    house = House(types=TYPES)
    [receipt] = house.publish(message)
    delivered = json.loads(frames.payload(house.received[0]))
    if "participants" in message:
        absent = {"role": None, "class": None}
        message["participants"] = [absent | one for one in message["participants"]]
    assert delivered | message == delivered
    assert (delivered["id"], delivered["seq"]) == receipt
    chunk = house.log.read_after(0, house.wanted, 1)
    assert chunk is not None
    assert chunk.frames == house.received[:1]


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), max_size=12))
def test_an_id_is_taken_once_as_long_as_the_window_has_it(batches: list[list[str]]) -> None:
    house = House(window=3)
    kept: list[Receipt] = []
    for batch in batches:
        known = dict(kept)
        fresh: list[Receipt] = []
        for receipt, id in zip(house.publish(*(user(id=id) for id in batch)), batch, strict=True):
            assert receipt.id == id
            if id in known:
                assert receipt.seq == known[id]
            else:
                known[id] = receipt.seq
                fresh.append(receipt)
        kept = [*kept, *fresh][-3:]
        delivered = split(b"".join(house.received))
        house.received.clear()
        assert [json.loads(frames.payload(one))["seq"] for one in delivered] == [
            receipt.seq for receipt in fresh
        ]


def test_several_messages_are_admitted_as_each_of_them_is() -> None:
    house, given = House(), [user(id=f"a{n}", content=f"word{n}") for n in range(100)]
    several = [({"line": n}, json.dumps(each).encode()) for n, each in enumerate(given)]
    places, drafts = finish(house.ingest.admitting_all(PROGRAM, [None, *several]))
    assert places == [{"line": n} for n in range(100)]
    assert drafts == [house.ingest.admit(PROGRAM, convert(each)) for each in given]
    wrong = [*several, ({"line": 100}, json.dumps(user(timestamp="no")).encode())]
    with pytest.raises(RefusedError) as refused:
        finish(house.ingest.admitting_all(PROGRAM, wrong))
    assert refused.value.details["line"] == 100
    reading = Principal("v", frozenset(["read"]))
    with pytest.raises(RefusedError, match="scope"):
        finish(house.ingest.admitting_all(reading, several))


def test_the_rest_of_very_many_is_refused_when_nothing_can_be_taken_any_more() -> None:
    house, raw = House(), json.dumps(user()).encode()
    read: list[int] = []

    def several() -> Iterator[tuple[dict[str, int], bytes]]:
        for number in range(1000):
            read.append(number)
            yield {"line": number}, raw

    steps = house.ingest.admitting_all(PROGRAM, several())
    next(steps)
    asyncio.run(house.engine.close())
    with pytest.raises(RefusedError, match="stopping") as refused:
        finish(steps)
    assert refused.value.details["line"] == read[-1]
    assert len(read) < 100


def test_of_several_messages_one_of_which_is_wrong_none_is_taken() -> None:
    house = House()
    with pytest.raises(RefusedError):
        house.publish(user(id="a"), user(timestamp="today"), user(id="b"))
    assert house.received == []
    assert [house.log.lookup(id) for id in "ab"] == [None, None]


@given(mutated())
def test_a_dict_is_refused_for_what_json_is_refused_for(data: bytes) -> None:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    assume(isinstance(document, dict))
    assert outcome(convert, document) == outcome(decode, data)


def outcome(take: Callable[[Any], AnyMessage], given: Any) -> Any:
    try:
        return take(given)
    except RefusedError as refused:
        return refused.field, refused.details.get("allowed")


def endless() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    "value",
    [
        object(),
        iter("x"),
        "\ud800",
        {(1, 2): 3},
        {None: 1},
        endless(),
        [object()],
        math.nan,
        [math.inf],
    ],
)
@pytest.mark.parametrize("field", ["metadata", "content", "user_id"])
def test_a_struct_that_json_cannot_hold_is_refused(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"user_id": "u", "username": "Ann", "content": ""}
    message = UserMessage(**fields | {field: {"x": value} if field == "metadata" else value})
    house = House()
    with pytest.raises(RefusedError) as caught:
        house.ingest.admit(PROGRAM, convert(message))
    assert caught.value.code == PROTOCOL_ERROR


@pytest.mark.parametrize("value", [None, 5, "{}", [], b"{}", {1: 2}, UserMessage])
def test_what_is_no_message_at_all_is_refused(value: Any) -> None:
    with pytest.raises(RefusedError):
        convert(value)


def test_a_key_that_is_no_string_is_refused_in_the_name_of_its_object() -> None:
    with pytest.raises(RefusedError) as caught:
        convert(user(metadata={5: "x"}))
    assert caught.value.field == "metadata"


def test_the_message_of_an_embedding_program_is_not_changed() -> None:
    message = UserMessage(user_id="u", username="Ann", content="hello")
    House().ingest.admit(PROGRAM, convert(message))
    assert message == UserMessage(user_id="u", username="Ann", content="hello")
