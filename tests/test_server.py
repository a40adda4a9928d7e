"""The whole server, from end to end, with clients that other people wrote."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sqlite3
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from livelog import Config, ConfigError, NotRunningError, Receipt, RefusedError, Server
from livelog.engine.base import Engine, MakeEngine, Sink
from livelog.engine.local import LocalEngine
from livelog.wire.messages import UserMessage
from tests.support.wire import (
    PATIENCE,
    SAMPLES,
    TYPES,
    Json,
    no_faults,
    on_each_loop,
    on_uvloop,
    serving,
    soon,
    user,
)

# Embedding.


@on_each_loop
async def test_a_program_can_embed_the_server() -> None:
    async with Server(Config(port=0, store="memory")) as server:
        receipt = await server.publish(user("from a dict", id="m1"))
        assert receipt == Receipt("m1", receipt.seq)
        await server.publish(json.dumps(user("from JSON")).encode())
        server.publish_nowait(UserMessage(user_id="u", username="n", content="from a struct"))
        async with connect(f"{server.url}?message_types=user&since=0") as client:
            got = [json.loads(await client.recv()) for _ in range(5)]
    assert [event["action"] for event in got[:2]] == ["connected", "subscribed"]
    assert [event["content"] for event in got[2:]] == ["from a dict", "from JSON", "from a struct"]


@on_each_loop
async def test_who_resumes_from_a_process_that_is_gone_is_told_the_gap() -> None:
    async with Server(Config(port=0, store="memory")) as server:
        before = (await server.publish(user("lost with its process"))).seq
    async with Server(Config(port=0, store="memory")) as server:
        async with connect(f"{server.url}?message_types=user&since={before}") as client:
            kept = (await server.publish(user("kept"))).seq
            got = [json.loads(await client.recv()) for _ in range(4)]
        async with connect(f"{server.url}?message_types=user&since=0") as client:
            fresh = [json.loads(await client.recv()) for _ in range(3)]
    assert [event.get("action") for event in got] == ["connected", "subscribed", "gap", None]
    assert got[2]["from"] == before < got[2]["to"] < kept == got[3]["seq"]
    assert [event.get("action") for event in fresh] == ["connected", "subscribed", None]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"type": "user"}, "user_id"),
        ({}, "type"),
        (b"{", ""),
        (b"\xff", ""),
        (user(metadata={"x": object()}), ""),
        (UserMessage(user_id=5, username="n", content="c"), "user_id"),  # type: ignore[arg-type]  # on purpose
    ],
)
@on_uvloop
async def test_a_wrong_message_raises_refused(message: Any, field: str) -> None:
    async with Server(Config(port=0, store="memory")) as server:
        with pytest.raises(RefusedError) as refused:
            server.publish_nowait(message)
        assert refused.value.field == field
        with pytest.raises(RefusedError) as refused:
            await server.publish(message)
        assert refused.value.field == field


@on_uvloop
async def test_publishing_waits_for_the_disk(tmp_path: Path) -> None:
    store = str(tmp_path / "live.db")
    async with Server(Config(port=0, store=store)) as server:
        receipt = await server.publish(user("safe"))
        with sqlite3.connect(store) as file:
            assert file.execute("SELECT id, seq FROM message").fetchall() == [receipt]
        file.close()
        with pytest.raises(RefusedError):
            await server.publish({"type": "user"})


@pytest.mark.parametrize("wrong", [{"port": 70_000}, {"port": "80"}, {"message_limit": 0}])
def test_a_configuration_that_cannot_be_is_refused(wrong: Json) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong)).replace("_", "-")):
        Server(Config(**wrong))


@on_each_loop
async def test_a_server_can_be_started_again_on_the_port_it_had() -> None:
    async with Server(Config(port=0, store="memory")) as server:
        port = server.port
        async with connect(server.url):
            pass
    async with Server(Config(port=port, store="memory")) as server, connect(server.url) as client:
        assert json.loads(await client.recv())["action"] == "connected"


@on_each_loop
async def test_two_servers_live_side_by_side() -> None:
    async with (
        Server(Config(port=0, store="memory")) as one,
        Server(Config(port=0, store="memory")) as other,
        connect(f"{one.url}?message_types=user") as client,
    ):
        await client.recv()
        await client.recv()
        other.publish_nowait(user("elsewhere"))
        one.publish_nowait(user("here"))
        assert json.loads(await client.recv())["content"] == "here"


@on_uvloop
async def test_an_address_in_use_is_an_error_of_the_system() -> None:
    async with Server(Config(port=0, store="memory")) as server:
        with pytest.raises(OSError, match="in use"):
            await Server(Config(port=server.port, store="memory")).start()


class Fickle(LocalEngine):
    """An engine whose first start fails."""

    starts = itertools.count()

    def start(self, sink: Sink) -> None:
        """Fail, once."""
        if not next(self.starts):
            raise RuntimeError("no broker")
        super().start(sink)


def fickle() -> Callable[[Callable[[], float]], Engine]:
    """A factory of engines that fails once."""
    calls = itertools.count()

    def make(clock: Callable[[], float]) -> Engine:
        if not next(calls):
            raise RuntimeError("no broker")
        return LocalEngine(clock)

    return make


@pytest.mark.parametrize("engine", [Fickle, fickle()], ids=["start", "factory"])
@on_uvloop
async def test_an_engine_that_fails_leaves_the_store_to_the_next_start(
    engine: MakeEngine, tmp_path: Path
) -> None:
    config = Config(port=0, store=str(tmp_path / "live.db"))
    threads = threading.active_count()
    server = Server(config, engine=engine)
    with pytest.raises(RuntimeError, match="no broker"):
        await server.start()
    assert threading.active_count() <= threads + 1  # that of `asyncio.to_thread` stays
    async with server:
        await server.publish(user())
    async with Server(config) as other:
        assert (await other.history()).total == 1


# The end.


@on_each_loop
async def test_every_call_of_close_returns_when_the_server_has_stopped(tmp_path: Path) -> None:
    config = Config(port=0, store=str(tmp_path / "live.db"))
    with no_faults():
        server = Server(config)
        await server.start()
        first = asyncio.create_task(server.close())
        await asyncio.sleep(0)
        await soon(server.close())
        async with Server(config):  # the store has been given back
            pass
        await soon(first)
        await server.close()


@on_each_loop
async def test_a_cancelled_close_goes_on_and_can_be_waited_for(tmp_path: Path) -> None:
    config = Config(port=0, store=str(tmp_path / "live.db"), close_timeout=1)
    with no_faults():
        server = Server(config)
        await server.start()
        async with connect(server.url) as client:
            client.transport.pause_reading()  # no close handshake
            end = asyncio.create_task(server.close())
            await asyncio.sleep(0.05)
            end.cancel()
            with pytest.raises(asyncio.CancelledError):
                await end
            with pytest.raises(ConfigError):
                await Server(config).start()
            await soon(server.close())
            client.transport.abort()
        async with Server(config):
            pass


@on_each_loop
async def test_a_close_that_its_loop_cancels_gives_the_store_back(tmp_path: Path) -> None:
    """As `asyncio.run` does to all tasks when the main one has ended."""
    config = Config(port=0, store=str(tmp_path / "live.db"))
    server = Server(config)
    await server.start()
    async with connect(server.url) as client:
        client.transport.pause_reading()
        end = asyncio.create_task(server.close())
        await asyncio.sleep(0.05)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        [closing] = [task for task in others if "Server._close" in repr(task.get_coro())]
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(end)
        client.transport.abort()
    async with Server(config):
        pass


@pytest.mark.parametrize("fails", [False, True])
@on_uvloop
async def test_a_close_during_the_start_waits_for_it(fails: bool, tmp_path: Path) -> None:
    config = Config(port=0, store=str(tmp_path / "live.db"))
    async with Server(Config(port=0, store="memory")) as other:
        taken = Config(port=other.port, store=str(tmp_path / "live.db"))
        server = Server(taken if fails else config)
        start = asyncio.create_task(server.start())
        await asyncio.sleep(0)
        assert not start.done()
        await soon(server.close())
        assert start.done()
        assert isinstance(start.exception(), OSError if fails else type(None))
        with pytest.raises(NotRunningError, match="`start`" if fails else "closed"):
            await server.publish(user())
    async with Server(config):
        pass


@on_uvloop
async def test_the_clock_can_be_given() -> None:
    with no_faults():
        async with Server(Config(port=0, store="memory"), clock=lambda: 1_764_763_200.5) as server:
            first, second = [(await server.publish(user())).seq for _ in range(2)]
            assert (first, second) == (1_764_763_200_500_000, 1_764_763_200_500_001)
            async with connect(f"{server.url}?message_types=user&since=0") as client:
                events = [json.loads(await client.recv()) for _ in range(3)]
            assert events[2]["timestamp"] == "2025-12-03T12:00:00.500Z"


@on_uvloop
async def test_it_listens_on_ipv6() -> None:
    try:
        server = Server(Config(host="::1", port=0, store="memory"))
        await server.start()
    except OSError:
        pytest.skip("there is no IPv6 here")
    async with connect(server.url) as client:
        assert server.url.startswith("ws://[::1]:")
        assert json.loads(await client.recv())["action"] == "connected"
    await server.close()


# The client library's view of an end.


@on_each_loop
async def test_a_client_library_sees_a_clean_end_when_the_server_stops() -> None:
    async with serving() as house:
        client = await connect(house.server.url)
        await client.recv()
        closing = asyncio.create_task(house.server.close())
        assert json.loads(await client.recv())["reason"] == "normal_closure"
        with pytest.raises(ConnectionClosedOK):
            await client.recv()
        assert client.close_code == 1001
        await soon(closing)
        await client.close()


@on_each_loop
async def test_a_client_library_sees_why_it_was_disconnected() -> None:
    async with serving(max_frame_bytes=1024) as house:
        client = await connect(house.server.url)
        await client.recv()
        await client.send("x" * 5000)
        assert json.loads(await client.recv())["error_code"] == 1009
        assert json.loads(await client.recv())["reason"] == "protocol_error"
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert client.close_code == 1009
        await client.close()


# Many clients, three doors.

SUBSCRIPTIONS: list[tuple[list[str], Json]] = [
    (TYPES, {}),
    (["user"], {}),
    (["user", "raid"], {}),
    (["dm", "party", "guild"], {}),
    (["user"], {"channel": "general"}),
    (["user", "dm"], {"text": "sparrow"}),
    (["system"], {"severity": "error"}),
    (TYPES, {"user_id": "user_12345"}),
]


def wants(types: list[str], filters: Json, message: Json) -> bool:
    """The meaning of a subscription, said once more and plainly."""
    if message["type"] not in types:
        return False
    holds = {
        "channel": message.get("metadata", {}).get("channel") == filters.get("channel"),
        "text": filters.get("text", "") in message.get("content", ""),
        "severity": message.get("severity") == filters.get("severity"),
        "user_id": f'"{filters.get("user_id")}"' in json.dumps(message),
    }
    return all(holds[name] for name in filters)


def messages(door: str, count: int, dice: random.Random) -> list[Json]:
    """A mix of all types."""
    made = []
    for number in range(count):
        message = {**dice.choice(SAMPLES), "id": f"{door}{number}"}
        if message["type"] == "user":
            message["metadata"] = {"channel": dice.choice(["general", "trade"])}
            message["user_id"] = dice.choice(["user_12345", "user_1"])
        if message["type"] in ("user", "dm"):
            message["content"] = dice.choice(["a sparrow", "a cat"])
        if message["type"] == "system":
            message["severity"] = dice.choice(["info", "error"])
        made.append(message)
    return made


@on_each_loop
async def test_fifty_clients_end_with_exactly_what_they_asked_for_in_order() -> None:
    dice = random.Random(20251203)
    by_door = {door: messages(door, 300, dice) for door in ("socket", "http", "inside")}
    async with serving(limits=False) as house:
        clients = [await connect(house.server.url, max_queue=None) for _ in range(50)]
        for number, client in enumerate(clients):
            types, filters = SUBSCRIPTIONS[number % len(SUBSCRIPTIONS)]
            await client.recv()
            await _ask(client, "subscribe", message_types=types, filters=filters)
        await asyncio.gather(
            _publish_by_socket(house.server, by_door["socket"]),
            asyncio.to_thread(_publish_by_http, house.server, by_door["http"]),
            _publish_inside(house.server, by_door["inside"]),
        )
        published = await _history(clients[0])
        assert {message["id"] for message in published} == {
            message["id"] for made in by_door.values() for message in made
        }
        for number, client in enumerate(clients):
            types, filters = SUBSCRIPTIONS[number % len(SUBSCRIPTIONS)]
            expected = [message for message in published if wants(types, filters, message)]
            assert expected
            assert await _everything(client) == (expected if number else [])
        await asyncio.gather(*(client.close() for client in clients))
        await house.emptied()


async def _ask(client: ClientConnection, action: str, **fields: Any) -> Json:
    await client.send(json.dumps({"action": action, **fields}))
    answer: Json = json.loads(await soon(client.recv()))
    return answer


async def _history(client: ClientConnection) -> list[Json]:
    """The whole log in order, asked for by a client that drops what it was sent before."""
    await client.send(json.dumps({"action": "get_history", "limit": 1000}))
    while (event := json.loads(await soon(client.recv()))).get("action") != "history":
        pass
    found: list[Json] = event["messages"][::-1]
    assert event["total_count"] == len(found)
    return found


async def _everything(client: ClientConnection) -> list[Json]:
    await client.send('{"action": "ping"}')
    got = []
    while (event := json.loads(await soon(client.recv()))).get("action") != "pong":
        got.append(event)
    return got


async def _publish_by_socket(server: Server, batch: list[Json]) -> None:
    async with connect(server.url) as client:
        await client.recv()
        for message in batch:
            answer = await _ask(client, "publish", message=message)
            assert answer["id"] == message["id"]


def _publish_by_http(server: Server, batch: list[Json]) -> None:
    url = f"http://127.0.0.1:{server.port}/api/messages"
    for start in range(0, len(batch), 30):
        lines = "\n".join(map(json.dumps, batch[start : start + 30])).encode()
        request = urllib.request.Request(url, lines, {"Content-Type": "application/x-ndjson"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert answer.status == 201


async def _publish_inside(server: Server, batch: list[Json]) -> None:
    for message in batch:
        server.publish_nowait(message)
        await asyncio.sleep(0)


@on_each_loop
async def test_many_clients_that_come_and_go_leave_nothing_behind() -> None:
    dice = random.Random(1)
    async with serving() as house:

        async def come_and_go() -> None:
            for _ in range(5):
                client = await connect(f"{house.server.url}?message_types={dice.choice(TYPES)}")
                for _ in range(dice.randrange(4)):
                    await soon(client.recv())
                if dice.random() < 0.5:
                    client.transport.abort()
                await client.close()

        async def publish() -> None:
            while True:
                house.append({**dice.choice(SAMPLES), "id": str(dice.random())})
                await asyncio.sleep(0.002)

        publishing = asyncio.create_task(publish())
        await asyncio.gather(*(come_and_go() for _ in range(30)))
        publishing.cancel()
        await house.emptied()
