"""A store that is moved, deleted or replaced under a running server: nothing is acknowledged."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from livelog import Config, ConfigError, RefusedError, Server
from livelog.store import upkeep
from livelog.store.database.file import connect, open_file
from livelog.store.database.place import Place
from tests.support.disk import KEY, reading_processes
from tests.support.keeping import (
    SETTINGS,
    everything,
    filled,
    keeping,
    killed_reader,
    page,
    post,
    pragma,
    sample,
)
from tests.support.wire import House, Json, on_uvloop, until, user

pytestmark = pytest.mark.usefixtures("no_reader_left")

GONE = ["the store cannot be written to", "has been"]
BACK = "the store can be written to again"
CLOSED = ["could not be written to the store", "the store is closed, and is not where it was"]


def move(store: Path, other: Path) -> None:
    store.rename(other / "live.db")


def move_all(store: Path, other: Path) -> None:
    for name in names(store.parent):
        (store.parent / name).rename(other / name)


def move_log(store: Path, other: Path) -> None:
    Path(f"{store}-wal").rename(other / "live.db-wal")


def move_locks(store: Path, other: Path) -> None:
    Path(f"{store}-shm").rename(other / "live.db-shm")


def replace(store: Path, other: Path) -> None:
    move(store, other)
    shutil.copy(other / "live.db", store)


def rename_the_folder(store: Path, other: Path) -> None:
    store.parent.rename(other / "folder")


def link(store: Path, other: Path) -> None:
    """Leave a link to the moved database: a write-ahead log belongs beside where that is now."""
    move(store, other)
    store.symlink_to(other / "live.db")


HARMS = [move, move_all, move_log, move_locks, replace, link, rename_the_folder]
# Files are known by their inodes, whatever is in them. What is left to the SQLite of an encrypted
# store is what becomes of a database and its log that are not beside each other any more.
each_harm = pytest.mark.parametrize(
    ("harm", "each_kind"),
    [*((harm, "plain") for harm in HARMS), (move, "encrypted"), (move_log, "encrypted")],
    indirect=["each_kind"],
)


def names(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if name.startswith("live.db")}


def put_back(store: Path, other: Path) -> None:
    if (other / "folder").exists():
        (other / "folder").rename(store.parent)
    for moved in other.iterdir():
        os.replace(moved, store.parent / moved.name)


async def stored(house: House, numbers: range) -> list[Json]:
    """Publish, when the window has been filled."""
    messages = await post(await house.http(), numbers)
    await until(lambda: filled(house), "filled")
    return messages


async def check_refused(house: House, *reasons: str) -> None:
    http, client = await house.http(), await house.client()
    answer = await http.ask("POST", "/api/messages", json.dumps(user("refused")))
    assert answer.status == 503
    await until(lambda: house.context.log.refusal is not None, "refused")
    error = await client.ask("publish", message=user("refused"))
    assert error["error_code"] == 1011
    with pytest.raises(RefusedError, match="has been"):
        house.append(user("refused"))
    health = (await http.ask("GET", "/healthz")).json
    assert health["status"] == "read-only"
    for reason in (*reasons, "has been"):
        assert reason in health["issue"]
        assert reason in error["details"]["issue"]


@pytest.mark.usefixtures("each_kind", "quick_retries")
@each_harm
@on_uvloop
async def test_a_store_that_was_moved_takes_nothing_until_it_is_back(
    tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    """All that was acknowledged is there again; what is on disk can be read meanwhile."""
    folder, other = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    other.mkdir()
    store = folder / "live.db"
    async with keeping(folder, faults=[*GONE, BACK]) as house:
        http = await house.http()
        messages = await post(http, range(300))
        await page(http)
        await until(lambda: filled(house), "filled")
        harm(store, other)
        await check_refused(house, str(folder))
        got = (await page(http, limit=100, before=messages[100]["seq"]))["messages"]
        assert got == messages[99::-1]
        put_back(store, other)
        await until(lambda: house.context.log.refusal is None, "back")
        messages += await post(http, range(300, 400))
    async with keeping(folder) as house:
        got = await everything(await house.http())
        assert [one for one in got if one.get("content") != "refused"] == messages


@pytest.mark.usefixtures("each_kind", "quick_retries", "no_idle_look")
@each_harm
@on_uvloop
async def test_a_server_whose_store_was_moved_ends_and_says_so(
    tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    """All that was acknowledged is in the files that were moved."""
    folder, other = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    other.mkdir()
    async with keeping(folder, faults=[*GONE, *CLOSED]) as house:
        messages = await stored(house, range(300))
        harm(folder / "live.db", other)
        await check_refused(house)
    put_back(folder / "live.db", other)
    async with keeping(folder) as house:
        assert (await everything(await house.http()))[:300] == messages


def cut(store: Path, other: Path) -> None:
    os.truncate(store, 0)


def overwrite(store: Path, other: Path) -> None:
    """By an older copy, as `cp` does: it remains the same file."""
    shutil.copy(other / "copy.db", store)


def overwrite_by_another(store: Path, other: Path) -> None:
    shutil.copy(other / "another.db", store)


@pytest.mark.usefixtures("each_kind", "quick_retries", "no_idle_look")
@pytest.mark.parametrize("harm", [cut, overwrite, overwrite_by_another])
@on_uvloop
async def test_a_store_that_was_overwritten_takes_nothing(
    tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    folder, other = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    other.mkdir()
    async with keeping(other, store=str(other / "another.db")) as house:
        for first in range(0, 3000, 1000):
            await stored(house, range(first, first + 1000))
    async with keeping(folder) as house:
        await stored(house, range(1000))
    shutil.copy(folder / "live.db", other / "copy.db")
    async with keeping(folder, faults=[*GONE, *CLOSED]) as house:
        await stored(house, range(1000, 2000))
        await asyncio.to_thread(run, folder / "live.db", "PRAGMA wal_checkpoint(TRUNCATE)")
        await post(await house.http(), range(2000, 2001))
        harm(folder / "live.db", other)
        await check_refused(house, "live.db")


@pytest.mark.usefixtures("each_kind", "quick_retries", "no_idle_look")
@on_uvloop
async def test_an_older_copy_of_the_same_size_is_not_taken_for_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With or without something in the write-ahead log that is written back to it."""
    monkeypatch.setattr(upkeep, "_ALIVE_SECONDS", 0)
    folder, other = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    other.mkdir()
    store, copy = folder / "live.db", other / "copy.db"
    async with keeping(folder, faults=[*GONE, BACK, *CLOSED]) as house:
        await stored(house, range(1000))
        copy.touch()
        for first in range(1000, 1100, 2):  # until there is room in the pages that are there
            for number in (first, first + 1):  # each with a state behind it
                await post(await house.http(), range(number, number + 1))
            await asyncio.to_thread(run, store, "PRAGMA wal_checkpoint(TRUNCATE)")
            if store.stat().st_size == copy.stat().st_size:
                break
            shutil.copy(store, copy)
        assert store.stat().st_size == copy.stat().st_size
        await post(await house.http(), range(2000, 2001))
        current = store.read_bytes()
        overwrite(store, other)
        await check_refused(house, "live.db")
        store.write_bytes(current)
        await until(lambda: house.context.log.refusal is None, "back")
        await post(await house.http(), range(2001, 2003))
        overwrite(store, other)
        await check_refused(house, "live.db")


@pytest.mark.usefixtures("each_kind", "quick_retries", "no_idle_look")
@pytest.mark.parametrize("generation", ["this", "before"])
@on_uvloop
async def test_an_older_write_ahead_log_of_the_same_size_takes_nothing(
    tmp_path: Path, generation: str
) -> None:
    """One that lacks the last commits, and one that has been written back."""
    store, wal, copy = tmp_path / "live.db", tmp_path / "live.db-wal", tmp_path / "copy"
    async with keeping(tmp_path, faults=[*GONE, *CLOSED]) as house:
        await stored(house, range(1000))
        if generation == "before":
            shutil.copy(wal, copy)
        await asyncio.to_thread(run, store, "PRAGMA wal_checkpoint(RESTART)")
        await post(await house.http(), range(1000, 1010))
        if generation == "this":
            shutil.copy(wal, copy)
        await post(await house.http(), range(1010, 1020))
        assert wal.stat().st_size == copy.stat().st_size
        shutil.copy(copy, wal)
        await check_refused(house, "live.db-wal")


@pytest.mark.usefixtures("each_kind", "no_idle_look")
@pytest.mark.parametrize(
    ("left", "each_kind"),
    [(0, "plain"), (100, "plain"), (16 * 1024, "plain"), (0, "encrypted")],
    indirect=["each_kind"],
)
@on_uvloop
async def test_an_index_of_the_write_ahead_log_that_was_cut_is_made_again(
    tmp_path: Path, left: int
) -> None:
    """SQLite has it mapped: what is not there would end the process."""
    other = tmp_path / "image"
    other.mkdir()
    async with keeping(tmp_path, faults=["was cut by another program"]) as house:
        http = await house.http()
        messages = await post(http, range(1000))
        await until(lambda: filled(house), "filled")
        await page(http, limit=1000)  # the reading process of a new store starts with a question
        for first in range(1000, 1030, 10):
            [reader] = reading_processes(tmp_path)
            os.kill(reader, signal.SIGSTOP)  # it would end, and be replaced
            os.truncate(tmp_path / "live.db-shm", left)
            messages += await post(http, range(first, first + 10))
            os.kill(reader, signal.SIGCONT)
            assert (await page(http, limit=1000))["messages"] == messages[:-1001:-1]
        # As it would be found behind a crash.
        for name in ("live.db", "live.db-wal"):
            shutil.copy(tmp_path / name, other / name)
    for folder in (tmp_path, other):
        async with keeping(folder) as house:
            assert await everything(await house.http()) == messages


@pytest.mark.usefixtures("each_kind", "quick_retries", "no_idle_look")
@pytest.mark.parametrize("left", [0, 100_000])
@on_uvloop
async def test_a_write_ahead_log_that_was_cut_takes_nothing(tmp_path: Path, left: int) -> None:
    """SQLite would write on behind the hole, and drop all of it at the next start."""
    async with keeping(tmp_path, faults=[*GONE, *CLOSED]) as house:
        await stored(house, range(1000))
        assert (tmp_path / "live.db-wal").stat().st_size > left
        os.truncate(tmp_path / "live.db-wal", left)
        await check_refused(house, "live.db-wal")


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_a_write_ahead_log_that_another_program_has_emptied_goes_on(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        for first in range(0, 30, 10):
            await post(await house.http(), range(first, first + 10))
            await until(lambda: filled(house), "filled")
            await asyncio.to_thread(run, tmp_path / "live.db", "PRAGMA wal_checkpoint(TRUNCATE)")
        assert house.context.log.refusal is None


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_a_store_that_was_made_smaller_goes_on(tmp_path: Path) -> None:
    """By a VACUUM of another program."""
    store = tmp_path / "live.db"
    async with keeping(tmp_path, retention_messages=100) as house:
        await stored(house, range(1000))
        await until(lambda: pragma(house, "freelist_count") > 20, "deleted")
        sizes = []
        for sql in ("SELECT 1", "VACUUM"):
            await asyncio.to_thread(run, store, sql)
            await asyncio.to_thread(run, store, "PRAGMA wal_checkpoint(TRUNCATE)")
            await post(await house.http(), range(2000, 2001))
            sizes.append(store.stat().st_size)
        assert sizes[1] < sizes[0]
        await post(await house.http(), range(3000, 3100))
        assert house.context.log.refusal is None


def run(store: Path, sql: str) -> None:
    """Do what another program may do."""
    key = KEY if "store_key_file" in SETTINGS else b""
    with closing(connect(str(store), key)) as connection:
        connection.execute(sql).fetchall()


@pytest.mark.usefixtures("quick_retries", "no_idle_look")
@on_uvloop
async def test_a_database_that_was_moved_alone_has_what_was_acknowledged(tmp_path: Path) -> None:
    """Its write-ahead log is written back to it."""
    other = tmp_path / "other.db"
    async with keeping(tmp_path, faults=[*GONE, *CLOSED]) as house:
        messages = await stored(house, range(300))
        (tmp_path / "live.db").rename(other)
        await check_refused(house)
    async with keeping(tmp_path, store=str(other)) as house:
        assert (await everything(await house.http()))[:300] == messages


@pytest.mark.usefixtures("each_kind", "quick_retries")
@on_uvloop
async def test_an_idle_server_notices_that_its_store_is_gone(tmp_path: Path) -> None:
    """And nothing makes a file in its place: no reader, no look-up, not even a new reader."""
    async with keeping(tmp_path, faults=[*GONE, CLOSED[1], "the process that reads"]) as house:
        http = await house.http()
        messages = await post(http, range(300))
        await until(lambda: filled(house), "filled")
        assert (await page(http, limit=1000))["messages"] == messages[::-1]
        for name in names(tmp_path):
            os.unlink(tmp_path / name)
        await until(lambda: house.context.log.refusal is not None, "noticed")
        assert (await http.ask("GET", "/healthz")).json["status"] == "read-only"
        killed_reader(tmp_path)
        answer = await http.ask("GET", "/api/history?limit=1000")
        assert answer.status in (500, 503)
    assert not names(tmp_path) - {"live.db-index", "live.db-index-wal"}


@pytest.mark.usefixtures("quick_retries", "no_idle_look")
@on_uvloop
async def test_a_link_that_leads_elsewhere_is_another_store(tmp_path: Path) -> None:
    link, real, other = tmp_path / "link.db", tmp_path / "real.db", tmp_path / "other.db"
    link.symlink_to(real)
    async with keeping(tmp_path, store=str(link), faults=[*GONE, *CLOSED]) as house:
        await stored(house, range(3))
        shutil.copy(real, other)
        other_link = tmp_path / "other link"
        other_link.symlink_to(other)
        other_link.replace(link)  # at once: between two steps it would be missing
        await check_refused(house, str(link))


@pytest.mark.usefixtures("quick_retries", "no_idle_look")
@on_uvloop
async def test_a_second_server_does_not_take_the_place_unnoticed(tmp_path: Path) -> None:
    """It is refused on the moved file, and beside the write-ahead log of the first one."""
    store, other = tmp_path / "live.db", tmp_path / "other.db"
    async with keeping(tmp_path, faults=[*GONE, *CLOSED]) as house:
        messages = await stored(house, range(300))
        store.rename(other)
        for path, issue in ((other, "in use by another server"), (store, "write-ahead log")):
            with pytest.raises(ConfigError, match=issue):
                await Server(Config(port=0, store=str(path))).start()
        assert not store.exists()
        await check_refused(house)
    async with keeping(tmp_path, store=str(other)) as house:
        assert (await everything(await house.http()))[:300] == messages


@pytest.mark.usefixtures("quick_retries")
@on_uvloop
async def test_the_end_of_a_server_leaves_a_store_that_has_taken_its_place(tmp_path: Path) -> None:
    """With its write-ahead log, which SQLite would delete by its name."""
    store, other = tmp_path / "live.db", tmp_path / "other"
    other.mkdir()
    async with keeping(tmp_path, faults=[*GONE, CLOSED[1]]) as house:
        await stored(house, range(300))
        move_all(store, other)
        with closing(sqlite3.connect(store, isolation_level=None)) as taken:
            taken.execute("PRAGMA journal_mode = WAL")
            taken.execute("CREATE TABLE theirs(number)")
            taken.execute("INSERT INTO theirs VALUES (1)")
            await until(lambda: house.context.log.refusal is not None, "noticed")
            await house.server.close()  # twice, then
            assert "live.db-wal" in names(tmp_path)
    with closing(sqlite3.connect(store, isolation_level=None)) as taken:
        assert taken.execute("SELECT number FROM theirs").fetchall() == [(1,)]


def test_the_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    connection, _ = open_file(str(path))
    place = Place(str(path), os.open(path, os.O_RDONLY), connection)
    assert place.fault() == ""
    Path(f"{path}-shm").rename(tmp_path / "away")
    assert place.fault().startswith(f"{path}-shm has been moved or deleted")
    Path(f"{path}-shm").touch()
    assert place.fault() == f"{path}-shm has been replaced by another file"
    connection.close()


@on_uvloop
async def test_a_relative_path_is_that_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with keeping(tmp_path, store="live.db") as house:
        await stored(house, range(3))
        monkeypatch.chdir("/")
        assert house.append(sample(3)).seq
        await post(await house.http(), range(3, 6))


@pytest.mark.usefixtures("each_kind")
@pytest.mark.parametrize("umask", [0, 0o022, 0o277])
@on_uvloop
async def test_only_the_owner_has_access_to_the_files(tmp_path: Path, umask: int) -> None:
    """Whatever the umask."""
    before = os.umask(umask)
    try:
        async with keeping(tmp_path) as house:
            http = await house.http()
            await post(http, range(100))
            await page(http, limit=1000)
            modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in names(tmp_path)}
    finally:
        os.umask(before)
    assert {"live.db", "live.db-wal", "live.db-shm", "live.db-index"} <= modes.keys()
    assert set(modes.values()) == {0o600}


@on_uvloop
async def test_files_that_all_users_can_read_are_told_and_used(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(10))
    path = tmp_path / "live.db"
    path.chmod(0o640)
    async with keeping(tmp_path) as house:
        assert await everything(await house.http()) == messages
    path.chmod(0o644)
    async with keeping(tmp_path, faults=["run `chmod o= "]) as house:
        assert await everything(await house.http()) == messages
    assert path.stat().st_mode & 0o777 == 0o644
