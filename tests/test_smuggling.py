"""Requests that can be read in two ways, and paths."""

from __future__ import annotations

import json

import pytest

from tests.support.smuggling import FAILED_UPGRADE, SMUGGLED, TOLERATED
from tests.support.wire import (
    on_each_loop,
    on_uvloop,
    request,
    serving,
    user,
)


@pytest.mark.parametrize("data", [*SMUGGLED.values(), *TOLERATED.values(), FAILED_UPGRADE])
@on_each_loop
async def test_a_request_that_can_be_read_in_two_ways_is_refused(data: bytes) -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(data)
        assert (await http.answer()).status in (400, 501)
        await http.ended()
        assert (await (await house.http()).ask("GET", "/api/history")).json["total_count"] == 0


@on_uvloop
async def test_a_trailer_is_no_header() -> None:
    async with serving(trusted_proxies="127.0.0.1") as house:
        http = await house.http()
        body = json.dumps(user()).encode()
        chunks = b"%x\r\n%s\r\n0\r\nOrigin: https://evil.org\r\nX-Forwarded-For: x\r\n\r\n"
        head = {"Transfer_Encoding": "chunked", "Content_Type": "application/json"}
        await http.send(request("POST", "/api/messages", **head), chunks % (len(body), body))
        assert (await http.answer()).status == 201


PATHS = [
    "/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/config.py", "/livelog.js/../viewer.js",
    "//livelog.js", "/./livelog.js", "/livelog.js/", "/livelog.js%00.html", "/livelog%2ejs",
    "/LIVELOG.JS", "/api//history", "/api/history/", "/api/history;x=y", "/api%2fhistory",
    "/client/../livelog.js", "/viewer/..%2f..%2f__init__.py", "/deploy/nginx.conf",
    "/web/livelog.js", "/__init__.py", "\\..\\config.py", "/api/history%3Flimit=1", "/%00",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@on_uvloop
async def test_a_path_is_what_it_is_and_nothing_is_looked_up(path: str) -> None:
    async with serving() as house:
        answer = await (await house.http()).ask("GET", path)
        assert answer.status in (400, 404)
        assert b"import " not in answer.body
