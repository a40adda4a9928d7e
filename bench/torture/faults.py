"""The faults, by their names. Each ends healed, and need not wait until all is well."""

from __future__ import annotations

import asyncio
import random
import resource
import shutil
import signal

from bench.brokers import leader
from bench.torture.cluster import NODES, STREAM, Cluster

HOUR = 3600
FAULT_SECONDS = (0.5, 4.0)


class Faults:
    """Bad luck of one cluster."""

    def __init__(self, cluster: Cluster, dice: random.Random) -> None:
        self._cluster = cluster
        self._dice = dice

    async def happen(self, names: list[str]) -> None:
        """Let faults happen at once."""
        await asyncio.gather(*(getattr(self, name)() for name in names))

    async def _while(self) -> None:
        await asyncio.sleep(self._dice.uniform(*FAULT_SECONDS))

    async def one_broker(self) -> None:
        await self._killed(self._dice.randrange(3))

    async def leading_broker(self) -> None:
        await self._killed(max(0, await leader(self._cluster.broker.urls, STREAM)))

    async def two_brokers(self) -> None:
        await self._killed(*self._dice.sample(range(3), 2))

    async def all_brokers(self) -> None:
        await self._killed(0, 1, 2)

    async def _killed(self, *numbers: int) -> None:
        self._cluster.broker.kill(*numbers)
        await self._while()
        await asyncio.to_thread(self._cluster.broker.start, *numbers)

    async def broker_stopped(self) -> None:
        number = self._dice.randrange(3)
        self._cluster.broker.pause(number)
        await self._while()
        self._cluster.broker.go_on(number)

    async def node_killed(self) -> None:
        node = self._dice.choice(self._cluster.nodes)
        node.kill()
        await self._while()
        await node.start()

    async def node_stopped(self) -> None:
        node = self._dice.choice(self._cluster.nodes)
        node.send(signal.SIGSTOP)
        await self._while()
        node.send(signal.SIGCONT)

    async def clock_off(self) -> None:
        """One node is an hour ahead, or behind, from then on."""
        node = self._dice.choice(self._cluster.nodes)
        node.kill()
        await node.start(self._dice.choice([-HOUR, HOUR]))

    async def disk_full(self) -> None:
        node = self._dice.choice(self._cluster.nodes)
        node.limit_files(0)
        await self._while()
        node.limit_files(resource.RLIM_INFINITY)

    async def broker_cut_off(self) -> None:
        """One broker is cut off from the others, and from all nodes or none of them."""
        await self._cut(f"n{self._dice.randrange(3)}")

    async def node_cut_off(self) -> None:
        """One node is cut off from all brokers."""
        await self._cut(f"node{self._dice.randrange(NODES)}")

    async def split(self) -> None:
        """One node and one broker are together, and apart from everything else."""
        await self._cut(f"node{self._dice.randrange(NODES)}", f"n{self._dice.randrange(3)}")

    async def _cut(self, *names: str) -> None:
        self._cluster.cuts.cut(*names)
        await self._while()
        await self._while()
        self._cluster.cuts.heal()

    async def stale_broker(self) -> None:
        """A broker comes back with what it had some time ago: its disk was restored.

        The others must have all there is, and keep running until it has that, too: a majority that
        has lost what it had acknowledged is beyond what any quorum can survive.
        """
        number, copy = self._dice.randrange(3), self._cluster.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        self._cluster.broker.kill(number)
        await asyncio.to_thread(shutil.copytree, self._cluster.broker.store(number), copy)
        await asyncio.to_thread(self._cluster.broker.start, number)
        await self._while()
        await self._cluster.in_step()
        self._cluster.broker.kill(number)
        shutil.rmtree(self._cluster.broker.store(number))
        copy.rename(self._cluster.broker.store(number))
        await asyncio.to_thread(self._cluster.broker.start, number)


FAULTS = (
    "one_broker",
    "leading_broker",
    "two_brokers",
    "all_brokers",
    "broker_stopped",
    "node_killed",
    "node_stopped",
    "clock_off",
    "disk_full",
    "broker_cut_off",
    "node_cut_off",
    "split",
    "stale_broker",
)
"""Names of the methods above."""

ALONE = {"stale_broker", "clock_off", "node_killed"}
"""Faults that do not come together with another one."""
