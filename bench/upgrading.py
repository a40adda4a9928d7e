"""An upgrade of a log's nodes and brokers, one after the other, while clients publish and follow.

A node is ended by SIGTERM and a broker by its lame duck mode, as an operator does, and started
again; the next one waits until all is level. The clients are livelog's own, and know all nodes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.brokers import HOST, Brokers, asked, brokers, free_ports
from bench.report import Figures
from bench.server import CORES, started
from livelog import Gap, RefusedError, connect

COUNT = 3
WRONG = "missing", "surplus", "out of order", "gaps"
STREAM = "LIVELOG_bench"
LAME_DUCK = "lame_duck_grace_period: 1s\nlame_duck_duration: 30s"
PUBLISHERS = 4
PAUSE_SECONDS = 0.01
STEADY_SECONDS = 2.0
"""Seconds before and after each step."""
PATIENCE = 60.0


class Node:
    """A node on a port that stays."""

    def __init__(self, number: int, folder: Path, broker: Brokers, port: int) -> None:
        store = str(folder / f"node{number}.db")
        engine = broker.url("bench")
        self._options = "--port", str(port), "--store", store, "--engine", engine
        self._running = ExitStack()
        self.url = f"ws://{HOST}:{port}/ws/live-log"

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        server = started("livelog", *self._options, cores=CORES, patience=PATIENCE)
        self._running.enter_context(server)

    def end(self) -> None:
        """End it by SIGTERM, and wait."""
        self._running.close()

    def replace(self) -> None:
        """End it, and start it again."""
        self.end()
        self.start()


class Load:
    """Publishers and followers; each follower begins at a node of its own."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self.acknowledged: dict[str, int] = {}
        self.followed: list[list[int]] = [[] for _ in urls]
        self.gaps = 0
        self.longest = 0.0
        """The longest time without a message at any follower, in seconds, since it was set to 0."""
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = False

    def start(self) -> None:
        publishing = [self._publish(f"p{number}") for number in range(PUBLISHERS)]
        following = [self._follow(number) for number in range(len(self._urls))]
        self._tasks = [asyncio.create_task(main) for main in (*publishing, *following)]

    async def _publish(self, name: str) -> None:
        async with connect(self._urls) as client:
            number = 0
            while not self._ended:
                number += 1
                id = f"{name}-{number}"
                said = {"type": "user", "user_id": name, "username": name, "content": "x" * 200}
                while id not in self.acknowledged:
                    with suppress(RefusedError):
                        self.acknowledged[id] = (await client.publish({**said, "id": id})).seq
                await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self, at: int) -> None:
        last = time.monotonic()
        async with connect([*self._urls[at:], *self._urls[:at]]) as client:
            async for item in client.subscribe("user", since=0):
                now = time.monotonic()
                self.longest, last = max(self.longest, now - last), now
                if isinstance(item, Gap):
                    self.gaps += 1
                else:
                    self.followed[at].append(item.seq)

    async def end(self) -> None:
        """Publish no more, and wait until all has been followed."""
        self._ended = True
        await asyncio.wait(self._tasks[:PUBLISHERS])
        last = max(self.acknowledged.values())
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                # Until then, nothing tells of it.
                while not all(seqs[-1:] >= [last] for seqs in self.followed):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        for task in self._tasks:
            task.cancel()

    def figures(self) -> Figures:
        """Return what was missed, doubled or swapped at any follower."""
        wanted = set(self.acknowledged.values())
        return {
            "messages": float(len(wanted)),
            "missing": float(max(len(wanted - set(seqs)) for seqs in self.followed)),
            "surplus": float(max(len(seqs) - len(set(seqs)) for seqs in self.followed)),
            "out of order": float(sum(seqs != sorted(seqs) for seqs in self.followed)),
            "gaps": float(self.gaps),
        }


@contextmanager
def cluster() -> Iterator[tuple[Brokers, list[Node]]]:
    """Start three brokers and as many nodes."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "brokers").mkdir()
        broker = stack.enter_context(brokers(folder / "brokers", more=LAME_DUCK))
        ports = enumerate(free_ports(COUNT))
        nodes = [Node(number, folder, broker, port) for number, port in ports]
        for node in nodes:
            stack.callback(node.end)
            node.start()
        yield broker, nodes


async def level(broker: Brokers) -> None:
    """Wait until every broker has what the leader has."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await asked(broker.urls, f"$JS.API.STREAM.INFO.{STREAM}")
            replicas = (answer.get("cluster") or {}).get("replicas") or []
            if len(replicas) == COUNT - 1 and all(each["current"] for each in replicas):
                return
            await asyncio.sleep(0.2)


async def upgrade(broker: Brokers, nodes: Sequence[Node]) -> Figures:
    """Upgrade all, and return the longest pauses of delivery."""
    load = Load([node.url for node in nodes])
    load.start()

    async def step(act: Callable[[], None]) -> float:
        await asyncio.sleep(STEADY_SECONDS)
        await level(broker)
        load.longest = 0.0
        await asyncio.to_thread(act)
        await asyncio.sleep(STEADY_SECONDS)
        return load.longest

    of_nodes = [await step(node.replace) for node in nodes]
    of_brokers = [await step(partial(broker.replace, number)) for number in range(COUNT)]
    await load.end()
    return load.figures() | {
        "longest pause, a node s": max(of_nodes),
        "longest pause, a broker s": max(of_brokers),
    }


def upgraded() -> Figures:
    """Upgrade three nodes and three brokers under load."""
    with cluster() as (broker, nodes):
        return asyncio.run(upgrade(broker, nodes))
