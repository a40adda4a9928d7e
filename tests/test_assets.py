"""The files of the page: what is served, as what, and what the page may do."""

from __future__ import annotations

import re

import pytest

from livelog.net.http.assets import ASSETS
from tests.support.wire import on_uvloop, serving


@on_uvloop
async def test_the_viewer_and_the_client_are_served() -> None:
    async with serving() as house:
        http = await house.http()
        page = await http.ask("GET", "/")
        assert page.status == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        script = await http.ask("GET", "/livelog.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert b"export class LiveLog" in script.body
        types = await http.ask("GET", "/livelog.d.ts")
        assert types.headers["content-type"] == "text/plain; charset=utf-8"
        head = await http.ask("HEAD", "/livelog.js")
        assert int(head.headers["content-length"]) == len(script.body)
        assert (await http.ask("POST", "/", "x")).status == 405
        assert (await http.ask("GET", "/package.json")).status == 404
        assert (await http.ask("GET", "/../pyproject.toml")).status == 404


@on_uvloop
async def test_the_policy_lets_nothing_run_but_the_page_s_own_files() -> None:
    async with serving() as house:
        headers = (await (await house.http()).ask("GET", "/")).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_has_no_inline_script_and_no_inline_style() -> None:
    page = ASSETS["/"].body.decode()
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)


@pytest.mark.parametrize("path", [path for path in ASSETS if path != "/"])
def test_the_page_needs_nothing_from_elsewhere(path: str) -> None:
    text = ASSETS[path].body.decode()
    addresses = re.findall(r"https?://[^\s\"'`]+", text)
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}
    for module in re.findall(r'from "\./([^"]+)"', text):
        assert f"/{module}" in ASSETS
    assert "innerHTML" not in text
    assert "insertAdjacentHTML" not in text
