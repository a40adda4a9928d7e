"""The cluster that is tortured: three brokers, three nodes, and the ways between them."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from bench.brokers import Brokers, Direct, asked
from bench.cuts import Cuts
from bench.namespaces import Namespaces
from bench.torture.nodes import Node
from bench.torture.promises import SETTLE_SECONDS, demand

STREAM = "LIVELOG_torture"
NODES = 3


class Cluster:
    """Brokers and nodes, in an empty folder; `cuts` are the ways between them."""

    def __init__(self, folder: Path, cuts: Cuts | Namespaces) -> None:
        self.folder = folder
        self.cuts = cuts
        self.broker: Brokers
        self.nodes: list[Node] = []

    async def start(self) -> None:
        """Start everything, and wait until it is ready."""
        self.broker = await asyncio.to_thread(Brokers, self.folder, ways=self.cuts)
        self.nodes += [self._node(number) for number in range(NODES)]
        await self.cuts.open()
        await asyncio.gather(*(node.start() for node in self.nodes))

    async def another(self) -> Node:
        """Start one node more, without an archive."""
        node = Node(len(self.nodes), self.folder, self.broker.url("torture"), Direct())
        self.nodes.append(node)
        await node.start()
        return node

    def _node(self, number: int) -> Node:
        url = self.broker.url("torture", source=f"node{number}")
        return Node(number, self.folder, url, self.cuts)

    async def close(self) -> None:
        for node in self.nodes:
            node.send(signal.SIGCONT)
            node.kill()
        self.broker.close()
        await self.cuts.close()

    async def in_step(self) -> None:
        """Wait until every broker has what the leader has."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            answer = await asked(self.broker.urls, f"$JS.API.STREAM.INFO.{STREAM}")
            replicas = (answer.get("cluster") or {}).get("replicas") or []
            if len(replicas) == 2 and all(r["current"] and r.get("lag", 0) < 100 for r in replicas):
                return
            demand(time.monotonic() < deadline, f"the brokers do not come into step: {answer}")
            await asyncio.sleep(0.2)
