"""One request after the other on a connection, and the end of the server."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.wire import (
    on_each_loop,
    request,
    serving,
    soon,
    until,
    user,
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = {"Transfer_Encoding": "chunked", "Content_Type": "application/json"}


@on_each_loop
async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with serving() as house:
        http = await house.http()
        for _ in range(10):
            answer = await http.ask("GET", "/healthz")
            assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
            answer = await http.ask("POST", "/api/messages", json.dumps(user()))
            assert answer.status == 201
        assert len(house.inside.connections) == 1


@on_each_loop
async def test_requests_sent_at_once_are_answered_in_order() -> None:
    async with serving() as house:
        http = await house.http()
        posts = [
            request("POST", "/api/messages", json.dumps([user(id=f"{n}.{m}") for m in range(n)]))
            for n in range(1, 21)
        ]
        await http.send(*[post + request("GET", "/nowhere") for post in posts])
        for count in range(1, 21):
            answer = await http.answer()
            assert (answer.status, answer.json["count"]) == (201, count)
            assert (await http.answer()).status == 404


@on_each_loop
async def test_the_bytes_of_a_request_may_come_one_by_one() -> None:
    async with serving() as house:
        http = await house.http()
        for byte in request("POST", "/api/messages", json.dumps(user(id="m1"))):
            await http.send(bytes([byte]))
        assert (await http.answer()).json["messages"][0]["id"] == "m1"


@pytest.mark.parametrize(
    ("version", "headers"), [("1.1", {"Connection": "close"}), ("1.0", {}), ("1.1", None)]
)
@on_each_loop
async def test_a_connection_ends_when_the_client_wants_it(
    version: str, headers: dict[str, str] | None
) -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(request("GET", "/healthz", version=version, **(headers or {})))
        if headers is None:
            http.finish()
        assert (await http.answer()).status == 200
        await http.ended()
        http.close()
        await house.emptied()


@on_each_loop
async def test_a_response_to_head_has_everything_but_the_body() -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("HEAD", "/healthz")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 0
        assert (await http.ask("HEAD", "/nowhere")).status == 404
        assert (await http.ask("GET", "/healthz")).status == 200


@on_each_loop
async def test_who_expects_it_is_told_to_continue() -> None:
    async with serving() as house:
        http = await house.http()
        body = json.dumps(user()).encode()
        whole = request("POST", "/api/messages", body, Expect="100-continue")
        await http.send(whole[: -len(body)])
        assert (await http.answer()).status == 100
        await http.send(body)
        assert (await http.answer()).status == 201


@on_each_loop
async def test_who_expects_it_is_told_to_continue_behind_earlier_answers() -> None:
    async with serving() as house:
        http = await house.http()
        body = json.dumps(user()).encode()
        whole = request("POST", "/api/messages", body, Expect="100-continue")
        await http.send(request("GET", "/api/history"), whole.removesuffix(body))
        assert (await http.answer()).json["action"] == "history"
        assert (await http.answer()).status == 100
        await http.send(body, whole)  # the second time it does not wait
        assert [(await http.answer()).status for _ in range(2)] == [201, 201]


@on_each_loop
async def test_who_expects_it_is_not_told_to_continue_with_too_much() -> None:
    async with serving(max_body_bytes=1024) as house:
        http = await house.http()
        await http.send(
            request("POST", "/api/messages", Expect="100-continue", Content_Length="1025")
        )
        assert (await http.answer()).status == 413
        await http.ended()


@on_each_loop
async def test_a_body_may_come_in_chunks() -> None:
    async with serving() as house:
        http = await house.http()
        body = json.dumps(user("→" * 100)).encode()
        pieces = [chunk(body[n : n + 7]) for n in range(0, len(body), 7)]
        head = request("POST", "/api/messages", **CHUNKED)
        await http.send(head, *pieces, chunk(b""), request("GET", "/healthz"))
        assert (await http.answer()).status == 201
        assert (await http.answer()).status == 200


@on_each_loop
async def test_connections_that_wait_for_a_request_are_closed_when_the_server_stops() -> None:
    async with serving(close_timeout=60) as house:
        silent, asked, dripping = [await house.http() for _ in range(3)]
        await asked.ask("GET", "/healthz")
        await dripping.send(b"GET /healthz HTTP/1.1\r\n")
        await until(lambda: len(house.inside.connections) == 3, "all connected")
        await soon(house.server.close(), "the server to stop")
        house.inside.check_empty()
        for http in (silent, asked):
            await http.ended()


@on_each_loop
async def test_a_request_that_is_being_answered_is_finished_when_the_server_stops() -> None:
    async with serving(close_timeout=30) as house:
        http = await house.http()
        body = json.dumps([user() for _ in range(5000)])
        await http.send(request("POST", "/api/messages", body))
        await until(lambda: house.inside.busy, "work")
        closing = asyncio.create_task(house.server.close())
        answer = await http.answer()
        assert (answer.status, answer.json["count"]) == (201, 5000)
        await http.ended()
        http.close()
        await soon(closing, "the server to stop")


@on_each_loop
async def test_who_vanishes_while_being_answered_is_forgotten_and_its_messages_are_whole() -> None:
    async with serving() as house:
        http = await house.http()
        body = json.dumps([user() for _ in range(5000)])
        await http.send(request("POST", "/api/messages", body))
        await until(lambda: house.inside.busy, "work")
        http.reset()
        await until(lambda: not house.inside.busy, "an end")
        await house.emptied()
        history = await (await house.client()).ask("get_history", limit=1)
        assert history["total_count"] in (0, 5000)
