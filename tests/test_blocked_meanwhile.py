"""Blocks that are set while something long is done for a client: it ends, with the right answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from livelog.log.log import Log
from tests.support.identity import token
from tests.support.moderating import AUTH, entered, give
from tests.support.wire import CLOSE, House, Http, Json, command, on_uvloop, request, serving, until
from tests.support.wire import user as said

ANN = "127.0.1.1"
KEY = {"Authorization": f"Bearer {token('ann', 'read publish')}"}
COUNT = 10_000

BLOCKS: list[Json] = [{"user_id": "ann"}, {"address": "127.0.1.0/24", "force": True}]
at_each_block = pytest.mark.parametrize("block", BLOCKS, ids=["user", "network"])


def body() -> str:
    """A body that takes many slices of the loop's time."""
    return "\n".join(json.dumps(said(f"number {n}", user_id="ann")) for n in range(COUNT))


async def posted(house: House) -> Http:
    """A client that has sent a large body."""
    http = await house.http(source=ANN)
    headers = {"Content_Type": "application/x-ndjson", **KEY}
    await http.send(request("POST", "/api/messages", body(), **headers))
    return http


async def blocked(house: House, block: Json) -> None:
    answer = await give(house, "program", "block", reason="spam", **block)
    assert answer["action"] == "admin_result", answer


@at_each_block
@on_uvloop
async def test_a_body_that_is_checked_is_refused_and_nothing_of_it_published(block: Json) -> None:
    async with serving(limits=False, **AUTH) as house:
        http = await posted(house)
        await until(lambda: house.inside.busy, "the body is checked")
        head = house.context.log.head
        await blocked(house, block)
        answer = await http.answer()
        assert (answer.status, answer.json["details"].get("acknowledged", [])) == (403, [])
        assert "is blocked: spam" in answer.json["details"]["issue"]
        assert (await house.server.history(limit=1)).total == 0
        assert house.context.log.head > head  # the act


@at_each_block
@on_uvloop
async def test_a_body_that_is_published_ends_and_tells_what_is_acknowledged(block: Json) -> None:
    async with serving(limits=False, **AUTH) as house:
        http = await posted(house)
        await until(lambda: house.context.log.taken["user"] > 0, "a part is published")
        await blocked(house, block)
        taken = house.context.log.taken["user"]
        answer = await http.answer()
        assert answer.status == 403
        assert "is blocked: spam" in answer.json["details"]["issue"]
        acknowledged = answer.json["details"]["acknowledged"]
        page = await house.server.history(limit=1)
        assert page.total == len(acknowledged) == taken < COUNT
        assert page.messages[0].id == acknowledged[-1]


@at_each_block
@pytest.mark.parametrize("target", ["/api/search?query=x", "/api/history?limit=1000"])
@on_uvloop
async def test_a_search_or_page_is_given_up(
    monkeypatch: pytest.MonkeyPatch, block: Json, target: str
) -> None:
    given_up = asyncio.Event()

    async def endless(*_: Any, **__: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async with serving(**AUTH) as house:
        monkeypatch.setattr(Log, "read", endless)
        other = await house.http()
        await other.send(request("GET", target, Authorization=f"Bearer {token('bob')}"))
        http = await house.http(source=ANN)
        await http.send(request("GET", target, **KEY))
        await http.send(request("GET", "/healthz", **KEY))  # which is not answered any more
        await until(lambda: house.context.memory.answers.holders == 2, "both are searched")
        await blocked(house, block)
        answer = await http.answer()
        assert answer.status == 403
        assert "is blocked: spam" in answer.json["details"]["issue"]
        assert await http.rest() == b""
        await given_up.wait()
        assert house.context.memory.answers.holders == 1
        other.close()


@on_uvloop
async def test_a_body_on_its_way_is_refused_before_it_has_come() -> None:
    async with serving(**AUTH) as house:
        http = await house.http(source=ANN)
        whole = request("POST", "/api/messages", json.dumps(said()), **KEY)
        await http.send(whole[:-5])
        await until(lambda: house.inside.connection.parser.stage == "body", "a part of the body")
        await blocked(house, BLOCKS[1])
        assert (await http.answer()).status == 403
        assert await http.rest() == b""


@on_uvloop
async def test_clients_that_are_not_meant_and_what_is_idle_stay() -> None:
    async with serving(**AUTH) as house:
        idle, other = await house.http(source=ANN), await house.http(source="127.0.2.1")
        whole = request("POST", "/api/messages", json.dumps(said(user_id="ann")), **KEY)
        await other.send(whole[:-5])
        await until(
            lambda: any(each.parser.stage == "body" for each in house.inside.connections), "a body"
        )
        await blocked(house, BLOCKS[1])
        await other.send(whole[-5:])
        assert (await other.answer()).status == 201
        assert (await idle.ask("GET", "/api/history", **KEY)).status == 403


@at_each_block
@on_uvloop
async def test_commands_behind_each_other_on_a_websocket_end(block: Json) -> None:
    async with serving(limits=False, **AUTH) as house:
        client = await entered(house, "ann", source=ANN)
        many = [command("publish", message=said(f"{n}", user_id="ann")) for n in range(10_000)]
        sending = asyncio.create_task(client.send(b"".join(many)))
        await until(lambda: house.context.log.taken["user"] > 0, "some are published")
        await blocked(house, block)
        while (await client.frame()).opcode != CLOSE:
            pass
        taken = house.context.log.taken["user"]
        assert taken < len(many)
        await house.server.history()
        assert house.context.log.taken["user"] == taken
        sending.cancel()


@on_uvloop
async def test_a_moderator_who_is_blocked_meanwhile_does_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, go_on, read = asyncio.Event(), asyncio.Event(), Log.read

    async def late(*args: Any, **kwargs: Any) -> Any:
        reading.set()
        await go_on.wait()
        return await read(*args, **kwargs)

    async with serving(**AUTH) as house:
        seq = (await house.server.publish(said())).seq
        monkeypatch.setattr(Log, "read", late)
        redacting = asyncio.create_task(give(house, "http", "redact", "moderate", "eve", seq=seq))
        await reading.wait()
        await blocked(house, {"user_id": "eve"})
        go_on.set()
        answer = await redacting
        assert (answer["status"], answer["details"]["field"]) == (403, "user_id")
        acts = (await house.server.admin("audit")).result["acts"]
        assert [act["act"] for act in acts] == ["block"]
