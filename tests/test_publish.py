"""The command `publish`, and what it shares with the other doors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.wire import (
    SAMPLES,
    TYPES,
    House,
    Json,
    close_frame,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    serving,
    user,
)


@on_each_loop
async def test_publish_is_answered_with_id_and_seq() -> None:
    async with serving() as house:
        client, listener = await house.client(), await house.client("?message_types=user")
        await listener.event()
        answer = await client.ask("publish", message=user(id="m1"), request_id="r")
        seq = answer["seq"]
        assert answer == {"action": "published", "id": "m1", "seq": seq, "request_id": "r"}
        assert (await listener.event())["seq"] == seq


@on_each_loop
async def test_messages_keep_their_order_when_one_takes_long_to_read() -> None:
    async with serving() as house:
        client, listener = await house.client(), await house.client("?message_types=user")
        await listener.event()
        texts = ["\u00e9 ! " * 6000, "short", "\ufdfa " * 8000]
        await client.send(*[command("publish", message=user(text)) for text in texts])
        assert await listener.contents(3) == texts
        answers = [await client.event() for _ in texts]
        assert [answer["action"] for answer in answers] == ["published"] * 3
        # The frame is small enough, and the message with all its fields is not.
        big = user("! " * ((65_500 - len(json.dumps(user(""))) - 60) // 2))
        too_big = await client.ask("publish", message=big, request_id=7)
        assert (too_big["error_code"], too_big["request_id"]) == (1009, 7)
        assert too_big["details"]["field"] == "message"


DEFAULTS: dict[str, Json] = {
    "user": {"user_avatar": None, "user_badge": None, "metadata": {}},
    "system": {"data": {}, "severity": "info"},
    "dm": {"read": False},
    "raid": {"participants": [], "health_percentage": None, "duration_seconds": None},
    "party": {"event_data": {}},
    "guild": {"event_data": {}},
}

PREFIXES = {
    "user": "msg_",
    "system": "sys_",
    "dm": "dm_",
    "raid": "raid_",
    "party": "party_",
    "guild": "guild_",
}


@pytest.mark.parametrize("sample", SAMPLES, ids=TYPES)
@on_uvloop
async def test_what_a_producer_leaves_out_is_made(sample: Json) -> None:
    name = sample["type"]
    least = {
        field: value
        for field, value in sample.items()
        if field not in ("id", "timestamp", *DEFAULTS[name])
    }
    async with serving() as house:
        client = await house.client(f"?message_types={name}")
        await client.event()
        answer = await client.ask("publish", message=least)
        event = await client.event()
        assert event.pop("id") == answer["id"]
        assert answer["id"].startswith(PREFIXES[name])
        assert re.fullmatch(r"[0-9a-f-]{36}", answer["id"].removeprefix(PREFIXES[name]))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("timestamp"))
        assert event == {**least, **DEFAULTS[name], "seq": answer["seq"]}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"type": "user"}, "message.user_id"),
        (user(x=1), "message.x"),
        (user(seq=1), "message.seq"),
        (user(id=""), "message.id"),
        (user(user_id=5), "message.user_id"),
        (user(timestamp="now"), "message.timestamp"),
        (user(timestamp="2025-12-03T12:00:00"), "message.timestamp"),
        (user(metadata=[]), "message.metadata"),
        ({**SAMPLES[1], "event": "party"}, "message.event"),
        ({**SAMPLES[1], "severity": "dire"}, "message.severity"),
        ({**SAMPLES[3], "status": "lost"}, "message.status"),
        ({**SAMPLES[3], "health_percentage": 101}, "message.health_percentage"),
        ({**SAMPLES[3], "participants": [{"user_id": "u"}]}, "message.participants[0].username"),
        ({**SAMPLES[4], "member_count": -1}, "message.member_count"),
        ({**SAMPLES[5], "event": "raid_started"}, "message.event"),
        ("hello", "message"),
        (None, "message"),
    ],
)
@on_uvloop
async def test_a_wrong_message_is_refused_with_the_field_that_is_wrong(
    message: Any, field: str
) -> None:
    async with serving() as house:
        client = await house.client()
        error = await client.ask("publish", message=message, request_id=1)
        assert (error["error_code"], error["request_id"]) == (1002, 1)
        assert error["details"]["field"] == field
        assert (await client.ask("get_history"))["total_count"] == 0


@on_uvloop
async def test_a_message_that_would_be_too_big_is_refused() -> None:
    async with serving(max_frame_bytes=1024) as house:
        client = await house.client()
        content = "\\u0001" * 150  # 150 characters, each six bytes
        escaped = json.dumps(user("X" * 100)).replace("X" * 100, content)
        padded = '{"action": "publish", "message": ' + escaped + "}"
        assert len(padded) < 1024
        await client.send(frame(padded))
        error = await client.event()
        assert error["error_code"] == 1009
        assert error["details"]["field"] == "message"


@on_each_loop
async def test_an_id_that_was_published_already_is_answered_with_the_first_seq() -> None:
    async with serving(limits=False) as house:
        client = await house.client("?message_types=user")
        await client.event()
        first = await client.ask("publish", message=user("one", id="same"))
        assert await client.contents(1) == ["one"]
        assert await client.ask("publish", message=user("two", id="same")) == first
        http = await house.http()
        body = json.dumps([user("three", id="same"), user("four", id="new")] * 2)
        posted = (await http.ask("POST", "/api/messages", body)).json["messages"]
        assert [m["seq"] for m in posted[::2]] == [first["seq"]] * 2
        assert posted[1] == posted[3]
        assert house.append(user("five", id="same")).seq == first["seq"]
        assert [event["content"] for event in await client.everything()] == ["four"]
        assert (await client.ask("get_history"))["total_count"] == 2


@on_uvloop
async def test_the_id_of_somebody_elses_message_is_refused(tmp_path: Path) -> None:
    """A client can neither suppress messages of others nor learn where one of theirs stands."""
    store = str(tmp_path / "live.db")
    hers = user("hers", id="same", user_id="ann")
    stolen = [user("his", id="same", user_id="bob"), {**SAMPLES[2], "id": "same"}]
    async with serving(store=store) as house:
        house.append(hers)
        client = await house.client()
        for message in stolen:
            refused = await client.ask("publish", message=message)
            assert (refused["error_code"], refused["details"]["field"]) == (1008, "message.id")
        assert await stolen_over_http(house, stolen[0]) == 403
    async with serving(store=store, window_messages=1) as house:  # also before it is filled
        assert await stolen_over_http(house, stolen[0]) == 403
        assert house.append(hers).seq < house.append(user("new")).seq


async def stolen_over_http(house: House, message: Json) -> int:
    """The status of its refusal, which refuses the whole body."""
    body = json.dumps([user("with it"), message])
    answer = await (await house.http()).ask("POST", "/api/messages", body)
    assert answer.json["details"]["field"] == "id"
    assert (await (await house.http()).ask("GET", "/api/history")).json["total_count"] == 1
    return answer.status


@on_uvloop
async def test_an_id_that_has_left_the_window_is_new_again() -> None:
    async with serving(window_messages=2) as house:
        [first] = house.publish("x", id="same")
        house.publish("y", "z")
        assert house.publish("x", id="same") > [first]


@pytest.mark.parametrize("sample", SAMPLES, ids=TYPES)
@on_each_loop
async def test_the_three_doors_end_in_the_same_place(sample: Json) -> None:
    async with serving() as house:
        client = await house.client(f"?message_types={sample['type']}")
        await client.event()
        http = await house.http()
        expected = []
        for door in ("socket", "http", "inside"):
            message = {**sample, "id": door}
            if door == "socket":
                seq = (await client.ask("publish", message=message))["seq"]
            elif door == "http":
                answer = await http.ask("POST", "/api/messages", json.dumps(message))
                seq = answer.json["messages"][0]["seq"]
            else:
                seq = house.append(message).seq
            expected.append({**message, "seq": seq})
            assert await client.event() == expected[-1]
        history = await client.ask("get_history")
        assert history["messages"] == expected[::-1]


@on_uvloop
async def test_the_doors_refuse_the_same_messages_for_the_same_reasons() -> None:
    async with serving() as house:
        client, http = await house.client(), await house.http()
        wrong = {**SAMPLES[1], "severity": "dire"}
        by_socket = (await client.ask("publish", message=wrong))["details"]
        by_http = (await http.ask("POST", "/api/messages", json.dumps(wrong))).json["details"]
        assert by_socket.pop("field") == "message." + by_http.pop("field")
        assert by_socket == by_http
        assert by_http["allowed"] == ["info", "warning", "error", "critical"]


@on_each_loop
async def test_what_was_acknowledged_before_the_close_frame_is_in_the_log() -> None:
    async with serving() as house:
        client = await house.client()
        publishes = [command("publish", message=user(str(n))) for n in range(20)]
        await client.send(*publishes, close_frame())
        events = [await client.event() for _ in range(21)]
        assert [event["action"] for event in events] == ["published"] * 20 + ["disconnected"]
        await client.close_code()
        history = await (await house.client()).ask("get_history")
        assert [m["seq"] for m in history["messages"]] == [e["seq"] for e in events[19::-1]]
