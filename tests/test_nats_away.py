"""Servers whose brokers are away at the start: they begin with what they have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from livelog import Config, Server
from livelog.engine.base import MakeEngine
from livelog.engine.nats import herald
from livelog.engine.nats.engine import StreamEngine
from livelog.engine.nats.stream import Entry
from livelog.errors import RefusedError
from livelog.store import sqlite
from livelog.store.check import Check
from livelog.store.reader.client import ReaderClient
from tests.support.brokers import brokers
from tests.support.inside import Inside
from tests.support.process import Start, ended, ready
from tests.support.sharedstream import SPAN, SharedStream, View
from tests.support.wire import House, eventually, on_uvloop, serving, soon, until, user
from tests.test_nats_cases import health

STARTS = "starting without brokers: the broker does not answer"


def on(shared: SharedStream, view: View | None = None) -> MakeEngine:
    """The engine of one more node of a stream."""
    seen = view or shared.view()
    return lambda clock: StreamEngine(seen, patience=1.0, silence=0.02)


async def ids(house: House) -> list[object]:
    return [message.id for message in (await house.server.history(limit=100)).messages]


async def is_ready(house: House) -> bool:
    http = await house.http()
    return (await http.ask("GET", "/readyz")).status == 200


async def published(house: House, id: str) -> int:
    """Publish until it is acknowledged; the seq."""
    while True:
        try:
            return (await house.server.publish(user(id=id))).seq
        except RefusedError:
            await asyncio.sleep(0.01)


@on_uvloop
async def test_what_is_here_is_served_and_the_rest_comes_when_the_brokers_do(
    tmp_path: Path,
) -> None:
    shared, store = SharedStream(), str(tmp_path / "node.db")
    async with serving(engine=on(shared), store=store) as house:
        first, second = await published(house, "a"), await published(house, "b")
    async with serving(engine=on(shared), faults=[STARTS]) as other:
        await published(other, "c")
        shared.away = True
        async with serving(engine=on(shared), store=store, faults=[STARTS]) as house:
            http = await house.http()
            answer = await http.ask("GET", "/readyz")
            assert (answer.status, answer.json["status"]) == (503, "not-ready")
            assert answer.json["issue"] == "the broker is away: the broker does not answer"
            health = (await http.ask("GET", "/healthz")).json
            assert (health["status"], health["lag"] >= 0) == ("read-only", True)
            assert "the broker is away" in health["issue"]
            refused = await http.ask("POST", "/api/messages", json.dumps(user(id="x")))
            assert (refused.status, refused.json["error_code"]) == (503, 1011)
            assert "the broker is away" in refused.json["details"]["issue"]
            assert await ids(house) == ["b", "a"]
            found = await http.ask("GET", "/api/search?query=hello")
            assert [message["id"] for message in found.json["results"]] == ["b", "a"]
            client = await house.client(f"?message_types=user&since={first}")
            assert (await client.event())["action"] == "subscribed"
            assert (await client.event())["seq"] == second
            shared.away = False
            await soon(house.server.ready())
            assert (await client.event())["id"] == "c"
            assert await published(house, "d") > second
            await eventually(lambda: is_ready(house), bool)
            assert (await http.ask("GET", "/healthz")).json["status"] == "ok"
            assert await ids(house) == ["d", "c", "b", "a"]


@pytest.mark.parametrize("store", ["memory", "node.db"])
@on_uvloop
async def test_a_server_that_has_nothing_yet_begins_when_the_brokers_come(
    store: str, tmp_path: Path
) -> None:
    shared = SharedStream()
    path = store if store == "memory" else str(tmp_path / store)
    async with serving(engine=on(shared), faults=[STARTS]) as other:
        for id in "abc":
            await published(other, id)
        shared.now += SPAN
        seq = await published(other, "d")
        shared.expire(3)
        shared.away = True
        async with serving(engine=on(shared), store=path, faults=[STARTS]) as house:
            assert await ids(house) == []
            shared.away = False
            await soon(house.server.ready())
            places = (await house.server.history(limit=9)).messages
            assert places[0].seq == seq
            client = await house.client(f"?message_types=user&since={shared.base + 1}")
            assert (await client.event())["action"] == "subscribed"
            assert (await client.event())["action"] == "gap"
            kept = [message.id for message in places]
            await published(house, "e")
    async with serving(engine=on(shared), store=path) as house:
        await until(lambda: house.context.log.head > seq, "the rest")
        if store != "memory":
            assert await ids(house) == ["e", *kept]


@on_uvloop
async def test_a_store_of_another_log_stops_by_name_when_the_brokers_come(tmp_path: Path) -> None:
    store = str(tmp_path / "live.db")
    async with serving(store=store) as house:
        house.publish("one")
    shared = SharedStream()
    shared.away = True
    issue = "--store has another log than --engine; use a new file"
    faults = [STARTS, f"this node takes nothing more: {issue}"]
    async with serving(engine=on(shared), store=store, faults=faults) as house:
        shared.away = False
        await until(lambda: house.server.unready == issue, "the end")
        assert len(await ids(house)) == 1
        http = await house.http()
        answer = await http.ask("GET", "/readyz")
        assert (answer.status, answer.json["issue"]) == (503, issue)
        health = (await http.ask("GET", "/healthz")).json
        assert (health["status"], health["issue"]) == ("read-only", issue)


@on_uvloop
async def test_a_server_that_was_away_too_long_says_that_it_has_to_be_started_again(
    tmp_path: Path,
) -> None:
    shared, store = SharedStream(), str(tmp_path / "node.db")
    async with serving(engine=on(shared), store=store) as house:
        await published(house, "a")
    async with serving(engine=on(shared)) as other:
        for id in "bcd":
            await published(other, id)
    shared.expire(4)
    shared.away = True
    faults = [STARTS, "this node takes nothing more: the stream no longer has what comes next"]
    async with serving(engine=on(shared), store=store, faults=faults) as house:
        shared.away = False
        await until(lambda: "restart it" in house.server.unready, "the end")
        assert await ids(house) == ["a"]


@on_uvloop
async def test_what_a_server_has_missed_is_a_gap_and_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_DAMAGE_SECONDS", 0.02)
    shared, store = SharedStream(), str(tmp_path / "a.db")
    async with serving(engine=on(shared), store=store) as house:
        first = await published(house, "a")
    async with serving(engine=on(shared)) as other:
        for id in "bcde":
            await published(other, id)
            shared.now += SPAN
    shared.expire(3)
    async with serving(engine=on(shared), store=store) as house:
        client = await house.client()
        await client.tell("subscribe", message_types=["user"], since=first)
        gap = await client.event()
        while gap["action"] != "gap":
            gap = await client.event()
        assert gap["from"] == first
        await published(house, "f")
        assert (await ids(house))[-1] == "a"
        await asyncio.sleep(0.1)  # in which it looks for damage
        assert json.loads(await health(house.server))["status"] == "ok"
    assert list(Check(store, b"").findings()) == []


class Held(View):
    """A view whose reads wait."""

    def __init__(self, shared: SharedStream) -> None:
        super().__init__(shared)
        self.go = asyncio.Event()

    async def read(self, after: int) -> tuple[Sequence[Entry], bool]:
        if after:  # the first of them is read
            await self.go.wait()
        return await super().read(after)


@on_uvloop
async def test_a_long_fill_is_told_and_the_doors_are_open_meanwhile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("livelog.server.server.READY_SECONDS", 0.0)
    monkeypatch.setattr(herald, "_TOLD_EVERY", 0.0)
    monkeypatch.setattr(herald, "_LOOKED_EVERY", 0.01)
    shared = SharedStream()
    async with serving(engine=on(shared)) as other:
        for number in range(14):
            await published(other, f"m{number}")
    view = Held(shared)
    progress = "catching up with the log: 7 messages taken, 50 %"
    async with serving(engine=on(shared, view), faults=["not ready: "]) as house:
        await until(lambda: f"not ready: {progress}" in caplog.text, "half of it")
        assert house.server.unready == progress
        with pytest.raises(RefusedError, match="catching up"):
            await house.server.publish(user())
        assert len(await ids(house)) == 7
        view.go.set()
        await soon(house.server.ready())
        assert len(await ids(house)) == 14
        await published(house, "more")


@on_uvloop
async def test_a_server_is_unready_until_the_newest_messages_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "live.db")
    async with serving(store=store) as house:
        house.publish("one")
    go, ask = asyncio.Event(), ReaderClient.ask

    async def held(*arguments: object, **more: object) -> object:
        await go.wait()
        return await ask(*arguments, **more)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(ReaderClient, "ask", held)
    async with serving(store=store) as house:
        answer = await (await house.http()).ask("GET", "/readyz")
        assert answer.status == 503
        assert answer.json["issue"] == "the newest messages are read from the store"
        go.set()
        filling = Inside(house.server).filling
        assert filling is not None
        await soon(filling)
        assert await is_ready(house)


@on_uvloop
async def test_a_broker_that_starts_after_the_server(tmp_path: Path) -> None:
    with brokers(tmp_path) as broker:
        url = broker.url("prod")
        store = str(tmp_path / "node.db")
        async with Server(Config(port=0, store=store, engine=url)) as server:
            await server.publish(user(id="a"))
        broker.kill(0)
        async with Server(Config(port=0, store=store, engine=url)) as server:
            assert "the broker is away: " in server.unready
            assert [message.id for message in (await server.history()).messages] == ["a"]
            await asyncio.to_thread(broker.start, 0)
            await soon(server.ready())
            assert server.unready == ""
            await server.publish(user(id="b"))


def test_the_command_says_that_it_is_open_and_later_that_it_is_ready(
    start: Start, tmp_path: Path
) -> None:
    with brokers(tmp_path) as broker:
        broker.kill(0)
        process = start("--port", "0", "--engine", broker.url("prod"))
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("livelog open on ws://127.0.0.1:")
        assert "not ready: the broker is away: " in line
        broker.start(0)
        ready(process)
        process.terminate()
        code, _, err = ended(process)
        assert code == 0
        assert "starting without brokers" in err
