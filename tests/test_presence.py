"""Presence: who is on line, at both doors, over servers that share a log, and in the log itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import UNSET

from livelog import Config, ConfigError, RefusedError, Server, SystemMessage, connect, sync_connect
from livelog.net.announcer import QUIET
from livelog.net.online import WhoIsOnline
from livelog.wire.events import Online
from tests.support.brokers import fresh_url
from tests.support.clock import Ahead, Clock
from tests.support.identity import SECRET, token
from tests.support.wire import Client, House, Json, on_uvloop, request, serving, soon, until
from tests.test_authentication import AUTH, entered


def names(event: Json) -> list[str]:
    return [user["id"] for user in event["users"]]


def online_of(house: House) -> WhoIsOnline:
    online = house.context.online
    assert online is not None
    return online


# Who may see what.


@on_uvloop
async def test_a_reader_is_told_the_number_and_the_scope_the_users() -> None:
    clock = Clock(1_764_763_200.0)
    async with serving(clock=clock, **AUTH) as house:
        reader = await entered(house, "u1", "read:user")
        await entered(house, "u2")
        await entered(house, "u2")
        watcher = await entered(house, "u0", "presence")
        assert await reader.ask("presence", request_id=7) == {
            "action": "online", "count": 3, "request_id": 7,
        }  # fmt: skip
        told = await watcher.ask("presence")
        since = "2025-12-03T12:00:00.000Z"
        assert told == {
            "action": "online",
            "count": 3,
            "offset": 0,
            "users": [
                {"id": "u0", "connections": 1, "since": since},
                {"id": "u1", "connections": 1, "since": since},
                {"id": "u2", "connections": 2, "since": since},
            ],
        }
        page = await watcher.ask("presence", limit=1, offset=1)
        assert (page["count"], names(page), page["offset"]) == (3, ["u1"], 1)
        online_of(house).roster._check()


@pytest.mark.parametrize("scope", ["publish", "metrics", "publish:any"])
@on_uvloop
async def test_who_may_read_nothing_is_told_nothing(scope: str) -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "u1", scope)
        refused = await client.ask("presence")
        assert (refused["error_code"], refused["details"]["scope"]) == (1008, "read")
        http = await house.http()
        key = {"Authorization": f"Bearer {token('u1', scope)}"}
        assert (await http.ask("GET", "/api/presence", **key)).status == 403


@on_uvloop
async def test_it_is_refused_before_authentication_and_where_everything_is_public() -> None:
    async with serving(**AUTH) as house:
        client = await house.client()
        assert (await client.ask("presence"))["error_code"] == 4000
        http = await house.http()
        assert (await http.ask("GET", "/api/presence")).status == 401
    async with serving() as house:
        client = await house.client()
        refused = await client.ask("presence")
        assert refused["error_code"] == 1008
        assert "livelog keys create" in refused["details"]["issue"]
        http = await house.http()
        assert (await http.ask("GET", "/api/presence")).status == 403


def test_announcements_need_authentication() -> None:
    @on_uvloop
    async def main() -> None:
        with pytest.raises(ConfigError, match="--announce-presence: has an effect only with"):
            await Server(Config(port=0, store="memory", announce_presence=True)).start()

    main()


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"limit": 0}, "limit"), ({"offset": -1}, "offset"), ({"follow": 1}, "follow"),
     ({"user": "u1"}, "user")],
)  # fmt: skip
@on_uvloop
async def test_bad_input_is_refused_by_its_field(fields: Json, field: str) -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "u1", "admin")
        refused = await client.ask("presence", **fields)
        assert (refused["error_code"], refused["details"]["field"]) == (1002, field)


@on_uvloop
async def test_over_http_it_is_the_same_and_takes_a_command() -> None:
    async with serving(user_command_limit=4, **AUTH) as house:
        await entered(house, "u1")
        http = await house.http()
        key = {"Authorization": f"Bearer {token('boss', 'presence')}"}
        answer = await http.ask("GET", "/api/presence?limit=5", **key)
        assert (answer.status, answer.json["count"], names(answer.json)) == (200, 1, ["u1"])
        for parameter in ("limit=0", "channel=x", "follow=true"):
            refused = await http.ask("GET", f"/api/presence?{parameter}", **key)
            assert refused.status == 400, parameter
        assert (await http.ask("GET", "/api/presence", **key)).status == 429


@on_uvloop
async def test_a_stream_counts_until_it_ends_and_a_renewal_does_not() -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "u1", "presence read")
        await client.ask("authenticate", token=token("u1", "presence read"))
        http = await house.http()
        key = f"Bearer {token('u2', 'read')}"
        await http.send(request("GET", "/api/stream", Authorization=key))
        await http.upto(b"\r\n\r\n")
        told = await client.ask("presence")
        assert [(user["id"], user["connections"]) for user in told["users"]] == [
            ("u1", 1), ("u2", 1),
        ]  # fmt: skip
        http.close()
        await until(lambda: len(online_of(house).roster) == 1, "the end of the stream")
        client.close()
        await until(lambda: len(online_of(house).roster) == 0, "nobody on line")


# Changes.


@on_uvloop
async def test_changes_are_told_to_those_who_follow_as_far_as_they_may_see() -> None:
    async with serving(**AUTH) as house:
        watcher = await entered(house, "w", "presence")
        reader = await entered(house, "r", "read")
        await watcher.ask("presence", follow=True)
        await reader.ask("presence", follow=True)
        client = await entered(house, "u1")
        seen: list[str] = []
        while "u1" not in seen:
            told = await soon(watcher.reply("online_changed"))
            seen += [user["id"] for user in told.get("joined", ())]
        assert told["count"] == 3
        assert (await soon(reader.reply("online_changed"))).keys() == {"action", "count"}
        client.close()
        while "u1" not in told.get("left", ()):
            told = await soon(watcher.reply("online_changed"))
        assert (told["count"], told.get("joined", [])) == (2, [])
        await watcher.ask("presence", follow=False)
        online = online_of(house)
        assert len(online._followers) == 1
        reader.close()
        await until(lambda: not online._followers, "no followers")


@on_uvloop
async def test_a_tick_tells_at_most_once_a_second_and_names_a_thousand() -> None:
    async with serving(**AUTH) as house:
        watcher = await entered(house, "w", "admin")
        await watcher.ask("presence", follow=True)
        online = online_of(house)
        now = house.context.clock() + 100
        online.roster.changes.clear()
        for number in range(1500):
            online.roster.enter(f"user-{number}", now)
        online.tick(now)
        told = await watcher.reply("online_changed")
        assert (told["count"], len(told["joined"]), told["incomplete"]) == (1501, 1000, True)
        for number in range(1500):
            online.roster.leave(f"user-{number}")
        online.tick(now + 0.9)
        assert len(online.roster.changes) == 1500
        online.tick(now + 1)
        assert online.roster.changes == {}


# In the log.


async def events(client: Client, count: int) -> list[tuple[str, str, int]]:
    """The next announcements."""
    found: list[tuple[str, str, int]] = []
    while len(found) < count:
        event = await soon(client.event())
        if event.get("type") == "system":
            data = event["data"]
            found.append((event["event"], data["user_id"], data["count_online"]))
    return found


@on_uvloop
async def test_joins_and_leaves_are_published_and_a_reconnect_is_not() -> None:
    clock = Clock(1_764_763_200.0)
    async with serving(clock=clock, announce_presence=True, **AUTH) as house:
        clock.now += 2 * QUIET
        reader = await entered(house, "reader", "read")
        await reader.ask("subscribe", message_types=["system"])
        assert await events(reader, 1) == [("user_joined", "reader", 1)]
        client = await entered(house, "u1")
        clock.now += 1
        assert await events(reader, 1) == [("user_joined", "u1", 2)]
        client.close()
        online = online_of(house)
        await until(lambda: len(online.roster) == 1, "u1 gone")
        clock.now += QUIET - 1
        client = await entered(house, "u1")
        clock.now += 2 * QUIET
        client.close()
        await until(lambda: len(online.roster) == 1, "u1 gone again")
        clock.now += 1
        online.tick(clock.now)
        clock.now += QUIET
        assert await events(reader, 1) == [("user_left", "u1", 1)]
        found = await reader.ask("get_history", filters={"type": "system"})
        assert found["total_count"] == 3


@on_uvloop
async def test_an_outage_of_thousands_makes_few_messages() -> None:
    clock = Clock(1_764_763_200.0)
    async with serving(clock=clock, announce_presence=True, **AUTH) as house:
        clock.now += 2 * QUIET
        online = online_of(house)
        for number in range(5000):
            online.roster.enter(f"user-{number}", clock.now)
        for _ in range(5):
            clock.now += 1
            online.tick(clock.now)
        for number in range(5000):
            online.roster.leave(f"user-{number}")
        for _ in range(15):
            clock.now += 1
            online.tick(clock.now)
        page = await house.server.history(limit=1000)
        named = {"user_joined": set[str](), "user_left": set[str]()}
        for message in page.messages:
            assert isinstance(message, SystemMessage)
            assert message.data is not None
            named[message.event].update(message.data["user_ids"])
        assert page.total == 100
        assert all(len(each) == 5000 for each in named.values())


# Over several servers.


@asynccontextmanager
async def nodes(count: int, clock: Ahead, **settings: Any) -> AsyncIterator[list[Server]]:
    """Servers that share a log."""
    url = fresh_url()
    made = [
        Server(
            Config(
                port=0, store="memory", engine=url, node_name=f"n{number}", jwt_secret=SECRET,
                drain_seconds=0, **settings,
            ),
            clock,
        )
        for number in range(count)
    ]  # fmt: skip
    try:
        for server in made:
            await server.start()
            await server.ready()
        yield made
    finally:
        for server in made:
            await server.close()


async def users_seen(url: str, expected: list[str]) -> None:
    """Wait until a server tells of these users, besides the one who asks."""
    async with connect(url, token=token("zz", "presence read")) as log:
        found: list[str] | None = None
        while found != expected:
            await asyncio.sleep(0.05)
            told = await log.presence()
            assert isinstance(told.users, list)
            found = [user.id for user in told.users if user.id != "zz"]
        assert isinstance(told.age_seconds, float)


async def announced(url: str, event: str, clock: Ahead) -> list[tuple[str, str]]:
    """Wait until both users are announced, while the clock runs ahead; all announcements so far."""
    told: list[tuple[str, str]] = []
    async with connect(url, token=token("zz")) as log:
        while not {(event, "u1"), (event, "u2")} <= {*told}:
            await asyncio.sleep(0.1)
            clock.skipped += 0.5
            page = await log.history(filters={"type": "system"})
            system = [each for each in page.messages if isinstance(each, SystemMessage)]
            told = [(each.event, (each.data or {})["user_id"]) for each in system]
    return told


@on_uvloop
async def test_users_of_all_servers_are_told_by_each_and_announced_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("livelog.engine.nats.herald.SAID_EVERY", 0.1)
    clock = Ahead()
    settings = {"announce_presence": True, "user_command_limit": 10_000, "command_limit": 1000}
    async with nodes(2, clock, **settings) as (one, other):
        clock.skipped += QUIET  # the time after a start in which nobody is announced
        async with connect(one.url, token=token("u1")), connect(other.url, token=token("u2")):
            for server in (one, other):
                await soon(users_seen(server.url, ["u1", "u2"]))
            await soon(announced(one.url, "user_joined", clock))
        for server in (one, other):
            await soon(users_seen(server.url, []))
        told = await soon(announced(one.url, "user_left", clock))
        for user in ("u1", "u2"):
            assert told.count(("user_joined", user)) == told.count(("user_left", user)) == 1


@on_uvloop
async def test_both_python_clients_ask() -> None:
    async with serving(**AUTH) as house:
        url = house.server.url
        async with connect(url, token=token("u1", "presence")) as log:
            told = await log.presence(limit=5)
        assert told.count == 1
        assert isinstance(told.users, list)
        assert told.users[0].id == "u1"

        def ask() -> Online:
            with sync_connect(url, token=token("u2", "read")) as log:
                return log.presence()

        found = await asyncio.to_thread(ask)
        assert found.count >= 1
        assert found.users is UNSET
    async with serving() as house, connect(house.server.url) as log:
        with pytest.raises(RefusedError, match="there are no users"):
            await log.presence()
