"""The routes of HTTP: paths, methods, targets, and how the server is."""

from __future__ import annotations

import pytest

from livelog import __version__
from tests.support.wire import (
    assert_refused,
    on_each_loop,
    on_uvloop,
    serving,
    upgrade,
)


@on_each_loop
async def test_healthz_tells_how_the_server_is() -> None:
    async with serving() as house:
        http = await house.http()
        [seq] = house.publish("one")
        await house.client()
        answer = await http.ask("GET", "/healthz?x=1")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["date"]
        health = answer.json
        assert health.pop("uptime_seconds") >= 0
        memory = health.pop("memory")
        assert memory.pop("window") > 0
        assert memory == {
            "limit": 512 * 2**20,
            "answers": 0,
            "deliveries": 0,
            "bodies": 0,
            "commits": 0,
            "acts": 0,
            "reading": 128 * 2**20,
        }
        assert health == {
            "status": "ok",
            "version": __version__,
            "connections": 1,
            "head_seq": seq,
        }


@on_uvloop
async def test_readyz_says_that_clients_may_come() -> None:
    async with serving() as house:
        answer = await (await house.http()).ask("GET", "/readyz")
        assert (answer.status, answer.json) == (200, {"status": "ready"})


@on_uvloop
async def test_the_document_of_the_protocol_has_the_version_of_the_server() -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("GET", "/asyncapi.json")
        assert (answer.status, answer.json["info"]["version"]) == (200, __version__)


@on_each_loop
async def test_an_unknown_path_is_not_found_and_the_known_ones_are_named() -> None:
    async with serving() as house:
        http = await house.http()
        for target in ("/nowhere", "/healthz/", "//healthz", "/%00", "/api/messages/1"):
            answer = await http.ask("GET", target)
            assert answer.status == 404
            assert_refused(answer.json, 1002, "path")
            assert "/api/messages" in answer.json["details"]["issue"]


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/healthz", "get"),
        ("DELETE", "/healthz", "get"),
        ("OPTIONS", "/healthz", "get"),
        ("GET", "/api/messages", "post"),
        ("HEAD", "/api/messages", "post"),
        ("PUT", "/api/messages", "post"),
        ("POST", "/ws/live-log", "get"),
    ],
)
@on_each_loop
async def test_another_method_is_refused_with_those_allowed(
    method: str, target: str, allowed: str
) -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask(method, target)
        assert answer.status == 405
        assert allowed in answer.headers["allow"].split(", ")
        assert (await http.ask("GET", "/healthz")).status == 200


@on_each_loop
async def test_a_plain_request_to_the_websocket_is_told_to_upgrade() -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("GET", "/ws/live-log")
        assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
        assert_refused(answer.json, 1002, "upgrade")
        await http.send(upgrade())
        assert (await http.upto(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("target", ["http://localhost/healthz", "HTTPS://127.0.0.1:80/healthz?a=b"])
@on_uvloop
async def test_an_absolute_target_is_taken_by_its_path(target: str) -> None:
    async with serving() as house:
        http = await house.http()
        assert (await http.ask("GET", target)).json["status"] == "ok"


@pytest.mark.parametrize("target", ["//healthz", "http://localhost/nowhere", "healthz/", "*"])
@on_uvloop
async def test_any_other_target_is_not_found(target: str) -> None:
    async with serving() as house:
        http = await house.http()
        assert (await http.ask("GET", target)).status in (400, 404)
