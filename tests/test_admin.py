"""Admin commands at every door: who may give them, and what is wrong with them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from livelog import UserMessage
from livelog.errors import RefusedError
from livelog.net.admin.table import COMMANDS
from livelog.net.http.routes import ROUTES
from livelog.wire.admin import ADMIN
from livelog.wire.timestamps import parse_moment
from tests.support.identity import token
from tests.support.moderating import (
    AUTH,
    DOORS,
    OUTSIDE,
    at_each_door,
    at_each_outer_door,
    entered,
    give,
)
from tests.support.wire import TYPES, Json, frame, on_each_loop, on_uvloop, serving

FIELDS: dict[str, Json] = {"disconnect": {"user_id": "u1"}}
"""Command → fields with which it is valid."""


def test_each_command_has_fields_a_handler_and_a_route() -> None:
    assert ADMIN.keys() == COMMANDS.keys()
    routes = {path.removeprefix("/api/admin/") for path in ROUTES if path.startswith("/api/admin/")}
    assert routes == ADMIN.keys()
    assert all(ROUTES[f"/api/admin/{name}"].keys() == {"POST"} for name in ADMIN)


@pytest.mark.parametrize("command", sorted(ADMIN))
@on_uvloop
async def test_a_command_without_its_scope_is_refused_at_each_door(command: str) -> None:
    needed = COMMANDS[command].scope
    async with serving(**AUTH) as house:
        bystander = await entered(house)
        for scope in ("read publish:any metrics replicate", "moderate"):
            if scope == needed:
                continue
            for door in OUTSIDE[:2]:
                fields = FIELDS.get(command, {})
                answer = await give(house, door, command, scope, **fields)
                assert answer["error_code"] == 1008, (door, answer)
                issue = f"the scope {needed} is missing"
                assert answer["details"] == {"field": "command", "issue": issue, "scope": needed}
                assert answer.get("status", 403) == 403
        assert await bystander.everything() == []


@at_each_outer_door
@on_uvloop
async def test_the_scope_admin_allows_all_commands(door: str) -> None:
    async with serving(**AUTH) as house:
        await entered(house)
        answer = await give(house, door, "connections", "admin")
        assert answer["result"]["total_count"] == (2 if door == "websocket" else 1)


@pytest.mark.parametrize("command", sorted(ADMIN))
@on_uvloop
async def test_an_open_server_refuses_every_command_and_says_how_to_make_a_key(
    command: str,
) -> None:
    async with serving() as house:
        client = await house.client()
        fields = FIELDS.get(command, {})
        refused = await client.ask("admin", command=command, **fields)
        assert (refused["error_code"], refused["details"]["field"]) == (1008, "command")
        assert "livelog keys create" in refused["details"]["issue"]
        http = await house.http()
        answer = await http.ask("POST", f"/api/admin/{command}", json.dumps(fields))
        assert (answer.status, answer.json["details"]) == (403, refused["details"])


@on_uvloop
async def test_the_program_gives_commands_on_an_open_server_too() -> None:
    async with serving() as house:
        client = await house.client()
        assert (await house.server.admin("connections")).result["total_count"] == 1
        await house.server.admin("disconnect", address="127.0.0.1", force=True, reconnect=False)
        assert await client.closed() == ("protocol_error", 1008)


@pytest.mark.parametrize(
    ("command", "fields", "field", "issue"),
    [
        ("connections", {"colour": "red"}, "colour", "unknown field"),
        ("connections", {"limit": 0}, "limit", "expected 'int' >= 1"),
        ("connections", {"limit": 1001}, "limit", "expected 'int' <= 1000"),
        ("connections", {"address": "here"}, "address", "'here' is invalid"),
        ("connections", {"sort": "size"}, "sort", "invalid enum value 'size'"),
        ("disconnect", {}, "connection_id", "required: one of connection_id, user_id, address"),
        ("disconnect", {"user_id": "a", "address": "192.0.2.1"}, "address", "cannot be combined"),
        ("disconnect", {"user_id": ""}, "user_id", "length >= 1"),
        ("disconnect", {"user_id": "a", "reason": "x" * 501}, "reason", "length <= 500"),
        ("disconnect", {"address": "192.0.2.0/33"}, "address", "is invalid"),
        ("disconnect", {"user_id": "a", "reconnect_after_seconds": -1}, "reconnect_after", ">= 0"),
    ],
)
@on_uvloop
async def test_bad_input_gets_a_clear_error_at_each_door(
    command: str, fields: Json, field: str, issue: str
) -> None:
    async with serving(**AUTH) as house:
        for door in DOORS:
            if door == "command line":
                continue  # a process for each would take long; see below
            answer = await give(house, door, command, **fields)
            assert answer["action"] == "error", (door, answer)
            assert answer["error_code"] == 1002
            assert answer["details"]["field"].startswith(field)
            assert issue in answer["details"]["issue"]
            assert answer.get("status", 400) == 400


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reason": "x"}, "connection_id: required: one of connection_id, user_id, address"),
        (
            {"user_id": "a", "reconnect_after_seconds": "soon"},
            "argument --reconnect-after-seconds: ",
        ),
        ({"user_id": "nobody"}, "user_id: has no open connection"),
    ],
)
@on_uvloop
async def test_the_command_line_says_what_is_wrong_in_one_line(fields: Json, said: str) -> None:
    async with serving(**AUTH) as house:
        answer = await give(house, "command line", "disconnect", **fields)
        assert answer["said"].startswith(f"livelog: {said}")
        assert answer["said"].count("\n") == 1


@at_each_door
@on_uvloop
async def test_an_unknown_target_is_not_found(door: str) -> None:
    async with serving(**AUTH) as house:
        answer = await give(house, door, "disconnect", user_id="nobody")
        if door == "command line":
            assert "has no open connection" in answer["said"]
        else:
            assert (answer["error_code"], answer.get("status", 404)) == (1002, 404)


@on_uvloop
async def test_an_unknown_command_is_refused_and_the_known_ones_are_named() -> None:
    async with serving(**AUTH) as house:
        answer = await give(house, "websocket", "explode")
        assert answer["details"]["allowed"] == [*ADMIN]
        with pytest.raises(RefusedError, match="unknown command 'explode'"):
            await house.server.admin("explode")
        assert (await give(house, "http", "explode"))["status"] == 404
        http = await house.http()
        bearer = f"Bearer {token('mod', 'moderate')}"
        assert (await http.ask("GET", "/api/admin/connections", Authorization=bearer)).status == 405


@pytest.mark.parametrize(
    ("body", "issue"),
    [
        (b"[]", "expected 'object', got 'array'"),
        (b"{", "not valid JSON"),
        (b'"x"', "expected 'object', got 'str'"),
        (b"\xff\xfe", "not valid"),
        (b'{"a":' * 2000, "nested too deeply"),
    ],
)
@on_uvloop
async def test_a_body_that_is_no_object_is_refused(body: bytes, issue: str) -> None:
    async with serving(**AUTH) as house:
        http = await house.http()
        bearer = f"Bearer {token('mod', 'moderate')}"
        answer = await http.ask("POST", "/api/admin/connections", body, Authorization=bearer)
        assert answer.status == 400
        assert issue in answer.json["details"]["issue"]


@on_uvloop
async def test_a_command_takes_a_message_of_the_limits_and_no_command() -> None:
    async with serving(**AUTH, command_limit=2, message_limit=5) as house:
        client = await entered(house, "mod", "moderate")
        for _ in range(4):
            await client.tell("admin", command="connections")
        answers = [await client.event() for _ in range(5)]
        actions = [answer["action"] for answer in answers]
        assert actions.count("admin_result") == 4
        limits = answers[[*actions].index("admin_result")]["result"]["connections"][0]["limits"]
        assert limits["commands"] == {"used": 1, "limit": 2}
        await client.tell("admin", command="connections")
        assert (await client.reply("error"))["error_code"] == 4003


@on_each_loop
async def test_connections_are_listed_with_all_that_is_known_of_them() -> None:
    async with serving(**AUTH) as house:
        ann = await entered(house, "ann", source="127.0.0.2")
        await ann.ask("subscribe", message_types=["user"], filters={"channel": "general"})
        stream = await house.http(source="127.0.0.3")
        bearer = f"Bearer {token('bob')}"
        head = f"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\n"
        await stream.send(f"{head}User-Agent: curl/8.1\r\n\r\n".encode())
        await stream.upto(b"\r\n\r\n")
        house.publish("hello", metadata={"channel": "general"})
        await ann.contents(1)
        answer = await give(house, "http", "connections")
        assert answer["nodes"] == {house.context.node(): "ok"}
        result = answer["result"]
        assert (result["total_count"], result["limit"], result["offset"]) == (2, 100, 0)
        first, second = result["connections"]
        assert first["id"].startswith("conn_")
        assert abs(house.context.clock() - _moment(first["since"])) < 60
        assert (first["kind"], first["user_id"], first["address"]) == (
            "websocket",
            "ann",
            "127.0.0.2",
        )
        assert first["message_types"] == ["user"]
        assert first["filters"] == {"user": {"channel": "general"}}
        assert first["behind"] == first["unsent_bytes"] == 0
        assert first["bytes_sent"] > 200
        assert first["round_trip_ms"] >= 0
        assert first["limits"]["commands"]["used"] == 2
        assert (second["kind"], second["client"], second["limits"]) == ("stream", "curl/8.1", {})
        assert second["message_types"] == TYPES


def _moment(text: str) -> float:
    return parse_moment(text, "since") / 1e6


@on_uvloop
async def test_connections_are_chosen_by_user_address_and_network_and_come_in_pages() -> None:
    async with serving(**AUTH) as house:
        for number in range(3):
            await entered(house, f"u{number}", source=f"127.0.1.{number + 1}")
        await entered(house, "u0", source="127.0.2.1")

        async def users(**fields: Any) -> list[str]:
            result = (await give(house, "http", "connections", **fields))["result"]
            assert result["total_count"] >= len(result["connections"])
            return [row["user_id"] for row in result["connections"]]

        assert await users() == ["u0", "u1", "u2", "u0"]
        assert await users(user_id="u0") == ["u0", "u0"]
        assert await users(user_id="U0") == []
        assert await users(address="127.0.1.2") == ["u1"]
        assert await users(address="::ffff:127.0.1.2") == ["u1"]
        assert await users(address="127.0.1.0/24") == ["u0", "u1", "u2"]
        assert await users(address="2001:db8::/32") == []
        assert await users(address="127.0.1.0/24", user_id="u0") == ["u0"]
        assert await users(limit=2, offset=1) == ["u1", "u2"]
        assert await users(offset=9) == []


@on_uvloop
async def test_connections_that_lag_most_come_first_when_asked_for() -> None:
    async with serving(**AUTH) as house:
        quick = await entered(house, "quick")
        await quick.ask("subscribe", message_types=["user"])
        slow = await house.client(receive_buffer=4096)
        await slow.ask("authenticate", token=token("slow"))
        await slow.ask("subscribe", message_types=["user"])
        for _ in range(200):
            house.publish("x" * 20_000)
            await quick.contents(1)
        for order in ("behind", "bytes_sent"):
            result = (await give(house, "http", "connections", sort=order))["result"]
            rows = result["connections"]
            assert [row[order] for row in rows] == sorted(
                (row[order] for row in rows), reverse=True
            )
            assert rows[0]["user_id"] == ("slow" if order == "behind" else "quick")


@on_uvloop
async def test_a_large_page_of_connections_leaves_the_loop_free_for_others() -> None:
    """Whatever is listed, it is done in steps: others run in between."""
    async with serving(**AUTH, connections_per_ip=1000) as house:
        for _ in range(300):
            await entered(house, "ann")
        asked = asyncio.ensure_future(give(house, "program", "connections", limit=1000))
        turns = 0
        while not asked.done():
            await asyncio.sleep(0)
            turns += 1
        assert len((await asked)["result"]["connections"]) == 300
        assert turns > 2


@on_uvloop
async def test_a_program_acts_in_its_own_name_or_in_that_of_a_moderator() -> None:
    async with serving(**AUTH) as house:
        await house.server.admin("block", user_id="eve")
        await house.server.admin("block", user_id="program", by="ann")
        with pytest.raises(RefusedError, match="user_id: is yourself"):
            await house.server.admin("block", user_id="ann", by="ann")
        for by in ("", "x" * 257, "erased_abcdefgh"):
            with pytest.raises(RefusedError, match="by: must be the id of a user"):
                await house.server.admin("block", user_id="mallory", by=by)
        await house.server.admin("unblock", user_id="eve")  # whatever users are blocked
        acts = (await house.server.admin("audit")).result["acts"]
        assert [act["by"] for act in acts] == ["program", "ann", "program"]
        rows = (await house.server.admin("blocks")).result["blocks"]
        assert [row["by"] for row in rows] == ["ann"]


WRONG: list[tuple[str, str]] = [
    *((command, body) for command in ADMIN for body in ("[]", '"x"', "null", "{", '{"x":1}')),
    *((command, '{"reason":1e400}') for command in ADMIN),
    *((command, '{"reason":"\\ud83d"}') for command in ADMIN),
    *((command, '{"reason":' * 3000) for command in ADMIN),
    ("block", '{"user_id":"a","duration_seconds":1e309}'),
    ("block", '{"user_id":"a","duration_seconds":0}'),
    ("block", '{"address":"0.0.0.0/0"}'),
    ("block", '{"address":"::ffff:127.0.0.1"}'),
    ("block", '{"user_id":"a","force":1}'),
    ("unblock", '{"user_id":"a"}'),
    ("disconnect", '{"user_id":"a","reconnect_after_seconds":1e9}'),
    ("announce", '{"text":""}'),
    ("announce", '{"text":"x","severity":"loud"}'),
    ("redact", '{"id":"m","seq":1}'),
    ("redact", '{"seq":9007199254740992}'),
    ("redact", '{"where":"(","dry_run":true}'),
    ("redact", '{"where":"hello"}'),
    ("redact", '{"where":"hello","count":7,"upto_seq":9007199254740991}'),
    ("erase", '{"user_id":"nobody"}'),
    ("erase", '{"user_id":"u1","reason":"request of u1"}'),
    ("erase", '{"user_id":"u1","count":7}'),
    ("log-level", '{"level":"loud"}'),
    ("log-level", '{"level":"info","node":"nowhere"}'),
    ("drain", '{"node":"nowhere"}'),
    ("reload", '{"node":"nowhere"}'),
    ("blocks", '{"limit":0}'),
    ("audit", '{"before":-1}'),
]
"""Command → the body of a request with something wrong in it."""


@on_uvloop
async def test_nothing_is_half_done_where_something_is_wrong() -> None:
    async with serving(**AUTH, limits=False, block_after=10_000) as house:
        house.publish("hello", user_id="u1")
        http, client = await house.http(), await entered(house, "mod", "admin read")
        key = {"Authorization": f"Bearer {token('mod', 'admin read')}"}
        for command, body in WRONG:
            answer = await http.ask("POST", f"/api/admin/{command}", body, **key)
            assert answer.status in (400, 404), (command, body[:80], answer)
            if body.startswith('{"') and body.endswith("}"):
                await client.send(frame(f'{{"action":"admin","command":"{command}",{body[1:]}'))
                event = await client.event()
                assert event.get("error_code") == 1002, (command, body[:80], event)
        assert (await house.server.admin("audit")).result["acts"] == []
        assert (await house.server.admin("blocks")).result["blocks"] == []
        [message] = (await house.server.history()).messages
        assert isinstance(message, UserMessage)
        assert message.content == "hello"
        assert not house.context.ending.is_set()


@on_uvloop
async def test_a_byte_order_mark_before_the_fields_is_skipped() -> None:
    async with serving(**AUTH) as house:
        key = {"Authorization": f"Bearer {token('mod', 'moderate')}"}
        body = b'\xef\xbb\xbf{"limit":1}'
        answer = await (await house.http()).ask("POST", "/api/admin/blocks", body, **key)
        assert (answer.status, answer.json["result"]["limit"]) == (200, 1)
