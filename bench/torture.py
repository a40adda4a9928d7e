"""Three brokers and three nodes under random faults, while clients publish, move and resume.

After each fault, and at the end, everything that was acknowledged must be at every node once, with
the seq of its acknowledgement, in one order; every subscriber must have got all of it once, in that
order; and the archives must hold the same rows. What does not hold raises `BrokenError`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from bench.brokers import Brokers, asked, leader
from bench.cuts import Cuts
from bench.report import Figures
from bench.server import TOP
from bench.traffic import publication

STREAM = "LIVELOG_torture"
NODES = 3
PUBLISHERS = "pqrs"
SUBSCRIBERS = 3
HOUR = 3600
SETTLE_SECONDS = 90
"""Seconds after a fault in which all nodes must have all there is."""
READY_SECONDS = 120
ANSWER_SECONDS = 15
FAULT_SECONDS = (0.5, 4.0)
PAUSE_SECONDS = (0.2, 1.5)
GONE = (aiohttp.ClientError, OSError, TimeoutError)
"""Errors of a client whose node is away."""

Place = tuple[int, str]
"""Seq and id of a message."""
Row = tuple[int, str, str]
"""Seq, id and payload in an archive."""


class BrokenError(Exception):
    """A promise that was not kept."""


def demand(holds: object, issue: str) -> None:
    """Raise `BrokenError` unless a promise holds."""
    if not holds:
        raise BrokenError(issue)


def faked(seconds: int) -> dict[str, str]:
    """Return what makes a clock be off, as variables of the environment; nothing without faketime.

    Its command is no use here: it stays between, and would be killed in the place of the node.
    """
    command = shutil.which("faketime")
    if not seconds or not command:
        return {}
    asked = [command, "-f", "+0s", "printenv", "LD_PRELOAD"]
    library = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    off = {"FAKETIME": f"{seconds:+}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": library, **off}


class Node:
    """One node: a process, killed and started again on one archive."""

    def __init__(self, number: int, folder: Path, url: str) -> None:
        self.number = number
        self.store = folder / f"node{number}.db"
        self.address = ""
        self._said = folder / f"node{number}.log"
        self._url = url
        self._process: subprocess.Popen[str]

    async def start(self, clock: int = 0) -> None:
        """Start it, with its clock off by some seconds, and wait until it is ready."""
        options = ["--port", "0", "--no-limits", "--store", str(self.store), "--engine", self._url]
        with self._said.open("a") as said:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it does not block for long
                [sys.executable, "-m", "livelog", *options],
                cwd=TOP,
                env={**os.environ, **faked(clock)},
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        assert self._process.stdout is not None
        first = asyncio.to_thread(self._process.stdout.readline)
        line = await asyncio.wait_for(first, READY_SECONDS)
        demand("ready on" in line, f"node {self.number} does not start: {self.said()}")
        self.address = line.split("ws://")[1].split("/")[0]

    def said(self) -> str:
        """Return the last lines that it has logged."""
        return self._said.read_text()[-2000:]

    def kill(self) -> None:
        with self._process:  # waits, and closes the pipe
            self._process.kill()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def limit_files(self, size: int) -> None:
        """Let no file of it grow beyond a size, as on a disk that is full."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, hard))

    async def end(self) -> None:
        self._process.terminate()
        await asyncio.to_thread(self._process.communicate)

    def rows(self) -> list[Row]:
        """Return what is in the archive of a node that does not run."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            asked = "SELECT seq, id, payload FROM message ORDER BY position"
            return connection.execute(asked).fetchall()


@dataclass
class Told:
    """Counts of what publishers have sent, and the answers."""

    acknowledged: dict[str, int]
    """Id → seq."""
    sent: int = 0
    repeated: int = 0
    """Bodies with an id that had been answered before."""
    moved: int = 0
    """Bodies that were sent again, at another node."""
    longest: float = 0.0
    """Seconds without any acknowledgement, at most."""
    last: float = 0.0
    """Time of the newest one."""

    def note(self, id: str, seq: int) -> None:
        """Note an acknowledgement, which must be the same each time."""
        known = self.acknowledged.setdefault(id, seq)
        demand(known == seq, f"{id} was acknowledged with seq {known}, then with {seq}")
        now = time.monotonic()
        self.longest = max(self.longest, now - (self.last or now))
        self.last = now


class Clients:
    """Publishers that send again until they are answered, and subscribers that resume."""

    def __init__(self, nodes: list[Node], dice: random.Random, http: aiohttp.ClientSession) -> None:
        self._nodes = nodes
        self._dice = dice
        self._http = http
        self.told = Told({})
        self.stopped = False
        self.got: list[list[Place]] = [[] for _ in range(SUBSCRIBERS)]

    async def publish(self, name: str) -> None:
        """Publish a few messages after another, each until it is acknowledged, at any node."""
        count, answered = 0, list[str]()
        while not self.stopped:
            ids = [f"{name}{count + n}" for n in range(self._dice.randint(1, 5))]
            count += len(ids)
            self.told.sent += len(ids)
            if self._dice.random() < 0.1 and answered:
                ids.append(self._dice.choice(answered))  # which has to get the same answer again
                self.told.repeated += 1
            while not await self._posted(name, ids):
                self.told.moved += 1
                await asyncio.sleep(0.05)
            answered += ids
            await asyncio.sleep(0.005)

    async def _posted(self, name: str, ids: list[str]) -> bool:
        body = "\n".join(json.dumps(_message(name, id)) for id in ids)
        node = self._dice.choice(self._nodes)
        headers = {"Content-Type": "application/x-ndjson"}
        with suppress(*GONE):
            url = f"http://{node.address}/api/messages"
            async with self._http.post(url, data=body, headers=headers) as answer:
                found = await answer.json()
                if answer.status == 201:
                    for each in found["messages"]:
                        self.told.note(each["id"], each["seq"])
                    return True
                demand(answer.status == 503, f"a publisher is answered {answer.status}: {found}")
        return False

    async def subscribe(self, number: int) -> None:
        """Follow the log at one node after another, each time behind what has come."""
        at = number
        while True:
            node = self._nodes[at % NODES]
            with suppress(*GONE):
                await asyncio.wait_for(
                    self._follow(node, self.got[number]), self._dice.uniform(1, 8)
                )
            at += 1
            await asyncio.sleep(0.02)

    async def _follow(self, node: Node, got: list[Place]) -> None:
        since = got[-1][0] if got else 0
        url = f"ws://{node.address}/ws/live-log?message_types=user&since={since}"
        async with self._http.ws_connect(url) as line:
            async for frame in line:
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    return
                event = json.loads(frame.data)
                if "content" in event:
                    got.append((event["seq"], event["id"]))
                demand(event.get("action") != "gap", f"a subscriber is told of a gap: {event}")

    async def newest(self, node: Node, above: int) -> list[Place]:
        """Return what a node has above a seq, oldest first."""
        found: list[Place] = []
        while True:
            page = await self._history(node, len(found))
            found += [place for place in page if place[0] > above]
            if not page or page[-1][0] <= above:
                # What came in between has moved the pages: some may have come twice.
                return sorted(set(found))

    async def _history(self, node: Node, offset: int) -> list[Place]:
        url = f"http://{node.address}/api/history?limit=1000&offset={offset}"
        async with self._http.get(url) as answer:
            page = await answer.json()
            demand(answer.status == 200, f"history is answered {answer.status}: {page}")
            return [(each["seq"], each["id"]) for each in page["messages"]]


def _message(name: str, id: str) -> dict[str, Any]:
    message: dict[str, Any] = publication(0, f"message {id}")["message"]
    return message | {"id": id, "user_id": name}


class Torture:
    """The whole: its faults, and what is checked."""

    def __init__(
        self,
        folder: Path,
        dice: random.Random,
        http: aiohttp.ClientSession,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._dice = dice
        self._say = say
        self._cuts = Cuts()
        self.broker: Brokers
        self.nodes: list[Node] = []
        self.clients = Clients(self.nodes, dice, http)
        self.faults: Counter[str] = Counter()
        self._checked = 0
        """Seq up to which all nodes have been found alike."""

    async def start(self) -> None:
        self.broker = await asyncio.to_thread(Brokers, self._folder, "always", self._cuts)
        urls = [self.broker.url("torture", f"node{n}") for n in range(NODES)]
        await self._cuts.open()
        self.nodes += [Node(n, self._folder, url) for n, url in enumerate(urls)]
        await asyncio.gather(*(node.start() for node in self.nodes))

    async def close(self) -> None:
        for node in self.nodes:
            node.send(signal.SIGCONT)
            node.kill()
        self.broker.close()
        await self._cuts.close()

    # Faults. Each ends healed, and need not wait until all is well.

    async def _while(self) -> None:
        await asyncio.sleep(self._dice.uniform(*FAULT_SECONDS))

    async def one_broker(self) -> None:
        await self._killed(self._dice.randrange(3))

    async def leading_broker(self) -> None:
        await self._killed(max(0, await leader(self.broker.servers, STREAM)))

    async def two_brokers(self) -> None:
        await self._killed(*self._dice.sample(range(3), 2))

    async def all_brokers(self) -> None:
        await self._killed(0, 1, 2)

    async def _killed(self, *numbers: int) -> None:
        self.broker.kill(*numbers)
        await self._while()
        await asyncio.to_thread(self.broker.start, *numbers)

    async def broker_stopped(self) -> None:
        number = self._dice.randrange(3)
        self.broker.pause(number)
        await self._while()
        self.broker.go_on(number)

    async def node_killed(self) -> None:
        node = self._dice.choice(self.nodes)
        node.kill()
        await self._while()
        await node.start()

    async def node_stopped(self) -> None:
        node = self._dice.choice(self.nodes)
        node.send(signal.SIGSTOP)
        await self._while()
        node.send(signal.SIGCONT)

    async def clock_off(self) -> None:
        """One node is an hour ahead, or behind, from then on."""
        node = self._dice.choice(self.nodes)
        node.kill()
        await node.start(self._dice.choice([-HOUR, HOUR]))

    async def disk_full(self) -> None:
        node = self._dice.choice(self.nodes)
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
        self._cuts.cut(*names)
        await self._while()
        await self._while()
        self._cuts.heal()

    async def stale_broker(self) -> None:
        """A broker comes back with what it had some time ago: its disk was restored.

        The others must have all there is, and keep running until it has that, too: a majority that
        has lost what it had acknowledged is beyond what any quorum can survive.
        """
        number, copy = self._dice.randrange(3), self._folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        self.broker.kill(number)
        await asyncio.to_thread(shutil.copytree, self.broker.store(number), copy)
        await asyncio.to_thread(self.broker.start, number)
        await self._while()
        await self._in_step()
        self.broker.kill(number)
        shutil.rmtree(self.broker.store(number))
        copy.rename(self.broker.store(number))
        await asyncio.to_thread(self.broker.start, number)

    async def _in_step(self) -> None:
        """Wait until every broker has what the leader has."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            answer = await asked(self.broker.servers, f"$JS.API.STREAM.INFO.{STREAM}")
            replicas = (answer.get("cluster") or {}).get("replicas") or []
            if len(replicas) == 2 and all(r["current"] and r.get("lag", 0) < 100 for r in replicas):
                return
            demand(time.monotonic() < deadline, f"the brokers do not come into step: {answer}")
            await asyncio.sleep(0.2)

    # The run.

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
            await self.check("the end")
            await self._delivered()
            for task in following:
                task.cancel()

    async def _happen(self, names: list[str]) -> None:
        began = time.monotonic()
        self.faults.update(names)
        await asyncio.gather(*(getattr(self, name)() for name in names))
        healed = time.monotonic()
        await self.check(" and ".join(names))
        await self._in_step()
        over = time.monotonic()
        told = f"{healed - began:.1f} s, level after {over - healed:.1f} s"
        self._say(f"{' and '.join(names)}: {told}, {len(self.clients.told.acknowledged)} messages")

    async def check(self, when: str) -> None:
        """Wait until all nodes have what was acknowledged by now, and compare them."""
        told = dict(self.clients.told.acknowledged)
        upto = max(told.values(), default=0)
        every = [await self._come_to(node, upto, when) for node in self.nodes]
        for node, found in zip(self.nodes, every, strict=True):
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
                found = await self.clients.newest(node, self._checked)
                if seq <= self._checked or (found and found[-1][0] >= seq):
                    return [place for place in found if place[0] <= seq]
            issue = f"after {when} node {node.number} does not come to seq {seq}: {node.said()}"
            demand(time.monotonic() < deadline, issue)
            await asyncio.sleep(0.1)

    async def _delivered(self) -> None:
        """Wait until every subscriber has all, and compare that with the acknowledgements."""
        told = self.clients.told.acknowledged
        deadline = time.monotonic() + SETTLE_SECONDS
        for number, got in enumerate(self.clients.got):
            while not got or got[-1][0] < max(told.values()):
                demand(time.monotonic() < deadline, f"subscriber {number} does not get the last")
                await asyncio.sleep(0.1)
            rising = all(one < other for (one, _), (other, _) in pairwise(got))
            demand(rising, f"subscriber {number} has got something twice, or out of order")
            lacks = told.items() - {(id, seq) for seq, id in got}
            demand(
                not lacks, f"subscriber {number} lacks {len(lacks)}, such as {sorted(lacks)[:3]}"
            )
            demand(got == self.clients.got[0], f"subscriber {number} has got what 0 has not")

    async def compare(self) -> int:
        """Stop the nodes and compare their archives, and one more that is made now."""
        late = Node(NODES, self._folder, self.broker.url("torture"))
        self.nodes.append(late)
        await late.start()
        for node in self.nodes:
            await node.end()
        every = [node.rows() for node in self.nodes]
        for node, rows in zip(self.nodes, every, strict=True):
            demand(rows == every[0], f"the archive of node {node.number} has other rows than 0's")
        found = {id: seq for seq, id, _ in every[0]}
        demand(len(found) == len(every[0]), "an archive has an id twice")
        lacks = self.clients.told.acknowledged.items() - found.items()
        demand(not lacks, f"the archives lack {sorted(lacks)[:3]}, {len(lacks)} in all")
        return len(every[0])


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


@asynccontextmanager
async def _tortured(
    folder: Path, dice: random.Random, say: Callable[[str], None]
) -> AsyncIterator[Torture]:
    patience = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=patience) as http:
        torture = Torture(folder, dice, http, say)
        try:
            await torture.start()
            yield torture
        finally:
            await torture.close()


async def tortured(
    folder: Path, seconds: float, seed: int, say: Callable[[str], None] = print
) -> Figures:
    """Torture a cluster in an empty folder; return what has happened. Raises `BrokenError`."""
    async with _tortured(folder, random.Random(seed), say) as torture:
        try:
            await torture.run(seconds)
        except* BrokenError as broken:
            raise broken.exceptions[0] from None
        rows = await torture.compare()
        told = torture.clients.told
        return {
            **{name: float(count) for name, count in sorted(torture.faults.items())},
            "messages sent": float(told.sent),
            "acknowledged": float(len(told.acknowledged)),
            "sent again at another node": float(told.moved),
            "repeated after their answer": float(told.repeated),
            "rows in each archive": float(rows),
            "longest time without an acknowledgement s": told.longest,
        }
