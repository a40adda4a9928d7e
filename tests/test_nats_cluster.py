"""Three brokers and several servers, of which some are killed under load.

Publishers publish with ids of their own at any server, and again at another where there was no
acknowledgement; subscribers resume at another server where theirs has died. All that was
acknowledged must be at every server, once, with the same seq, in the same order.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import nats
import pytest
import uvloop

from bench.brokers import Brokers
from livelog import Config, Server
from livelog.engine.nats import settings
from livelog.errors import RefusedError
from livelog.log.log import Log
from tests.support.brokers import brokers
from tests.support.inside import Inside
from tests.support.process import Start, port_of, ready
from tests.support.wire import Client, Http, eventually, until, user

PUBLISHERS = 4
MESSAGES = 150
"""Of each publisher."""

Place = tuple[int, str]
"""Seq and id of a message."""

GONE = (AssertionError, OSError, TimeoutError)
"""What a client meets whose server has died."""


class Cluster:
    """The servers, and where they are."""

    def __init__(self, start: Start, folder: Path, url: str) -> None:
        self._start = start
        self._folder = folder
        self._url = url
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._ports: dict[int, int] = {}

    async def run(self, number: int) -> None:
        """Start a server, and wait until it is ready."""
        store = str(self._folder / f"node{number}.db")
        options = ["--port", "0", "--store", store, "--engine", self._url, "--no-limits"]
        process = self._processes[number] = self._start(*options)
        self._ports[number] = port_of(await asyncio.to_thread(ready, process))

    def kill(self, number: int) -> None:
        """Kill a server."""
        self._processes[number].send_signal(signal.SIGKILL)
        self._processes[number].wait()

    def address(self, number: int) -> tuple[str, int]:
        """Where a server is, or was last."""
        return "127.0.0.1", self._ports[number % len(self._ports)]

    async def history(self, number: int) -> list[Place]:
        """All that a server has: seqs and ids, newest first."""
        found: list[Place] = []
        http = await Http.connect(self.address(number))
        with closing(http):
            while True:
                page = await http.ask("GET", f"/api/history?limit=1000&offset={len(found)}")
                messages = page.json["messages"]
                if not messages:
                    return found
                found += [(message["seq"], message["id"]) for message in messages]


async def publisher(cluster: Cluster, name: str, acknowledged: dict[str, int]) -> None:
    """Publish one message after another, each until it is acknowledged, at any server."""
    dice = random.Random(name)
    for number in range(MESSAGES):
        id = f"{name}{number}"
        while id not in acknowledged:
            await asyncio.sleep(0.01)
            with suppress(*GONE):
                http = await Http.connect(cluster.address(dice.randrange(3)))
                with closing(http):
                    body = json.dumps(user(f"{name} {number}", id=id))
                    answer = await http.ask("POST", "/api/messages", body)
                    if answer.status == 201:
                        acknowledged[id] = answer.json["messages"][0]["seq"]


async def subscriber(cluster: Cluster, at: int, total: int) -> list[Place]:
    """Follow the log until it has all; resume at the next server when one dies."""
    found: list[Place] = []
    while len(found) < total:
        with suppress(*GONE):
            client = await Client.connect(cluster.address(at))
            with closing(client):
                since = found[-1][0] if found else 0
                await client.open(f"?message_types=user&since={since}")
                while len(found) < total:
                    event = await client.event()
                    if "content" in event:
                        found.append((event["seq"], event["id"]))
        at += 1
        await asyncio.sleep(0.1)
    return found


async def leader(broker: Brokers, name: str) -> int:
    """The number of the broker that leads the stream."""
    client = await nats.connect([f"nats://{server}" for server in broker.servers])
    try:
        while True:
            subject = f"$JS.API.STREAM.INFO.{settings.stream_of(name)}"
            answer = await client.request(subject, timeout=5)
            found = json.loads(answer.data).get("cluster", {}).get("leader")
            if found:
                return int(found[1:])
            await asyncio.sleep(0.1)
    finally:
        await client.close()


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_doubled_when_servers_and_brokers_die(
    start: Start, tmp_path: Path
) -> None:
    with brokers(tmp_path, 3) as broker:
        uvloop.run(_live_through_it(start, tmp_path, broker))


async def _live_through_it(start: Start, folder: Path, broker: Brokers) -> None:
    cluster = Cluster(start, folder, broker.url("prod"))
    async with asyncio.timeout(180):
        await asyncio.gather(*(cluster.run(number) for number in range(3)))
        acknowledged: dict[str, int] = {}
        total = PUBLISHERS * MESSAGES
        followers = [asyncio.create_task(subscriber(cluster, at, total)) for at in range(3)]
        publishing = asyncio.gather(
            *(publisher(cluster, name, acknowledged) for name in "pqrs"[:PUBLISHERS])
        )
        await until(lambda: len(acknowledged) > total / 5, "a fifth")
        dead = await leader(broker, "prod")
        broker.kill(dead)
        await until(lambda: len(acknowledged) > 2 * total / 5, "two fifths without the leader")
        cluster.kill(1)
        await until(lambda: len(acknowledged) > 3 * total / 5, "three fifths without a server")
        await asyncio.to_thread(broker.start, dead)
        await cluster.run(1)
        await publishing
        every = await asyncio.gather(*followers)
        assert len(acknowledged) == total
        for found in every:
            assert found == sorted((seq, id) for id, seq in acknowledged.items())
        for number in range(3):
            ask = partial(cluster.history, number)
            assert await eventually(ask, lambda found: len(found) >= total) == every[0][::-1]


def _has_come_to(log: Log, seq: int) -> bool:
    return log.head >= seq


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_all_brokers_lose_their_power(tmp_path: Path) -> None:
    with brokers(tmp_path, 3) as broker:
        uvloop.run(_live_without_brokers(broker))


async def _live_without_brokers(broker: Brokers) -> None:
    config = Config(port=0, store="memory", engine=broker.url("prod"))
    async with asyncio.timeout(120), Server(config) as one, Server(config) as other:
        acknowledged: dict[str, int] = {}

        async def publish(server: Server, name: str) -> None:
            for number in range(MESSAGES):
                id = f"{name}{number}"
                while id not in acknowledged:
                    with suppress(RefusedError):  # not acknowledged: again with the same id
                        acknowledged[id] = (await server.publish(user(id=id))).seq
                await asyncio.sleep(0.01)

        publishing = asyncio.gather(publish(one, "p"), publish(other, "q"))
        await until(lambda: len(acknowledged) > MESSAGES / 2, "a quarter")
        broker.kill(0, 1, 2)
        assert len((await one.history(limit=10)).messages) == 10
        await asyncio.to_thread(broker.start, 0, 1, 2)
        await publishing
        places = sorted((seq, id) for id, seq in acknowledged.items())
        async with Server(config) as fresh:
            for server in (one, other, fresh):
                log = Inside(server).context.log
                await until(partial(_has_come_to, log, places[-1][0]), "the newest message")
                found = (await server.history(limit=1000)).messages
                assert [(message.seq, message.id) for message in reversed(found)] == places


@pytest.mark.slow
def test_a_batch_on_which_the_brokers_have_yet_to_agree_is_not_refused(tmp_path: Path) -> None:
    """The leader is left alone with it: sent again, it is "in process"; then it is placed, once."""
    with brokers(tmp_path, 3) as broker:
        uvloop.run(_wait_for_agreement(broker))


async def _wait_for_agreement(broker: Brokers) -> None:
    config = Config(port=0, store="memory", engine=broker.url("prod"))
    async with asyncio.timeout(120), Server(config) as server:
        await server.ready()
        first = await server.publish(user(id="a"))
        leading = await leader(broker, "prod")
        others = [number for number in range(3) if number != leading]
        broker.kill(*others)
        publishing = asyncio.create_task(server.publish(user(id="b")))
        await asyncio.wait([publishing], timeout=3)
        assert not publishing.done()
        await asyncio.to_thread(broker.start, *others)
        second = None
        while second is None:
            with suppress(RefusedError):  # not acknowledged: again with the same id
                second = await publishing
            publishing = asyncio.create_task(server.publish(user(id="b")))
        assert await publishing == second
        found = (await server.history(limit=10)).messages
        assert [(each.seq, each.id) for each in found] == [(second.seq, "b"), (first.seq, "a")]
