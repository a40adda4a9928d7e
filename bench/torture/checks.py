"""The checks: are all nodes alike, and has everybody got what was acknowledged, once?"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from itertools import pairwise

from bench.torture.clients import GONE, Clients
from bench.torture.cluster import Cluster
from bench.torture.nodes import Node
from bench.torture.promises import SETTLE_SECONDS, Place, demand


class Checks:
    """Checks of a cluster after each fault, and at the end."""

    def __init__(self, cluster: Cluster, clients: Clients) -> None:
        self._cluster = cluster
        self._clients = clients
        self._checked = 0
        """Seq up to which all nodes have been found alike."""

    async def check(self, when: str) -> None:
        """Wait until all nodes have what was acknowledged by now, and compare them."""
        told = dict(self._clients.told.acknowledged)
        upto = max(told.values(), default=0)
        every = [await self._come_to(node, upto, when) for node in self._cluster.nodes]
        for node, found in zip(self._cluster.nodes, every, strict=True):
            demand(
                found == every[0], f"after {when} node {node.number} has another log than node 0"
            )
        places = {id: seq for seq, id in every[0]}
        demand(len(places) == len(every[0]), f"after {when} an id is there twice")
        for id, seq in told.items():
            if seq > self._checked:
                demand(
                    places.get(id) == seq, f"after {when} {id} has seq {places.get(id)}, not {seq}"
                )
        self._checked = max(self._checked, upto)

    async def _come_to(self, node: Node, seq: int, when: str) -> list[Place]:
        """Wait until a node has come to a seq; return what it has above the last check."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            with suppress(*GONE):
                found = await self._clients.newest(node, self._checked)
                if seq <= self._checked or (found and found[-1][0] >= seq):
                    return [place for place in found if place[0] <= seq]
            issue = f"after {when} node {node.number} does not come to seq {seq}: {node.said()}"
            demand(time.monotonic() < deadline, issue)
            await asyncio.sleep(0.1)

    async def delivered(self) -> None:
        """Wait until every subscriber has all, and compare that with the acknowledgements."""
        told = self._clients.told.acknowledged
        deadline = time.monotonic() + SETTLE_SECONDS
        for number, got in enumerate(self._clients.got):
            while not got or got[-1][0] < max(told.values()):
                demand(time.monotonic() < deadline, f"subscriber {number} does not get the last")
                await asyncio.sleep(0.1)
            rising = all(one < other for (one, _), (other, _) in pairwise(got))
            demand(rising, f"subscriber {number} has got something twice, or out of order")
            lacks = told.items() - {(id, seq) for seq, id in got}
            demand(
                not lacks, f"subscriber {number} lacks {len(lacks)}, such as {sorted(lacks)[:3]}"
            )
            demand(got == self._clients.got[0], f"subscriber {number} has got what 0 has not")

    async def compare(self) -> int:
        """Stop the nodes and compare their archives, and one more that is made now."""
        await self._cluster.another()
        for node in self._cluster.nodes:
            await node.end()
        every = [node.rows() for node in self._cluster.nodes]
        for node, rows in zip(self._cluster.nodes, every, strict=True):
            demand(rows == every[0], f"the archive of node {node.number} has other rows than 0's")
        found = {id: seq for seq, id, _ in every[0]}
        demand(len(found) == len(every[0]), "an archive has an id twice")
        lacks = self._clients.told.acknowledged.items() - found.items()
        demand(not lacks, f"the archives lack {sorted(lacks)[:3]}, {len(lacks)} in all")
        return len(every[0])
