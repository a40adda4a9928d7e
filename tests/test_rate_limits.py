"""The limits of a connection, of an address and of a user, on the wire."""

from __future__ import annotations

import asyncio
import json

from tests.support.wire import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    close_frame,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    serving,
    soon,
    until,
    upgrade,
    user,
)

# Limits of a connection.


@on_each_loop
async def test_near_the_limit_comes_one_warning_and_over_it_errors() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(command("ping") * 103)
        events = [await client.event() for _ in range(104)]
        assert [event["action"] for event in events] == [
            *["pong"] * 94,
            "rate_limit",
            *["pong"] * 6,
            *["error"] * 3,
        ]
        warning = events[94]
        reset = warning.pop("reset_in_seconds")
        assert 0 < reset <= 60
        assert warning == {
            "action": "rate_limit",
            "scope": "messages",
            "current_requests": 95,
            "limit": 100,
            "window_seconds": 60,
        }
        for error in events[101:]:
            assert (error["error_code"], error["error_message"]) == (4003, "Rate Limit Exceeded")
            assert error["details"]["field"] == "messages"
            assert 0 < error["details"]["retry_after_seconds"] <= 60


@on_each_loop
async def test_who_goes_on_over_the_limit_is_disconnected() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(command("ping") * 300)
        events = [await client.event() for _ in range(201)]
        assert [event["action"] for event in events[101:]] == ["error"] * 100
        assert await client.closed() == ("protocol_error", 4003)
        await client.send(close_frame(4003))
        await client.ended()
        client.close()
        await house.emptied()


@on_uvloop
async def test_every_kind_of_frame_counts_as_a_message() -> None:
    async with serving(message_limit=6) as house:
        client = await house.client()
        await client.send(
            frame(b"", PONG),
            frame(b"1", PING),
            frame(b"", BINARY),
            frame(b'{"action": ', fin=False),
            frame(b'"ping"}', CONTINUATION),
            command("ping"),
            command("ping", request_id="one too many"),
        )
        assert (await client.frame())[:2] == (PONG, b"1")
        assert (await client.reply("rate_limit"))["current_requests"] == 6
        assert (await client.reply("pong"))["action"] == "pong"
        error = await client.event()
        assert (error["error_code"], error["request_id"]) == (4003, "one too many")


@on_each_loop
async def test_ten_commands_may_be_sent_and_ping_and_publish_are_none() -> None:
    async with serving() as house:
        client = await house.client()
        for _ in range(5):
            assert (await client.ask("ping"))["action"] == "pong"
            assert (await client.ask("publish", message=user()))["action"] == "published"
        for number in range(9):
            assert (await client.ask("get_history", limit=1))["action"] == "history", number
        warning = await client.ask("unsubscribe", message_types=["dm"])
        assert (warning["action"], warning["scope"]) == ("rate_limit", "commands")
        assert (warning["current_requests"], warning["limit"]) == (10, 10)
        assert (await client.event())["action"] == "unsubscribed"
        error = await client.ask("search", query="x", request_id="eleventh")
        assert (error["error_code"], error["request_id"]) == (4003, "eleventh")
        assert error["details"]["field"] == "commands"
        assert 0 < error["details"]["retry_after_seconds"] <= 6
        assert (await client.ask("ping"))["action"] == "pong"


@on_uvloop
async def test_what_is_refused_may_be_sent_again_after_the_time_it_says() -> None:
    async with serving(command_limit=1, limit_window=1.5) as house:
        client = await house.client()
        await client.ask("get_history")
        await client.reply("history")
        error = await client.ask("get_history")
        assert error["error_code"] == 4003
        await asyncio.sleep(error["details"]["retry_after_seconds"] + 0.002)
        assert (await client.ask("get_history"))["action"] in ("history", "rate_limit")


@on_uvloop
async def test_the_rest_of_a_refused_message_is_not_taken_for_another() -> None:
    async with serving(message_limit=2, limit_window=1.5) as house:
        client = await house.client()
        await client.send(command("ping"), frame('{"action":', fin=False))
        await client.send(frame('"ping"', CONTINUATION, fin=False))
        error = await client.reply("error")
        assert error["error_code"] == 4003
        await asyncio.sleep(error["details"]["retry_after_seconds"] + 0.01)
        await client.send(frame("}", CONTINUATION))
        await asyncio.sleep(1.51)  # until there is no refusal that could be taken for an answer
        assert (await client.ask("ping"))["action"] == "pong"


@on_each_loop
async def test_without_limits_nothing_is_refused() -> None:
    async with serving(limits=False, connections_per_ip=1) as house:
        await house.client()
        client = await house.client()
        await client.send(command("ping") * 500, command("get_history") * 50)
        events = [await client.event() for _ in range(550)]
        assert [event["action"] for event in events] == ["pong"] * 500 + ["history"] * 50


@on_each_loop
async def test_an_address_may_open_so_many_connections_and_a_freed_place_can_be_taken() -> None:
    async with serving(connections_per_ip=2) as house:
        first, _ = await house.client(), await house.client()
        http = await house.http()
        await http.send(upgrade())
        answer = await http.answer()
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json["error_code"] == 4003
        await http.ended()
        assert (await (await house.http()).ask("GET", "/healthz")).status == 200
        await first.send(close_frame())
        await first.closed()
        first.close()
        await until(lambda: house.inside.websockets.total() == 1, "a place being freed")
        await house.client()


HERE, THERE, FAR = "127.0.0.1", "127.0.0.9", "203.0.113.9"


# Limits of an address, over all its connections and both doors.


@on_each_loop
async def test_all_connections_of_an_address_share_its_limit() -> None:
    async with serving(address_command_limit=4) as house:
        one, other, elsewhere = (
            await house.client(), await house.client(), await house.client(source=THERE),
        )  # fmt: skip
        for client in (one, other, one, other):
            assert (await client.ask("get_history"))["action"] == "history"
        refused = await one.ask("get_history", request_id="r")
        assert (refused["error_code"], refused["request_id"]) == (4003, "r")
        assert refused["details"]["retry_after_seconds"] > 0
        assert "address" in refused["details"]["issue"]
        answer = await (await house.http()).ask("GET", "/api/search?query=x")
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert (await elsewhere.ask("get_history"))["action"] == "history"


@on_uvloop
async def test_messages_published_over_http_count_one_by_one() -> None:
    async with serving(address_message_limit=10) as house:
        http, lines = await house.http(), "\n".join([json.dumps(user())] * 25)
        kind = {"Content_Type": "application/x-ndjson"}
        first = await http.ask("POST", "/api/messages", lines, **kind)
        assert (first.status, first.json["count"]) == (201, 25)
        second = await http.ask("POST", "/api/messages", json.dumps(user()))
        assert second.status == 429
        assert 90 < int(second.headers["retry-after"]) <= 97  # 16 that are owed, 6 s each
        assert (
            await (await house.http(THERE)).ask("POST", "/api/messages", lines, **kind)
        ).status == 201


@on_uvloop
async def test_who_goes_on_over_a_shared_limit_is_disconnected() -> None:
    async with serving(address_message_limit=1, message_limit=3) as house:
        client = await house.client()
        for _ in range(10):
            await client.tell("ping")
        assert await soon(client.closed()) == ("protocol_error", 4003)
