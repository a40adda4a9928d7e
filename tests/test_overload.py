"""All that is costly at once, at one server with a limit on its memory.

Pages that are not read, texts of words that are all different, filters and texts that hardly
match, texts that grow, and searches of the past: memory stays within its limit, a client that does
none of it goes on, and what has been acknowledged is there after a crash.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import count, islice
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import uvloop

from tests.support.disk import reading_processes
from tests.support.process import Start, port_of, ready
from tests.support.wire import Client, Http, Json, command, request, until, user

pytestmark = pytest.mark.slow

MIB = 2**20
LIMIT = 256 * MIB
ALLOWED = LIMIT * 1.2
"""Bytes by which both processes together may grow."""

ELSEWHERE = "127.0.0.9"
"""Address of the client that does nothing costly."""

SECONDS = 480
"""Seconds after which the whole is held to hang."""

PHRASE = "the red dragon sleeps beside the closed gate"
LARGE = "x" * 60_000
NARROW = f'"x {"a" * 250}b"'
"""A phrase that must be looked for in all of the text that nearly has it."""
NEARLY = "x " + "a" * 60_000
GROWING = "\ufdfa" * 20_000
"""Eighteen characters each, once compatibility forms are replaced."""


def distinct(seed: int) -> str:
    """A text of words that no other has."""
    letters = random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz", k=5 * 10_000)
    return " ".join("".join(letters[at : at + 5]) for at in range(0, len(letters), 5))


class Server:
    """The command in a process, what it has acknowledged, and how much memory it takes."""

    def __init__(self, start: Start, folder: Path) -> None:
        self._folder = folder
        self._process = start(
            *("--store", str(folder / "live.db"), "--port", "0", "--no-limits"),
            *("--memory-limit", "256M", "--max-frame-bytes", "256K"),
        )
        self._port = port_of(ready(self._process))
        self._wires: list[Http | Client] = []
        # What both processes take when they are ready: the reading process when it has answered.
        while not self._answers():
            time.sleep(0.1)
        self._base = self._resident()
        self._accounts: Json = {}
        """What `/healthz` has told last of the memory."""
        self.peak = 0
        """Bytes by which both have grown at most, as far as it was looked at."""
        self.at_peak = ""
        """Where they were then, for people to read."""

    def _answers(self) -> bool:
        """Tell whether the store can be searched; after a start its index may have to be made."""
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/api/search?query=nothing"):
                return True
        except HTTPError:
            return False

    def _resident(self) -> Counter[str]:
        """The resident bytes of each process."""
        found = Counter(server=_resident(self._process.pid))
        found["reading process"] = sum(map(_resident, reading_processes(self._folder)))
        return found

    async def watch(self) -> None:
        """Look at the memory, without an end."""
        while True:
            now = self._resident()
            grown = now.total() - self._base.total()
            if grown > self.peak:
                self.peak = grown
                self.at_peak = (
                    f"{_listed(now)}; at the start {_listed(self._base)}; "
                    f"accounts: {_listed(self._accounts)}"
                )
            await asyncio.sleep(0.1)

    async def ask_for_accounts(self) -> None:
        """Ask what the accounts hold, without an end."""
        http = await self.http()
        while True:
            self._accounts = (await http.ask("GET", "/healthz")).json["memory"]
            await asyncio.sleep(0.1)

    async def http(self, receive_buffer: int = 0) -> Http:
        """A connection for plain HTTP."""
        http = await Http.connect(("127.0.0.1", self._port), receive_buffer)
        self._wires.append(http)
        return http

    async def client(self, query: str = "", receive_buffer: int = 0, source: str = "") -> Client:
        """A WebSocket client."""
        client = await Client.connect(("127.0.0.1", self._port), receive_buffer, source)
        self._wires.append(client)
        await client.open(query)
        await client.reply("connected")
        return client

    def leave(self) -> None:
        """Close all connections."""
        for wire in self._wires:
            wire.close()

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()


def _resident(process: int) -> int:
    """The resident bytes of a process."""
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {_mib(size)}" for name, size in sizes.items())


class Publishers:
    """Publishers that send again what was refused for now, and know what was acknowledged."""

    def __init__(self, server: Server) -> None:
        self.acknowledged: set[str] = set()
        self._server = server

    async def publish(self, messages: Iterable[Json], at_once: int) -> None:
        """Publish all messages, so many in a body."""
        rest = iter(messages)
        while batch := list(islice(rest, at_once)):
            await self._send("\n".join(map(json.dumps, batch)))

    async def _send(self, body: str) -> None:
        while True:
            http = await self._server.http()
            answer = await http.ask(
                "POST", "/api/messages", body, Content_Type="application/x-ndjson"
            )
            http.close()
            if answer.status == 201:
                self.acknowledged.update(each["id"] for each in answer.json["messages"])
                return
            assert (answer.status, answer.headers["retry-after"]) == (503, "1"), answer
            await asyncio.sleep(0.2)

    async def go_on(self, done: asyncio.Event) -> int:
        """Publish, ping and ask for a page as an ordinary client does; returns how many times."""
        client = await self._server.client(source=ELSEWHERE)
        for number in count():
            if done.is_set():
                return number
            published = await client.ask("publish", message=user("ordinary", id=f"o{number}"))
            if "id" in published:
                self.acknowledged.add(published["id"])
            else:
                assert published["error_code"] == 1011, published
            assert (await client.ask("ping"))["action"] == "pong"
            page = await client.ask("get_history", limit=3)
            assert "messages" in page or page["error_code"] == 1011, page
            await asyncio.sleep(0.05)
        raise AssertionError("unreachable")


async def leave_pages_unread(server: Server) -> None:
    for _ in range(15):
        http = await server.http(receive_buffer=4096)
        await http.send(request("GET", "/api/history?limit=1000") * 5)
        client = await server.client(receive_buffer=4096)
        await client.send(command("get_history", limit=1000) * 5)
    for _ in range(50):
        await server.client("?message_types=user&since=0", receive_buffer=4096)


async def filter_at_great_cost(server: Server) -> None:
    for _ in range(20):
        client = await server.client()
        await client.tell("subscribe", filters={"text": NARROW}, message_types=["user"])


async def search_the_past(server: Server) -> None:
    """Searches that are asked and waited for, and others that are asked and abandoned."""
    path = "/api/search?query=%22red%20dragon%20sleeps%22"

    async def ask(stays: bool) -> None:
        for _ in range(3):
            http = await server.http()
            await http.send(request("GET", path))
            if stays:
                assert (await http.answer()).status in (200, 503)
            else:
                await asyncio.sleep(0.2)
            http.close()

    await asyncio.gather(*(ask(bool(number % 2)) for number in range(20)))


def listing(amount: int) -> Json:
    return {"type": "system", "event": "error", "severity": "info", "data": {"list": [[]] * amount}}


def costly() -> Iterable[Json]:
    """Messages that are costly to read, to search and to filter."""
    for _ in range(10):
        yield from (user(NEARLY), user(GROWING), listing(15_000))


async def all_at_once(server: Server, publishers: Publishers) -> None:
    publish = publishers.publish
    await publish((user(f"{PHRASE} {number}") for number in range(10_000)), 1000)
    await publish((user(LARGE) for _ in range(1000)), 100)
    await leave_pages_unread(server)
    await filter_at_great_cost(server)
    words = (user(distinct(seed)) for seed in range(3 * 64))
    await asyncio.gather(publish(words, 16), publish(costly(), 10), search_the_past(server))


async def kept(server: Server) -> set[str]:
    """The ids of all that the server has."""
    http, ids, before = await server.http(), set[str](), 2**53 - 1
    while True:
        answer = await http.ask("GET", f"/api/history?limit=1000&before={before}")
        assert answer.status == 200, answer
        messages = answer.json["messages"]
        if not messages:
            return ids
        ids |= {each["id"] for each in messages}
        before = messages[-1]["seq"]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_all_at_once_stays_in_the_memory_and_loses_nothing_acknowledged(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Answers come late where the cores are shared; the whole has its time.
    monkeypatch.setattr("tests.support.wire.PATIENCE", SECONDS)

    async def run() -> None:
        server = Server(start, tmp_path)
        publishers, done = Publishers(server), asyncio.Event()
        watching = [
            asyncio.create_task(each) for each in (server.watch(), server.ask_for_accounts())
        ]
        going_on = asyncio.create_task(publishers.go_on(done))
        async with asyncio.timeout(SECONDS):
            await all_at_once(server, publishers)
            done.set()
            assert await going_on > 20
        for task in watching:
            task.cancel()
        server.leave()
        server.kill()
        assert server.peak <= ALLOWED, f"grown by {_mib(server.peak)}: {server.at_peak}"
        await until(lambda: not reading_processes(tmp_path), "the reading process to end")
        again = Server(start, tmp_path)
        missing = publishers.acknowledged - await kept(again)
        assert not missing
        again.leave()

    uvloop.run(run())
