"""The clients of a cluster: publishers that send again until they are answered, and subscribers."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.torture.nodes import Node
from bench.torture.promises import Place, demand
from bench.traffic import publication

PUBLISHERS = "pqrs"
SUBSCRIBERS = 3
GONE = (aiohttp.ClientError, OSError, TimeoutError)
"""Errors of a client whose node is away."""


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
            node = self._nodes[at % len(self._nodes)]
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
