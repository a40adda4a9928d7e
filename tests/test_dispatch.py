"""Messages become commands, commands replies or errors; in order, and repeating the request id."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from livelog.auth.principal import NOBODY, Principal
from livelog.errors import RefusedError
from livelog.net.websocket import dispatch
from livelog.net.websocket.commands import COMMANDS, Entry
from livelog.wire.commands import Ping
from livelog.wire.events import Event, Pong, RateLimit
from tests.support.loopback import Loopback
from tests.support.wire import (
    ACTIONS,
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


# By itself, without a transport.


def ask(connection: Loopback, **fields: Any) -> None:
    dispatch.message(connection, json.dumps(fields).encode(), binary=False)


def refused(connection: Loopback) -> tuple[int, str, Any]:
    """Code, field and request id of the only refusal."""
    [(refused, request_id)] = connection.refusals
    return refused.code, refused.field, request_id


@on_uvloop
async def test_a_reply_repeats_the_request_id_of_its_command() -> None:
    connection = Loopback()
    ask(connection, action="ping", request_id="r1")
    [pong] = connection.events
    assert isinstance(pong, Pong)
    assert (pong.seq, pong.request_id) == (7, "r1")


@on_uvloop
async def test_without_a_principal_only_what_anybody_may_is_carried_out() -> None:
    connection = Loopback(NOBODY)
    ask(connection, action="ping")
    assert connection.closed is None
    ask(connection, action="get_history", request_id=3)
    assert refused(connection) == (4000, "action", 3)
    assert connection.closed == (4000, "authenticate first")


@on_uvloop
async def test_with_a_principal_a_refusal_leaves_the_connection_open() -> None:
    connection = Loopback()
    ask(connection, action="authenticate", token="x", api_key="y", request_id=4)
    assert refused(connection) == (1002, "api_key", 4)
    assert connection.closed is None


@on_uvloop
async def test_a_handler_that_fails_is_an_internal_error_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(COMMANDS, Ping, Entry(fail, counts=False))
    connection = Loopback()
    ask(connection, action="ping", request_id=5)
    assert refused(connection) == (1011, "", 5)
    assert "conn_1: Ping failed" in caplog.text


@on_uvloop
async def test_a_command_that_takes_time_is_the_task_until_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes: list[Event | Exception] = [
        Pong(timestamp="", seq=1),
        RefusedError(1002, "query", "is wrong"),
        ZeroDivisionError(),
    ]

    async def answer() -> Event:
        await asyncio.sleep(0)
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setitem(COMMANDS, Ping, Entry(lambda *_: answer, counts=False))
    connection = Loopback()
    for number in range(3):
        ask(connection, action="ping", request_id=number)
        assert connection.task is not None
        await connection.task
        assert connection.task is None
    assert connection.answers == [0]
    codes = [(refused.code, request_id) for refused, request_id in connection.refusals]
    assert codes == [(1002, 1), (1011, 2)]


@on_uvloop
async def test_limits_warn_then_refuse_then_close() -> None:
    connection = Loopback(message_limit=20)
    spent = [dispatch.spend(connection, "messages", b'{"request_id": 6}') for _ in range(41)]
    assert spent == [True] * 20 + [False] * 21
    [warning] = connection.events
    assert isinstance(warning, RateLimit)
    assert warning.current_requests == 19
    assert {request_id for _, request_id in connection.refusals} == {6}
    assert len(connection.refusals) == 20
    assert connection.closed == (4003, "went on over the limit of messages")


@on_uvloop
async def test_a_command_that_counts_takes_a_message_and_a_command() -> None:
    connection = Loopback(command_limit=1)
    ask(connection, action="authenticate")
    ask(connection, action="authenticate", request_id=7)
    assert refused(connection) == (4003, "commands", 7)
    ask(connection, action="ping", request_id=8)
    assert connection.answers[-1] == 8


@on_uvloop
async def test_the_subscription_in_the_url_waits_for_the_principal() -> None:
    connection = Loopback(NOBODY)
    connection.asked_by_url = "nonsense", ""
    dispatch.subscription_in_url(connection)
    connection.identify(Principal("ann"))
    with pytest.raises(RefusedError, match="message_types"):
        dispatch.subscription_in_url(connection)
    dispatch.subscription_in_url(connection)  # once is enough


# Text messages and what is wrong with some.


@pytest.mark.parametrize(
    ("payload", "field", "issue"),
    [
        (b"", "", "not valid JSON"),
        (b"{", "", "not valid JSON"),
        (b'{"action": "ping"', "", "not valid JSON"),
        (b'{"action": "ping"} {}', "", "not valid JSON"),
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
        (b'{"action": "search", "query": "  "}', "query", ""),
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
        assert (await client.ask("fly"))["details"]["allowed"] == ACTIONS
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


@on_uvloop
async def test_a_byte_order_mark_before_a_command_is_skipped() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(b'\xef\xbb\xbf{"action": "ping", "request_id": 1}'))
        assert (await client.event())["request_id"] == 1
        rest = frame(b'\xbb\xbf{"action": "ping"}', CONTINUATION)
        await client.send(frame(b"\xef", fin=False), rest)
        assert (await client.event())["action"] == "pong"
        await client.send(frame(b'\xef\xbb\xbf{"action": "fly", "request_id": 2}'))
        assert (await client.event())["request_id"] == 2
        await client.send(frame(b'\xef\xbb\xbf\xef\xbb\xbf{"action": "ping"}'))
        assert (await client.event())["error_code"] == 1002


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
