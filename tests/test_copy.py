"""Copies of a log over HTTP: the same messages and seqs, for a new server of a shared log."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from livelog.cli import main
from livelog.client.httpreader import HttpReader
from livelog.errors import ConfigError
from livelog.store import copy
from livelog.store.copy import SUFFIX, copy_log
from livelog.wire.stubs import Stub
from tests.support.identity import SECRET, token
from tests.support.sharedstream import SharedStream
from tests.support.wire import House, on_uvloop, serving, user
from tests.test_nats_away import on, published
from tests.test_visible import direct

Row = tuple[int, str, str]


def rows(path: str) -> list[Row]:
    """Seq, id and payload of all that is in a file."""
    connection = sqlite3.connect(path)
    found: list[Row] = connection.execute(
        "SELECT seq, id, payload FROM message ORDER BY position"
    ).fetchall()
    connection.close()
    return found


def named(folder: Path, name: str) -> list[str]:
    """The files whose names begin so."""
    return sorted(path.name for path in folder.glob(f"{name}*") if "index" not in path.name)


async def copied(
    capsys: pytest.CaptureFixture[str], house: House, target: str, *more: str
) -> tuple[int, str]:
    """Exit code of the command, and what it says."""
    capsys.readouterr()
    code = await asyncio.to_thread(main, ["store", "copy", house.server.url, target, *more])
    said = capsys.readouterr()
    return code, said.out + said.err


@on_uvloop
async def test_a_new_server_of_a_shared_log_gets_what_the_stream_no_longer_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = SharedStream()
    old, new = str(tmp_path / "old.db"), str(tmp_path / "new.db")
    async with serving(engine=on(shared), store=old) as house:
        first = await published(house, "a")
        for id in "bcd":
            await published(house, id)
        shared.expire(3)
        code, said = await copied(capsys, house, new)
        assert (code, "has 4 messages up to seq" in said) == (0, True)
        await published(house, "e")
        async with serving(engine=on(shared), store=new) as other:
            client = await other.client(f"?message_types=user&since={first}")
            assert (await client.event())["action"] == "subscribed"
            assert [(await client.event())["id"] for _ in range(4)] == [*"bcde"]
            await published(other, "f")
            page = await other.server.history(limit=9)
            assert [message.id for message in page.messages] == [*"fedcba"]
    assert rows(new)[:5] == rows(old)[:5]
    assert await asyncio.to_thread(main, ["store", "check", new]) == 0


@on_uvloop
async def test_a_copy_that_was_interrupted_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "_LIMIT", 3)
    old, new = str(tmp_path / "old.db"), str(tmp_path / "new.db")
    async with serving(store=old) as house:
        for number in range(10):
            house.publish(f"m{number}")
        reader, pages = HttpReader(house.server.url), 0

        def get(path: str) -> bytes:
            nonlocal pages
            pages += 1
            if pages == 4:
                raise InterruptedError
            return reader.get(path)

        with pytest.raises(InterruptedError):
            await asyncio.to_thread(copy_log, get, new, b"")
        assert len(rows(new + SUFFIX)) == 6
        found = await asyncio.to_thread(copy_log, get, new, b"")
        assert (found.messages, pages) == (10, 8)
        with pytest.raises(ConfigError, match="exists"):
            copy_log(get, new, b"")
        reader.close()
    assert rows(new) == rows(old)
    assert named(tmp_path, "new.db") == ["new.db"]
    async with serving(store=str(tmp_path / "third.db")) as house:
        house.publish("another log")
        (tmp_path / "new.db").rename(tmp_path / f"x.db{SUFFIX}")
        reader = HttpReader(house.server.url)
        with pytest.raises(ConfigError, match="is the copy of another log"):
            await asyncio.to_thread(copy_log, reader.get, str(tmp_path / "x.db"), b"")
        reader.close()


@pytest.mark.parametrize("interrupted", [False, True])
@on_uvloop
async def test_what_is_redacted_meanwhile_is_not_in_the_copy_and_blocks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    monkeypatch.setattr(copy, "_LIMIT", 3)
    loop, shared = asyncio.get_running_loop(), SharedStream()
    old, new = str(tmp_path / "old.db"), str(tmp_path / "new.db")
    async with serving(engine=on(shared), store=old) as house:
        for id in "abcdefgh":
            await published(house, id)
        reader, pages = HttpReader(house.server.url), 0

        async def go_on() -> None:
            """Redact what has been copied; a message with a seq above that is copied, too."""
            await house.server.admin("block", user_id="eve")
            await house.server.admin("redact", id="b", reason="spam")
            await published(house, "i")

        def get(path: str) -> bytes:
            nonlocal pages
            pages += 1
            if pages == 3:
                asyncio.run_coroutine_threadsafe(go_on(), loop).result()
                if interrupted:
                    raise InterruptedError
            return reader.get(path)

        if interrupted:
            with pytest.raises(InterruptedError):
                await asyncio.to_thread(copy_log, get, new, b"")
        found = await asyncio.to_thread(copy_log, get, new, b"")
        assert found.messages == 9
        reader.close()
        async with serving(engine=on(shared), store=new) as other:
            [stub] = [each for each in (await other.server.history()).messages if each.id == "b"]
            assert isinstance(stub, Stub)
            answer = await other.server.admin("blocks")
            assert [row["user_id"] for row in answer.result["blocks"]] == ["eve"]
            kept = [(await each.server.admin("audit")).result["acts"] for each in (house, other)]
            assert [row["seq"] for row in kept[0]] == [row["seq"] for row in kept[1]]
    assert await asyncio.to_thread(main, ["store", "check", new]) == 0


@on_uvloop
async def test_what_is_deleted_meanwhile_is_no_hole_in_the_copy(tmp_path: Path) -> None:
    async with serving(store=str(tmp_path / "old.db")) as house:
        seqs = house.publish("a", "b", "c")
        reader = HttpReader(house.server.url)

        def get(path: str) -> bytes:
            answer = reader.get(path)
            house.context.log.trim(seqs[1])
            return answer

        with pytest.raises(ConfigError, match="the server has deleted what comes next"):
            await asyncio.to_thread(copy_log, get, str(tmp_path / "new.db"), b"")
        reader.close()


@on_uvloop
async def test_a_copy_has_everybodys_messages_and_needs_the_scope_for_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = str(tmp_path / "old.db"), str(tmp_path / "new.db")
    async with serving(store=old, jwt_secret=SECRET) as house:
        await house.server.publish(user())
        await house.server.publish(direct("ann", "bob"))
        for scope in ("read", "admin"):
            code, said = await copied(capsys, house, new, "--token", token("u", scope=scope))
            assert (code, "the scope replicate is missing" in said) == (1, True)
        http = await house.http()
        bearer = f"Bearer {token('u', scope='admin')}"
        answer = await http.ask("GET", "/api/log/acts?before=9", Authorization=bearer)
        assert (answer.status, answer.json["details"]["scope"]) == (403, "replicate")
        bearer = f"Bearer {token('u', scope='replicate')}"
        for query in ("", "?before=-1", "?before=x", "?before=1&limit=2"):
            answer = await http.ask("GET", f"/api/log/acts{query}", Authorization=bearer)
            assert (answer.status, answer.json["details"]["field"]) == (400, "before"), query
        http.close()
        code, _ = await copied(capsys, house, new, "--token", token("node", scope="replicate"))
        assert code == 0
    assert rows(new) == rows(old)
    assert len(rows(new)) == 2


@on_uvloop
async def test_a_server_without_a_store_and_none_at_all_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = str(tmp_path / "new.db")
    async with serving() as house:
        code, said = await copied(capsys, house, new)
        assert (code, "keeps only the newest messages" in said) == (1, True)
    code, said = await copied(capsys, house, new)
    assert (code, "run it again, it goes on from there" in said) == (1, True)


@on_uvloop
async def test_a_restored_backup_goes_on_where_it_ended(tmp_path: Path) -> None:
    """The stream has what came after it; the gap is for servers whose log is nowhere else."""
    shared = SharedStream()
    store, backup, new = (str(tmp_path / name) for name in ("node.db", "backup.db", "new.db"))
    async with serving(engine=on(shared), store=store) as house:
        first = await published(house, "a")
        assert await asyncio.to_thread(main, ["store", "backup", store, backup]) == 0
        await published(house, "b")
        assert await asyncio.to_thread(main, ["store", "restore", backup, new]) == 0
        async with serving(engine=on(shared), store=new) as other:
            client = await other.client(f"?message_types=user&since={first}")
            assert (await client.event())["action"] == "subscribed"
            assert (await client.event())["id"] == "b"
            await published(other, "c")
    assert rows(new)[:2] == rows(store)[:2]
