"""The database file: one owner at a time, and a file that cannot be used is left alone."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from livelog import Config, ConfigError, Server
from livelog.store import sqlite
from livelog.store.database.file import VERSION
from livelog.store.reader import indexfile
from tests.support.disk import Disk
from tests.support.keeping import (
    everything,
    filled,
    keeping,
    post,
    resumed,
    sample,
)
from tests.support.process import CLEAN, ROOT, STOPPED, Start, ended, ready
from tests.support.strategies import record
from tests.support.wire import (
    PATIENCE,
    TYPES,
    on_uvloop,
    until,
)
from tests.test_cli import events_until_close

pytestmark = pytest.mark.usefixtures("no_reader_left")


async def refusal(path: Path, **settings: Any) -> str:
    """Return the error of a server whose store cannot be used."""
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


def make_foreign(path: Path) -> None:
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
        (make_foreign, "not one of livelog"),
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
    (tmp_path / "live.db").touch(0o600)
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(3))
        assert await everything(await house.http()) == messages


def overwrite_the_middle(path: Path, filler: bytes) -> None:
    indexfile.remove(f"{path}-index")
    data = bytearray(path.read_bytes())
    first, last = len(data) // 4096 // 4 * 4096, len(data) // 2
    data[first:last] = filler * (last - first)
    path.write_bytes(data)


@pytest.mark.usefixtures("each_kind")
@pytest.mark.parametrize(
    ("filler", "each_kind"),  # decrypted, all of them are noise
    [(b"\xff", "plain"), (b"\0", "plain"), (b"x", "plain"), (b"\0", "encrypted")],
    indirect=["each_kind"],
)
@on_uvloop
async def test_a_file_damaged_in_the_middle_is_read_around(
    tmp_path: Path, filler: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is left is delivered, and a reader that passes the damage is told of a gap."""
    monkeypatch.setattr(sqlite, "_DAMAGE_SECONDS", 3600.0)  # what it logs is not of interest
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(2000))
    overwrite_the_middle(tmp_path / "live.db", filler)
    async with keeping(tmp_path) as house:
        await until(lambda: filled(house), "filled")
        got = await everything(await house.http())
        assert 500 < len(got) < 2000
        known = {one["seq"]: one for one in messages}
        assert all(known[one["seq"]] == one for one in got)
        client = await house.client()
        await client.tell("subscribe", message_types=TYPES, since=messages[0]["seq"])
        seqs, [subscribed, *gaps] = await resumed(client, messages[-1]["seq"])
        assert subscribed["action"] == "subscribed"
        assert {gap["action"] for gap in gaps} == {"gap"}
        assert seqs == [one["seq"] for one in got[1:]]


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_a_window_is_filled_behind_the_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_DAMAGE_SECONDS", 3600.0)
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(2000))
    overwrite_the_middle(tmp_path / "live.db", b"\xff")
    async with keeping(tmp_path, window_messages=1900) as house:
        await until(lambda: filled(house), "filled")
        assert 0 < len(house.inside.window) < 1900
        client = await house.client()
        await client.tell("subscribe", message_types=TYPES, since=messages[-3]["seq"])
        published = house.publish("goes", "on")
        seqs, events = await resumed(client, published[-1])
        assert [event["action"] for event in events] == ["subscribed"]
        assert seqs == [messages[-2]["seq"], messages[-1]["seq"], *published]


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
    assert ended(again) == (0, STOPPED, "")


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
            assert ended(process) == (0, STOPPED, "")
        finally:
            process.kill()
            process.communicate()
