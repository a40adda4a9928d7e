"""The log on disk, as a user meets it: real files, real sockets, the real reading process.

What a server acknowledged is there after a restart and told as if there had been none; a file that
cannot be used is refused and left alone; a disk that fails stops publishers, and nobody else.
Everything that is found is held against a plain list of what was published.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

import pytest
from websockets.sync.client import connect

from livelog import Config, ConfigError, RefusedError, Server
from livelog.store import writer
from livelog.store.database import file
from livelog.store.database.connection import Connection
from livelog.store.database.file import VERSION
from livelog.store.reader import segments
from livelog.store.sqlite import SqliteJournal
from tests.support.disk import KEY, Disk, key_file, reading_processes
from tests.support.process import CLEAN, ROOT, Start, ended, ready
from tests.support.strategies import record
from tests.support.wire import (
    PATIENCE,
    TYPES,
    Client,
    House,
    Http,
    Json,
    on_uvloop,
    request,
    serving,
    soon,
    until,
    user,
)
from tests.test_cli import events_until_close
from tests.test_query import complete, plainly

DAY = 86_400.0
SHORT = user("short")
WORDS = ["red dragon", "blue dragon", "gate closed", "the gate of dragons", "quiet"]


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not reading_processes(tmp_path)


SETTINGS: Json = {"limits": False, "window_messages": 50}


@pytest.fixture(params=["plain", "encrypted"])
def each_kind(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once with a plain file, once with an encrypted one."""
    if request.param == "encrypted":
        monkeypatch.setitem(SETTINGS, "store_key_file", key_file(tmp_path / "live.key"))


def foreign(path: Path) -> closing[Connection]:
    """What another program has that uses the file, and has its key."""
    return closing(file.connect(str(path), KEY if "store_key_file" in SETTINGS else b""))


@asynccontextmanager
async def keeping(folder: Path, **settings: Any) -> AsyncIterator[House]:
    """A server that keeps its log in `folder`, and little in memory."""
    usual = {"store": str(folder / "live.db"), **SETTINGS}
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


@pytest.mark.usefixtures("each_kind")
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


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_what_is_published_right_after_the_start_is_kept_once(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(100))
    async with keeping(tmp_path) as house:  # nothing has had a turn yet
        house.append(sample(100))
        again = house.append(sample(99))
        assert again.seq == messages[-1]["seq"]
        await until(lambda: filled(house), "filled")
        got = await everything(await house.http())
    assert [one["id"] for one in got] == [f"m{number}" for number in range(101)]


@on_uvloop
async def test_what_is_in_line_when_the_server_stops_is_written(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        for number in range(12_000):  # more than one statement takes
            house.append({**SHORT, "id": f"m{number}"})
    async with keeping(tmp_path) as house:
        got = await everything(await house.http())
        assert [one["id"] for one in got] == [f"m{number}" for number in range(12_000)]


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
        got = await soon(asyncio.gather(*(read_to_the_last(client) for client, *_ in readers)))
        await soon(publishing)
        hits = [[one for one in messages if plainly(one, wanted)] for wanted in wants]
        for (_, wanted, since), seqs in zip(readers, got, strict=True):
            expected = [one["seq"] for one in hits[wants.index(wanted)] if one["seq"] > since]
            assert seqs == expected


async def publish_slowly(house: House, messages: list[Json], numbers: range) -> None:
    """Publish by tens, and last a message that every reader gets."""
    http = await house.http()
    for first in range(numbers.start, numbers.stop, 10):
        messages += await post(http, range(first, first + 10))
    house.append(user("dragon", user_id="u3", id="last", metadata={"channel": "c1"}))


async def read_to_the_last(client: Client) -> list[int]:
    """The seqs of all messages before the last one."""
    seqs: list[int] = []
    while True:
        payload = (await client.frame()).payload
        if b'"id":"last"' in payload:
            return seqs
        if payload.startswith(b'{"type":'):
            seqs.append(int(payload[payload.rindex(b":") + 1 : -1]))
        else:
            assert payload.startswith(b'{"action":"subscribed"'), payload


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
            again = house.append(sample(number - 40))
            assert again.seq == messages[number - 40]["seq"]
            got = await page(http, limit=100, offset=20)
            assert got["messages"] == messages[::-1][20:120]
            assert got["total_count"] == len(messages)
            number += 7
        await check_history(http, messages)
        seqs, _ = await resumed(client, messages[-1]["seq"])
        assert seqs == [one["seq"] for one in messages]
        assert await everything(http) == messages
        house.context.log._window._check()


@on_uvloop
async def test_who_resumes_while_the_window_is_filled_gets_nothing_twice(tmp_path: Path) -> None:
    """Those who wait to fetch from disk are overtaken by the window, which then has it all."""
    store = str(tmp_path / "live.db")
    async with serving(store=store) as house:
        seqs = house.publish(*map(str, range(40)))
        await house.server.publish(user("40"))
    async with serving(store=store) as house:
        clients = [await house.client(f"?message_types=user&since={seq}") for seq in seqs]
        for number, client in enumerate(clients):
            assert (await client.event())["action"] == "subscribed"
            wanted = [str(content) for content in range(number + 1, 41)]
            assert await client.contents(len(wanted)) == wanted
        await until(lambda: filled(house), "filled")
        house.publish("live")
        assert [await client.contents(1) for client in clients] == [["live"]] * 40


@on_uvloop
async def test_live_traffic_may_fill_the_window_by_itself(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(600))
    async with keeping(tmp_path, window_messages=20) as house:
        for number in range(600, 700):  # before the filling has had a turn
            house.append(sample(number))
        http = await house.http()
        messages += await post(http, range(700, 800))
        await until(lambda: filled(house), "filled")
        assert len(house.context.log._window) <= 20
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


@pytest.fixture
def quick_trims(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is old is looked for all the time."""
    monkeypatch.setattr(writer, "_TRIM_SECONDS", 0.02)


@pytest.mark.usefixtures("quick_trims")
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


@pytest.mark.usefixtures("each_kind", "quick_trims")
@on_uvloop
async def test_a_retention_that_has_become_smaller_holds_from_the_next_start(
    tmp_path: Path,
) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(1500))
    async with keeping(tmp_path, retention_messages=300, window_messages=1000) as house:
        http = await house.http()
        messages += await post(http, range(1500, 1510))
        await trimmed(http, 300)
        await check_history(http, messages[-300:])
        await until(lambda: filled(house), "filled")
        await check_history(http, messages[-300:])


async def check_gap(house: House, since: int, kept: list[Json]) -> None:
    client = await house.client()
    await client.tell("subscribe", message_types=TYPES, since=since)
    seqs, [_, gap] = await resumed(client, kept[-1]["seq"])
    assert (gap["action"], gap["from"]) == ("gap", since)
    assert since < gap["to"] < kept[0]["seq"]
    assert seqs == [one["seq"] for one in kept]


@pytest.mark.usefixtures("quick_trims")
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


@pytest.mark.usefixtures("quick_trims")
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


# Whose file it is.


async def refusal(path: Path, **settings: Any) -> str:
    """What a server says about a store that it cannot use."""
    with pytest.raises(ConfigError) as wrong:
        await Server(Config(port=0, store=str(path), **settings)).start()
    assert str(path) in str(wrong.value)
    return str(wrong.value)


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_a_file_has_one_server_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "other.db").symlink_to("live.db")
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(3))
        for name in ("live.db", "other.db"):
            with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
                await Server(Config(port=0, store=str(tmp_path / name))).start()
        messages += await post(await house.http(), range(3, 6))
    async with keeping(tmp_path, store=str(tmp_path / "other.db")) as house:
        assert await everything(await house.http()) == messages


def make_text(path: Path) -> None:
    path.write_text("Dear diary,\n" * 1000)


def make_stranger(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE message(position INTEGER PRIMARY KEY, seq, id, payload)")


def make_newer(path: Path) -> None:
    make_filled(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")


def make_truncated(path: Path) -> None:
    make_filled(path)
    os.truncate(path, path.stat().st_size // 2)


def make_beheaded(path: Path) -> None:
    make_filled(path)
    os.truncate(path, 50)


def make_filled(path: Path) -> None:
    disk = Disk(path)
    disk.write([record(sample(number), number + 1) for number in range(400)])
    disk.close()
    Path(f"{path}-index").unlink()


@pytest.mark.parametrize(
    ("make", "issue"),
    [
        (make_text, "not a database"),
        (make_stranger, "not one of livelog"),
        (make_newer, f"has format {VERSION + 1}"),
        (make_truncated, "malformed"),
        (make_beheaded, "malformed"),
    ],
)
@on_uvloop
async def test_a_file_that_cannot_be_used_is_left_alone(
    tmp_path: Path, make: Callable[[Path], None], issue: str
) -> None:
    path = tmp_path / "live.db"
    make(path)
    before = path.read_bytes()
    assert issue in await refusal(path)
    assert path.read_bytes() == before
    assert not (tmp_path / "live.db-index").exists()


@on_uvloop
async def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    assert await refusal(tmp_path)
    assert "No such file or directory" in await refusal(tmp_path / "nowhere" / "live.db")


@on_uvloop
async def test_a_folder_that_may_not_be_written_to_is_named() -> None:
    assert "/proc" in await refusal(Path("/proc/live.db"))  # not even by root


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_an_empty_file_becomes_a_log(tmp_path: Path) -> None:
    (tmp_path / "live.db").touch()
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(3))
        assert await everything(await house.http()) == messages


def overwrite_the_middle(path: Path, filler: bytes) -> None:
    segments.remove(f"{path}-index")
    data = bytearray(path.read_bytes())
    first, last = len(data) // 4096 // 4 * 4096, len(data) // 2
    data[first:last] = filler * (last - first)
    path.write_bytes(data)


@pytest.mark.usefixtures("each_kind")
@pytest.mark.parametrize("filler", [b"\xff", b"\0", b"x"])
@on_uvloop
async def test_a_file_damaged_in_the_middle_stops_who_reads_there_only(
    tmp_path: Path, filler: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "live.db"
    async with keeping(tmp_path) as house:
        await post(await house.http(), range(2000))
    overwrite_the_middle(path, filler)
    async with keeping(tmp_path) as house:
        client = await house.client()
        error = await client.ask("get_history", limit=1000, offset=100)
        assert (error["action"], error["error_code"]) == ("error", 1011), error
        live = await house.client()
        await live.ask("subscribe", message_types=TYPES)
        published = await client.ask("publish", message=user("goes on"))
        assert published["action"] == "published", published
        assert await live.contents(1) == ["goes on"]
        await client.tell("subscribe", message_types=TYPES, since=0)
        told: list[str] = []
        while not told or told[-1] != "goes on":
            event = await client.event()
            told.append(str(event.get("action", event.get("content"))))
        assert told[:3] == ["subscribed", "error", "gap"]
    assert "the store cannot be read" in capfd.readouterr().err


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_a_window_that_cannot_be_filled_leaves_the_rest_at_work(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(2000))
    overwrite_the_middle(tmp_path / "live.db", b"\xff")
    faults = ["the window could not be filled: the store cannot be read"]
    async with keeping(tmp_path, window_messages=1300, faults=faults) as house:
        await until(lambda: filled(house), "given up")
        health = (await (await house.http()).ask("GET", "/healthz")).json
        assert (health["status"], faults[0] in health["issue"]) == ("degraded", True)
        client = await house.client()
        await client.tell("subscribe", message_types=TYPES, since=messages[-3]["seq"])
        published = house.publish("goes", "on")
        seqs, events = await resumed(client, published[-1])
        # What lies on disk cannot be read while what is before it cannot be indexed.
        assert [event["action"] for event in events] == ["subscribed", "error", "gap"]
        assert seqs == published


# On the command line.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_store_in_use_is_named_and_free_when_its_server_has_ended(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    path = str(tmp_path / "live.db")
    first = start("--port", "0", "--store", path)
    ready(first)
    code, out, err = ended(start("--port", "0", "--store", path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"livelog: --store {path}: ")
    assert f"process {first.pid}" in err
    first.send_signal(number)
    ended(first)
    again = start("--port", "0", "--store", path)
    ready(again)
    again.terminate()
    assert ended(again) == (0, "", "")


def test_a_store_that_cannot_be_is_named_in_one_line(start: Start, tmp_path: Path) -> None:
    make_text(tmp_path / "text")
    for path in (tmp_path / "text", tmp_path / "nowhere" / "live.db", tmp_path):
        code, out, err = ended(start("--port", "0", "--store", str(path)))
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith(f"livelog: --store {path}: ")


def test_an_interrupt_of_the_whole_process_group_ends_it_in_good_order(tmp_path: Path) -> None:
    """As Ctrl-C at a terminal does; also while the reading process is being started."""
    path = tmp_path / "live.db"
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "livelog", "--port", "0", "--store", str(path)],
            cwd=ROOT,
            env=CLEAN,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        try:
            with connect(f"{ready(process)}?message_types=user&since=0") as client:
                client.recv(PATIENCE)
                client.send('{"action": "get_history"}')
                os.killpg(process.pid, signal.SIGINT)
                list(events_until_close(client))
            assert ended(process) == (0, "", "")
        finally:
            process.kill()
            process.communicate()


# A disk that fails.


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer tries again soon, and gives up early."""
    monkeypatch.setattr(writer, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(file, "_BUSY_SECONDS", 0.05)


FULL = ["the store cannot be written to", "the store can be written to again"]


def pragma(house: House, text: str) -> int:
    """Ask or tell the connection that writes."""
    journal = house.server._store.journal
    assert isinstance(journal, SqliteJournal)
    [[value]] = journal._writer._connection.execute(f"PRAGMA {text}")
    return int(value)


@pytest.mark.usefixtures("each_kind", "quick_retries")
@on_uvloop
async def test_a_full_disk_stops_publishers_and_nobody_else(tmp_path: Path) -> None:
    """What was delivered and refused is stored once there is room, and once only."""
    async with keeping(tmp_path, faults=FULL) as house:
        http, client, live = await house.http(), await house.client(), await house.client()
        messages = await post(http, range(200))
        await live.ask("subscribe", message_types=TYPES)
        pragma(house, f"max_page_count = {pragma(house, 'page_count') + 1}")
        number, published = 200, Json(action="published")
        while published["action"] == "published":
            published = await client.ask("publish", message=sample(number))
            number += 1
        assert published["error_code"] == 1011
        assert "full" in published["details"]["issue"]
        await check_refused(house, http, client)
        assert await page(http, limit=1, offset=199)
        delivered = [await live.event() for _ in range(200, number)]
        assert [one["id"] for one in delivered] == [f"m{n}" for n in range(200, number)]
        messages += delivered
        assert await live.everything() == []
        pragma(house, "max_page_count = 100000")
        await until(lambda: house.context.log.refusal is None, "room")
        again = await client.ask("publish", message=sample(number - 1))
        assert (again["action"], again["seq"]) == ("published", delivered[-1]["seq"])
        messages += await post(http, range(number, number + 100))
        assert await live.everything() == messages[number:]
        assert await everything(http) == messages
    async with keeping(tmp_path) as house:
        assert await everything(await house.http()) == messages


async def check_refused(house: House, http: Http, client: Client) -> None:
    """Every door says that nothing can be taken."""
    error = await client.ask("publish", message=user("refused"))
    assert error["error_code"] == 1011
    assert "cannot be written to" in error["details"]["issue"]
    answer = await http.ask("POST", "/api/messages", json.dumps(user("refused")))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    with pytest.raises(RefusedError, match="cannot be written to"):
        house.append(user("refused"))


@pytest.mark.usefixtures("each_kind", "quick_retries")
@on_uvloop
async def test_everyone_in_line_is_told_when_the_disk_is_full(tmp_path: Path) -> None:
    """Also who leaves meanwhile; nobody waits for the disk to have room."""
    async with keeping(tmp_path, faults=FULL) as house:
        messages = await post(await house.http(), range(10))
        pragma(house, f"max_page_count = {pragma(house, 'page_count')}")
        clients = [await house.http() for _ in range(30)]
        for number, http in enumerate(clients, 1):
            body = batch(range(number * 100, number * 100 + 100))
            await http.send(request("POST", "/api/messages", body))
        clients.pop().close()
        answers = [await http.answer() for http in clients]
        assert {answer.status for answer in answers} == {503}
        pragma(house, "max_page_count = 100000")
        await until(lambda: house.context.log.refusal is None, "room")
        stored = await everything(await house.http())
        assert stored[:10] == messages
        ids = [one["id"] for one in stored]
        assert len(ids) == len(set(ids))


async def publish_on(house: House) -> NoReturn:
    """Until it is refused."""
    while True:
        house.append(SHORT)
        await asyncio.sleep(0)


@pytest.mark.usefixtures("each_kind", "quick_retries")
@on_uvloop
async def test_a_server_stops_although_its_disk_is_full(tmp_path: Path) -> None:
    """What it then cannot write is the end of the log, not a hole in it."""
    async with keeping(tmp_path, faults=[FULL[0], "could not be written to the store"]) as house:
        messages = await post(await house.http(), range(10))
        live = await house.client()
        await live.ask("subscribe", message_types=TYPES)
        pragma(house, f"max_page_count = {pragma(house, 'page_count')}")
        with pytest.raises(RefusedError, match="full"):
            await publish_on(house)
        messages += await live.everything()
    async with keeping(tmp_path) as house:
        stored = await everything(await house.http())
        assert 10 <= len(stored) < len(messages)
        assert stored == messages[: len(stored)]


@pytest.mark.usefixtures("each_kind", "quick_retries")
@on_uvloop
async def test_a_stalled_writer_stops_publishers_before_memory_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_BUSY_SECONDS", 5 * PATIENCE)
    monkeypatch.setattr(writer, "_PENDING_BYTES", 100_000)
    async with keeping(tmp_path) as house:
        http, client = await house.http(), await house.client()
        await post(http, range(10))
        with foreign(tmp_path / "live.db") as other:
            other.execute("BEGIN IMMEDIATE")
            published = []
            while house.context.log.refusal is None:
                published.append(house.append(user("x" * 1000)).seq)
            assert 50 < len(published) <= 100
            with pytest.raises(RefusedError, match="behind"):
                house.append(user("refused"))
            error = await client.ask("publish", message=user("refused"))
            assert "behind" in error["details"]["issue"]
            assert (await page(http))["total_count"] == 10 + len(published)
            other.execute("ROLLBACK")
        await until(lambda: house.context.log.refusal is None, "caught up")
        published.append((await client.ask("publish", message=user("taken")))["seq"])
        assert [one["seq"] for one in (await everything(http))[10:]] == published


@pytest.mark.usefixtures("each_kind", "quick_retries")
@on_uvloop
async def test_a_file_that_another_program_holds_is_written_to_later(tmp_path: Path) -> None:
    async with keeping(tmp_path, faults=["database is locked", FULL[1]]) as house:
        http, client = await house.http(), await house.client()
        messages = await post(http, range(10))
        with foreign(tmp_path / "live.db") as other:
            other.execute("BEGIN IMMEDIATE")
            error = await client.ask("publish", message=sample(10))
            assert "locked" in error["details"]["issue"]
            await check_refused(house, http, client)
            other.execute("ROLLBACK")
        await until(lambda: house.context.log.refusal is None, "room")
        await post(http, range(10, 12))
        got = await everything(http)
        assert got[:10] == messages
        assert [one["id"] for one in got[10:]] == ["m10", "m11"]


@pytest.mark.usefixtures("each_kind", "quick_retries", "quick_trims")
@on_uvloop
async def test_a_server_that_has_nothing_to_write_does_not_mind_who_holds_the_file(
    tmp_path: Path,
) -> None:
    async with keeping(tmp_path) as house:
        http = await house.http()
        messages = await post(http, range(100))
        with foreign(tmp_path / "live.db") as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(100):
                assert (await page(http, limit=1))["messages"] == messages[-1:]
            other.execute("ROLLBACK")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "livelog-test", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no room in `folder`."""
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(4096)):
            pass


@pytest.mark.usefixtures("each_kind", "quick_retries")
@on_uvloop
async def test_a_disk_that_is_really_full_can_be_read(small_disk: Path) -> None:
    """Also by a reading process that is started while it is, and has no room for its index."""
    faults = [*FULL, "the process that reads"]
    async with keeping(small_disk, faults=faults) as house:
        http, live = await house.http(), await house.client()
        await live.ask("subscribe", message_types=TYPES)
        messages = await post(http, range(300))
        fill(small_disk)
        number = 300
        while (await http.ask("POST", "/api/messages", json.dumps(sample(number)))).status == 201:
            number += 1
        killed_reader(small_disk)
        stored = await everything(http)
        assert [one["id"] for one in stored] == [f"m{n}" for n in range(number + 1)]
        assert stored[:300] == messages
        assert await live.everything() == stored
        os.unlink(small_disk / "filler")
        await until(lambda: house.context.log.refusal is None, "room")
        await post(http, range(number, number + 10))
        stored = await everything(http)
        assert [one["id"] for one in stored] == [f"m{n}" for n in range(number + 10)]
    async with keeping(small_disk) as house:
        assert await everything(await house.http()) == stored


# The reading process and its index.


def killed_reader(folder: Path) -> int:
    """Kill the process that reads; returns which it was."""
    [reader] = reading_processes(folder)
    os.kill(reader, signal.SIGKILL)
    return reader


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_a_reading_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    """Whoever was reading reads on, without a gap."""
    failed = "the process that reads"
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(5000))
    async with keeping(tmp_path, faults=[failed]) as house:
        http = await house.http()
        await until(lambda: filled(house), "filled")
        readers = [await house.client() for _ in range(3)]
        for place, reader in enumerate(readers):
            since = messages[place * 10]["seq"]
            await reader.tell("subscribe", message_types=TYPES, since=since)
        for _ in range(3):
            await http.send(request("GET", "/api/history?limit=1000&offset=3000"))
            killed = killed_reader(tmp_path)
            answer = await http.answer()
            assert answer.json["messages"] == messages[1000:2000][::-1]
            assert reading_processes(tmp_path) != [killed]
        for place, reader in enumerate(readers):
            seqs, events = await resumed(reader, messages[-1]["seq"])
            assert [event["action"] for event in events] == ["subscribed"]
            assert seqs == [one["seq"] for one in messages[place * 10 + 1 :]]


def lose(index: Path) -> None:
    index.unlink()


def spoil(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    index.write_bytes(data)


def cut(index: Path) -> None:
    os.truncate(index, index.stat().st_size // 2)


@pytest.mark.usefixtures("each_kind")
@pytest.mark.parametrize("harm", [lose, spoil, cut])
@on_uvloop
async def test_an_index_that_was_harmed_is_made_again(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    index = tmp_path / "live.db-index"
    async with keeping(tmp_path) as house:
        http = await house.http()
        messages = []
        for start in range(0, 9000, 3000):
            messages += await post(http, range(start, start + 3000))
        await page(http)
        # Sealed: the first 8192 have got a segment.
        await until(lambda: Path(f"{index}-wal").stat().st_size > 100_000, "a segment")
    harm(index)
    async with keeping(tmp_path) as house:
        http = await house.http()
        hits = [one for one in reversed(messages) if plainly(one, {"user_id": "u3"})]
        got = await page(http, limit=1000, offset=600, user_id="u3")
        assert (got["total_count"], got["messages"]) == (len(hits), hits[600:])
