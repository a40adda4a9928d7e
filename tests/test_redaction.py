"""Redaction on one server: the text is found by no query and in no file, and its place stays."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from livelog import Server
from livelog.errors import RefusedError
from livelog.store.database import redaction
from livelog.store.database.checksums import StoredRow
from livelog.wire.acts import Group, Redact
from livelog.wire.record import Receipt
from livelog.wire.stubs import Stub, is_stub
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
from tests.support.wire import Json, on_uvloop, soon, until
from tests.test_nats_engine import Node


async def redact(server: Server, *seqs: int, type: Any = "user", readers: Any = ()) -> int:
    group = Group(type, tuple(sorted(seqs)), readers)
    return await enact(server, Redact(by="mod", at=NOW, reason="spam", groups=(group,)))


def said(number: int, text: str = "hello", **more: Any) -> Json:
    return {
        "type": "user",
        "id": f"m{number}",
        "user_id": f"u{number % 3}",
        "username": "Ann",
        "content": f"{text} number{number}",
        "timestamp": NOW,
        "metadata": {"channel": f"c{number % 2}", "level": number},
        **more,
    }


def secret(number: int) -> Json:
    return said(
        number,
        SECRET,
        user_id=f"user{SECRET}",
        username=f"Name{SECRET}",
        metadata={"channel": f"ch{SECRET}", "level": 987654321},
    )


QUERIES: list[Json] = [
    {"text": SECRET},
    {"text": f'"{SECRET} number"'},
    {"user_id": f"user{SECRET}"},
    {"username": f"Name{SECRET}"},
    {"channel": f"ch{SECRET}"},
    {"where": SECRET},
    {"where": f"{SECRET[:4]}*"},
    {"where": f"user_id:user{SECRET}"},
    {"where": f"author_id:user{SECRET}"},
    {"where": "metadata.level:987654321"},
    {"where": "metadata.level:>=987654000"},
    {"where": f"metadata.channel:ch{SECRET[:3]}*"},
    {"where": f"content:{SECRET}"},
]
"""All that finds a secret message."""


async def found_nowhere(server: Server) -> None:
    """Ask everything that could find or show what was redacted."""
    fields = ("user_id", "username", "channel", "metadata.channel", "metadata.level")
    await found_by_none(server, QUERIES, fields, SECRET, "987654321")
    page = await server.history(limit=1000)
    assert SECRET not in repr(page).lower()
    # Not even by what all messages of the type have.
    everyone = await server.history(filters={"where": "username:*"}, limit=1000)
    assert not any(isinstance(one, Stub) for one in everyone.messages)


@pytest.mark.parametrize("window", [3, 100_000], ids=["on disk", "in memory"])
@on_uvloop
async def test_what_is_redacted_is_found_by_no_query_and_its_place_stays(
    tmp_path: Path, window: int
) -> None:
    async with serving(tmp_path / "live.db", window_messages=window) as server:
        seqs = await published(server, [secret(n) if n % 10 == 5 else said(n) for n in range(100)])
        assert (await server.history(filters={"text": SECRET})).total == 10
        await redact(server, *seqs[5::10])
        await found_nowhere(server)
        page = await server.history(limit=100)
        assert [one.seq for one in page.messages] == seqs[::-1]
        stubs = [one for one in page.messages if isinstance(one, Stub)]
        assert [one.id for one in stubs] == [f"m{n}" for n in range(95, 0, -10)]
        assert {(one.reason, one.timestamp) for one in stubs} == {("spam", NOW)}
        assert (await server.history(filters={"text": "hello"})).total == 90
        # It counts by type and date.
        assert (await server.history(filters={"type": "user"})).total == 100
        assert (await server.history(filters={"date_to": NOW})).total == 100
        by_type = await server.analyze(group_by="type")
        assert [(one.value, one.count) for one in by_type.groups] == [("user", 100)]
        assert (await server.analyze(group_by="user_id")).missing == 10
        if window > 100:  # its id again is answered with its seq
            assert (await server.publish(secret(95))).seq == seqs[95]
            assert (await server.history(filters={"text": SECRET})).total == 0


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@on_uvloop
async def test_the_files_are_clean_soon_and_a_restart_changes_nothing(
    tmp_path: Path, encrypted: bool
) -> None:
    settings: Json = {"window_messages": 50}
    if encrypted:
        settings["store_key_file"] = str(key_file(tmp_path / "key"))
    async with serving(tmp_path / "live.db", **settings) as server:
        seqs = await published(server, [secret(n) if n % 10 == 5 else said(n) for n in range(300)])
        if not encrypted:
            assert files_with(tmp_path)
        await server.search("hello")
        at = await redact(server, *seqs[5::10])
        await until(lambda: Inside(server).log.scrubbed_upto >= at, "clean files")
        assert files_with(tmp_path) == []
        await found_nowhere(server)
    assert files_with(tmp_path) == []
    async with serving(tmp_path / "live.db", **settings) as server:
        await window_filled(server)
        await found_nowhere(server)
        assert (await server.history(limit=1)).total == 300
        assert (await server.search("hello")).total == 270
        assert [one.act.reason for one in Inside(server).log.acts()] == ["spam"]


@on_uvloop
async def test_a_redaction_keeps_to_direct_messages_of_two(tmp_path: Path) -> None:
    async with serving(tmp_path / "live.db", window_messages=2) as server:
        dm = {
            "type": "dm",
            "from_user_id": "a",
            "from_username": "A",
            "to_user_id": "b",
            "content": SECRET,
        }
        [seq, *_] = await published(server, [dm, *(said(n) for n in range(20))])
        await redact(server, seq, type="dm", readers=("a", "b"))
        for user, count in (("a", 1), ("b", 1), ("c", 0)):
            page = await server.history(filters={"type": "dm"}, as_user=user)
            assert page.total == count
            assert SECRET not in repr(page)


CHILD = """
import asyncio, sys
from livelog import Config, Server
from livelog.wire.acts import Group, Redact
from livelog.store.upkeep import Upkeep
from tests.support.disk import die
from tests.support.inside import Inside
from tests.support.scrubbing import published
from tests.test_redaction import secret, said

Upkeep._scrub = lambda self: None  # the kill comes first

async def main():
    config = Config(port=0, store=sys.argv[1], limits=False, window_messages=20)
    async with Server(config) as server:
        seqs = await published(server, [secret(n) if n % 7 == 3 else said(n) for n in range(200)])
        group = Group("user", tuple(seqs[3::7]))
        act = Redact(by="mod", at="2026-01-01T12:00:00Z", groups=(group,))
        Inside(server).engine.act(act, lambda seq: die(sys.argv[1]))
        await asyncio.sleep(30)

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
        await found_nowhere(server)
        await clean(tmp_path)
        assert (await server.search("hello")).total == 200 - 29


@pytest.mark.parametrize("seed", range(2))
@on_uvloop
async def test_whatever_happens_the_secret_is_found_nowhere_and_the_others_are_unharmed(
    tmp_path: Path, seed: int
) -> None:
    """Publishing, redactions and restarts in any order."""
    dice, number = random.Random(seed), 0
    open_secrets: list[int] = []
    others: dict[int, str] = {}
    for _ in range(3):
        async with serving(tmp_path / "live.db", window_messages=dice.choice([5, 60])) as server:
            for _ in range(4):
                batch = []
                for _ in range(dice.randrange(1, 30)):
                    batch.append(secret(number) if dice.random() < 0.3 else said(number))
                    number += 1
                seqs = await published(server, batch)
                for seq, message in zip(seqs, batch, strict=True):
                    if SECRET in message["content"]:
                        open_secrets.append(seq)
                    else:
                        others[seq] = message["content"]
                if dice.random() < 0.5:
                    await redact(server, *open_secrets)
                    open_secrets = []
                    await found_nowhere(server)
                    total = (await server.history(limit=1)).total
                    seen = await resumed(server, total)
                    assert SECRET not in repr(seen)
                    assert {one.seq: one.content for one in seen if one.seq in others} == others
                else:
                    assert (await server.search(SECRET)).total == len(open_secrets)
            assert (await server.search("hello", limit=1)).total == len(others)
    async with serving(tmp_path / "live.db") as server:
        await redact(server, *open_secrets)
        await clean(tmp_path)
        await found_nowhere(server)


@on_uvloop
async def test_a_disk_that_is_full_delays_the_scrubbing_and_no_more(
    tmp_path: Path,
) -> None:
    """The act waits with what is to be written; memory answers already."""
    async with serving(tmp_path / "live.db") as server:
        seqs = await published(server, [secret(0), said(1)])
        journal: Any = Inside(server).store.journal
        upkeep = journal._writer._upkeep
        enact_well = upkeep.enact

        def full(enacted: Any) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        upkeep.enact = full
        group = Group("user", (seqs[0],))
        outcome: asyncio.Future[int | RefusedError] = asyncio.get_running_loop().create_future()
        act = Redact(by="mod", at=NOW, reason="spam", groups=(group,))
        Inside(server).engine.act(act, outcome.set_result)
        refused = await soon(outcome)
        assert isinstance(refused, RefusedError)
        assert "delivered, but not stored yet" in refused.issue
        await found_nowhere(server)
        assert files_with(tmp_path)
        upkeep.enact = enact_well
        await clean(tmp_path)
        assert [one.act for one in Inside(server).log.acts()] == [act]


def test_a_stub_gets_the_size_of_its_row_in_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, size = list[int](), redaction._size

    def noted(number: int) -> int:
        sizes.append(size(number))
        return sizes[-1]

    monkeypatch.setattr(redaction, "_size", noted)
    for number in range(200):
        payload = b'%b,"seq":%d}' % (msgspec.json.encode(secret(number))[:-1], 10**15 + number)
        row = StoredRow(number, 10**15 + number, b"m%d" % number, payload, None)
        row = row._replace(checksum=row.checksum_with(payload))
        stub = redaction._padded(row, "spam")
        assert is_stub(stub)
        assert (len(stub), sizes[-1]) == (len(payload), size(row.checksum or 0))
    assert len(sizes) < 200 * 10


@on_uvloop
async def test_nodes_that_share_a_log_redact_at_the_same_place() -> None:
    shared = SharedStream(3, faults=0.2)
    one, other = Node(shared), Node(shared)
    try:
        first = await one.sent("a")
        await other.sent("b")
        assert isinstance(first, Receipt)
        done: asyncio.Future[int | RefusedError] = asyncio.get_running_loop().create_future()
        group = Group("user", (first.seq,))
        other.engine.act(Redact(by="mod", at=NOW, groups=(group,)), done.set_result)
        at = await soon(done)
        late = Node(shared)
        for node in (one, other, late):
            await until(lambda node=node: node.log.head >= at, "the act")  # type: ignore[misc]  # node is bound
            known = node.log.lookup("a")
            assert known is not None
            assert is_stub(known.payload)
            assert (await node.sent("a")) == first
        await late.engine.close()
    finally:
        await one.engine.close()
        await other.engine.close()
