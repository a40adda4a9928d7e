"""With authentication nobody is told a seq that says when others' direct messages were sent."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from livelog.auth.principal import Principal
from livelog.log.newest import Newest
from tests.support.identity import SECRET, token
from tests.support.wire import Client, House, Json, on_each_loop, on_uvloop, serving

AUTH: Json = {"jwt_secret": SECRET}


def direct(sender: str, to: str, content: str = "psst") -> Json:
    people = {"from_user_id": sender, "from_username": sender, "to_user_id": to}
    return {"type": "dm", "content": content, **people}


async def entered(house: House, who: str, **claims: Any) -> Client:
    client = await house.client()
    assert (await client.ask("authenticate", token=token(who, **claims)))["id"] == who
    return client


async def seq_of(client: Client, action: str = "ping", **fields: Any) -> int:
    seq: int = (await client.ask(action, **fields))["seq"]
    return seq


@on_each_loop
async def test_a_seq_is_that_of_the_newest_message_one_may_read() -> None:
    async with serving(**AUTH) as house:
        ann, other = await entered(house, "ann"), await entered(house, "other")
        assert await seq_of(ann) == 0
        [public] = house.publish("to all")
        for _ in range(3):
            dm = house.append(direct("bob", "ann")).seq
            assert await seq_of(other) == public
            assert await seq_of(ann) == dm
        assert await seq_of(other, "subscribe", message_types=["user", "dm"]) == public
        assert await seq_of(ann, "subscribe", message_types=["user"]) == dm
        house.append(direct("ann", "bob"))
        assert await seq_of(other, "unsubscribe", message_types=["user"]) == public
        late = await entered(house, "late")
        assert await seq_of(late) == public
        assert await seq_of(await entered(house, "bob")) > dm


@on_uvloop
async def test_types_that_may_not_be_read_do_not_count() -> None:
    async with serving(**AUTH) as house:
        raids = await entered(house, "r", scope="read:raid")
        none = await entered(house, "n", scope="publish")
        [public] = house.publish("to all")
        assert await seq_of(raids) == await seq_of(none) == 0
        everything = await entered(house, "a", scope="admin")
        assert await seq_of(everything) == public
        raid = house.append({"type": "raid", "raid_id": "r", "raid_name": "R", "boss_name": "B",
                             "difficulty": "easy", "participants": [], "status": "wipe",
                             "health_percentage": 1, "duration_seconds": 1}).seq  # fmt: skip
        assert await seq_of(raids) == raid
        assert await seq_of(none) == 0


@on_each_loop
async def test_before_authentication_there_is_no_seq() -> None:
    async with serving(**AUTH) as house:
        house.publish("to all")
        client = await house.client()
        pong = await client.ask("ping", request_id=1)
        assert (pong["action"], pong["request_id"]) == ("pong", 1)
        assert "seq" not in pong


@on_each_loop
async def test_without_authentication_everybody_is_told_the_head() -> None:
    async with serving() as house:
        client = await house.client()
        dm = house.append(direct("ann", "bob")).seq
        assert await seq_of(client) == dm
        assert (await (await house.http()).ask("GET", "/healthz")).json["head_seq"] == dm


@on_uvloop
async def test_the_health_tells_the_head_to_admins_only() -> None:
    async with serving(**AUTH) as house:
        [head] = house.publish("x")
        http = await house.http()
        for headers in (
            {},
            {"Authorization": f"Bearer {token('u')}"},
            {"Authorization": "Bearer x"},
        ):
            answer = await http.ask("GET", "/healthz", **headers)
            assert (answer.status, answer.json["status"]) == (200, "ok")
            assert "head_seq" not in answer.json
        admin = {"Authorization": f"Bearer {token('a', scope='admin')}"}
        assert (await http.ask("GET", "/healthz", **admin)).json["head_seq"] == head


@on_uvloop
async def test_a_since_above_the_head_tells_nothing_of_it() -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "u")
        [public] = house.publish("to all")
        dm = house.append(direct("ann", "bob")).seq
        told = []
        for since in (public + 1, dm - 1, dm, dm + 1):
            event = await client.ask("subscribe", message_types=["user"], since=since)
            told.append((event["action"], event["seq"]))
        assert told == [("subscribed", public)] * 4
        error = await client.ask("subscribe", message_types=["user"], since=dm + 10**12)
        assert error["details"]["field"] == "since"
        assert str(public) in error["details"]["issue"]
        assert str(dm) not in str(error)
        [after] = house.publish("after it")
        assert (await client.event())["seq"] == after


@pytest.mark.parametrize("store", ["memory", "disk"])
@on_uvloop
async def test_resuming_from_any_seq_that_was_told_loses_and_repeats_nothing(
    store: str, tmp_path: Path
) -> None:
    """Clients subscribe, leave and resume at random while messages of all kinds are published."""
    dice = random.Random(7)
    place: Json = {"store": str(tmp_path / "live.db")} if store == "disk" else {}
    async with serving(**AUTH, **place, limits=False) as house:
        published: list[tuple[int, str, str]] = []

        def publish() -> None:
            for _ in range(dice.randrange(6)):
                if dice.random() < 0.5:
                    published.append((house.publish("x" * 2000)[0], "user", ""))
                else:
                    to = dice.choice(["u", "v"])
                    published.append((house.append(direct("w", to)).seq, "dm", to))

        got: list[int] = []
        since = None
        for _ in range(25):
            client = await entered(house, "u")
            asked: Json = {} if since is None else {"since": since}
            first = await client.ask("subscribe", message_types=["user", "dm"], **asked)
            since = begun = first["seq"] if since is None else since
            publish()
            events = await client.everything() if dice.random() < 0.7 else []
            pong = await client.ask("ping")
            while pong.get("action") != "pong":
                events.append(pong)
                pong = await client.event()
            got += [event["seq"] for event in events if "type" in event]
            since = pong["seq"]
            readable = {seq for seq, kind, to in published if kind == "user" or to == "u"} | {0}
            assert since in readable or since + 1 in readable or since == begun
            client.close()
            publish()
        client = await entered(house, "u")
        await client.tell("subscribe", message_types=["user", "dm"], since=since)
        rest = await client.everything()
        got += [event["seq"] for event in rest if "type" in event]
        assert got == [seq for seq, kind, to in published if kind == "user" or to == "u"]


@on_uvloop
async def test_a_gap_tells_no_seq_of_others_and_resuming_from_it_loses_nothing() -> None:
    """Retention deletes direct messages like all others, so they are at the ends of gaps."""
    dice = random.Random(11)
    async with serving(**AUTH, limits=False, window_messages=12) as house:
        for _ in range(30):
            public, foreign = [], []
            for share in (dice.random(), dice.choice([0, 0.1, 1])):
                for _ in range(12):
                    if dice.random() < share:
                        public.append(house.publish("to all")[0])
                    else:
                        foreign.append(house.append(direct("ann", "bob")).seq)
            kept = sorted([*public, *foreign])[-12]
            since = dice.choice([1, min([*public, *foreign]) - 500])
            for types in (["user", "dm"], ["dm"]):
                readable = [seq for seq in public if seq >= kept and "user" in types]
                eve = await entered(house, "eve")
                await eve.tell("subscribe", message_types=types, since=since)
                [gap, *rest] = [e for e in await eve.everything() if e.get("action") == "gap"]
                assert (gap["from"], rest) == (since, [])
                assert gap["to"] > since
                assert not {gap["to"], gap["to"] - 1} & {*foreign}
                again = await entered(house, "eve")
                await again.tell("subscribe", message_types=types, since=gap["to"])
                got = [event["seq"] for event in await again.everything() if "type" in event]
                assert got == readable
                eve.close()
                again.close()


@on_uvloop
async def test_a_gap_of_a_reader_that_fell_behind_begins_at_no_seq_of_others() -> None:
    async with serving(**AUTH, limits=False, window_messages=12) as house:
        eve = await entered(house, "eve")
        await eve.ask("subscribe", message_types=["user", "dm"])
        [public] = house.publish("to all")
        assert (await eve.event())["seq"] == public
        foreign = [house.append(direct("ann", "bob")).seq for _ in range(3)]
        reader = house.inside.connection.reader
        house.context.catch_up.block(reader)
        assert reader.cursor == foreign[-1]
        foreign += [house.append(direct("ann", "bob")).seq for _ in range(20)]
        house.context.catch_up.unblock(reader)
        gap = await eve.event()
        assert (gap["action"], gap["from"], gap["to"]) == ("gap", public, public + 1)
        house.context.catch_up.block(reader)
        foreign += [house.append(direct("ann", "bob")).seq for _ in range(20)]
        last = house.publish(*["to all"] * 3)
        house.context.catch_up.unblock(reader)
        gap = await eve.event()
        assert gap["from"] % 60_000_000 == 0
        assert gap["to"] == last[0] - 1


def test_the_table_of_users_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livelog.log.newest._MAX_USERS", 3)
    newest = Newest()
    for number in range(10):
        newest.enter(Principal(f"u{number}", frozenset(["read"])))
    assert len(newest._by_user) == 3
