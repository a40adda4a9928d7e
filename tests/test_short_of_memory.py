"""Memory that runs out in the middle of something: refused for now, and all else goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from livelog.engine import local
from livelog.log import ingest
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.net import queries
from livelog.net.http.connection import HttpConnection
from livelog.net.websocket import dispatch
from livelog.store.database.place import Place
from livelog.store.writer import Writer
from tests.support.keeping import everything, filled, keeping, post
from tests.support.wire import House, on_uvloop, until, user

pytestmark = pytest.mark.usefixtures("no_reader_left", "quick_retries")

TAKING = [
    (ingest, "finding_terms", ["failed"]),
    (ingest, "_encode", ["failed"]),
    (local, "place", ["could not be placed"]),
    (Window, "extend", ["could not be taken"]),
    (Writer, "_insert", ["cannot be written to", "can be written to again"]),
    (Place, "overwritten", ["cannot be written to", "can be written to again"]),
]
READING = [(queries, "compile_query"), (queries, "_where"), (queries, "pause"), (Log, "read")]


class Shortage:
    """A function that fails once for lack of memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.spent = False
        real: Callable[..., Any] = getattr(owner, name)

        def short(*args: Any, **named: Any) -> Any:
            if self.spent:
                return real(*args, **named)
            self.spent = True
            raise MemoryError

        monkeypatch.setattr(owner, name, short)


def _said(caplog: pytest.LogCaptureFixture, fault: str) -> bool:
    return fault in caplog.text


async def check_http(house: House, method: str, path: str, body: str = "") -> None:
    http = await house.http()
    answer = await http.ask(method, path, body)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1"), answer
    assert answer.json["error_code"] == 1011
    assert (await http.ask("GET", "/healthz")).status == 200


async def check_websocket(house: House, command: str, **fields: Any) -> None:
    client = await house.client()
    error = await client.ask(command, **fields)
    assert error["error_code"] == 1011, error
    assert error["details"]["retry_after_seconds"] > 0
    assert (await client.ask("ping"))["action"] == "pong"


@on_uvloop
async def test_messages_that_find_no_memory_are_refused_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By both doors; what is acknowledged before and after is there at the next start."""
    refused = user("refused")
    expected = {fault for _, _, faults in TAKING for fault in faults}
    async with keeping(tmp_path, faults=[*expected]) as house:
        http = await house.http()
        kept = await post(http, range(10))
        await until(lambda: filled(house), "filled")
        for (owner, name, faults), check in product(
            TAKING,
            (
                partial(check_http, house, "POST", "/api/messages", json.dumps(refused)),
                partial(check_websocket, house, "publish", message=refused),
            ),
        ):
            caplog.clear()
            with monkeypatch.context() as patch:
                shortage = Shortage(patch, owner, name)
                await check()
                assert shortage.spent, name
            for fault in faults:
                await until(partial(_said, caplog, fault), f"{name}: {fault}")
            await until(lambda: house.context.log.refusal is None, f"{name}: taken again")
            kept += await post(http, range(len(kept), len(kept) + 10))
    async with keeping(tmp_path) as house:
        found = await everything(await house.http())
    assert [one for one in found if one.get("content") != "refused"] == kept


@on_uvloop
async def test_readers_that_find_no_memory_are_refused_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(tmp_path, faults=["failed"]) as house:
        await post(await house.http(), range(10))
        await until(lambda: filled(house), "filled")
        for (owner, name), check in product(
            READING,
            (
                partial(check_http, house, "GET", "/api/history"),
                partial(check_http, house, "GET", "/api/search?query=dragon"),
                partial(check_websocket, house, "get_history"),
                partial(check_websocket, house, "search", query="dragon"),
            ),
        ):
            with monkeypatch.context() as patch:
                shortage = Shortage(patch, owner, name)
                await check()
                assert shortage.spent, name


@on_uvloop
async def test_what_arrives_and_finds_no_memory_is_refused_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A WebSocket is closed with 1011: it is not known how much of a frame has been taken."""
    async with keeping(tmp_path, faults=["could not be taken", "failed"]) as house:
        with monkeypatch.context() as patch:
            Shortage(patch, HttpConnection, "_take")
            http = await house.http()
            answer = await http.ask("GET", "/api/history")
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        client = await house.client()
        with monkeypatch.context() as patch:
            Shortage(patch, dispatch, "message")
            await client.tell("ping")
            event = await client.reply("disconnected")
        assert event["reason"] == "server_error"
        assert await (await house.client()).ask("ping")
