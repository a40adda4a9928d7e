"""The log on disk, as a user meets it: real files, real sockets, the real reading process.

What a server acknowledged is there after a restart and told as if there had been none; a file that
cannot be used is refused and left alone; a disk that fails stops publishers, and nobody else.
Everything that is found is held against a plain list of what was published.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.disk import reading_processes
from tests.test_query import complete, plainly
from tests.wire import (
    PATIENCE,
    TYPES,
    Client,
    House,
    Http,
    Json,
    on_uvloop,
    serving,
    soon,
    until,
    user,
)

DAY = 86_400.0
WORDS = ["red dragon", "blue dragon", "gate closed", "the gate of dragons", "quiet"]


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not reading_processes(tmp_path)


@asynccontextmanager
async def keeping(folder: Path, **settings: Any) -> AsyncIterator[House]:
    """A server that keeps its log in `folder`, and little in memory."""
    usual = {"store": str(folder / "live.db"), "limits": False, "window_messages": 50}
    async with serving(**{**usual, **settings}) as house:
        yield house


def sample(number: int) -> Json:
    """Messages that differ in what is filtered and searched."""
    words, who = WORDS[number % 5], f"u{number % 7}"
    timestamp = f"2026-01-{1 + number % 28:02d}T12:00:00.000Z"
    common = {"id": f"m{number}", "timestamp": timestamp}
    if number % 3 == 0:
        return {
            "type": "system",
            "event": "error",
            "data": {"note": words},
            "severity": "info",
            **common,
        }
    return user(f"{words} {number}", user_id=who, metadata={"channel": f"c{number % 2}"}, **common)


def batch(numbers: range) -> str:
    """The body that publishes samples."""
    return json.dumps([sample(number) for number in numbers])


async def post(http: Http, numbers: range) -> list[Json]:
    """Publish samples and wait until they are safe; returns them as they are kept."""
    answer = await http.ask("POST", "/api/messages", batch(numbers))
    assert answer.status == 201, answer
    seqs = [receipt["seq"] for receipt in answer.json["messages"]]
    return [
        complete(sample(number)) | {"seq": seq} for number, seq in zip(numbers, seqs, strict=True)
    ]


async def page(http: Http, **parameters: Any) -> Json:
    """A page of history."""
    answer = await http.ask("GET", f"/api/history?{urlencode(parameters)}")
    assert answer.status == 200, answer
    return answer.json


async def everything(http: Http, **filters: Any) -> list[Json]:
    """All of history by pages, oldest first."""
    found: list[Json] = []
    while True:
        part = await page(http, limit=1000, offset=len(found), **filters)
        found += part["messages"]
        assert part["messages"] or len(found) == part["total_count"]
        if len(found) >= part["total_count"]:
            return found[::-1]


def filled(house: House) -> bool:
    """The window has been filled after the start."""
    task = house.server._filling
    return task is not None and task.done()


async def resumed(client: Client, upto: int) -> tuple[list[int], list[Json]]:
    """Read to the message with seq `upto`: the seqs of the messages, and the events in between."""
    seqs: list[int] = []
    events: list[Json] = []
    while not seqs or seqs[-1] < upto:
        event = await client.event()
        if "action" in event:
            events.append(event)
        else:
            seqs.append(event["seq"])
    return seqs, events


# What was acknowledged is there after a restart.


FILTERS: list[Json] = [
    {},
    {"type": "system"},
    {"user_id": "u3"},
    {"type": "user", "channel": "c1"},
    {"date_from": "2026-01-10T00:00:00Z", "date_to": "2026-01-12T23:00:00Z"},
    {"text": "dragon"},
    {"text": '"red dragon"'},
    {"text": "nowhere"},
]


@on_uvloop
async def test_history_is_the_same_before_and_after_a_restart(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        http = await house.http()
        messages = await post(http, range(400))
        await check_history(http, messages)
    async with keeping(tmp_path) as house:
        http = await house.http()
        await check_history(http, messages)
        await until(lambda: filled(house), "filled")
        await check_history(http, messages)
        messages += await post(http, range(400, 420))
        await check_history(http, messages)


async def check_history(http: Http, messages: list[Json]) -> None:
    """Pages of every kind, with every filter, are what a plain list gives."""
    for wanted in FILTERS:
        hits = [one for one in reversed(messages) if plainly(one, wanted)]
        assert await everything(http, **wanted) == hits[::-1]
        for offset, limit in [(0, 10), (10, 25), (40, 30), (49, 2), (300, 200), (len(hits), 5)]:
            got = await page(http, offset=offset, limit=limit, **wanted)
            assert got["messages"] == hits[offset : offset + limit], (wanted, offset)
            assert (got["total_count"], got["offset"]) == (len(hits), offset)
        # In the window, on disk, and where the two meet.
        for place in (-1, -20, -48, -50, -52, -55, -200, 0):
            await check_beside(http, hits, wanted, messages[place]["seq"])


async def check_beside(http: Http, hits: list[Json], wanted: Json, seq: int) -> None:
    newer = sum(one["seq"] > seq for one in hits)
    upto = sum(one["seq"] >= seq for one in hits)
    expected = {
        "before": hits[upto : upto + 20],
        "after": hits[max(0, newer - 20) : newer],
        "around": hits[max(0, newer - 10) : max(0, newer - 10) + 20],
    }
    for anchor, messages in expected.items():
        got = await page(http, limit=20, **{anchor: seq}, **wanted)
        assert got["messages"] == messages, (wanted, anchor)
        assert got["total_count"] == len(hits)


@on_uvloop
async def test_search_finds_the_same_over_both_doors(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(200))
    async with keeping(tmp_path) as house:
        client, http = await house.client(), await house.http()
        for query in ("dragon", '"the gate"', "gate closed", "nowhere"):
            hits = [one for one in reversed(messages) if plainly(one, {"text": query})]
            found = await client.ask("search", query=query, limit=1000)
            assert found["results"] == hits
            assert found["count"] == len(hits)
            parameters = urlencode({"query": query, "limit": 1000})
            answer = (await http.ask("GET", f"/api/search?{parameters}")).json
            assert (answer["results"], answer["count"]) == (hits, len(hits))


@on_uvloop
async def test_what_is_published_right_after_the_start_is_kept_once(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(100))
    async with keeping(tmp_path) as house:  # nothing has had a turn yet
        house.server.publish(sample(100))
        again = house.server.publish(sample(99))
        assert again.seq == messages[-1]["seq"]
        await until(lambda: filled(house), "filled")
        got = await everything(await house.http())
    assert [one["id"] for one in got] == [f"m{number}" for number in range(101)]


# Resume from disk.


@on_uvloop
async def test_many_readers_resume_from_disk_under_live_traffic(tmp_path: Path) -> None:
    """Each gets what it wants from its cursor on, in order, once."""
    async with keeping(tmp_path) as house:
        http = await house.http()
        messages = []
        for start in range(0, 2000, 500):
            messages += await post(http, range(start, start + 500))
    async with keeping(tmp_path) as house:
        wants: list[Json] = [{}, {"text": "dragon"}, {"user_id": "u3"}, {"channel": "c1"}]
        cursors = [0, messages[0]["seq"], messages[700]["seq"], messages[701]["seq"] - 1]
        cursors += [messages[1949]["seq"], messages[1960]["seq"], messages[-1]["seq"]]
        readers = []
        for number in range(200):
            client = await house.client()
            wanted = wants[number % 4] if number >= 100 else {}
            since = cursors[number % 7] if number >= 50 else 0
            readers.append((client, wanted, since))
        for client, wanted, since in readers:
            await client.tell("subscribe", message_types=TYPES, filters=wanted, since=since)
        publishing = asyncio.create_task(publish_slowly(house, messages, range(2000, 2300)))
        ends = asyncio.gather(*(follow_to_the_end(*one, messages) for one in readers))
        await soon(publishing)
        await soon(ends)


async def publish_slowly(house: House, messages: list[Json], numbers: range) -> None:
    """Publish by tens, and last a message that every reader gets."""
    http = await house.http()
    for start in range(numbers.start, numbers.stop, 10):
        messages += await post(http, range(start, start + 10))
    last = user("dragon", user_id="u3", id="last", metadata={"channel": "c1"})
    house.server.publish(last)


async def follow_to_the_end(client: Client, wanted: Json, since: int, messages: list[Json]) -> None:
    got: list[Json] = []
    subscribed = False
    while not got or got[-1]["id"] != "last":
        event = await client.event()
        if "action" in event:
            assert event["action"] == "subscribed", event
            subscribed = True
        else:
            got.append(event)
    assert subscribed
    expected = [one for one in messages if one["seq"] > since and plainly(one, wanted)]
    assert got[:-1] == expected


@on_uvloop
async def test_a_cursor_that_cannot_be_is_told_so(tmp_path: Path) -> None:
    """One of another log, one in the future, and none at all."""
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(100))
    async with keeping(tmp_path) as house:
        first, last = messages[0]["seq"], messages[-1]["seq"]
        client = await house.client()
        await client.tell("subscribe", message_types=TYPES, since=1000)
        seqs, [_, gap] = await resumed(client, last)
        assert (gap["action"], gap["from"]) == ("gap", 1000)
        assert 1000 < gap["to"] < first
        assert seqs == [one["seq"] for one in messages]
        client = await house.client()
        error = await client.ask("subscribe", message_types=TYPES, since=2**52)
        assert (error["action"], error["error_code"]) == ("error", 1002)
        assert error["details"]["field"] == "since"
        client = await house.client(f"?message_types={','.join(TYPES)}&since=0")
        seqs, [subscribed] = await resumed(client, last)
        assert subscribed["action"] == "subscribed"
        assert seqs == [one["seq"] for one in messages]


# A start.


@pytest.mark.parametrize("window", [50, 1000])
@on_uvloop
async def test_it_serves_while_the_window_is_filled(tmp_path: Path, window: int) -> None:
    """Reads, resume, publishing and publishing again, with the window smaller or larger."""
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(600))
    async with keeping(tmp_path, window_messages=window) as house:
        http = await house.http()
        client = await house.client(f"?message_types={','.join(TYPES)}&since=0")
        number = 600
        while not filled(house):
            messages += await post(http, range(number, number + 7))
            again = house.server.publish(sample(number - 40))
            assert again.seq == messages[number - 40]["seq"]
            got = await page(http, limit=100, offset=20)
            assert got["messages"] == messages[::-1][20:120]
            assert got["total_count"] == len(messages)
            number += 7
        await check_history(http, messages)
        seqs, _ = await resumed(client, messages[-1]["seq"])
        assert seqs == [one["seq"] for one in messages]
        assert await everything(http) == messages
        house.site.log._window._check()


@on_uvloop
async def test_live_traffic_may_fill_the_window_by_itself(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(600))
    async with keeping(tmp_path, window_messages=20) as house:
        for number in range(600, 700):  # before the filling has had a turn
            house.server.publish(sample(number))
        http = await house.http()
        messages += await post(http, range(700, 800))
        await until(lambda: filled(house), "filled")
        assert len(house.site.log._window) <= 20
        got = await everything(http)
        assert [one["id"] for one in got] == [f"m{number}" for number in range(800)]


@on_uvloop
async def test_an_id_published_again_after_a_restart_has_its_first_place(tmp_path: Path) -> None:
    """Also when it is among those that are not yet in memory."""
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(100))
    async with keeping(tmp_path) as house:
        client, publisher = await house.client(), await house.client()
        await client.ask("subscribe", message_types=TYPES)
        for wait in (False, True):
            if wait:
                await until(lambda: filled(house), "filled")
            for number in (60, 99):
                published = await publisher.ask("publish", message=sample(number))
                assert published["seq"] == messages[number]["seq"]
        assert await client.everything() == []
        assert await everything(await house.http()) == messages


@on_uvloop
async def test_a_clock_that_is_set_back_does_not_lower_a_seq(tmp_path: Path) -> None:
    now = [time.time()]
    seqs = []
    for _ in range(3):
        async with keeping(tmp_path, clock=lambda: now[0]) as house:
            seqs += house.publish("one", "two")
            now[0] -= 3600
            seqs += house.publish("three", "four")
            now[0] -= 3600
    assert seqs == sorted(set(seqs))
    async with keeping(tmp_path) as house:
        assert [one["seq"] for one in await everything(await house.http())] == seqs


# Retention.


def pages_of(path: Path) -> int:
    """How large a database is."""
    with closing(sqlite3.connect(path)) as connection:
        [[count]] = connection.execute("PRAGMA page_count")
        return int(count)


async def trimmed(http: Http, count: int) -> Json:
    """A page, once there are `count` messages left."""
    deadline = time.monotonic() + PATIENCE
    while (got := await page(http, limit=1000))["total_count"] != count:
        assert time.monotonic() < deadline, f"{got['total_count']} messages are kept"
        await asyncio.sleep(0.02)
    return got


@pytest.mark.parametrize("window", [50, 1000])
@on_uvloop
async def test_the_newest_messages_are_kept(tmp_path: Path, window: int) -> None:
    """What has been given up is in no total and no page, and who wanted it is told."""
    settings = {"retention_messages": 300, "window_messages": window}
    async with keeping(tmp_path, **settings) as house:
        http = await house.http()
        messages = await post(http, range(1000))
        kept = messages[700:]
        assert (await trimmed(http, 300))["messages"] == kept[::-1]
        await check_history(http, kept)
        await check_gap(house, messages[100]["seq"], kept)
    async with keeping(tmp_path, **settings) as house:
        http = await house.http()
        await check_history(http, kept)
        await check_gap(house, messages[100]["seq"], kept)
        await check_gap(house, 0, kept)


async def check_gap(house: House, since: int, kept: list[Json]) -> None:
    client = await house.client()
    await client.tell("subscribe", message_types=TYPES, since=since)
    seqs, [_, gap] = await resumed(client, kept[-1]["seq"])
    assert (gap["action"], gap["from"]) == ("gap", since)
    assert since < gap["to"] < kept[0]["seq"]
    assert seqs == [one["seq"] for one in kept]


@on_uvloop
async def test_old_messages_go_by_the_day_down_to_none(tmp_path: Path) -> None:
    now = [time.time() + DAY]
    settings: Json = {"retention_days": 2.0, "clock": lambda: now[0]}
    async with keeping(tmp_path, **settings) as house:
        http = await house.http()
        await post(http, range(200))
        now[0] += DAY
        later = await post(http, range(200, 300))
        now[0] += 1.5 * DAY
        await trimmed(http, 100)
        assert await everything(http) == later
    now[0] += DAY
    async with keeping(tmp_path, **settings) as house:
        http = await house.http()
        await trimmed(http, 0)
        assert await everything(http) == []
        newest = await post(http, range(300, 310))
        assert await everything(http) == newest
        await check_gap(house, later[0]["seq"], newest)
    async with keeping(tmp_path, **settings) as house:
        assert await everything(await house.http()) == newest


@on_uvloop
async def test_a_trimmed_file_does_not_grow_and_can_be_read_meanwhile(tmp_path: Path) -> None:
    async with keeping(tmp_path, retention_messages=1000) as house:
        http = await house.http()
        sizes, last = [], 0
        for start in range(0, 10_000, 500):
            last = (await post(http, range(start, start + 500)))[-1]["seq"]
            got = (await page(http, limit=1000))["messages"]
            assert len(got) == min(1000, start + 500)
            assert got[0]["seq"] == last
            assert [int(one["id"][1:]) for one in got] == list(
                range(start + 499, start + 499 - len(got), -1)
            )
            if start >= 2000:
                await trimmed(http, 1000)
                sizes.append(pages_of(tmp_path / "live.db"))
    assert sizes[-1] <= sizes[0] * 2
