"""Admin commands where several servers share a log: asked of all, and holding on all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from livelog.engine.nats.engine import StreamEngine
from livelog.engine.nats.questions import Question, Questions
from tests.support.identity import token
from tests.support.moderating import AUTH, entered, give
from tests.support.sharedstream import SharedStream
from tests.support.wire import House, Json, on_uvloop, serving, until


@pytest.fixture(autouse=True)
def _talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes hear of each other at once."""
    monkeypatch.setattr("livelog.engine.nats.herald.SAID_EVERY", 0.05)


@asynccontextmanager
async def two(**settings: Any) -> AsyncIterator[tuple[House, House]]:
    """Two servers that share a log, and have heard of each other."""
    shared = SharedStream()

    def node(name: str) -> Any:
        view = shared.view()
        engine = lambda clock: StreamEngine(view, silence=0.05)  # noqa: E731 - named where it is used
        return serving(**AUTH, node_name=name, engine=engine, **settings)

    async with node("one") as one, node("two") as two:
        for house in (one, two):
            ingest = house.context.ingest
            await until(lambda i=ingest: len(i.nodes or ()) == 2, "both are heard")  # type: ignore[misc]  # a bound value
        yield one, two


@on_uvloop
async def test_connections_of_all_servers_are_listed_and_merged() -> None:
    async with two() as (one, two_):
        await entered(one, "ann")
        await entered(two_, "bob")
        await entered(one, "cat")
        answer = await give(one, "http", "connections")
        assert answer["nodes"] == {"one": "ok", "two": "ok"}
        rows = answer["result"]["connections"]
        assert [(row["user_id"], row["node"]) for row in rows] == [
            ("ann", "one"),
            ("bob", "two"),
            ("cat", "one"),
        ]
        assert answer["result"]["total_count"] == 3
        page = (await give(two_, "http", "connections", limit=1, offset=1))["result"]
        assert [row["user_id"] for row in page["connections"]] == ["bob"]
        assert page["total_count"] == 3
        for node, users in (("one", ["ann", "cat"]), ("two", ["bob"])):
            answer = await give(one, "http", "connections", node=node)
            assert [row["user_id"] for row in answer["result"]["connections"]] == users
        assert (await give(one, "http", "connections", node="six"))["status"] == 404
        refused = await give(one, "http", "connections", offset=950)
        assert (refused["status"], refused["details"]["field"]) == (400, "offset")


@on_uvloop
async def test_a_server_that_does_not_answer_is_named_and_holds_nobody_up() -> None:
    async with two() as (one, two_):
        engine: Any = two_.inside.engine
        engine.answer_with(_never)
        await entered(one, "ann")
        answer = await give(one, "http", "connections")
        assert answer["nodes"] == {"one": "ok", "two": "no answer"}
        assert answer["result"]["total_count"] == 1
        engine._herald.questions.close()


async def _never(question: bytes) -> bytes:
    await asyncio.sleep(3600)
    return b""


@on_uvloop
async def test_a_user_is_disconnected_and_blocked_on_all_servers() -> None:
    async with two() as (one, two_):
        here, there = await entered(one, "ann"), await entered(two_, "ann")
        answer = await give(one, "http", "disconnect", user_id="ann", reconnect=False)
        assert answer["result"] == {"disconnected": 2}
        for client in (here, there):
            assert (await client.reply("disconnected"))["reconnect"] is False
        await until(lambda: not two_.inside.websockets, "nobody is connected")
        assert (await give(one, "http", "disconnect", user_id="ann"))["status"] == 404

        there = await entered(two_, "ann")
        answer = await give(one, "http", "block", user_id="ann")
        assert answer["result"]["disconnected"] == 1
        assert (await there.reply("disconnected"))["reconnect"] is False
        client = await two_.client()
        assert (await client.ask("authenticate", token=token("ann")))["error_code"] == 1008
        listed = [(await give(house, "http", "blocks"))["result"] for house in (one, two_)]
        audits = [(await give(house, "http", "audit"))["result"] for house in (one, two_)]
        assert listed[0] == listed[1]
        assert audits[0] == audits[1]
        assert [act["act"] for act in audits[0]["acts"]] == ["block", "disconnect"]


@on_uvloop
async def test_a_command_to_one_server_names_it_and_is_given_there() -> None:
    async with two() as (one, _):
        answer = await give(one, "http", "drain", "admin")
        assert answer["details"]["field"] == "node"
        assert answer["details"]["allowed"] == ["one", "two"]
        answer = await give(one, "http", "drain", "admin", node="two")
        assert "give the command there" in answer["details"]["issue"]
        assert (await give(one, "http", "drain", "admin", node="one", undo=True))["status"] == 200


@pytest.mark.parametrize(
    "word",
    [
        b'{"kind":"question"}',
        b'{"kind":"order","id":"1","node":"x","body":{}}',
        b'{"kind":"answer","id":"nobody asked","node":"x","body":{}}',
        b'{"kind":"question","id":"1","node":"x","body":"' + b"x" * 20_000 + b'"}',
        b'{"kind":"' + b"x" * 2**20,
        b'{"kind":"\xff',
    ],
)
@on_uvloop
async def test_what_is_malformed_or_too_long_is_passed_over(word: bytes) -> None:
    said: list[bytes] = []

    async def say(body: bytes) -> None:
        said.append(body)

    async def answer(question: bytes) -> bytes:
        return b"{}"

    questions = Questions("me", say)
    questions.answer = answer
    assert questions.hear(word)
    await asyncio.sleep(0)
    assert not said
    assert not questions.hear(b'{"id":"0123456789abcdef"}')


@on_uvloop
async def test_only_so_many_questions_are_answered_at_once() -> None:
    said: list[Json] = []

    async def say(body: bytes) -> None:
        said.append({})

    async def answer(question: bytes) -> bytes:
        await released.wait()
        return b"{}"

    released, questions = asyncio.Event(), Questions("me", say)
    questions.answer = answer
    for number in range(50):
        questions.hear(msgspec.json.encode(Question(str(number), "other", msgspec.Raw(b"{}"))))
    released.set()
    await until(lambda: len(said) == 8, "those under way are answered")
    questions.close()
