"""The WebSocket handshake over HTTP, and upgrades that are refused."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from livelog.net.http.connection import HttpConnection
from livelog.net.http.state import RULES, State
from tests.support.wire import (
    command,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    soon,
    until,
    upgrade,
    user,
)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (upgrade("/"), 404),
        (upgrade("/ws/live-log/"), 404),
        (upgrade("/healthz"), 404),
        (upgrade(Upgrade="websocket, h2c", Sec_WebSocket_Key=""), 400),
        (upgrade(Content_Length="5"), 400),
        (upgrade(Transfer_Encoding="chunked"), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /healthz HTTP/2.0\r\nHost: here\r\n\r\n", 505),
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


@pytest.mark.parametrize("offer", ["h2c", "TLS/1.0", "h2c, foo/2", "websocket2"])
@on_each_loop
async def test_an_offer_that_is_not_understood_is_passed_over(offer: str) -> None:
    async with serving() as house:
        http = await house.http()
        for _ in range(120):  # more than a block would take
            answer = await http.ask("GET", "/healthz", Connection="Upgrade", Upgrade=offer)
            assert answer.status == 200
        body = json.dumps(user()).encode()
        more = {"Connection": "Upgrade", "Upgrade": offer, "Expect": "100-continue"}
        data = request("POST", "/api/messages", body, **more)
        await http.send(data.removesuffix(body))
        assert (await http.answer()).status == 100
        await http.send(body)
        assert (await http.answer()).status == 201
        assert (await http.ask("GET", "/ws/live-log", Upgrade=offer)).status == 426


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@on_uvloop
async def test_curl_that_would_rather_speak_http_2_is_answered() -> None:
    async with serving() as house:
        port = house.server.port
        command = ["curl", "-sS", "--http2", "-w", " %{http_code} %{http_version}"]
        post = ["--data-binary", json.dumps(user()), "-H", "Content-Type: application/json"]
        for more in ([], post):
            target = f"http://127.0.0.1:{port}/{'api/messages' if more else 'healthz'}"
            curl = await asyncio.create_subprocess_exec(
                *command, *more, target, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await soon(curl.communicate())
            assert out.decode().endswith(f" {201 if more else 200} 1.1")


@pytest.mark.parametrize("offer", ["websocket, h2c", "h2c, WebSocket"])
@on_each_loop
async def test_a_websocket_may_be_offered_among_other_protocols(offer: str) -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(upgrade(Upgrade=offer, Content_Length="0"))
        head = await http.upto(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"upgrade: websocket\r\n" in head.lower()


@on_uvloop
async def test_the_version_that_is_spoken_is_told_to_who_speaks_another() -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(upgrade(Sec_WebSocket_Version="12"))
        assert (await http.answer()).headers["sec-websocket-version"] == "13"
        await http.ended()


@on_each_loop
async def test_no_extension_and_no_subprotocol_is_agreed_to() -> None:
    async with serving(compression="off") as house:
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
