"""Backups of a store that is in use, and what comes back from them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any

import pytest

from livelog import ConfigError, Gap, Server
from livelog.store import backup
from livelog.store.backup import Copied, back_up, left_over, restore
from livelog.store.check import Check
from livelog.store.database.connection import Connection
from livelog.store.database.file import connect
from livelog.store.database.state import read_state, write_state
from livelog.store.rekey import change_key
from tests.support.command import done
from tests.support.damage import flip, killed, of_format_1, written
from tests.support.disk import KEY, key_file
from tests.support.following import contents
from tests.support.wire import House, on_uvloop, serving, user

pytestmark = pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
SECRET = "the dragon sleeps"


def settings(folder: Path, key: bytes, name: str = "live.db") -> dict[str, Any]:
    """Settings of a server with a store in `folder`."""
    needed = {"store_key_file": key_file(folder / "key", key)} if key else {}
    return {"store": str(folder / name), "limits": False, "window_messages": 50, **needed}


async def publish(house: House, *texts: str) -> list[int]:
    """Publish messages whose ids are their texts; return their seqs once they are on disk."""
    receipts = await asyncio.gather(
        *(house.server.publish(user(f"{SECRET} {text}", id=text)) for text in texts)
    )
    return [receipt.seq or 0 for receipt in receipts]


async def everything(server: Server) -> list[Any]:
    """Return all messages, oldest first."""
    found: list[Any] = (await server.history(limit=1000)).messages
    while older := (await server.history(limit=1000, before=found[-1].seq)).messages:
        found += older
    return found[::-1]


@on_uvloop
async def test_a_store_in_use_is_copied_as_it_was(tmp_path: Path, key: bytes) -> None:
    async with serving(**settings(tmp_path, key)) as house:
        before = await publish(house, *(f"before-{n}" for n in range(2000)))
        ending = asyncio.Event()

        async def go_on() -> None:
            number = 0
            while not ending.is_set():
                await publish(house, *(f"while-{number + n}" for n in range(20)))
                number += 20

        publishing = asyncio.ensure_future(go_on())
        copied = await asyncio.to_thread(
            back_up, str(tmp_path / "live.db"), str(tmp_path / "copy.db"), key
        )
        ending.set()
        await publishing
        original = await everything(house.server)
    assert copied.messages >= 2000
    assert (copied.last_seq >= before[-1], copied.damaged) == (True, 0)
    assert sorted(os.listdir(tmp_path)) == sorted(
        {"live.db", "live.db-index", "copy.db", *({"key"} if key else ())}
    )
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert (SECRET.encode() in (tmp_path / "copy.db").read_bytes()) == (not key)
    async with serving(**settings(tmp_path, key, "copy.db")) as house:
        assert await everything(house.server) == original[: copied.messages]


@on_uvloop
async def test_what_came_after_the_backup_is_told_as_a_gap(tmp_path: Path, key: bytes) -> None:
    live, copy, back = (str(tmp_path / name) for name in ("live.db", "copy.db", "back.db"))
    async with serving(**settings(tmp_path, key)) as house:
        [first, kept] = await publish(house, "first", "kept")
        back_up(live, copy, key)
        [lost, last] = await publish(house, "lost", "last")
    assert restore(copy, back, key, time.time()) == Copied(2, kept)
    async with serving(**settings(tmp_path, key, "back.db")) as house:
        [new] = await publish(house, "new")
        assert new > last
        messages = await everything(house.server)
        assert [message.id for message in messages] == ["first", "kept", "new"]
        assert (await house.server.history()).total == 3
        for since, gone_from in [(first, kept), (lost, lost), (last, last)]:
            gaps, texts = [], []
            async for item in house.server.subscribe(["user"], since=since):
                if isinstance(item, Gap):
                    gaps.append(item)
                    continue
                texts.append(item)
                if item.id == "new":
                    break
            [gap] = gaps
            assert gone_from <= gap.from_ <= max(since, lost)
            assert last <= gap.to < new
            assert contents(texts)[-1] == f"{SECRET} new"
        again = await house.server.publish(user("once more", id="lost"))
        assert (again.seq or 0) > new
        assert "degraded" not in str(house.inside.context.log.impaired)


@on_uvloop
async def test_what_is_redacted_meanwhile_is_not_in_it(
    tmp_path: Path, key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, loop = backup._copy, asyncio.get_running_loop()
    target, again = str(tmp_path / "backup.db"), settings(tmp_path, key, "again.db")
    async with serving(**settings(tmp_path, key)) as house:
        await publish(house, *(f"m{number}" for number in range(5)))

        async def redact_some() -> None:
            """Redact what has been copied, and what comes too late for that."""
            await publish(house, *(f"late-{number}" for number in range(5)))
            for id in ("m3", "late-1", "late-2"):
                await house.server.admin("redact", id=id)

        def slow(source: Connection, target: Connection) -> int:
            damaged = copy(source, target)
            asyncio.run_coroutine_threadsafe(redact_some(), loop).result()
            return damaged

        monkeypatch.setattr(backup, "_copy", slow)
        done = await asyncio.to_thread(back_up, str(tmp_path / "live.db"), target, key)
        assert done.messages == 5
    assert f"{SECRET} m3".encode() not in Path(target).read_bytes()  # noqa: ASYNC240 - nobody waits
    restore(target, str(tmp_path / "again.db"), key, time.time())
    async with serving(**again) as house:
        texts = [getattr(each, "content", None) for each in await everything(house.server)]
        assert texts == [None if n == 3 else f"{SECRET} m{n}" for n in range(5)]
        await publish(house, "new-0", "new-1", "new-2")
    async with serving(**again) as house:  # from disk
        found = await house.server.history(filters={"text": "dragon"})
        assert found.total == 7


@on_uvloop
async def test_rows_without_a_checksum_have_one_in_the_backup(tmp_path: Path, key: bytes) -> None:
    live, copy = str(tmp_path / "live.db"), str(tmp_path / "copy.db")
    async with serving(**settings(tmp_path, key)) as house:
        await publish(house, *map(str, range(10)))
    with closing(connect(live, key)) as connection:
        connection.execute("UPDATE message SET checksum = NULL")
        write_state(connection, read_state(connection)._replace(unchecked_upto=10))
    assert back_up(live, copy, key).damaged == 0
    with closing(connect(copy, key)) as connection:
        assert connection.execute("SELECT count(checksum) FROM message").fetchone() == (10,)
        assert read_state(connection).unchecked_upto == 0


@on_uvloop
async def test_damage_is_counted_and_stays_told(tmp_path: Path, key: bytes) -> None:
    live, copy = str(tmp_path / "live.db"), str(tmp_path / "copy.db")
    async with serving(**settings(tmp_path, key)) as house:
        await publish(house, *map(str, range(10)))
    with closing(connect(live, key)) as connection:
        damage = "UPDATE message SET payload = replace(payload, 'sleeps', 'sleepy')"
        connection.execute(f"{damage} WHERE position = 4")
        connection.execute("DELETE FROM message WHERE position = 7")
    assert back_up(live, copy, key).damaged == 2
    async with serving(**settings(tmp_path, key, "copy.db")) as house:
        assert [message.id for message in await everything(house.server)] == [
            str(n) for n in range(10) if n not in (3, 6)
        ]


@on_uvloop
async def test_what_retention_has_deleted_is_not_in_it(tmp_path: Path, key: bytes) -> None:
    live, copy = str(tmp_path / "live.db"), str(tmp_path / "copy.db")
    async with serving(**settings(tmp_path, key)) as house:
        seqs = await publish(house, *map(str, range(10)))
    with closing(connect(live, key)) as connection:
        state = read_state(connection)._replace(trimmed_upto=seqs[4], deleted_upto=3)
        connection.execute("DELETE FROM message WHERE position <= 3")
        write_state(connection, state)
    assert back_up(live, copy, key) == Copied(7, seqs[-1])
    async with serving(**settings(tmp_path, key, "copy.db")) as house:
        assert [message.id for message in await everything(house.server)] == list("56789")


@on_uvloop
async def test_what_cannot_be_copied_or_would_be_overwritten_is_refused(
    tmp_path: Path, key: bytes
) -> None:
    live, copy, other = (str(tmp_path / name) for name in ("live.db", "copy.db", "other"))
    async with serving(**settings(tmp_path, key)) as house:
        await publish(house, "one")
        shutil.copy(__file__, other)
        os.symlink(tmp_path / "nowhere", tmp_path / "dangling")
        for source, target, why in [
            (live, live, "exists"),
            (live, other, "exists"),
            (live, str(tmp_path / "dangling"), "exists"),
            (live, str(tmp_path / "missing" / "copy.db"), "No such file"),
            (str(tmp_path / "nowhere"), copy, "no store"),
            (other, copy, "is no store, or has another key"),
        ]:
            with pytest.raises(ConfigError, match=why):
                back_up(source, target, key)
        wrong = b"x" * 32 if key else KEY
        with pytest.raises(ConfigError, match=r"key|encrypted"):
            back_up(live, copy, wrong)
        back_up(live, copy, key)
        for source, target, why in [
            (copy, live, "exists"),
            (str(tmp_path / "nowhere"), str(tmp_path / "new.db"), "no backup"),
            (live, str(tmp_path / "new.db"), "in use"),
            (other, str(tmp_path / "new.db"), "not a database|encrypted"),
        ]:
            with pytest.raises(ConfigError, match=why):
                restore(source, target, key, time.time())
        with pytest.raises(ConfigError, match=r"key|encrypted"):
            restore(copy, str(tmp_path / "new.db"), wrong, time.time())
    left = {"live.db", "live.db-index", "copy.db", "other", "dangling", *({"key"} if key else ())}
    assert set(os.listdir(tmp_path)) == left


def test_two_commands_do_not_write_the_same_file(
    tmp_path: Path, key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, copy = str(tmp_path / "live.db"), str(tmp_path / "copy.db")
    written(Path(live), 20, key)
    Path(f"{copy}-partial").write_text("of a command that was killed")
    begin, refusals = backup._copy, []

    def meanwhile(*connections: Connection) -> int:
        with pytest.raises(ConfigError, match="another command is writing it") as refusal:
            back_up(live, copy, key)
        refusals.append(refusal)
        return begin(*connections)

    monkeypatch.setattr(backup, "_copy", meanwhile)
    assert back_up(live, copy, key).messages == 20
    assert len(refusals) == 1
    assert {name for name in os.listdir(tmp_path) if "copy" in name} == {"copy.db"}


def test_a_file_that_comes_meanwhile_is_not_replaced(
    tmp_path: Path, key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a server is started in the place of the store to be restored."""
    live, copy = str(tmp_path / "live.db"), tmp_path / "copy.db"
    written(Path(live), 20, key)
    finish = backup._finish

    def meanwhile(*parts: Any) -> Copied:
        copy.write_text("new")
        return finish(*parts)

    monkeypatch.setattr(backup, "_finish", meanwhile)
    with pytest.raises(ConfigError, match="exists"):
        back_up(live, str(copy), key)
    assert (copy.read_text(), (tmp_path / "copy.db-partial").exists()) == ("new", False)


def test_commits_lost_in_the_log_are_not_dropped_in_silence(tmp_path: Path, key: bytes) -> None:
    """A server has to tell of them; to open the store and to close it again would drop them."""
    live = tmp_path / "live.db"
    killed(live, 300, key)
    wal = Path(f"{live}-wal")
    flip(wal, 8 * (wal.stat().st_size // 2))
    before = wal.read_bytes()
    with pytest.raises(ConfigError, match=r"write-ahead log is damaged.*start a server"):
        back_up(str(live), str(tmp_path / "copy.db"), key)
    with pytest.raises(ConfigError, match=r"write-ahead log is damaged.*start a server"):
        change_key(str(live), key, bytes(32))
    assert wal.read_bytes() == before
    assert not (tmp_path / "copy.db").exists()


def test_a_store_of_another_format_is_told(tmp_path: Path, key: bytes) -> None:
    live = tmp_path / "live.db"
    of_format_1(live, 20)
    with pytest.raises(ConfigError, match="has format 1" if not key else "key"):
        back_up(str(live), str(tmp_path / "copy.db"), key)


def test_a_backup_on_a_read_only_medium_can_be_used(tmp_path: Path, key: bytes) -> None:
    medium, live = tmp_path / "medium", str(tmp_path / "live.db")
    medium.mkdir()
    copy, other = str(medium / "copy.db"), str(tmp_path / "other.db")
    written(Path(live), 20, key)
    if run(["mount", "-t", "tmpfs", "none", medium], stderr=DEVNULL, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        back_up(live, copy, key)
        run(["mount", "-o", "remount,ro", medium], check=True)
        check = Check(copy, key)
        assert (list(check.findings()), check.messages) == ([], 20)
        assert back_up(copy, other, key).messages == 20
        with pytest.raises(ConfigError, match="Read-only"):
            back_up(other, str(medium / "another.db"), key)
    finally:
        run(["umount", medium], check=True)


def test_a_gap_is_no_message(tmp_path: Path, key: bytes) -> None:
    paths = [str(tmp_path / name) for name in ("live.db", "back.db", "again.db")]
    written(Path(paths[0]), 20, key)
    for source, path in pairwise(paths):
        assert restore(source, path, key, time.time()).messages == 20
        check = Check(path, key)
        assert (list(check.findings()), check.messages) == ([], 20)
    assert back_up(paths[2], str(tmp_path / "copy.db"), key).messages == 20


@on_uvloop
async def test_the_commands_say_what_they_did(tmp_path: Path, key: bytes) -> None:
    live, copy, back = (str(tmp_path / name) for name in ("live.db", "copy.db", "back.db"))
    keyed = ["--store-key-file", key_file(tmp_path / "key", key)] if key else []
    async with serving(**settings(tmp_path, key)) as house:
        [*_, last] = await publish(house, "one", "two")
        code, out, err = await done("store", "backup", live, copy, *keyed)
        assert (code, out, err) == (0, f"{copy} has 2 messages up to seq {last}\n", "")
        code, out, err = await done("store", "backup", live, copy, *keyed)
        assert (code, out, err) == (2, "", f"livelog: {copy}: exists; name a file that does not\n")
    code, out, err = await done("store", "restore", copy, back, *keyed)
    upto = f"{back} has 2 messages up to seq {last}"
    assert (code, out, err) == (0, f"{upto}; clients are told of a gap behind them\n", "")
    for path in (copy, back):
        code, out, _ = await done("store", "check", path, *keyed)
        assert (code, "is good" in out) == (0, True), out


def test_what_killed_backups_have_left_is_named(tmp_path: Path, key: bytes) -> None:
    """Not what is being written, nor another program's; an encrypted one cannot be told."""
    store, target = tmp_path / "live.db", tmp_path / "monday.db"
    written(store, 10, key)
    left, under_way, other = (tmp_path / f"{name}.db-partial" for name in ("left", "now", "other"))
    back_up(str(store), str(target), key)
    for path in (left, under_way):
        shutil.copy(target, path)
    other.write_text("not a copy of a store" * 100)
    with backup._claimed(str(tmp_path / "new.db-partial")), under_way.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert left_over(str(target)) == ([] if key else [str(left)])
