"""Watches of livelog.js under Node, against real servers."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.follower import Follower, door, following
from tests.support.identity import SECRET, token
from tests.support.wire import Json, on_uvloop, serving, until

pytestmark = pytest.mark.node


def told(follower: Follower, name: str) -> list[Json]:
    """The counts of one watch."""
    return [event["counts"] for event in follower.said("counts") if event["name"] == name]


def total(follower: Follower, name: str) -> Json:
    """The sum of all counts of one watch, as JavaScript lists them."""
    counted: Counter[str] = Counter()
    for event in follower.said("counts"):
        if event["name"] == name:
            counted.update(dict(event["values"]))
    return dict(counted)


async def upto(follower: Follower, name: str, seq: int) -> Json:
    """Wait for the counts up to a seq, and sum them up."""
    await follower.until(
        lambda: [one for one in told(follower, name) if one["to_seq"] >= seq], "counts"
    )
    return total(follower, name)


@on_uvloop
async def test_it_counts_until_it_is_stopped(node_modules: Path) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        assert await follower.call("watch", name="types") is None
        wanted: dict[str, Any] = {"group_by": "user_id", "filters": {"where": "-dragon"}}
        assert await follower.call("watch", name="users", interval_seconds=1, **wanted) is None
        house.publish("x", "dragon", user_id="__proto__")
        last = house.publish("x", user_id="constructor")[-1]
        assert await upto(follower, "types", last) == {"user": 3}
        assert await upto(follower, "users", last) == {"__proto__": 1, "constructor": 1}
        for one in (told(follower, "types"), told(follower, "users")):
            assert [each["to_seq"] for each in one[:-1]] == [each["from_seq"] for each in one[1:]]
        await follower.call("stop", name="users")
        await until(lambda: len(house.context.watches) == 1, "unwatched")
        await follower.call("close")
        await until(lambda: not len(house.context.watches), "gone")


@on_uvloop
async def test_a_refusal_carries_the_server_s_words(node_modules: Path) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        wrong: list[tuple[Json, str]] = [
            ({"group_by": "chanel"}, "group_by"),
            ({"interval_seconds": 0}, "interval_seconds"),
            ({"interval_seconds": 0.5}, "interval_seconds"),
            ({"filters": {"colour": "red"}}, "filters.colour"),
        ]
        for number, (fields, field) in enumerate(wrong):
            refused = await follower.call("watch", name=f"bad{number}", **fields)
            assert (refused["error"]["code"], refused["error"]["field"]) == (1002, field)
        assert await follower.call("watch", name="good") is None
        assert len(house.context.watches) == 1


@on_uvloop
async def test_after_a_reconnect_it_watches_again_and_tells_the_gap(node_modules: Path) -> None:
    async with (
        serving(limits=False) as house,
        door(house.server.port) as proxy,
        following(proxy.url, node_modules, stableMs=0) as follower,
    ):
        assert await follower.call("watch", name="w") is None
        first = house.publish("x")[-1]
        assert await upto(follower, "w", first) == {"user": 1}
        proxy.cut()
        lost = house.publish("x", "x")[-1]
        [gap] = await follower.until(lambda: follower.said("uncounted"), "a gap")
        assert gap["gap"] == {"from": first, "to": lost}
        last = house.publish("x")[-1]
        assert await upto(follower, "w", last) == {"user": 2}


@on_uvloop
async def test_a_new_token_that_does_not_allow_it_ends_it(node_modules: Path) -> None:
    passed = 0.0
    tokens = [token("ann", "read", lasts=500), token("ann", "read:user", lasts=1000)]
    async with (
        serving(clock=lambda: time.time() + passed, jwt_secret=SECRET, jwt_leeway=0) as house,
        following(house.server.url, node_modules, tokens=tokens) as follower,
    ):
        assert await follower.call("watch", name="raids", filters={"type": "raid"}) is None
        passed = 450
        house.inside.review_sessions()
        [error] = await follower.until(lambda: follower.said("error"), "an end")
        assert error["code"] == 1008
        assert not len(house.context.watches)


# Presence.


def users(change: Json) -> list[str]:
    """The users that a state or a change names as on line."""
    named: list[Json] = change.get("users") or change.get("joined") or []
    return [user["id"] for user in named]


@on_uvloop
async def test_presence_is_followed_over_a_reconnect_until_it_is_stopped(
    node_modules: Path,
) -> None:
    tokens = [token("ann", "presence")] * 3
    async with (
        serving(limits=False, jwt_secret=SECRET) as house,
        door(house.server.port) as proxy,
        following(proxy.url, node_modules, stableMs=0, tokens=tokens) as follower,
    ):
        online = house.context.online
        assert online is not None
        assert await follower.call("watchPresence", name="who", limit=5) is None
        [first] = follower.said("presence")
        assert (first["change"]["count"], users(first["change"])) == (1, ["ann"])
        bob = await house.client(f"?token={token('bob')}")
        await follower.until(
            lambda: "bob" in users(follower.said("presence")[-1]["change"]), "bob comes"
        )
        proxy.cut()
        await follower.until(
            lambda: users(follower.said("presence")[-1]["change"]) == ["ann", "bob"], "all again"
        )
        bob.close()
        await follower.until(
            lambda: "bob" in follower.said("presence")[-1]["change"].get("left", []), "bob goes"
        )
        await follower.call("stop", name="who")
        await until(lambda: not online._followers, "nobody follows")


@on_uvloop
async def test_presence_that_is_refused_ends_with_the_server_s_words(node_modules: Path) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        refused = await follower.call("watchPresence", name="who")
        assert refused["error"]["code"] == 1008
        assert "there are no users" in refused["error"]["message"]
        assert follower.said("presence") == []
