"""The WebSocket handshake over HTTP, and upgrades that are refused."""

from __future__ import annotations

import pytest

from livelog.net.http.connection import HttpConnection
from livelog.net.http.state import RULES, State
from tests.support.wire import (
    command,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    until,
    upgrade,
)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (upgrade("/"), 404),
        (upgrade("/ws/live-log/"), 404),
        (upgrade("/healthz"), 404),
        (upgrade(Upgrade="h2c"), 501),
        (upgrade("/healthz", Upgrade="TLS/1.0"), 501),
        (upgrade(method="POST"), 405),
        (upgrade(Sec_WebSocket_Version="12"), 400),
        (upgrade(Sec_WebSocket_Version=""), 400),
        (upgrade(Sec_WebSocket_Key=""), 400),
        (upgrade(Sec_WebSocket_Key="short"), 400),
        (upgrade(Sec_WebSocket_Key="\xe9" * 24), 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    ],
)
@on_each_loop
async def test_an_upgrade_that_cannot_be_is_refused(data: bytes, status: int) -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(data, b"and more")
        answer = await http.answer()
        assert answer.status == status
        if "sec-websocket-version" in answer.headers:
            assert answer.headers["sec-websocket-version"] == "13"
        await http.ended()
        http.close()
        await house.emptied()


@pytest.mark.parametrize(
    ("data", "status"), [(upgrade(), 101), (upgrade(Sec_WebSocket_Version="12"), 400)]
)
@on_uvloop
async def test_a_connection_that_is_upgraded_or_closing_does_not_go_on_with_http(
    monkeypatch: pytest.MonkeyPatch, data: bytes, status: int
) -> None:
    states: list[State] = []
    proceed = HttpConnection._proceed

    def recorded(connection: HttpConnection) -> None:
        states.append(connection.state)
        proceed(connection)

    monkeypatch.setattr(HttpConnection, "_proceed", recorded)
    async with serving() as house:
        http = await house.http()
        await http.send(data[:20])
        await until(lambda: len(states) == 1, "the head has begun")
        await http.send(data[20:])
        assert (await http.answer()).status == status
        assert all(RULES[state].reads for state in states), states


@on_uvloop
async def test_the_version_that_is_spoken_is_told_to_who_speaks_another() -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(upgrade(Sec_WebSocket_Version="12"))
        assert (await http.answer()).headers["sec-websocket-version"] == "13"
        await http.ended()


@on_each_loop
async def test_no_extension_and_no_subprotocol_is_agreed_to() -> None:
    async with serving() as house:
        http = await house.http()
        offers = {
            "Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits",
            "Sec_WebSocket_Protocol": "chat",
        }
        await http.send(upgrade(**offers))
        head = await http.upto(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in head.lower()
        assert b"protocol:" not in head.lower()


@on_each_loop
async def test_an_upgrade_right_behind_another_request_does_not_overtake_it() -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(request("GET", "/healthz"), upgrade(), command("ping"))
        assert (await http.answer()).status == 200
        assert (await http.answer()).status == 400
        await http.ended()
