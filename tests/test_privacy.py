"""Direct messages are for the two they concern: users with real tokens, against a plain model.

Each asks in every way there is (live, resumed, history, search, their counts, places in the log,
both doors), for themselves and for what concerns others. Whatever comes must be exactly what the
model lets them see; the log is longer than the window, so that part of it is answered from disk.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from livelog.wire.messages import TYPES
from tests import test_where_matching as means
from tests.support.identity import SECRET, token
from tests.support.strategies import record
from tests.support.wire import Client, House, Http, Json, on_uvloop, serving, user
from tests.test_query import complete, plainly, visible

USERS = ["u0", "u1", "u2", "Jos\u00e9", "Jose\u0301"]
"""Ids compare byte for byte: the last are two people with one name."""
WORDS = ["red dragon", "blue dragon", "gate closed", "quiet"]
OUTSIDER = "outsider"
WANTED: list[Json] = [
    {},
    {"user_id": "u1"},
    {"user_id": "u2", "text": "dragon"},
    {"text": '"red dragon"'},
    {"text": "ed"},
    {"username": "U1"},
    {"username": "jos\u00e9"},
    {"user_id": USERS[3]},
    {"user_id": USERS[4], "text": "jos\u00e9"},
    {"date_from": "2026-01-10T00:00:00Z"},
    {"where": "type:dm"},
    {"where": "NOT dragon"},
    {"where": "-user_id:u1 -type:user"},
    {"where": "type:user OR -from_user_id:u2"},
    {"where": "to_user_id:u*", "text": "dragon"},
    {"where": "NOT (from_user_id:u0 OR to_user_id:u0)"},
]
MEANT: Json = {
    "type:dm": {"field": "type", "eq": "dm"},
    "NOT dragon": {"not": {"word": "dragon"}},
    "-user_id:u1 -type:user": {
        "and": [
            {"not": {"field": "user_id", "eq": "u1"}},
            {"not": {"field": "type", "eq": "user"}},
        ]
    },
    "type:user OR -from_user_id:u2": {
        "or": [{"field": "type", "eq": "user"}, {"not": {"field": "from_user_id", "eq": "u2"}}]
    },
    "to_user_id:u*": {"field": "to_user_id", "prefix": "u"},
    "NOT (from_user_id:u0 OR to_user_id:u0)": {
        "not": {"or": [{"field": name, "eq": "u0"} for name in ("from_user_id", "to_user_id")]}
    },
}
"""The expressions in JSON, as the model reads them."""
LAST = "the last one of all"


def said(dice: random.Random, number: int) -> Json:
    """A message, a direct one as often as not."""
    text, timestamp = f"{dice.choice(WORDS)} {number}", f"2026-01-{1 + number % 28:02d}T12:00:00Z"
    common = {"id": f"m{number}", "timestamp": timestamp}
    one, other = dice.choice(USERS), dice.choice(USERS)
    if dice.random() < 0.5:
        return user(text, user_id=one, username=one.upper(), **common)
    people = {"from_user_id": one, "from_username": one.upper(), "to_user_id": other}
    return {"type": "dm", "content": text, **people, **common}


def publish(house: House, numbers: range) -> list[Json]:
    """Publish messages; returns them as they are delivered."""
    dice = random.Random(numbers.start)
    found = []
    for message in (said(dice, number) for number in numbers):
        receipt = house.append(message)
        found.append(complete(message) | {"seq": receipt.seq})
    return found


def seen(log: list[Json], who: str, **wanted: Any) -> list[int]:
    """Return the seqs of the wanted messages that a user may see, oldest first."""
    where = MEANT[wanted["where"]] if "where" in wanted else {"and": []}
    return [
        one["seq"]
        for one in log
        if visible(one, who) and plainly(one, wanted) and means.plainly(one, where)
    ]


async def entered(house: House, who: str) -> Client:
    client = await house.client()
    assert (await client.ask("authenticate", token=token(who)))["id"] == who
    return client


async def listening(house: House, who: str, wanted: Json, **since: int) -> Client:
    """Open a connection that gets the wanted messages, and the one that ends the test."""
    client = await entered(house, who)
    assert (await client.ask("subscribe", message_types=["system"]))["action"] == "subscribed"
    own = [name for name in TYPES if name != "system"]
    await client.tell("subscribe", message_types=own, filters=wanted, **since)
    assert (await client.event())["action"] == "subscribed"
    return client


async def heard(client: Client) -> list[int]:
    """Return the seqs of all messages before the last one."""
    seqs: list[int] = []
    while LAST not in str(event := await client.event()):
        if "action" not in event:
            seqs.append(event["seq"])
    return seqs


def end(house: House) -> None:
    house.append({"type": "system", "event": "error", "data": {"note": LAST}})


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A log that is longer than its window."""
    store = str(tmp_path / "live.db")
    return {"jwt_secret": SECRET, "store": store, "window_messages": 60, "limits": False}


@on_uvloop
async def test_live_and_on_resume_each_user_gets_only_own_direct_messages(
    settings: dict[str, Any],
) -> None:
    async with serving(**settings) as house:
        past = publish(house, range(200))
        askers = [(who, wanted) for who in [*USERS, OUTSIDER] for wanted in WANTED]
        live = [await listening(house, *asker) for asker in askers]
        cursors = [0, past[20]["seq"], past[180]["seq"]]
        back = [
            await listening(house, *asker, since=cursors[number % 3])
            for number, asker in enumerate(askers)
        ]
        fresh = publish(house, range(200, 260))
        end(house)
        for client, (who, wanted) in zip(live, askers, strict=True):
            assert await heard(client) == seen(fresh, who, **wanted)
        for number, (client, (who, wanted)) in enumerate(zip(back, askers, strict=True)):
            expected = seen(past + fresh, who, **wanted)
            assert await heard(client) == [seq for seq in expected if seq > cursors[number % 3]]


async def got(http: Http, who: str, path: str, **parameters: Any) -> Json:
    target = f"{path}?{urlencode(parameters)}"
    answer = await http.ask("GET", target, Authorization=f"Bearer {token(who)}")
    assert answer.status == 200, answer
    return answer.json


@on_uvloop
async def test_history_and_its_counts_reveal_no_messages_of_others(
    settings: dict[str, Any],
) -> None:
    async with serving(**settings) as house:
        log, http = publish(house, range(200)), await house.http()
        for who in [*USERS, OUTSIDER]:
            client = await entered(house, who)
            for wanted in WANTED:
                expected = seen(log, who, **wanted)[::-1]
                page = await client.ask("get_history", filters=wanted, limit=1000)
                assert [one["seq"] for one in page["messages"]] == expected
                assert page["total_count"] == len(expected)
                same = await got(http, who, "/api/history", **wanted, limit=30, offset=20)
                assert [one["seq"] for one in same["messages"]] == expected[20:50]
                assert same["total_count"] == len(expected)


@on_uvloop
async def test_searches_and_their_counts_reveal_no_messages_of_others(
    settings: dict[str, Any],
) -> None:
    async with serving(**settings) as house:
        log, http = publish(house, range(200)), await house.http()
        for who in [*USERS, OUTSIDER]:
            client, searched = await entered(house, who), {*seen(log, who, text="dragon")}
            for wanted in WANTED:
                expected = [seq for seq in seen(log, who, **wanted)[::-1] if seq in searched]
                found = await client.ask("search", query="dragon", filters=wanted, limit=1000)
                assert [one["seq"] for one in found["results"]] == expected
                assert found["count"] == len(expected)
                same = await got(http, who, "/api/search", query="dragon", **wanted, limit=1)
                assert same["count"] == len(expected)
                question = {**wanted, "text": f"{wanted.get('text', '')} dragon"}
                counts = await got(
                    http, who, "/api/analytics", group_by="user_id", limit=1000, **question
                )
                assert counts["total_count"] == len(expected)
                assert {one["value"] for one in counts["groups"]} == {
                    key.removeprefix("user_id=")
                    for one in found["results"]
                    for key in record({k: v for k, v in one.items() if k != "seq"}, 1).keys
                    if key.startswith("user_id=")
                }


@on_uvloop
async def test_no_field_value_or_name_opens_or_hides_a_direct_message(
    settings: dict[str, Any],
) -> None:
    """Users say in every way there is that messages are for somebody else."""
    forged = {"user_id": "u1", "reader": "u1", "reader=u1": "reader=u1", "to_user_id": ["u1"]}
    async with serving(**settings) as house:
        for number in range(100):  # more than the window holds
            people = {"from_user_id": "u0", "from_username": "reader=u1", "to_user_id": "reader=u1"}
            house.append({"type": "dm", "content": "user_id=u1 reader=u1", **people})
            house.append(user("type=dm reader=u1", metadata=forged, id=f"open{number}"))
            own = {"from_user_id": "u1", "from_username": "reader=u2", "to_user_id": "u2"}
            house.append({"type": "dm", "content": f"own {number}", **own})
        for who, total in (("u0", 200), ("u1", 200), ("reader=u1", 200), ("u2", 200), ("u3", 100)):
            client = await entered(house, who)
            for where in ("type:dm OR type:user", "NOT type:raid", "-raid_id:x -metadata.x:*"):
                page = await client.ask("get_history", filters={"where": where}, limit=1000)
                assert page["total_count"] == len(page["messages"]) == total
                assert all(visible(one, who) for one in page["messages"])


@on_uvloop
async def test_a_page_around_a_hidden_message_holds_visible_ones_only(
    settings: dict[str, Any],
) -> None:
    """A place in the log is no secret, what lies there is."""
    async with serving(**settings) as house:
        log = publish(house, range(200))
        client = await entered(house, "u1")
        expected = seen(log, "u1")
        for one in [one for one in log if not visible(one, "u1")][::7]:
            page = await client.ask("get_history", around=one["seq"], limit=10)
            found = [message["seq"] for message in page["messages"]][::-1]
            start = expected.index(found[0])
            assert found == expected[start : start + len(found)]
            assert page["total_count"] == len(expected)


@on_uvloop
async def test_a_user_without_direct_messages_gets_none(settings: dict[str, Any]) -> None:
    async with serving(**settings) as house:
        publish(house, range(200))
        client = await entered(house, OUTSIDER)
        page = await client.ask("get_history", filters={"type": "dm"})
        assert (page["messages"], page["total_count"]) == ([], 0)


@on_uvloop
async def test_on_an_open_server_everything_is_public(settings: dict[str, Any]) -> None:
    del settings["jwt_secret"]
    async with serving(**settings) as house:
        log, http = publish(house, range(100)), await house.http()
        answer = await http.ask("GET", "/api/history?type=dm&limit=1000")
        assert answer.json["total_count"] == sum(one["type"] == "dm" for one in log)
