"""A disk that fails: publishers are stopped and told, and nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from livelog import RefusedError
from livelog.store import writer
from livelog.store.database import file
from tests.support.keeping import (
    FULL,
    SHORT,
    batch,
    everything,
    foreign,
    keeping,
    killed_reader,
    page,
    post,
    pragma,
    sample,
)
from tests.support.wire import (
    PATIENCE,
    TYPES,
    Client,
    House,
    Http,
    Json,
    on_uvloop,
    request,
    until,
    user,
)

pytestmark = pytest.mark.usefixtures("no_reader_left")


@pytest.mark.usefixtures("each_kind", "quick_retries")
@on_uvloop
async def test_a_full_disk_stops_publishers_and_nobody_else(tmp_path: Path) -> None:
    """Messages delivered and refused are stored once there is room, and once only."""
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
async def test_a_body_that_fills_the_disk_is_told_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_COMMIT_RECORDS", 100)
    ids = [f"m{number}" for number in range(1010)]
    async with keeping(tmp_path, window_messages=2000, faults=FULL) as house:
        http = await house.http()
        await post(http, range(10))
        pragma(house, f"max_page_count = {pragma(house, 'page_count') + 40}")
        answer = await http.ask("POST", "/api/messages", batch(range(10, 1010)))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        details = answer.json["details"]
        kept = 10 + len(details["acknowledged"])
        assert 10 < kept < 1010
        assert ids[10:kept] == details["acknowledged"]
        assert all("disk is full" in one.pop("issue") for one in details["refused"])
        assert details["refused"] == [
            {"index": number - 10, "id": ids[number], "error_code": 1011}
            for number in range(kept, 1010)
        ]
        with foreign(tmp_path / "live.db") as other:
            rows = other.execute("SELECT id FROM message ORDER BY position").fetchall()
        assert [id for (id,) in rows] == ids[:kept]
        pragma(house, "max_page_count = 100000")
        await until(lambda: house.context.log.refusal is None, "room")
        again = await post(http, range(10, 1010))
        assert (await everything(http))[10:] == again


@pytest.mark.usefixtures("each_kind", "quick_retries")
@on_uvloop
async def test_everyone_in_the_queue_is_told_when_the_disk_is_full(tmp_path: Path) -> None:
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
    """Messages it then cannot write are the end of the log, not a hole in it."""
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
