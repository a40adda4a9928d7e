"""What each command does and what it is answered with, field by field as the API says."""

from __future__ import annotations

import asyncio
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.wire import (
    SAMPLES,
    TYPES,
    Client,
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

# Subscribing.


@on_each_loop
async def test_subscribe_answers_with_the_whole_set_in_force_and_where_the_log_is() -> None:
    async with serving() as house:
        client = await house.client()
        [head] = house.publish("before")
        assert await client.ask("subscribe", message_types=["raid", "user", "user"]) == {
            "action": "subscribed",
            "message_types": ["user", "raid"],
            "seq": head,
        }
        assert await client.ask("subscribe", message_types=["dm"], request_id="r1") == {
            "action": "subscribed",
            "message_types": ["user", "dm", "raid"],
            "seq": head,
            "request_id": "r1",
        }
        assert await client.everything() == []


@on_each_loop
async def test_unsubscribe_answers_with_what_is_left_and_stops_it() -> None:
    async with serving() as house:
        client = await house.client("?message_types=user,dm,raid")
        await client.event()
        [head] = house.publish("heard")
        assert await client.contents(1) == ["heard"]
        assert await client.ask("unsubscribe", message_types=["user", "guild"], request_id=2) == {
            "action": "unsubscribed",
            "message_types": ["dm", "raid"],
            "seq": head,
            "request_id": 2,
        }
        for sample in SAMPLES:
            house.append(sample)
        assert [event["type"] for event in await client.everything()] == ["dm", "raid"]
        unsubscribed = await client.ask("unsubscribe", message_types=["dm", "raid"])
        assert unsubscribed["message_types"] == []
        house.publish("unheard")
        assert await client.everything() == []


@on_each_loop
async def test_a_change_of_subscription_holds_from_its_answer_on() -> None:
    async with serving(limits=False) as house:
        client = await house.client()
        published: dict[int, str] = {}
        expected: list[int] = []
        listens: set[str] = set()
        dice = random.Random(1)
        for turn in range(40):
            name = dice.choice(["user", "dm", "guild"])
            action = dice.choice(["subscribe", "unsubscribe"])
            await client.tell(action, message_types=[name])
            answer = await _answered(client, action + "d", published, expected)
            (listens.add if action == "subscribe" else listens.discard)(name)
            assert answer["message_types"] == [kind for kind in TYPES if kind in listens]
            for number in range(dice.randrange(4)):
                sample = dict(dice.choice(SAMPLES), id=f"{turn}.{number}")
                seq = house.append(sample).seq
                published[seq] = sample["type"]
                expected.extend([seq] if sample["type"] in listens else [])
        await _answered(client, "pong", published, expected)
        assert not expected


async def _answered(
    client: Client, action: str, published: dict[int, str], expected: list[int]
) -> Json:
    """The event called `action`; the messages before it must be those that are expected."""
    if action == "pong":
        await client.tell("ping")
    while "seq" in (event := await client.event()) and "action" not in event:
        assert event["type"] == published[event["seq"]]
        assert event["seq"] == expected.pop(0)
    assert event["action"] == action
    return event


@on_each_loop
async def test_filters_hold_for_the_types_they_came_with() -> None:
    async with serving() as house:
        client = await house.client()
        filters = {"channel": "general", "text": "dragon"}
        await client.ask("subscribe", message_types=["dm"])
        answer = await client.ask("subscribe", message_types=["user"], filters=filters)
        assert answer["message_types"] == ["user", "dm"]
        assert answer["filters"] == {"user": filters}
        house.publish("a Dragonfly", metadata={"channel": "general"})
        house.publish("a dragon elsewhere", metadata={"channel": "trade"})
        house.publish("a cat", metadata={"channel": "general"})
        house.append(SAMPLES[2])
        assert [e["content"] for e in await client.everything()] == [
            "a Dragonfly",
            SAMPLES[2]["content"],
        ]
        answer = await client.ask("subscribe", message_types=["user"])
        assert "filters" not in answer
        house.publish("a cat")
        assert await client.contents(1) == ["a cat"]


FILTERS: list[tuple[Json, list[str]]] = [
    ({"user_id": "user_12345"}, ["user", "system", "dm", "raid", "party"]),
    ({"user_id": "user_67890"}, ["dm"]),
    ({"username": "NewAdventurer"}, ["party"]),
    ({"channel": "general"}, ["user"]),
    ({"server": "main"}, ["user"]),
    ({"event": "member_joined"}, ["party"]),
    ({"severity": "info"}, ["system"]),
    ({"status": "in_progress"}, ["raid"]),
    ({"raid_id": "raid_001"}, ["raid"]),
    ({"party_id": "party_123"}, ["party"]),
    ({"guild_id": "guild_001"}, ["guild"]),
    ({"text": "dragon"}, ["user", "system", "dm", "raid", "party", "guild"]),
    ({"text": '"dragon valley"'}, ["guild"]),
    ({"date_from": "2025-12-03T12:00:00Z", "date_to": "2025-12-03T13:00:00+01:00"}, TYPES),
    ({"date_from": "2025-12-03T12:00:00.001Z"}, []),
    ({"user_id": "user_12345", "status": "in_progress"}, ["raid"]),
    ({"user_id": "nobody"}, []),
]


@pytest.mark.parametrize(("filters", "matching"), FILTERS, ids=str)
@on_uvloop
async def test_a_filter_means_the_same_live_resumed_in_history_and_in_search(
    filters: Json, matching: list[str]
) -> None:
    async with serving() as house:
        live, resumed = await house.client(), await house.client()
        await live.ask("subscribe", message_types=TYPES, filters=filters)
        receipts = [house.append(sample) for sample in SAMPLES]
        expected = [
            {**sample, "seq": receipt.seq}
            for sample, receipt in zip(SAMPLES, receipts, strict=True)
            if sample["type"] in matching and ("text" not in filters or _says(sample, filters))
        ]
        assert await live.everything() == expected
        await resumed.ask("subscribe", message_types=TYPES, filters=filters, since=0)
        assert await resumed.everything() == expected
        history = await resumed.ask("get_history", filters=filters)
        assert history["messages"] == expected[::-1]
        assert history["total_count"] == len(expected)
        if "text" in filters:
            rest = {name: value for name, value in filters.items() if name != "text"}
            found = await resumed.ask("search", query=filters["text"], filters=rest)
            assert found["results"] == expected[::-1]


def _says(sample: Json, filters: Json) -> bool:
    return filters["text"].strip('"') in json.dumps(sample, ensure_ascii=False).lower()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"filters": {"type": "user"}}, "filters.type"),
        ({"filters": {"date_from": "yesterday"}}, "filters.date_from"),
        ({"filters": {"date_from": "2025-12-03T12:00:00"}}, "filters.date_from"),
        (
            {"filters": {"date_from": "2025-12-04T00:00:00Z", "date_to": "2025-12-03T00:00:00Z"}},
            "filters.date_from",
        ),
        ({"filters": {"text": "..."}}, "filters.text"),
        ({"since": 2**53 - 1}, "since"),
        ({"since": -1}, "since"),
        ({"since": 1.5}, "since"),
    ],
)
@on_uvloop
async def test_a_subscription_that_cannot_be_changes_nothing(fields: Json, field: str) -> None:
    async with serving() as house:
        client = await house.client("?message_types=dm")
        await client.event()
        error = await client.ask("subscribe", message_types=["user"], request_id=1, **fields)
        assert (error["error_code"], error["request_id"]) == (1002, 1)
        assert error["details"]["field"] == field
        assert (await client.ask("unsubscribe", message_types=["raid"]))["message_types"] == ["dm"]


# Resuming.


@on_each_loop
async def test_since_gives_everything_after_it_once_and_then_what_follows() -> None:
    async with serving() as house:
        seqs = house.publish(*map(str, range(100)))
        client = await house.client()
        answer = await client.ask("subscribe", message_types=["user"], since=seqs[39])
        assert answer["seq"] == seqs[39]
        house.publish("live")
        assert await client.contents(61) == [*map(str, range(40, 100)), "live"]
        assert await client.everything() == []


@on_uvloop
async def test_since_at_the_head_is_the_present() -> None:
    async with serving() as house:
        [head] = house.publish("old")
        client = await house.client()
        answer = await client.ask("subscribe", message_types=["user"], since=head)
        assert answer["seq"] == head
        house.publish("new")
        assert await client.contents(1) == ["new"]


@on_uvloop
async def test_pong_tells_how_far_a_client_has_been_served() -> None:
    async with serving() as house:
        client = await house.client("?message_types=dm")
        await client.event()
        [head] = house.publish("not for this one")
        pong = await client.ask("ping", request_id="p")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", pong.pop("timestamp"))
        assert pong == {"action": "pong", "seq": head, "request_id": "p"}


@pytest.mark.parametrize("seed", range(4))
@on_each_loop
async def test_who_reconnects_with_its_last_seq_misses_nothing_and_gets_nothing_twice(
    seed: int,
) -> None:
    async with serving(limits=False) as house:
        dice = random.Random(seed)
        publishing = asyncio.create_task(_publish_now_and_then(house, dice, 400))
        got: list[int] = []
        since = 0
        while len(got) < 400:
            client = await house.client(f"?message_types=user,dm&since={since}")
            for _ in range(dice.randrange(1, 60)):
                event = await client.event()
                since = event["seq"]
                if "type" in event:
                    got.append(since)
                if len(got) == 400:
                    break
            dice.choice([client.close, client.reset])()
        assert got == await publishing


async def _publish_now_and_then(house: House, dice: random.Random, count: int) -> list[int]:
    seqs: list[int] = []
    while len(seqs) < count:
        for number in range(min(dice.randrange(1, 10), count - len(seqs))):
            seqs += house.publish("x" * dice.randrange(3000), id=f"{len(seqs)}.{number}")
        await asyncio.sleep(0.001)
    return seqs


@on_each_loop
async def test_what_can_no_longer_be_had_is_told_as_a_gap() -> None:
    async with serving(window_messages=10) as house:
        seqs = house.publish(*map(str, range(30)))
        client = await house.client()
        await client.ask("subscribe", message_types=["user"], since=seqs[4])
        assert await client.event() == {"action": "gap", "from": seqs[4], "to": seqs[19]}
        assert await client.contents(10) == [str(n) for n in range(20, 30)]
        house.publish("live")
        assert await client.contents(1) == ["live"]


@on_uvloop
async def test_there_is_no_gap_where_nothing_is_missing() -> None:
    async with serving(window_messages=10) as house:
        seqs = house.publish(*map(str, range(30)))
        client = await house.client(f"?message_types=user&since={seqs[19]}")
        await client.event()
        assert await client.contents(10) == [str(n) for n in range(20, 30)]


@on_uvloop
async def test_a_gap_is_told_to_a_reader_that_was_too_slow_for_the_window() -> None:
    async with serving(window_messages=10) as house:
        slow = await house.client("?message_types=user", receive_buffer=4096)
        await slow.event()
        peer = house.inside.connection
        published: list[int] = []
        while not peer.reader.blocked:
            published += house.publish("x" * 30_000)
            await asyncio.sleep(0)
        published += house.publish(*["x"] * 100)
        got: list[int] = []
        while len(got) < 10 or got[-1] != published[-1]:
            event = await slow.event()
            if event.get("action") == "gap":
                assert event["from"] >= got[-1]
                assert event["to"] == published[-11]
                gap_after = len(got)
            else:
                got.append(event["seq"])
        assert got == published[:gap_after] + published[-10:]


# The past.


@on_each_loop
async def test_history_is_answered_as_the_api_says() -> None:
    async with serving() as house:
        seqs = house.publish(*map(str, range(250)))
        client = await house.client()
        history = await client.ask("get_history", request_id="h")
        assert [m["content"] for m in history["messages"]] == [str(n) for n in range(249, 149, -1)]
        assert [m["seq"] for m in history.pop("messages")] == seqs[:149:-1]
        assert history == {
            "action": "history",
            "total_count": 250,
            "limit": 100,
            "offset": 0,
            "request_id": "h",
        }


@on_uvloop
async def test_the_pages_of_history_make_the_whole() -> None:
    async with serving(limits=False) as house:
        seqs = house.publish(*map(str, range(95)))
        client = await house.client()
        pages = [
            await client.ask("get_history", limit=10, offset=offset) for offset in range(0, 110, 10)
        ]
        assert [m["seq"] for page in pages for m in page["messages"]] == seqs[::-1]
        assert {page["total_count"] for page in pages} == {95}
        assert [page["offset"] for page in pages] == [*range(0, 110, 10)]
        far = await client.ask("get_history", limit=1000, offset=2**53 - 1)
        assert (far["messages"], far["total_count"]) == ([], 95)


@on_uvloop
async def test_history_can_be_asked_for_one_type_or_several() -> None:
    async with serving() as house:
        for sample in SAMPLES:
            house.append(sample)
        client = await house.client()
        one = await client.ask("get_history", filters={"type": "raid"})
        assert [m["type"] for m in one["messages"]] == ["raid"]
        two = await client.ask("get_history", filters={"type": ["user", "guild"]})
        assert [m["type"] for m in two["messages"]] == ["guild", "user"]


@on_each_loop
async def test_search_is_answered_as_the_api_says() -> None:
    async with serving() as house:
        receipts = [house.append(sample) for sample in SAMPLES]
        client = await house.client()
        assert await client.ask("search", query="dragon LAIR", request_id=3, limit=5) == {
            "action": "search_results",
            "query": "dragon LAIR",
            "results": [{**SAMPLES[3], "seq": receipts[3].seq}],
            "count": 1,
            "limit": 5,
            "offset": 0,
            "request_id": 3,
        }


@on_uvloop
async def test_search_counts_all_and_gives_pages() -> None:
    async with serving(limits=False) as house:
        house.publish(*[f"dragon {n}" if n % 3 else "cat" for n in range(60)])
        client = await house.client()
        pages = [
            await client.ask("search", query="dragon", limit=15, offset=n) for n in (0, 15, 30)
        ]
        assert {page["count"] for page in pages} == {40}
        found = [m["content"] for page in pages for m in page["results"]]
        assert found == [f"dragon {n}" for n in range(59, 0, -1) if n % 3]


# Publishing.


@on_each_loop
async def test_publish_is_answered_with_id_and_seq() -> None:
    async with serving() as house:
        client, listener = await house.client(), await house.client("?message_types=user")
        await listener.event()
        answer = await client.ask("publish", message=user(id="m1"), request_id="r")
        seq = answer["seq"]
        assert answer == {"action": "published", "id": "m1", "seq": seq, "request_id": "r"}
        assert (await listener.event())["seq"] == seq


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
    """Nobody can make what others will say vanish, or learn where a message of theirs stands."""
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
async def test_what_was_acknowledged_before_the_goodbye_is_in_the_log() -> None:
    async with serving() as house:
        client = await house.client()
        publishes = [command("publish", message=user(str(n))) for n in range(20)]
        await client.send(*publishes, close_frame())
        events = [await client.event() for _ in range(21)]
        assert [event["action"] for event in events] == ["published"] * 20 + ["disconnected"]
        await client.close_code()
        history = await (await house.client()).ask("get_history")
        assert [m["seq"] for m in history["messages"]] == [e["seq"] for e in events[19::-1]]
