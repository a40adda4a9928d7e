"""The worth of an acknowledgement: a server that is killed again and again, under load.

Publishers publish with ids of their own, over both doors, and publish again what was not
acknowledged; subscribers follow and resume. After every restart all that was acknowledged must be
there, once; at the end every subscriber must have had all it asked for, in order, once. What was
delivered and never acknowledged may be gone; its seq is then nobody else's.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import count, pairwise
from pathlib import Path

import pytest
import uvloop

from tests.support.disk import key_file, reading_processes
from tests.support.wire import (
    CLOSE,
    PATIENCE,
    TEXT,
    TYPES,
    Answer,
    Client,
    Http,
    Json,
    eventually,
    soon,
    take_frame,
    until,
    user,
)
from tests.test_query import plainly

ROUNDS = {"plain": 17, "encrypted": 4}
"""Kills: followers begin or come back at each eighth."""
PER_LIFE = 100
"""Messages a publisher makes between two kills, at most: the work is bounded, not the time."""

IN_FLIGHT = 20
"""Messages a publisher has sent and not seen acknowledged, at most; all fit into the window."""


class Victim:
    """The server, killed and started again; clients ask where it is now."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        self.settings = settings
        self.errors = folder / "errors"
        self.up = asyncio.Event()
        self.life = 0
        self._port = 0

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    async def start(self) -> None:
        arguments = ["--store", str(self.folder / "live.db"), "--port", "0", "--no-limits"]
        with self.errors.open("ab") as errors:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "livelog", *arguments, "--window-messages", "300"),
                *self.settings,
                cwd=Path(__file__).parent.parent,
                env={name: os.environ[name] for name in os.environ if "LIVELOG" not in name},
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        assert self.process.stdout is not None
        line = (await soon(self.process.stdout.readline(), "a start")).decode()
        assert line.startswith("livelog ready on ws://127.0.0.1:"), self.errors.read_text()
        self._port = int(line.split(":")[2].partition("/")[0])
        self.life += 1
        self.up.set()

    async def kill(self) -> None:
        """End it as a power cut would; the process that reads for it must end by itself."""
        readers = set(reading_processes(self.folder))
        self.up.clear()
        self.process.kill()
        await soon(self.process.wait())
        await until(lambda: not readers & set(reading_processes(self.folder)), "readers gone")

    async def stop(self) -> None:
        self.process.terminate()
        assert await soon(self.process.wait(), "an end") == 0


class Books:
    """Messages published, acknowledged and seen, and what must hold for them at any time."""

    def __init__(self) -> None:
        self.published: dict[str, Json] = {}
        self.acknowledged: dict[str, int] = {}
        self.id_of: dict[int, str] = {}
        """Every seq that was ever seen, by whomever."""
        self.counted = Counter[str]()

    def message(self, id: str, number: int) -> Json:
        """A new message."""
        words = ("red", "blue", "green")[number % 3]
        self.published[id] = user(f"{words} {number}", id=id, user_id=f"u{number % 4}")
        return self.published[id]

    def acknowledge(self, id: str, seq: int) -> None:
        """A publisher was told the place of its message."""
        self.see(id, seq)
        assert self.acknowledged.setdefault(id, seq) == seq, f"{id} has two places"

    def see(self, id: str, seq: int) -> None:
        """A message was told to somebody with this seq."""
        assert self.id_of.setdefault(seq, id) == id, f"{seq} has been used twice"

    def check(self, stored: list[Json], promised: dict[str, int]) -> None:
        """All that was acknowledged is there, once and in its place."""
        seqs = [message["seq"] for message in stored]
        assert all(one < next_one for one, next_one in pairwise(seqs))
        place = {message["id"]: message["seq"] for message in stored}
        assert len(place) == len(stored), "an id is there twice"
        for id, seq in place.items():
            self.see(id, seq)
            assert self.published[id]["content"]
        lost = [id for id, seq in promised.items() if place.get(id) != seq]
        assert not lost, f"acknowledged, but not there: {lost}"


class Follower:
    """A subscriber that resumes where it was, whatever happens."""

    def __init__(self, victim: Victim, books: Books, filters: Json) -> None:
        self.victim = victim
        self.books = books
        self.filters = filters
        self.got: list[int] = []

    @property
    def cursor(self) -> int:
        return self.got[-1] if self.got else 0

    async def follow(self) -> None:
        """One connection: from the cursor on, until it breaks."""
        before = max(self.books.id_of, default=0)
        client = await Client.connect(self.victim.address)
        try:
            await _handshake(client)
            await client.tell(
                "subscribe", message_types=TYPES, filters=self.filters, since=self.cursor
            )
            self.books.counted["resumes"] += 1
            while True:
                self._take(json.loads(await _next_text(client)), before)
        finally:
            client.close()

    def _take(self, event: Json, before: int) -> None:
        if "action" in event:
            if event["action"] != "subscribed":
                raise RuntimeError(event)
            return
        if event["seq"] <= self.cursor:
            raise RuntimeError(f"{event['seq']} after {self.cursor}")
        self.got.append(event["seq"])
        self.books.see(event["id"], event["seq"])
        self.books.counted["delivered"] += 1
        self.books.counted["of them from the past"] += event["seq"] <= before


async def _next_text(client: Client) -> bytes:
    """The next frame, however long it takes: there may be nothing to tell."""
    loop = asyncio.get_running_loop()
    while True:
        frame = take_frame(client.unread)
        if frame is not None and frame.opcode == TEXT:  # not a ping, which comes after a while
            return frame.payload
        if frame is not None and frame.opcode == CLOSE:
            raise RuntimeError(f"closed by the server: {frame.payload!r}")
        if frame is not None:
            continue
        data = await loop.sock_recv(client.sock, 1 << 16)
        if not data:
            raise EOFError
        client.unread += data


async def again_and_again(victim: Victim, live: Callable[[], Awaitable[None]]) -> None:
    """Live on whenever the server is there; returns when `live` does."""
    while True:
        await victim.up.wait()
        process = victim.process
        try:
            await live()
            return
        except (ConnectionError, EOFError):
            await process.wait()


class Publisher:
    """Publishes messages under ids of its own until each is acknowledged."""

    def __init__(self, name: str, victim: Victim, books: Books, enough: asyncio.Event) -> None:
        self.victim = victim
        self.books = books
        self.enough = enough
        self._ids = (f"{name}_{number}" for number in count())
        self._numbers: Iterator[int] = count()
        self._made = 0
        self._open: dict[str, Json] = {}
        """Sent, and not acknowledged."""

    def _more(self, number: int) -> list[Json]:
        number = min(number, PER_LIFE * self.victim.life - self._made)
        self._made += number
        fresh = [self.books.message(next(self._ids), next(self._numbers)) for _ in range(number)]
        self._open |= {message["id"]: message for message in fresh}
        self.books.counted["published"] += len(fresh)
        return fresh

    def _acknowledged(self, id: str, seq: int) -> None:
        self.books.acknowledge(id, seq)
        del self._open[id]

    def _again(self) -> list[Json]:
        self.books.counted["published again"] += len(self._open)
        return list(self._open.values())


class SocketPublisher(Publisher):
    """By the `publish` command, many under way at a time."""

    async def publish(self) -> None:
        client = await Client.connect(self.victim.address)
        try:
            await _handshake(client)
            due = self._again()
            while self._open or not self.enough.is_set():
                if not self.enough.is_set():
                    due += self._more(IN_FLIGHT - len(self._open))
                for message in due:
                    await client.tell("publish", message=message)
                due = []
                for _ in range(min(len(self._open), IN_FLIGHT // 2)):
                    event = json.loads(await _next_text(client))
                    if event["action"] != "published":
                        raise RuntimeError(event)
                    self._acknowledged(event["id"], event["seq"])
                await asyncio.sleep(0.05)  # so that it is at work whenever the kill comes
        finally:
            client.close()


class HttpPublisher(Publisher):
    """By NDJSON over HTTP, a body at a time."""

    async def publish(self) -> None:
        http = await Http.connect(self.victim.address)
        try:
            due = self._again()
            while True:
                if due:
                    await self._post(http, due)
                if self.enough.is_set():
                    return
                due = self._more(1 + next(self._numbers) % 10)
                await asyncio.sleep(0.05)
        finally:
            http.close()

    async def _post(self, http: Http, messages: list[Json]) -> None:
        body = "\n".join(map(json.dumps, messages))
        try:
            answer = await http.ask(
                "POST", "/api/messages", body, Content_Type="application/x-ndjson"
            )
        except AssertionError as ended:
            raise EOFError from ended
        if answer.status != 201:
            raise RuntimeError(answer)
        for receipt in answer.json["messages"]:
            self._acknowledged(receipt["id"], receipt["seq"])


async def _handshake(client: Client) -> None:
    try:
        await client.open()
        await client.reply("connected")
    except AssertionError as ended:
        raise EOFError from ended


async def all_that_is_stored(victim: Victim) -> list[Json]:
    """Everything, page by page while more comes; oldest first."""
    http = await Http.connect(victim.address)
    try:
        page = await _page(http, "")
        total, found = page["total_count"], page["messages"]
        while page["messages"]:
            page = await _page(http, f"&before={found[-1]['seq']}")
            found += page["messages"]
    finally:
        http.close()
    assert len(found) == total
    return list(reversed(found))


async def _page(http: Http, place: str) -> Json:
    """A page of history, asked for again as long as the server is too busy to read its store."""
    ask = partial(http.ask, "GET", f"/api/history?limit=1000{place}")
    answer: Answer = await soon(eventually(ask, lambda answer: answer.status != 503))
    assert answer.status == 200, answer
    return answer.json


async def _torture(victim: Victim, rounds: int, chance: random.Random) -> Books:
    books, enough = Books(), asyncio.Event()
    publishers: list[SocketPublisher | HttpPublisher] = [
        *(SocketPublisher(f"ws{number}", victim, books, enough) for number in range(3)),
        *(HttpPublisher(f"http{number}", victim, books, enough) for number in range(2)),
    ]
    followers = [
        Follower(victim, books, {}),
        Follower(victim, books, {"text": "red"}),
        Follower(victim, books, {"user_id": "u2"}),
    ]
    await victim.start()
    async with asyncio.TaskGroup() as group:
        publishing = [
            group.create_task(again_and_again(victim, publisher.publish))
            for publisher in publishers
        ]
        following = [
            group.create_task(again_and_again(victim, follower.follow)) for follower in followers
        ]
        for number in range(rounds):
            # Now and then it has hardly begun, or fills its window still.
            await asyncio.sleep(chance.choice([0.02, 0.1, chance.uniform(0.3, 0.7)]))
            await victim.kill()
            promised = dict(books.acknowledged)
            await victim.start()
            books.check(await all_that_is_stored(victim), promised)
            if number % 8 == 0:  # one that begins at the beginning, and one that was away
                followers.append(Follower(victim, books, {"text": "blue"} if number % 2 else {}))
                live = followers[-1].follow
                following.append(group.create_task(again_and_again(victim, live)))
        enough.set()
        await soon(asyncio.gather(*publishing), "all to be acknowledged")
        stored = await all_that_is_stored(victim)
        books.check(stored, books.acknowledged)
        assert {message["id"] for message in stored} >= set(books.acknowledged)
        assert set(books.acknowledged) == set(books.published)
        for follower in followers:
            await check_follower(follower, stored)
        for task in following:
            task.cancel()
    await victim.stop()
    assert victim.errors.read_text() == ""
    return books


async def check_follower(follower: Follower, stored: list[Json]) -> None:
    """It has had, or gets soon, all it asked for; what else it had was never acknowledged."""
    wanted = [one["seq"] for one in stored if plainly(one, follower.filters)]
    await until(lambda: follower.cursor >= wanted[-1], "a follower at the end")
    missing = set(wanted) - set(follower.got)
    assert not missing, sorted(missing)
    vanished = set(follower.got) - {one["seq"] for one in stored}
    assert not vanished & set(follower.books.acknowledged.values())
    follower.books.counted["delivered, not acknowledged, gone"] += len(vanished)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ROUNDS)
def test_what_was_acknowledged_survives_any_kill(tmp_path: Path, kind: str) -> None:
    settings = ["--store-key-file", key_file(tmp_path / "live.key")] if kind == "encrypted" else []
    victim = Victim(tmp_path, *settings)
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")

    async def bounded() -> Books:
        try:
            async with asyncio.timeout(12 * PATIENCE):
                return await _torture(victim, ROUNDS[kind], random.Random(seed))
        finally:
            if (
                victim.process.returncode is None
            ):  # and its pipe read to the end, or the loop cannot be closed
                victim.process.kill()
                await victim.process.communicate()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        books = runner.run(bounded())
    assert not reading_processes(tmp_path)
    counts = {"rounds": ROUNDS[kind], "acknowledged": len(books.acknowledged), **books.counted}
    print(", ".join(f"{name}: {number}" for name, number in counts.items()))
