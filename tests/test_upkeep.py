"""Upkeep between commits: the write-ahead log stays small whoever reads, and is given back."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from livelog.store import upkeep, writer
from livelog.store.database import file
from livelog.wire.record import Record
from tests.support.disk import Disk
from tests.support.keeping import filled, foreign, keeping, post
from tests.support.strategies import record
from tests.support.wire import House, Json, on_uvloop, until, user

pytestmark = pytest.mark.usefixtures("no_reader_left")

MB = 2**20


def log_size(folder: Path) -> int:
    return os.stat(folder / "live.db-wal").st_size


async def search_on(house: House, enough: asyncio.Event) -> None:
    """Search the past again and again."""
    http = await house.http()
    while not enough.is_set():
        answer = await http.ask("GET", "/api/search?query=dragon&limit=100")
        assert answer.status in (200, 503)


def long(number: int) -> Json:
    return user(f"dragon {number} " + "x" * 2000, user_id=f"u{number % 7}")


@pytest.mark.usefixtures("each_kind", "quick_trims")
@on_uvloop
async def test_the_log_stays_small_while_the_past_is_searched_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nearly nothing is left of it in a pause."""
    monkeypatch.setattr(file, "WAL_KEPT_BYTES", 2 * MB)
    async with keeping(tmp_path) as house:
        await post(await house.http(), range(1000))
        await until(lambda: filled(house), "filled")
        enough = asyncio.Event()
        searches = [asyncio.create_task(search_on(house, enough)) for _ in range(3)]
        publisher, sizes = await house.http(), []
        for first in range(0, 6000, 200):
            body = json.dumps([long(number) for number in range(first, first + 200)])
            assert (await publisher.ask("POST", "/api/messages", body)).status == 201
            sizes.append(log_size(tmp_path))
        enough.set()
        await asyncio.gather(*searches)
        assert max(sizes) < 8 * MB, max(sizes)
        await until(lambda: log_size(tmp_path) <= MB, "given back")


@pytest.mark.usefixtures("quick_trims")
@on_uvloop
async def test_a_program_that_reads_without_a_pause_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing goes on, and the log is given back when that program has ended its reading."""
    monkeypatch.setattr(file, "WAL_KEPT_BYTES", MB)
    monkeypatch.setattr(upkeep, "_WAL_LARGE_BYTES", 2 * MB)
    monkeypatch.setattr(upkeep, "_WAL_WAIT_SECONDS", 0.01)
    async with keeping(tmp_path, faults=["another program reads the store"]) as house:
        http = await house.http()
        await post(http, range(100))
        with foreign(tmp_path / "live.db") as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM message").fetchall()
            while log_size(tmp_path) < 3 * MB:
                body = json.dumps([long(number) for number in range(200)])
                assert (await http.ask("POST", "/api/messages", body)).status == 201
            await asyncio.sleep(0.2)
        await until(lambda: log_size(tmp_path) <= MB, "given back")


def test_a_commit_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write-ahead log has to hold all of it."""
    monkeypatch.setattr(writer, "_COMMIT_BYTES", 100_000)
    disk = Disk(tmp_path / "live.db")
    sizes: list[int] = []
    insert = disk.writer._insert

    def noted(records: list[Record]) -> None:
        sizes.append(sum(len(one.frame) for one in records))
        insert(records)

    monkeypatch.setattr(disk.writer, "_insert", noted)
    for number in range(300):
        one = record(
            {"type": "system", "event": "error", "data": {"note": "x" * 10_000}}, number + 1
        )
        disk.writer.append([one], lambda refused: None)
    disk.close()
    assert len(sizes) > 1
    assert max(sizes) <= 110_000
