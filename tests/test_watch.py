"""Watches over a WebSocket: live counts for those who may read, and for as long as they may."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.support.identity import SECRET, token
from tests.support.wire import Client, House, Json, frame, on_uvloop, serving, soon, until

AUTH: Json = {"jwt_secret": SECRET}


def direct(sender: str, to: str) -> Json:
    people = {"from_user_id": sender, "from_username": sender, "to_user_id": to}
    return {"type": "dm", "content": "psst", **people}


async def entered(house: House, who: str, **claims: Any) -> Client:
    client = await house.client()
    assert (await client.ask("authenticate", token=token(who, **claims)))["id"] == who
    return client


async def summed(client: Client, upto: int) -> Json:
    """The sum of `counts` up to a seq; each of them begins where the last one has ended."""
    total: Counter[str] = Counter()
    seq = None
    while seq is None or seq < upto:
        event = await client.reply("counts")
        assert seq in (None, event["from_seq"])
        assert "incomplete" not in event
        seq = event["to_seq"]
        total.update(event["counts"])
    return dict(total)


@on_uvloop
async def test_counts_come_instead_of_messages() -> None:
    async with serving() as house:
        [head] = house.publish("before")
        client = await house.client()
        watching = await client.ask("watch", id="w1", request_id=7)
        assert watching == {"action": "watching", "id": "w1", "request_id": 7, "seq": head}
        first = await client.event()
        assert first == {
            "action": "counts", "id": "w1", "from_seq": head, "to_seq": head,
            "total_count": 0, "counts": {},
        }  # fmt: skip
        house.append(direct("ann", "bob"))
        last = house.publish("one", "two")[-1]
        assert await summed(client, last) == {"user": 2, "dm": 1}
        assert await client.ask("unwatch", id="w1") == {"action": "unwatched", "id": "w1"}
        assert (await client.ask("unwatch", id="w1"))["error_code"] == 1002
        assert house.context.watches.next_in(0.0) is None


@on_uvloop
async def test_filters_and_fields_are_those_of_where() -> None:
    async with serving() as house:
        client = await house.client()
        where = "metadata.level:>=40 -dragon"
        await client.ask("watch", id="w", group_by="metadata.Level", filters={"where": where})
        for level, content in [(30, "x"), (40, "x"), (50, "dragon"), (60.0, "x"), (60, "x")]:
            last = house.publish(content, metadata={"Level": level, "level": level})[-1]
        assert await summed(client, last) == {"40": 1, "60": 2}


@on_uvloop
async def test_others_direct_messages_are_neither_counted_nor_told() -> None:
    async with serving(**AUTH) as house:
        ann, eve = await entered(house, "ann"), await entered(house, "eve")
        for client in (ann, eve):
            assert (await client.ask("watch", id="w", group_by="user_id"))["seq"] == 0
        [public] = house.publish("x", user_id="u")
        own = house.append(direct("ann", "bob")).seq
        house.append(direct("bob", "zoe"))
        assert await summed(ann, own) == {"u": 1, "ann": 1, "bob": 1}
        assert await summed(eve, public) == {"u": 1}
        event = await eve.reply("counts")
        assert (event["from_seq"], event["to_seq"]) == (public, public)


@on_uvloop
async def test_scopes_decide() -> None:
    async with serving(**AUTH) as house:
        nobody = await house.client()
        assert (await nobody.ask("watch", id="w"))["error_code"] == 4000
        raids = await entered(house, "r", scope="read:raid")
        refused = await raids.ask("watch", id="w", filters={"type": "user"})
        assert (refused["error_code"], refused["details"]["scope"]) == (1008, "read:user")
        none = await entered(house, "n", scope="publish")
        assert (await none.ask("watch", id="w"))["error_code"] == 1008
        await raids.ask("watch", id="w")
        house.publish("x")
        event = await raids.reply("counts")
        assert (event["to_seq"], event["total_count"]) == (0, 0)


@on_uvloop
async def test_a_new_token_holds_for_what_comes_after_it() -> None:
    async with serving(**AUTH) as house:
        ann = await entered(house, "ann")
        await ann.ask("watch", id="all")
        await ann.ask("watch", id="dms", filters={"type": "dm"})
        [first] = house.publish("x")
        assert await summed(ann, first) == {"user": 1}
        await ann.tell("authenticate", token=token("ann", "read:user"))
        assert (await ann.reply("unwatched"))["id"] == "dms"
        house.append(direct("ann", "bob"))
        last = house.publish("x")[-1]
        assert await summed(ann, last) == {"user": 1}


@on_uvloop
async def test_a_token_that_expires_ends_watches_too() -> None:
    now = [1_764_763_200.0]
    async with serving(clock=lambda: now[0], **AUTH) as house:
        ann = await house.client()
        await ann.ask("authenticate", token=token("ann", exp=now[0] + 100))
        await ann.ask("watch", id="w")
        now[0] += 200
        house.inside.review_sessions()
        assert (await ann.closed())[1] == 4002
        assert not len(house.context.watches)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "id"),
        ({"id": 5}, "id"),
        ({"id": None}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"id": "w", "interval_seconds": 0}, "interval_seconds"),
        ({"id": "w", "interval_seconds": 3601}, "interval_seconds"),
        ({"id": "w", "interval_seconds": 0.5}, "interval_seconds"),
        ({"id": "w", "interval_seconds": "1"}, "interval_seconds"),
        ({"id": "w", "interval_seconds": True}, "interval_seconds"),
        ({"id": "w", "group_by": "chanel"}, "group_by"),
        ({"id": "w", "group_by": "content"}, "group_by"),
        ({"id": "w", "group_by": ""}, "group_by"),
        ({"id": "w", "group_by": "__proto__"}, "group_by"),
        ({"id": "w", "group_by": "metadata"}, "group_by"),
        ({"id": "w", "filters": {"where": "("}}, "filters.where"),
        ({"id": "w", "filters": {"colour": "red"}}, "filters.colour"),
        ({"id": "", "interval_seconds": 3600}, None),
        ({"id": "__proto__", "group_by": "metadata.__proto__"}, None),
        ({"id": "x" * 128}, None),
    ],
    ids=str,
)
@on_uvloop
async def test_what_is_wrong_is_named(fields: Json, field: str | None) -> None:
    async with serving() as house:
        client = await house.client()
        event = await client.ask("watch", **fields)
        if field is None:
            assert (event["action"], event["id"]) == ("watching", fields["id"])
        else:
            assert (event["error_code"], event["details"]["field"]) == (1002, field)
            assert not len(house.context.watches)


@pytest.mark.parametrize(
    "number", ["1e999", "NaN", "Infinity", "-1", "1e400", "99999999999999999999"]
)
@on_uvloop
async def test_no_number_is_too_strange(number: str) -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(f'{{"action":"watch","id":"w","interval_seconds":{number}}}'))
        assert (await client.event())["error_code"] == 1002
        assert (await client.ask("ping"))["action"] == "pong"


@on_uvloop
async def test_names_of_javascript_are_values() -> None:
    async with serving() as house:
        client = await house.client()
        await client.ask("watch", id="__proto__", group_by="user_id")
        last = house.publish("x", user_id="__proto__")[-1]
        assert await summed(client, last) == {"__proto__": 1}


@on_uvloop
async def test_there_are_sixteen_on_a_connection() -> None:
    async with serving(command_limit=1000) as house:
        client, other = await house.client(), await house.client()
        for number in range(16):
            await client.ask("watch", id=f"w{number}", interval_seconds=3600)
        refused = await client.ask("watch", id="w16")
        assert (refused["error_code"], refused["details"]["field"]) == (1008, "id")
        assert refused["details"]["allowed"] == 16
        assert (await client.ask("watch", id="w3", interval_seconds=60))["action"] == "watching"
        assert (await other.ask("watch", id="w16", interval_seconds=60))["action"] == "watching"


@on_uvloop
async def test_watches_take_commands_and_their_events_nothing() -> None:
    async with serving(command_limit=5, message_limit=50) as house:
        client = await house.client()
        for number in range(2):
            await client.ask("watch", id=f"w{number}")
            await client.tell("unwatch", id=f"w{number}")
            await client.reply("unwatched")
        await client.tell("watch", id="w")
        assert (await client.reply("rate_limit"))["scope"] == "commands"
        for _ in range(2):
            assert (await client.reply("counts"))["id"] == "w"
        await client.tell("watch", id="x")
        assert (await client.reply("error"))["error_code"] == 4003


@on_uvloop
async def test_a_client_that_does_not_read_gets_one_event_for_all() -> None:
    async with serving() as house:
        client = await house.client(receive_buffer=4096)
        await client.ask("subscribe", message_types=["user"])
        await client.ask("watch", id="w")
        published = 0
        while not house.inside.blocked:
            published += len(house.publish(*["x" * 8000] * 20))
            await until(lambda: house.context.hub.idle, "written")
        [connection] = house.inside.blocked
        unsent = connection.transport.get_write_buffer_size()
        [watcher] = house.inside.watchers
        for number in range(3):  # as for a clock that runs fast
            published += len(house.publish("one more"))
            house.context.watches.tick(number * 10.0)
            await until(lambda: watcher.late, "passed over")
            watcher.late = False
        assert connection.transport.get_write_buffer_size() == unsent
        watcher.late = True
        events: list[Json] = []
        while not events or events[-1]["to_seq"] < house.context.log.head:
            events.append(await client.reply("counts"))
        assert [one["to_seq"] for one in events[:-1]] == [one["from_seq"] for one in events[1:]]
        assert sum(event["total_count"] for event in events) == published
        assert events[-1]["total_count"] >= 3


@on_uvloop
async def test_nothing_is_left_of_a_connection_that_has_gone() -> None:
    async with serving() as house:
        client = await house.client()
        await client.ask("watch", id="w")
        client.reset()
        await house.emptied()


@on_uvloop
async def test_a_server_that_stops_ends_them() -> None:
    async with serving() as house:
        client = await house.client()
        await client.ask("watch", id="w")
        await client.reply("counts")
        await soon(house.server.close())
        assert not len(house.context.watches)
