"""The commands `subscribe` and `unsubscribe`, and what filters mean."""

from __future__ import annotations

import json
import random

import pytest

from tests.support.wire import (
    SAMPLES,
    TYPES,
    Client,
    Json,
    on_each_loop,
    on_uvloop,
    serving,
)


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
        for attempt in range(40):
            name = dice.choice(["user", "dm", "guild"])
            action = dice.choice(["subscribe", "unsubscribe"])
            await client.tell(action, message_types=[name])
            answer = await _answered(client, action + "d", published, expected)
            (listens.add if action == "subscribe" else listens.discard)(name)
            assert answer["message_types"] == [kind for kind in TYPES if kind in listens]
            for number in range(dice.randrange(4)):
                sample = dict(dice.choice(SAMPLES), id=f"{attempt}.{number}")
                seq = house.append(sample).seq
                published[seq] = sample["type"]
                expected.extend([seq] if sample["type"] in listens else [])
        # A pong can overtake messages that wait for the next round: its seq says so.
        while (await _answered(client, "pong", published, expected))["seq"] < max(published):
            pass
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
    ({"where": "type:user,raid OR from_user_id:user_12345"}, ["user", "dm", "raid"]),
    ({"where": "dragon -guild_id:* -party_id:*"}, ["user", "system", "dm", "raid"]),
    ({"where": {"field": "guild_level", "gte": 1}}, ["guild"]),
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
        ({"filters": {"text": " "}}, "filters.text"),
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
