"""A polite end: who is told what and when, what goes on meanwhile, and who comes back with what."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog import Config, NotRunningError, Server, connect
from livelog.cli.serving import _serve
from livelog.cli.workers.worker import HURRY, STOP, Worker
from livelog.net import drain
from livelog.net.drain import Schedule
from livelog.net.http.connection import HttpConnection
from livelog.net.http.state import State
from livelog.net.websocket.connection import Connection
from livelog.wire.messages import UserMessage
from tests.support.inside import Inside
from tests.support.ports import free_port
from tests.support.process import port_of
from tests.support.tls import TlsHttp, make_certificate, secured, trusting
from tests.support.wire import (
    Client,
    House,
    Json,
    no_faults,
    on_uvloop,
    request,
    serving,
    soon,
    until,
    upgrade,
    user,
)


@given(clients=st.integers(1, 3000), at_most=st.floats(0, 100), seed=st.integers())
def test_everybody_is_told_in_time_and_asked_back_at_a_time_of_their_own(
    clients: int, at_most: float, seed: int
) -> None:
    schedule = Schedule(clients, at_most, 3, random.Random(seed))
    assert schedule.seconds <= at_most
    steps = [schedule.seconds * step / 10 for step in range(11)]
    due = [schedule.due(elapsed) for elapsed in steps]
    assert due == sorted(due)
    assert due[-1] == clients
    end = schedule.seconds
    back = sorted(end + schedule.back_in(end) for _ in range(clients))
    assert back[0] >= end
    assert back[-1] <= end + 3 + drain._SUCCESSION + max(end, clients * drain._PER_RETURN)
    assert len(set(back)) == clients


def test_they_come_back_evenly() -> None:
    """No tenth of the time sees more of them than any other, whenever they were told."""
    schedule = Schedule(1000, 10, 3, random.Random(0))
    elapsed = [10 * number / 1000 for number in range(1000)]
    gone = 10 + 3 + drain._SUCCESSION
    back = [told + schedule.back_in(told) - gone for told in elapsed]
    assert [sum(int(at) == second for at in back) for second in range(10)] == [100] * 10


def test_a_few_are_sent_away_at_once() -> None:
    schedule = Schedule(3, 10, 3, random.Random(0))
    assert schedule.seconds <= 0.03
    assert max(schedule.back_in(0) for _ in range(3)) <= 0.1


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few clients are drained as many are: over all of `drain_seconds`."""
    monkeypatch.setattr(drain, "_PER_CLIENT", 3600.0)


@asynccontextmanager
async def ending(house: House) -> AsyncIterator[None]:
    """While the server ends, and is in no hurry."""
    end = asyncio.create_task(house.server.close())
    await until(house.context.ending.is_set, "the end to begin")
    try:
        yield
    finally:
        house.server.hurry()
        await soon(end)


@on_uvloop
async def test_it_says_that_it_is_unready_and_lets_nobody_in(slowly: None) -> None:
    async with serving(drain_seconds=120, close_timeout=0.1) as house:
        live = await house.client("?message_types=user")
        assert (await live.event())["action"] == "subscribed"
        async with ending(house):
            http = await house.http()
            answer = await http.ask("GET", "/healthz")
            assert (answer.status, answer.json["status"]) == (200, "draining")
            answer = await http.ask("GET", "/readyz")
            assert (answer.status, answer.json) == (503, {"status": "draining"})
            late = await house.http()
            await late.send(upgrade())
            refused = await late.answer()
            assert refused.status == 503
            assert "shutting down" in refused.json["details"]["issue"]
            assert refused.headers["retry-after"] == "5"
            published = await live.ask("publish", message=user("still served"))
            assert published["action"] == "published"
            assert (await live.contents(1)) == ["still served"]


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
@on_uvloop
async def test_a_request_that_has_begun_is_answered(secure: bool, tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    async with serving(**(files.settings if secure else {})) as house:
        http = (
            await secured(TlsHttp, house.address, trusting(files)) if secure else await house.http()
        )
        asked = request("POST", "/api/messages", json.dumps(user("half of it was there")))
        await http.send(asked[:-10])
        await until(lambda: any(map(begun, house.inside.connections)), "the head to be read")
        end = asyncio.create_task(house.server.close())
        await until(house.context.ending.is_set, "the end to begin")
        await http.send(asked[-10:])
        assert (await http.answer()).status == 201
        http.close()
        await soon(end)


def begun(peer: Any) -> bool:
    return isinstance(peer, HttpConnection) and peer.state is State.BODY


@on_uvloop
async def test_each_gets_what_is_pending_and_then_a_time_of_its_own_to_come_back() -> None:
    async with serving() as house:
        clients = [await house.client("?message_types=user") for _ in range(20)]
        for client in clients:
            assert (await client.event())["action"] == "subscribed"
        house.publish("the last words")
        end = asyncio.create_task(house.server.close())
        times = set()
        for client in clients:
            assert (await client.event())["content"] == "the last words"
            last = await client.event()
            assert last["reason"] == "normal_closure"
            times.add(last["reconnect_after_ms"])
            assert await client.close_code() == 1001
            client.close()
        assert len(times) > 15
        await soon(end)


@on_uvloop
async def test_they_are_told_one_after_the_other(slowly: None) -> None:
    """And while the first have gone, the last are still served."""
    async with serving(drain_seconds=2) as house:
        clients = [await house.client("?message_types=user") for _ in range(10)]
        end = asyncio.create_task(house.server.close())
        live = [each for each in house.inside.connections if isinstance(each, Connection)]
        await until(lambda: any(each.closing for each in live), "the first to be told")
        staying = [each for each in live if not each.closing]
        assert staying
        house.publish("for those who are still here")
        found = [[item.get("content") async for item in upto_end(each)] for each in clients]
        assert sum("for those who are still here" in each for each in found) == len(staying)
        await soon(end)


async def upto_end(client: Client) -> AsyncIterator[Json]:
    """Return everything up to `disconnected`."""
    while (item := await client.event())[
        "action" if "action" in item else "type"
    ] != "disconnected":
        yield item
    assert await client.close_code() == 1001
    client.close()


@on_uvloop
async def test_a_server_in_a_hurry_waits_for_nobody(slowly: None) -> None:
    async with serving(drain_seconds=120) as house:
        live = await house.client()
        house.server.hurry()
        end = asyncio.create_task(house.server.close())
        assert (await live.closed())[1] == 1001
        live.close()
        await soon(end)


@on_uvloop
async def test_who_publishes_to_a_server_that_has_ended_is_told(tmp_path: Path) -> None:
    async with serving(store=str(tmp_path / "live.db")) as house:
        await house.server.close()
        with pytest.raises(NotRunningError, match="closed"):
            await house.server.publish(user("too late"))


@on_uvloop
async def test_nobody_misses_anything_when_a_server_follows_on_another(
    tmp_path: Path, slowly: None
) -> None:
    """Ten clients over three ends: each gets every message once, in order."""
    config = Config(port=free_port(), store=str(tmp_path / "live.db"), drain_seconds=1)
    url = f"ws://127.0.0.1:{config.net.port}/ws/live-log"
    said: list[str] = []

    async def follow(found: list[str]) -> None:
        async with connect(url) as log:
            async for message in log.subscribe(["user"], since=0):
                assert isinstance(message, UserMessage)
                found.append(message.content)
                if message.content == "the end":
                    return

    async def everybody(server: Server) -> None:
        await until(lambda: len(Inside(server).connections) == len(heard), "everybody to be there")

    async def publish(server: Server, count: int) -> None:
        for _ in range(count):
            said.append(str(len(said)))
            await server.publish(user(said[-1]))
            await asyncio.sleep(0.005)

    heard: list[list[str]] = [[] for _ in range(10)]
    with no_faults():
        server = Server(config)
        await server.start()
        followers = [asyncio.create_task(follow(found)) for found in heard]
        for _ in range(3):
            await publish(server, 20)
            await everybody(server)
            end = asyncio.create_task(server.close())
            await publish(server, 20)  # while it ends
            server.hurry()
            await soon(end)
            server = Server(config)
            await server.start()
        await server.publish(user("the end"))
        await soon(asyncio.gather(*followers))
        await server.close()
    assert heard == [[*said, "the end"]] * 10


@on_uvloop
async def test_a_second_signal_ends_it_at_once(
    slowly: None, capsys: pytest.CaptureFixture[str]
) -> None:
    running = asyncio.create_task(_serve(Config(port=0, store="memory", drain_seconds=120)))
    said = ""
    while "\n" not in said:
        await asyncio.sleep(0.01)
        said += capsys.readouterr().out
    live = await Client.connect(("127.0.0.1", port_of(said.split()[3])))
    await live.open()
    assert (await live.event())["action"] == "connected"
    os.kill(os.getpid(), signal.SIGTERM)
    assert (await live.ask("ping"))["action"] == "pong"  # there is time
    os.kill(os.getpid(), signal.SIGTERM)
    assert (await live.closed())[1] == 1001
    live.close()
    await soon(running)


@on_uvloop
async def test_an_order_to_a_worker_beside_a_signal_is_no_second_one(slowly: None) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    with ours, theirs:
        config = Config(port=0, store="memory", drain_seconds=120)
        running = asyncio.create_task(_serve(config, Worker(1, theirs)))
        said = (await soon(loop.sock_recv(ours, 1000))).decode()
        live = await Client.connect(("127.0.0.1", port_of(said.split()[3])))
        await live.open()
        assert (await live.event())["action"] == "connected"
        ours.send(STOP)
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            for _ in range(5):
                assert (await live.ask("ping"))["action"] == "pong"  # there is time
        finally:
            ours.send(HURRY)
        assert (await live.closed())[1] == 1001
        live.close()
        await soon(running)
