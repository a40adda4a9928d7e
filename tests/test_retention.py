"""Retention: old messages go by number and by day, and readers are told of the gap."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from livelog.store import age, upkeep
from tests.support.keeping import (
    check_history,
    everything,
    filled,
    keeping,
    page,
    post,
    resumed,
)
from tests.support.wire import (
    PATIENCE,
    TYPES,
    House,
    Http,
    Json,
    on_uvloop,
    until,
)

pytestmark = pytest.mark.usefixtures("no_reader_left")

DAY = 86_400.0


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


@pytest.mark.usefixtures("quick_trims")
@pytest.mark.parametrize("window", [50, 1000])
@on_uvloop
async def test_the_newest_messages_are_kept(tmp_path: Path, window: int) -> None:
    """Deleted messages are in no total and no page, and a client that wanted them is told."""
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
    async with keeping(tmp_path, **settings) as house:
        later = await post(await house.http(), range(200, 300))
    now[0] += 1.5 * DAY
    async with keeping(tmp_path, **settings) as house:
        http = await house.http()
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
    async with keeping(tmp_path, retention_messages=500) as house:
        http = await house.http()
        sizes, last = [], 0
        for start in range(0, 5000, 250):
            last = (await post(http, range(start, start + 250)))[-1]["seq"]
            got = (await page(http, limit=500))["messages"]
            assert len(got) == min(500, start + 250)
            assert got[0]["seq"] == last
            assert [int(one["id"][1:]) for one in got] == list(
                range(start + 249, start + 249 - len(got), -1)
            )
            if start >= 1000:
                await trimmed(http, 500)
                sizes.append(pages_of(tmp_path / "live.db"))
    assert sizes[-1] <= sizes[0] * 2


def noted(house: House) -> int:
    """Return the seq that the writer has a time for."""
    journal: Any = house.inside.store.journal
    seq: int = journal._writer._upkeep._age._latest[0]
    return seq


@on_uvloop
async def test_a_clock_that_is_ahead_for_a_moment_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(age, "FIRST_CUT_SECONDS", 0)
    monkeypatch.setattr(upkeep, "_TRIM_SECONDS", 0.02)
    now = [time.time()]
    settings: Json = {"retention_days": 1.0, "clock": lambda: now[0]}
    async with keeping(tmp_path, faults=("the clock was set",), **settings) as house:
        http = await house.http()
        messages = await post(http, range(200))
        await until(lambda: noted(house) == messages[-1]["seq"], "the time to be noted")
        now[0] += 3 * DAY
        await until(lambda: "the clock was set by +" in caplog.text, "a step")
        await post(http, range(200, 210))
        now[0] -= 3 * DAY
        await until(lambda: "the clock was set by -" in caplog.text, "a step back")
        assert len(await everything(http)) == 210
