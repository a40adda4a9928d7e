"""Erasure on one server and several: no field and no file names the user, and all else stays."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec import json as msgjson

from livelog import Server
from livelog.client.httpreader import HttpReader
from livelog.errors import RefusedError
from livelog.net.admin.asking import UnknownTargetError
from livelog.store import backup, copy
from livelog.store.backup import back_up
from livelog.store.copy import copy_log
from livelog.store.database.acts import read_acts, write_act
from livelog.store.database.erasure import erase as erase_in_file
from livelog.store.database.erasure import write_over
from livelog.store.database.file import open_file
from livelog.store.memory import open_memory
from livelog.store.sqlite import SqliteReader
from livelog.wire.acts import (
    Block,
    Disconnect,
    Enacted,
    Erase,
    Group,
    Places,
    Redact,
    decode,
    encode,
)
from livelog.wire.erasure import changes, erased_act, places_in, places_in_act
from livelog.wire.stubs import Stub
from tests.support.disk import key_file
from tests.support.inside import Inside
from tests.support.scrubbing import (
    NOW,
    SECRET,
    clean,
    enact,
    files_with,
    found_by_none,
    published,
    resumed,
    serving,
    window_filled,
)
from tests.support.sharedstream import SharedStream
from tests.support.wire import SAMPLES, Json, on_uvloop, soon, until
from tests.test_admin_nodes import two
from tests.test_nats_engine import Node

USER, NAME = f"user_{SECRET}", f"Name {SECRET}"

WHO: Json = {"user_id": USER, "username": NAME}
_, SYSTEM, _, RAID, PARTY, GUILD = SAMPLES
OTHER = {"user_id": "u2", "username": "Bob"}

NAMING: list[Json] = [
    {
        "type": "user",
        **WHO,
        "user_avatar": f"https://example.com/{USER}.png",
        "content": "hello from here",
        "metadata": {"channel": "general", "display_name": NAME, "level": 3},
    },
    {
        "type": "user",
        **OTHER,
        "content": "hello there",
        "metadata": {"channel": "trade", "user_id": USER, "username": NAME},
    },
    {
        "type": "dm",
        "from_user_id": USER,
        "from_username": NAME,
        "to_user_id": "u2",
        "content": "hello you",
    },
    {
        "type": "dm",
        "from_user_id": "u2",
        "from_username": "Bob",
        "to_user_id": USER,
        "content": "hello back",
    },
    {**RAID, "participants": [OTHER, WHO]},
    {**PARTY, "leader_id": USER, "leader_name": NAME},
    {**PARTY, "event_data": {"member_id": USER, "member_name": NAME}},
    {**GUILD, "event_data": {"members": [OTHER, {"member_id": USER, "member_name": NAME}]}},
    {**GUILD, "event_data": {"participants": ["u2", USER], "note": "hello"}},
    {**SYSTEM, "data": {**WHO, "count_online": 7}},
]
"""Messages that name the user, in each field that may."""


def naming(number: int) -> Json:
    return {**NAMING[number % len(NAMING)], "id": f"m{number}", "timestamp": NOW}


def other(number: int) -> Json:
    content = f"hello number{number}"
    return {"type": "user", **OTHER, "content": content, "id": f"m{number}", "timestamp": NOW}


def mixed(count: int) -> list[Json]:
    """Messages of which each third names the user."""
    return [naming(n // 3) | {"id": f"m{n}"} if n % 3 == 1 else other(n) for n in range(count)]


async def erase(server: Server, **fields: Any) -> Json:
    answer = await server.admin("erase", user_id=USER, **fields)
    return dict(answer.result)


QUERIES: list[Json] = [
    {"user_id": USER},
    {"username": NAME},
    {"text": SECRET},
    {"where": SECRET},
    {"where": f"user_id:{USER}"},
    {"where": f"author_id:{USER}"},
    {"where": f"{SECRET[:4]}*"},
    {"where": f"event_data.members.member_id:{USER}"},
    {"where": f"event_data.participants:{USER}"},
    {"where": "participants.username:name*"},
    {"where": f'metadata.display_name:"{NAME}"'},
]
"""All that finds the user."""


async def named_nowhere(server: Server) -> None:
    """Ask everything that could find or show the user."""
    fields = ("user_id", "username", "author_id", "metadata.display_name", "leader_id")
    await found_by_none(server, QUERIES, fields, SECRET)
    for message in await everything(server):
        assert SECRET not in repr(message).lower()
    assert (await server.history(filters={"type": "dm"}, as_user=USER)).total == 0


async def everything(server: Server) -> list[Any]:
    """All messages, as history and as a reader gets them that begins at the beginning."""
    page = await server.history(limit=1000)
    found = await resumed(server, page.total)
    key = msgjson.encode
    assert sorted(map(key, found)) == sorted(map(key, page.messages))
    return found


# What stands where.


@pytest.mark.parametrize("message", NAMING, ids=lambda one: one["type"])
def test_all_that_names_a_user_is_found_and_replaced_and_nothing_else(message: Json) -> None:
    payload = msgjson.encode({**message, "seq": 7})
    places = places_in(payload, USER)
    assert places
    act = Erase(by="m", at=NOW, pseudonym="erased_aaaaaaaa", groups=(Places(places, (7,)),))
    changed = changes(act)[7](payload)
    assert SECRET not in changed.decode().lower()
    assert places_in(changed, USER) == ()
    assert places_in(changed, "erased_aaaaaaaa")
    assert changes(act)[7](changed) == changed
    text = payload.decode().replace(f'"https://example.com/{USER}.png"', "null")
    assert changed.decode() == text.replace(USER, "erased_aaaaaaaa").replace(
        NAME, "erased_aaaaaaaa"
    )
    assert places_in(payload, "u3") == ()


def test_places_that_are_not_there_are_passed_over() -> None:
    places = ("/user_id", "/participants/9/user_id", "/data/x/y", "/metadata/user_id/0", "/content")
    act = Erase(by="m", at=NOW, pseudonym="erased_aaaaaaaa", groups=(Places(places, (7,)),))
    stub = (
        b'{"redacted":true,"type":"raid","id":"a","participants":[],"data":[],"metadata":3,"seq":7}'
    )
    assert changes(act)[7](stub) == stub


@pytest.mark.parametrize(
    "act",
    [
        Block(by="mod", at=NOW, user_id=USER, reason="spam"),
        Disconnect(by=USER, at=NOW, user_id="u2"),
        Redact(
            by=USER,
            at=NOW,
            groups=(Group("user", (1, 2)), Group("dm", (3,), ("u2", USER)), Group("dm", (4,))),
        ),
    ],
    ids=lambda act: type(act).__name__,
)
def test_an_act_that_names_the_user_does_so_no_more(act: Any) -> None:
    places = places_in_act(act, USER)
    changed = erased_act(act, places, "erased_aaaaaaaa")
    assert changed == decode(encode(act).replace(USER.encode(), b"erased_aaaaaaaa"))
    assert changed != act
    assert places_in_act(changed, USER) == ()


# On one server.


@pytest.mark.parametrize("window", [3, 100_000], ids=["on disk", "in memory"])
@on_uvloop
async def test_no_field_names_the_user_and_the_rest_is_found_as_before(
    tmp_path: Path, window: int
) -> None:
    async with serving(tmp_path / "live.db", window_messages=window) as server:
        await published(server, mixed(90))
        before = {one.seq: one for one in await everything(server)}
        hello = (await server.search("hello")).total
        assert (await server.history(filters={"user_id": USER})).total > 20
        dry = await erase(server, dry_run=True)
        assert dry["count"] == 30
        done = await erase(server, **dry, reason="asked for it")
        assert done["erased"] == 30
        await named_nowhere(server)
        pseudonym = done["pseudonym"]
        after = {one.seq: one for one in await everything(server)}
        assert after.keys() == before.keys()
        changed = [seq for seq in before if after[seq] != before[seq]]
        assert len(changed) == 30
        assert all(pseudonym in repr(after[seq]) for seq in changed)
        # It is found by what is left, and by the pseudonym.
        assert (await server.search("hello")).total == hello
        found = await server.history(filters={"user_id": pseudonym}, limit=100)
        assert found.total == 24  # the filter looks into no list of a free object
        assert (await server.history(filters={"where": f"author_id:{pseudonym}"})).total == 6
        assert (await server.search(pseudonym)).total > 0
        counted = await server.analyze(group_by="user_id")
        assert {one.value: one.count for one in counted.groups}[pseudonym] == 24
        # The other party still reads what was said.
        assert (await server.history(filters={"type": "dm"}, as_user="u2")).total == 6
        assert (await server.history(filters={"type": "dm"}, as_user=pseudonym)).total == 6
        await until(lambda: not Inside(server).window.has_work, "the index of the window")
        Inside(server).window._check()
        await named_nowhere(server)
        assert (await server.history(filters={"user_id": pseudonym})).total == 24


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@on_uvloop
async def test_the_files_are_clean_soon_and_a_restart_changes_nothing(
    tmp_path: Path, encrypted: bool
) -> None:
    settings: Json = {"window_messages": 50}
    if encrypted:
        settings["store_key_file"] = str(key_file(tmp_path / "key"))
    async with serving(tmp_path / "live.db", **settings) as server:
        await published(server, mixed(900))
        if not encrypted:
            assert files_with(tmp_path)
        await server.search("hello")
        done = await erase(server)
        await until(lambda: Inside(server).log.scrubbed_upto >= done["seq"], "clean files")
        assert files_with(tmp_path) == []
        await named_nowhere(server)
    assert files_with(tmp_path) == []
    async with serving(tmp_path / "live.db", **settings) as server:
        await window_filled(server)
        await named_nowhere(server)
        assert (await server.history(filters={"user_id": done["pseudonym"]})).total == 240
        [act] = [one.act for one in Inside(server).log.acts()]
        assert isinstance(act, Erase)
        assert SECRET not in encode(act).decode()


def test_the_repetition_of_an_act_names_the_user_no_more(tmp_path: Path) -> None:
    repeated = Enacted(9, Disconnect(by=USER, at=NOW, user_id="u2", first_seq=3))
    others = [Enacted(3 + n, Disconnect(by="m", at=NOW, user_id="u2")) for n in (1, 2)]
    erasing = Erase(
        by="m",
        at=NOW,
        pseudonym="erased_aaaaaaaa",
        groups=(),
        records=(Places(("/by",), (3,)), Places(("/user_id",), (5,))),
    )
    expected = [("erased_aaaaaaaa", "u2"), ("m", "erased_aaaaaaaa"), ("m", "u2")]
    connection, _ = open_file(str(tmp_path / "live.db"), b"")
    for one in (*others, repeated):
        write_act(connection, one)
    erase_in_file(connection, Enacted(10, erasing))
    acts = [one.act for one in read_acts(connection, None, 9)]
    assert [(act.by, act.user_id) for act in acts if isinstance(act, Disconnect)] == expected
    connection.close()
    journal = open_memory().journal
    for one in (*others, repeated, Enacted(10, erasing)):
        journal.enact(one, lambda _: None)
    acts = [one.act for one in journal.acts(None, 9)]
    assert [(act.by, act.user_id) for act in acts if isinstance(act, Disconnect)] == expected


def test_nothing_is_left_in_a_page_whose_rows_have_moved(tmp_path: Path) -> None:
    """Rows become longer, so that pages are divided while the next rows are still to be changed."""
    for seed in range(12):
        dice, path = random.Random(seed), tmp_path / f"live{seed}.db"
        connection, _ = open_file(str(path), b"")
        insert = "INSERT INTO message VALUES (?, ?, ?, ?, ?)"
        rows = []
        connection.execute("BEGIN")
        for at in range(1, 400):
            is_named, most = dice.random() < 0.5, 900 if dice.random() < 0.9 else 9000
            text = f"{SECRET if is_named else 'nothing'}{at}{'x' * dice.randrange(20, most)}"
            connection.execute(insert, (at, at, f"m{at}", text, dice.getrandbits(32)))
            if is_named:
                longer = text.replace(SECRET, "p" * 300).encode()
                rows.append((at, longer, dice.getrandbits(32)))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("BEGIN")
        write_over(connection, rows)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()
        assert files_with(tmp_path) == [], seed
        path.unlink()


CHILD = """
import asyncio, sys
from livelog import Config, Server
from livelog.wire.acts import Erase
from livelog.store.upkeep import Upkeep
from tests.support.disk import die
from tests.support.inside import Inside
from tests.support.scrubbing import published
from tests.test_erasure import USER, mixed

Upkeep._scrub = lambda self: None  # the kill comes first

async def main():
    config = Config(port=0, store=sys.argv[1], limits=False, window_messages=20)
    async with Server(config) as server:
        await published(server, mixed(300))
        engine = Inside(server).engine
        act = engine.act
        engine.act = lambda one, done: act(one, lambda seq: die(sys.argv[1]))
        await server.admin("erase", user_id=USER)

asyncio.run(main())
"""


@on_uvloop
async def test_a_server_that_is_killed_before_it_has_scrubbed_goes_on_with_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "live.db"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(path))
    assert await asyncio.wait_for(child.wait(), 60) == -signal.SIGKILL
    assert files_with(tmp_path)
    async with serving(path, window_messages=20) as server:
        await named_nowhere(server)
        await clean(tmp_path)
        assert (await server.history(limit=1)).total == 300


@pytest.mark.parametrize("store", ["memory", "disk"])
@on_uvloop
async def test_who_comes_back_is_new_and_keeps_what_is_new(tmp_path: Path, store: str) -> None:
    path = "memory" if store == "memory" else tmp_path / "live.db"
    async with serving(path) as server:
        await published(server, mixed(60))
        first = await erase(server)
        await published(server, [naming(n) | {"id": f"new{n}"} for n in range(10)])
        found = await server.history(filters={"user_id": USER})
        assert {one.id for one in found.messages} == {f"new{n}" for n in (*range(7), 9)}
        assert (await server.history(filters={"type": "dm"}, as_user=USER)).total == 2
        # An id that an erased message has is another user's by now.
        with pytest.raises(RefusedError) as caught:
            await server.publish(naming(0) | {"id": "m1"})
        assert caught.value.code == 1008
        second = await erase(server)
        assert second["erased"] == 10
        assert second["pseudonym"] != first["pseudonym"]
        await named_nowhere(server)


@on_uvloop
async def test_redaction_and_erasure_of_one_message_in_either_order(tmp_path: Path) -> None:
    async with serving(tmp_path / "live.db", window_messages=4) as server:
        seqs = await published(server, [naming(n) for n in range(40)])
        for number in (2, 12, 20):
            await server.admin("redact", id=f"m{number}")
        done = await erase(server)
        assert done["erased"] == 39  # the stub of the twentieth names nobody
        for number in (3, 30):
            await server.admin("redact", id=f"m{number}")
        await named_nowhere(server)
        stubs = [one for one in await everything(server) if isinstance(one, Stub)]
        assert [one.seq for one in stubs] == [seqs[n] for n in (2, 3, 12, 20, 30)]
        page = await server.history(filters={"type": "dm"}, as_user=done["pseudonym"])
        assert sum(isinstance(one, Stub) for one in page.messages) == 3
        await clean(tmp_path)


@pytest.mark.parametrize("store", ["memory", "disk"])
@on_uvloop
async def test_acts_name_the_user_no_more(tmp_path: Path, store: str) -> None:
    path = "memory" if store == "memory" else tmp_path / "live.db"
    async with serving(path) as server:
        [seq, *_] = await published(server, [naming(3), other(1)])
        await enact(server, Block(by="mod", at=NOW, user_id=USER, reason="spam " * 200, until=1.0))
        await enact(server, Block(by=USER, at=NOW, user_id="u9", until=1.0))
        group = Group("dm", (seq,), ("u2", USER))
        await enact(server, Redact(by="mod", at=NOW, groups=(group,)))
        assert len([one for one in Inside(server).log.acts() if SECRET in repr(one)]) == 3
        done = await erase(server)
        assert done["erased"] == 1
        known = Inside(server).log.acts()
        assert SECRET not in repr(known)
        assert len([one for one in known if done["pseudonym"] in repr(one)]) == 5
        assert await erase_refused(server) == "there is no message and no act that names this user"
        if store == "disk":
            await clean(tmp_path)


@pytest.mark.parametrize("restarted", [False, True])
@on_uvloop
async def test_an_act_that_is_repeated_behind_the_erasure_is_not_told_the_name(
    tmp_path: Path, restarted: bool
) -> None:
    """The server that repeats it had read it before, and this one did not know it."""
    erasing = Erase(
        by="m",
        at=NOW,
        pseudonym="erased_aaaaaaaa",
        groups=(),
        records=(Places(("/by", "/groups/0/2/1"), (3,)),),
    )
    group = Group("dm", (1,), ("u2", USER))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(tmp_path / "live.db"))
        await enact(server, erasing)
        if restarted:
            await stack.aclose()
            server = await stack.enter_async_context(serving(tmp_path / "live.db"))
        await enact(server, Redact(by=USER, at=NOW, groups=(group,), first_seq=3))
        act = Inside(server).log.acts()[0].act
        assert isinstance(act, Redact)
        assert (act.by, act.groups[0].readers) == ("erased_aaaaaaaa", ("u2", "erased_aaaaaaaa"))
    assert files_with(tmp_path) == []


async def erase_refused(server: Server) -> str:
    with pytest.raises(RefusedError) as caught:
        await erase(server)
    return caught.value.issue


@pytest.mark.parametrize("store", ["memory", "disk"])
@on_uvloop
async def test_more_messages_than_an_act_may_name_are_named_by_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    monkeypatch.setattr("livelog.net.admin.erasing._MOST", 7)
    monkeypatch.setattr("livelog.net.admin.pages._PER_PAGE", 5)
    async with serving("memory" if store == "memory" else tmp_path / "live.db") as server:
        await published(server, [naming(n) for n in range(50)])
        done = await erase(server)
        assert done["erased"] == 50
        made = [one.act for one in Inside(server).log.acts()]
        sizes = [len(act.seqs) for act in made if isinstance(act, Erase)]
        assert sizes == [1, 7, 7, 7, 7, 7, 7, 7]
        await named_nowhere(server)
        assert len({act.pseudonym for act in made if isinstance(act, Erase)}) == 1


@pytest.mark.parametrize("seed", range(3))
@on_uvloop
async def test_whatever_happens_the_user_is_named_nowhere_and_the_others_are_unharmed(
    tmp_path: Path, seed: int
) -> None:
    """Publishing, erasures and restarts in any order."""
    dice, number, others, named = random.Random(seed), 0, 0, 0
    for _ in range(3):
        async with serving(tmp_path / "live.db", window_messages=dice.choice([5, 60])) as server:
            for _ in range(4):
                batch = []
                for _ in range(dice.randrange(1, 30)):
                    is_named = dice.random() < 0.3
                    one = naming(dice.randrange(10)) if is_named else other(number)
                    batch.append(one | {"id": f"m{number}"})
                    named, others, number = named + is_named, others + (not is_named), number + 1
                await published(server, batch)
                if dice.random() < 0.5 and named:
                    assert (await erase(server))["erased"] == named
                    named = 0
                    await named_nowhere(server)
            assert (await server.history(limit=1)).total == number
            assert (await server.search("number", limit=1)).total == others
    async with serving(tmp_path / "live.db") as server:
        if named:
            await erase(server)
        await clean(tmp_path)
        await named_nowhere(server)


@on_uvloop
async def test_moderators_at_once_leave_one_pseudonym_or_the_other(tmp_path: Path) -> None:
    async with serving(tmp_path / "live.db", window_messages=10) as server:
        await published(server, mixed(120))
        answers = await asyncio.gather(
            erase(server),
            erase(server),
            server.admin("redact", where="hello", dry_run=True),
            server.admin("block", user_id="u9"),
            return_exceptions=True,
        )
        erased = [one for one in answers[:2] if isinstance(one, dict)]
        # One of them has found all before the other was done; which one is left open.
        assert 40 in [one["erased"] for one in erased], answers
        late = [one for one in answers if isinstance(one, BaseException)]
        assert len(late) == 2 - len(erased), answers
        assert all(isinstance(one, UnknownTargetError) for one in late), answers
        await named_nowhere(server)
        await clean(tmp_path)
        page = await server.history(limit=1000)
        assert page.total == 120
        left = set(re.findall(r"erased_\w{8}", repr(page)))
        assert left <= {one["pseudonym"] for one in erased}


@on_uvloop
async def test_reads_under_way_meanwhile_show_the_pseudonym(tmp_path: Path) -> None:
    async with serving(tmp_path / "live.db", window_messages=10) as server:
        await published(server, mixed(300))
        erasing = asyncio.create_task(erase(server))
        while not erasing.done():
            await asyncio.gather(*(server.history(limit=1000) for _ in range(3)))
            applied = bool(Inside(server).log.acts())
            page = await server.history(limit=1000)
            assert not applied or SECRET not in repr(page)
        assert (await erasing)["erased"] == 100
        await named_nowhere(server)


@on_uvloop
async def test_a_page_that_was_read_before_comes_with_the_pseudonym(tmp_path: Path) -> None:
    async with serving(tmp_path / "live.db", window_messages=5) as server:
        await published(server, mixed(60))
        store: Any = Inside(server).store.reader
        page, read, erased = store.page, asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any, **options: Any) -> Any:
            found = await page(*arguments, **options)
            read.set()
            await erased.wait()
            return found

        store.page = slow
        under_way = asyncio.create_task(server.history(limit=1000))
        await soon(read.wait())
        store.page = page
        done = await erase(server)
        erased.set()
        found = repr(await soon(under_way))
        assert SECRET not in found.lower()
        assert done["pseudonym"] in found


@on_uvloop
async def test_a_window_that_is_filled_meanwhile_has_the_pseudonym(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livelog.log.log._FILLED_PER_REQUEST", 5)
    records, some_read, erased = SqliteReader.records, asyncio.Event(), asyncio.Event()
    async with serving(tmp_path / "live.db") as server:
        middle = (await published(server, mixed(300)))[150]

    async def slow(reader: SqliteReader, cursor: int, upto: int, limit: int) -> Any:
        found = await records(reader, cursor, upto, limit)
        if found and found[-1].seq > middle:
            some_read.set()
            await erased.wait()
        return found

    monkeypatch.setattr(SqliteReader, "records", slow)
    async with serving(tmp_path / "live.db") as server:
        inside = Inside(server)
        await soon(some_read.wait())
        assert (await erase(server))["erased"] == 100
        erased.set()
        await until(lambda: inside.filling is not None and inside.filling.done(), "the window")
        assert len(inside.window) == 300
        await named_nowhere(server)


# Copies.


@on_uvloop
async def test_a_backup_made_meanwhile_does_not_name_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, loop = backup._copy, asyncio.get_running_loop()
    target = tmp_path / "live-backup.db"
    async with serving(tmp_path / "other.db") as server:
        await published(server, mixed(300))

        def slow(source: Any, target: Any) -> int:
            damaged = whole(source, target)
            asyncio.run_coroutine_threadsafe(erase(server), loop).result()
            return damaged

        monkeypatch.setattr(backup, "_copy", slow)
        await asyncio.to_thread(back_up, str(tmp_path / "other.db"), str(target), b"")
    assert files_with(tmp_path) == []
    async with serving(target) as server:
        await named_nowhere(server)
        assert (await server.history(limit=1)).total == 300


# Several servers.


@on_uvloop
async def test_nodes_that_share_a_log_erase_at_the_same_place() -> None:
    shared = SharedStream(3, faults=0.2)
    one, other_ = Node(shared), Node(shared)
    try:
        first = await one.sent("a", author=USER)
        last = await other_.sent("b", author="u2")
        done: asyncio.Future[int | RefusedError] = asyncio.get_running_loop().create_future()
        group = Places(("/user_id",), (first.seq,))  # type: ignore[union-attr]  # it is a receipt
        act = Erase(by="mod", at=NOW, pseudonym="erased_aaaaaaaa", groups=(group,))
        other_.engine.act(act, done.set_result)
        at = await soon(done)
        late = Node(shared)
        for node in (one, other_, late):
            await until(lambda node=node: node.log.head >= at, "the act")  # type: ignore[misc]  # node is bound
            known = node.log.lookup("a")
            assert known is not None
            assert b'"user_id":"erased_aaaaaaaa"' in known.payload
            assert await node.sent("b", author="u2") == last
        await late.engine.close()
    finally:
        await one.engine.close()
        await other_.engine.close()


@on_uvloop
async def test_all_servers_of_a_log_forget_the_user(tmp_path: Path) -> None:
    async with two() as (one, two_):
        await published(one.server, mixed(60))
        await until(lambda: two_.context.log.head == one.context.log.head, "both have all")
        answer = await two_.server.admin("erase", user_id=USER)
        seq = answer.result["seq"]
        for house in (one, two_):
            await until(lambda house=house: house.context.log.head >= seq, "the act")  # type: ignore[misc]  # house is bound
            await named_nowhere(house.server)
        found = [await house.server.history(limit=100) for house in (one, two_)]
        assert found[0].messages == found[1].messages


@on_uvloop
async def test_a_copy_made_meanwhile_does_not_name_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "_LIMIT", 20)
    loop, new = asyncio.get_running_loop(), tmp_path / "live-copy.db"
    async with serving(tmp_path / "old.db") as server:
        await published(server, mixed(90))
        reader, pages = HttpReader(server.url), 0

        def get(path: str) -> bytes:
            nonlocal pages
            pages += 1
            if pages == 3:
                asyncio.run_coroutine_threadsafe(gone(server), loop).result()
            return reader.get(path)

        async def gone(server: Server) -> None:
            await erase(server)
            await server.publish(other(1000))

        await asyncio.to_thread(copy_log, get, str(new), b"")
        reader.close()
    assert files_with(tmp_path) == []
