"""Messages in arrays: what a client gets that asks for them, over real connections."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.client.decoding import decode_frame
from livelog.client.url import with_parameter
from livelog.wire import frames
from livelog.wire.events import Pong, encoder
from livelog.wire.messages import Message
from tests.support.wire import Client, Json, on_each_loop, on_uvloop, serving, user


async def arrays(client: Client, count: int) -> list[list[Json]]:
    """Frames with `count` messages in all."""
    found: list[list[Json]] = []
    while sum(map(len, found)) < count:
        found.append(json.loads((await client.frame()).payload))
        assert isinstance(found[-1], list)
    return found


def contents(found: list[list[Json]]) -> list[str]:
    return [message["content"] for array in found for message in array]


@on_each_loop
async def test_messages_come_in_arrays_and_events_alone() -> None:
    async with serving() as house:
        client = await house.client("?message_types=user&batch=1")
        assert (await client.event())["batch_ms"] == 25
        house.publish(*[f"{number}" for number in range(10)])
        found = await arrays(client, 10)
        assert contents(found) == [f"{number}" for number in range(10)]
        assert len(found) == 1
        house.publish("single")
        assert contents(await arrays(client, 1)) == ["single"]
        await client.tell("ping")
        assert (await client.event())["action"] == "pong"


@on_uvloop
async def test_a_full_batch_does_not_wait_and_a_large_message_goes_alone() -> None:
    async with serving(limits=False) as house:
        client = await house.client("?message_types=user&batch=1000")
        await client.event()
        house.publish(*[f"{number}" for number in range(1000)])
        full = await arrays(client, 100)  # by its bytes
        assert len(full) == 1
        assert len(json.dumps(full[0], separators=(",", ":"))) > frames.BATCH_BYTES - 1000
        house.publish("large" * 8000, "after")
        *_, before, large = await arrays(client, 1001 - len(full[0]))
        assert before[-1]["content"] == "999"
        assert [message["content"] for message in large] == ["large" * 8000]
        assert contents(await arrays(client, 1)) == ["after"]


@on_uvloop
async def test_it_is_switched_on_and_off_by_a_command_also_in_mid_catch_up() -> None:
    async with serving(limits=False) as house:
        [first] = house.publish("-1")
        house.publish(*[str(number) for number in range(3000)])
        client = await house.client(receive_buffer=4096)
        subscribed = await client.ask("subscribe", message_types=["user"], since=first)
        assert "batch_ms" not in subscribed
        await client.tell("subscribe", message_types=["user"], batch=True, request_id="on")
        await client.tell("subscribe", message_types=["user"], batch=False, request_id="off")
        got, modes, mode = list[str](), set[tuple[str, bool]](), "off"
        while len(got) < 3000 or mode == "on":
            item = json.loads((await client.frame()).payload)
            if isinstance(item, dict) and "action" in item:
                mode = item["request_id"]
                assert ("batch_ms" in item) is (mode == "on")
                continue
            modes.add((mode, isinstance(item, list)))
            got += [one["content"] for one in (item if isinstance(item, list) else [item])]
        assert got == [str(number) for number in range(3000)]
        assert modes <= {("off", False), ("on", True)}


@on_uvloop
async def test_who_reads_direct_messages_gets_them_at_their_places_in_the_arrays() -> None:
    """Personal messages stand between those that all share."""
    async with serving() as house:
        client = await house.client("?message_types=user,dm&batch=30")
        await client.event()
        sent = []
        for number in range(20):
            message: Any = user(str(number))
            if number % 3 == 0:
                message = {
                    "type": "dm",
                    "from_user_id": "u1",
                    "from_username": "A",
                    "to_user_id": "u2",
                    "content": str(number),
                }
            house.append(message)
            sent.append(str(number))
        assert contents(await arrays(client, 20)) == sent


@on_uvloop
@pytest.mark.parametrize("given", ["0", "1001", "x", "1.5", "-3", "%C2%B2"])
async def test_a_wrong_time_in_the_url_is_refused(given: str) -> None:
    async with serving() as house:
        client = await house.client(f"?message_types=user&batch={given}")
        error = await client.event()
        assert error["error_code"] == 1002
        assert error["details"]["field"] == "batch"
        assert "from 2 to 1000" in error["details"]["issue"]


MESSAGES = st.lists(st.integers(0, 40_000), max_size=20)


@given(sizes=MESSAGES, events=st.sets(st.integers(0, 19)))
def test_arrays_hold_every_message_as_it_is_within_the_bounds(
    sizes: list[int], events: set[int]
) -> None:
    event = frames.text(encoder.encode(Pong(timestamp="now")))
    each = [
        event if place in events else frames.text(b'{"type":"user","x":"%b"}' % (b"x" * size))
        for place, size in enumerate(sizes)
    ]
    assert list(frames.split(b"".join(each))) == each
    found: list[bytes] = []
    for unit, number in frames.batches(each):
        payload = frames.payload(unit)
        if unit == event:
            assert number == 1
            found.append(unit)
            continue
        assert payload[:1] + payload[-1:] == b"[]"
        assert number <= frames.BATCH_MESSAGES
        assert number == 1 or len(payload) <= frames.BATCH_BYTES
        assert len(json.loads(payload)) == number
        inner = each[len(found) : len(found) + number]
        assert payload[1:-1] == b",".join(map(frames.payload, inner))
        found += inner
    assert found == each


def test_a_client_takes_what_it_knows_of_an_array() -> None:
    known = {**user("hello"), "id": "m1", "timestamp": "2025-12-03T12:00:00Z", "seq": 5}
    unknown = {**known, "type": "comet"}
    for order in ([known, unknown], [unknown, known], [known, 7, {}]):
        [message] = decode_frame(json.dumps(order))
        assert isinstance(message, Message)
        assert message.seq == 5
    assert decode_frame("[") == decode_frame("[]") == []
    assert decode_frame(json.dumps([{**known, "seq": 2**60}])) == []


@pytest.mark.parametrize(
    ("url", "with_it"),
    [
        ("ws://a/ws/live-log", "ws://a/ws/live-log?batch=1"),
        ("ws+unix:///run/x", "ws+unix:///run/x:/ws/live-log?batch=1"),
        ("ws+unix:///run/x:/ws/live-log?since=1", "ws+unix:///run/x:/ws/live-log?since=1&batch=1"),
    ],
)
def test_the_client_asks_in_the_address(url: str, with_it: str) -> None:
    assert with_parameter(url, "batch=1") == with_it
