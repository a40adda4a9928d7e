"""Messages become commands, commands replies or errors; in order, and repeating the request id."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.wire import (
    BINARY,
    CONTINUATION,
    PING,
    TYPES,
    Json,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    serving,
    user,
)


def text(content: Json) -> str:
    return json.dumps(content)


# Text messages and what is wrong with some.


@pytest.mark.parametrize(
    ("payload", "field", "issue"),
    [
        (b"", "", "not valid JSON"),
        (b"{", "", "not valid JSON"),
        (b'{"action": "ping"', "", "not valid JSON"),
        (b'{"action": "ping"} {}', "", "not valid JSON"),
        (b"\xff\xfe", "", ""),
        (b'{"action": "ping", "request_id": "\xff"}', "", "UTF-8"),
        (b"[]", "", "expected 'object', got 'array'"),
        (b"1", "", "expected 'object', got 'int'"),
        (b"null", "", "expected 'object', got 'null'"),
        (b"{}", "action", "required field is missing"),
        (b'{"action": 1}', "action", ""),
        (b'{"action": "fly"}', "action", ""),
        (b'{"action": "ping", "x": 1}', "x", "unknown field"),
        (b'{"action": "ping", "request_id": []}', "request_id", ""),
        (b'{"action": "subscribe"}', "message_types", "required field is missing"),
        (b'{"action": "subscribe", "message_types": "user"}', "message_types", ""),
        (b'{"action": "subscribe", "message_types": []}', "message_types", ""),
        (b'{"action": "subscribe", "message_types": ["elf"]}', "message_types[0]", ""),
        (b'{"action": "get_history", "limit": 0}', "limit", ""),
        (b'{"action": "get_history", "limit": 1001}', "limit", ""),
        (b'{"action": "get_history", "limit": "10"}', "limit", ""),
        (b'{"action": "get_history", "offset": -1}', "offset", ""),
        (b'{"action": "get_history", "filters": {"colour": "red"}}', "filters.colour", "unknown"),
        (b'{"action": "get_history", "filters": {"user_id": 5}}', "filters.user_id", ""),
        (b'{"action": "get_history", "filters": {"date_from": "x"}}', "filters.date_from", ""),
        (b'{"action": "search"}', "query", "required field is missing"),
        (b'{"action": "search", "query": ""}', "query", ""),
        (b'{"action": "search", "query": "?!"}', "query", ""),
        (b'{"action": "publish"}', "message", "required field is missing"),
        (b'{"action": "publish", "message": {"type": "elf"}}', "message.type", ""),
        (b'{"action": "publish", "message": {"type": "user"}}', "message.user_id", "required"),
        (b"[" * 50_000, "", ""),
        (
            b'{"action": "publish", "message": {"type": "system", "data": {"a": ' + b"[" * 9000,
            "",
            "",
        ),
    ],
)
@on_uvloop
async def test_a_wrong_command_is_told_and_the_connection_lives(
    payload: bytes, field: str, issue: str
) -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(payload))
        error = await client.event()
        assert error["action"] == "error"
        assert error["error_code"] == 1002
        assert error["error_message"] == "Protocol Error"
        assert error["details"]["field"] == field
        assert issue in error["details"]["issue"]
        assert (await client.ask("ping"))["action"] == "pong"


@on_uvloop
async def test_an_error_names_what_would_have_been_allowed() -> None:
    async with serving() as house:
        client = await house.client()
        assert (await client.ask("fly"))["details"]["allowed"] == [
            "subscribe",
            "unsubscribe",
            "get_history",
            "search",
            "ping",
            "publish",
            "authenticate",
        ]
        wrong_type = await client.ask("subscribe", message_types=["elf"])
        assert wrong_type["details"]["allowed"] == TYPES
        wrong_filter = await client.ask("get_history", filters={"colour": "red"})
        assert {"user_id", "channel", "date_from"} <= set(wrong_filter["details"]["allowed"])


@on_uvloop
async def test_errors_repeat_the_request_id_as_far_as_it_can_be_read() -> None:
    async with serving() as house:
        client = await house.client()
        assert (await client.ask("fly", request_id="r1"))["request_id"] == "r1"
        assert (await client.ask("ping", x=1, request_id=7))["request_id"] == 7
        unreadable = frame('{"action": "fly", "request_id": "r')
        await client.send(unreadable)
        assert "request_id" not in await client.event()


@on_each_loop
async def test_a_binary_frame_is_unsupported_data_and_the_connection_lives() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame('{"action": "ping"}', BINARY))
        error = await client.event()
        assert (error["error_code"], error["error_message"]) == (1003, "Unsupported Data")
        await client.send(frame(b"\x00", BINARY, fin=False), frame(b"\x01", CONTINUATION))
        assert (await client.event())["error_code"] == 1003
        assert (await client.ask("ping"))["action"] == "pong"


# Commands that take time.


@on_each_loop
async def test_commands_are_answered_in_the_order_they_came_though_one_takes_time() -> None:
    async with serving(limits=False) as house:
        house.publish(*["red dragon"] * 10_000)
        client = await house.client()
        await client.send(
            command("search", query='"red dragon"', limit=1, request_id=1),
            command("ping", request_id=2),
            frame('{"action": "publish",', fin=False),
            frame(b"", PING),
            frame('"message": ' + text(user()) + ', "request_id": 3}', CONTINUATION),
            frame("nonsense", BINARY),
            command("get_history", limit=1, request_id=4),
            command("ping", request_id=5),
        )
        answers = [json.loads(f.payload) for f in [await client.frame() for _ in range(7)] if f[1]]
        assert [(a["action"], a.get("request_id")) for a in answers] == [
            ("search_results", 1),
            ("pong", 2),
            ("published", 3),
            ("error", None),
            ("history", 4),
            ("pong", 5),
        ]


# Pong.


@on_uvloop
async def test_pong_tells_how_far_a_client_has_been_served() -> None:
    async with serving() as house:
        client = await house.client("?message_types=dm")
        await client.event()
        [head] = house.publish("not for this one")
        pong = await client.ask("ping", request_id="p")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", pong.pop("timestamp"))
        assert pong == {"action": "pong", "seq": head, "request_id": "p"}
