"""Three brokers and three nodes under random faults, while clients publish, move and resume.

After each fault, and at the end, everything that was acknowledged must be at every node once, with
the seq of its acknowledgement, in one order; every subscriber must have got all of it once, in that
order; and the archives must hold the same rows. What does not hold raises `BrokenError`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from bench.cuts import Cuts
from bench.namespaces import Namespaces
from bench.report import Figures
from bench.torture.checks import Checks
from bench.torture.clients import PUBLISHERS, SUBSCRIBERS, Clients
from bench.torture.cluster import Cluster
from bench.torture.faults import ALONE, FAULTS, Faults
from bench.torture.promises import BrokenError

ANSWER_SECONDS = 15
PAUSE_SECONDS = (0.2, 1.5)


class Torture:
    """The run: clients at work, and one fault after another."""

    def __init__(
        self,
        cluster: Cluster,
        dice: random.Random,
        http: aiohttp.ClientSession,
        say: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._dice = dice
        self._say = say
        self._faults = Faults(cluster, dice)
        self.clients = Clients(cluster.nodes, dice, http)
        self.checks = Checks(cluster, self.clients)
        self.happened: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """Let clients work, and things happen, for some time."""
        async with asyncio.TaskGroup() as group:
            publishing = [group.create_task(self.clients.publish(name)) for name in PUBLISHERS]
            following = [group.create_task(self.clients.subscribe(n)) for n in range(SUBSCRIBERS)]
            end, left = time.monotonic() + seconds, list[str]()
            await asyncio.sleep(self._dice.uniform(*PAUSE_SECONDS))
            while time.monotonic() < end:
                left = left or self._dice.sample(FAULTS, len(FAULTS))
                names = [left.pop()]
                if left and self._dice.random() < 0.3 and not {names[0], left[-1]} & ALONE:
                    names.append(left.pop())
                await self._happen(names)
                await asyncio.sleep(self._dice.uniform(*PAUSE_SECONDS))
            self.clients.stopped = True
            await asyncio.wait(publishing)
            await self.checks.check("the end")
            await self.checks.delivered()
            for task in following:
                task.cancel()

    async def _happen(self, names: list[str]) -> None:
        began = time.monotonic()
        self.happened.update(names)
        await self._faults.happen(names)
        healed = time.monotonic()
        await self.checks.check(" and ".join(names))
        await self._cluster.in_step()
        over = time.monotonic()
        told = f"{healed - began:.1f} s, level after {over - healed:.1f} s"
        self._say(f"{' and '.join(names)}: {told}, {len(self.clients.told.acknowledged)} messages")


@asynccontextmanager
async def _tortured(
    folder: Path, dice: random.Random, say: Callable[[str], None], cuts: Cuts | Namespaces
) -> AsyncIterator[Torture]:
    patience = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=patience) as http:
        cluster = Cluster(folder, cuts)
        torture = Torture(cluster, dice, http, say)
        try:
            await cluster.start()
            yield torture
        finally:
            await cluster.close()


async def tortured(
    folder: Path,
    seconds: float,
    seed: int,
    say: Callable[[str], None] = print,
    *,
    namespaces: bool = False,
) -> Figures:
    """Torture a cluster in an empty folder; return what has happened. Raises `BrokenError`."""
    cuts = Namespaces() if namespaces else Cuts()
    async with _tortured(folder, random.Random(seed), say, cuts) as torture:
        try:
            await torture.run(seconds)
        except* BrokenError as broken:
            raise broken.exceptions[0] from None
        rows = await torture.checks.compare()
        told = torture.clients.told
        return {
            **{name: float(count) for name, count in sorted(torture.happened.items())},
            "messages sent": float(told.sent),
            "acknowledged": float(len(told.acknowledged)),
            "sent again at another node": float(told.moved),
            "repeated after their answer": float(told.repeated),
            "rows in each archive": float(rows),
            "longest time without an acknowledgement s": told.longest,
        }
