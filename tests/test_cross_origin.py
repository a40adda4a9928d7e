"""Pages of other sites: what a browser lets them send is refused."""

from __future__ import annotations

import json

import pytest

from tests.support.wire import (
    on_uvloop,
    serving,
    until,
    upgrade,
    user,
)


@pytest.mark.parametrize("target", ["/api/history", "/healthz", "/api/search?query=x"])
@on_uvloop
async def test_pages_of_other_sites_may_not_read(target: str) -> None:
    async with serving() as house:
        answer = await (await house.http()).ask("GET", target, Origin="https://evil.org")
        assert (answer.status, answer.json["details"]["field"]) == (403, "origin")
        assert "access-control-allow-origin" not in answer.headers
        assert (
            await (await house.http()).ask("GET", target, Origin="http://localhost")
        ).status == 200


@on_uvloop
async def test_pages_of_other_sites_may_not_write_nor_connect() -> None:
    async with serving() as house:
        body = json.dumps(user("forged"))
        answer = await (await house.http()).ask(
            "POST", "/api/messages", body, Origin="https://evil.org"
        )
        assert answer.status == 403
        http = await house.http()
        await http.send(upgrade(Origin="https://evil.org"))
        assert (await http.answer()).status == 403
        kept = await (await house.http()).ask("GET", "/api/history")
        assert kept.json["total_count"] == 0
        await (await house.http()).send(upgrade(Origin="http://localhost"))
        await until(lambda: house.inside.websockets, "a connection from the own page")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
@on_uvloop
async def test_what_a_form_can_send_is_not_taken(kind: str) -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("POST", "/api/messages", json.dumps(user()), Content_Type=kind)
        assert answer.status == 415


@on_uvloop
async def test_pages_of_a_listed_origin_may_do_everything() -> None:
    page = "https://example.org"
    async with serving(allowed_origins=page) as house:
        http = await house.http()
        asked = {"Origin": page, "Access_Control_Request_Method": "POST"}
        first = await http.ask("OPTIONS", "/api/messages", **asked)
        assert first.status == 200
        for header in ("content-type", "last-event-id"):
            assert header in first.headers["access-control-allow-headers"]
        done = await http.ask("POST", "/api/messages", json.dumps(user()), Origin=page)
        refused = await http.ask("GET", "/api/history?limit=x", Origin=page)
        assert (done.status, refused.status) == (201, 400)
        for answer in (first, done, refused):
            assert answer.headers["access-control-allow-origin"] == page
        await http.send(upgrade(Origin=page))
        await until(lambda: house.inside.websockets, "a connection from that page")
        other = await (await house.http()).ask(
            "OPTIONS", "/api/messages", **{**asked, "Origin": "https://evil.org"}
        )
        assert other.status == 403
        assert "access-control-allow-methods" not in other.headers


@on_uvloop
async def test_the_client_may_be_imported_from_anywhere() -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("GET", "/livelog.js", Origin="https://example.org")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
