"""The lists of admin commands, acts and blocks: however many there are, a page is made in steps."""

from __future__ import annotations

import asyncio
import random
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from livelog.index.plan import finish
from livelog.log.log import Log
from livelog.net.blocks import Block, Blocks
from livelog.store.base import Store
from livelog.store.memory import open_memory
from livelog.wire import acts
from livelog.wire.acts import MAX_SEQS, Act, Announce, Brief, Enacted, Group, Redact
from livelog.wire.acts import Block as BlockAct
from tests.support.clock import Clock
from tests.support.moderating import AUTH, give
from tests.support.wire import House, on_uvloop, run, serving, soon, user
from tests.test_acts import kept, opened

AT = "2025-12-03T12:00:00.000Z"


def redaction(*groups: Group, reason: str = "spam") -> Redact:
    return Redact(by="mod", at=AT, reason=reason, groups=groups)


ACTS: list[tuple[Act, int | None]] = [
    (redaction(Group("user", (1, 2, 3)), Group("dm", (4,), ("a", "b"))), 4),
    (redaction(Group("user", tuple(range(MAX_SEQS)))), MAX_SEQS),
    (redaction(Group("user", (7,)), reason='[["user",[7],[]]] groups, [] and "groups":[]'), 1),
    (redaction(Group("user", ())), 0),
    (redaction(), 0),
    (BlockAct(by="mod", at=AT, user_id='"groups":[1]'), None),
    (Announce(by="mod", at=AT, message=9, severity="info"), None),
    (BlockAct(by="mod", at=AT, user_id="bob", until=1_000_000_000.0), None),
]


@pytest.mark.parametrize(("act", "messages"), ACTS)
def test_a_brief_act_has_a_number_in_the_place_of_its_messages(
    act: Act, messages: int | None
) -> None:
    found = acts.decode_brief(5, acts.encode(act))
    assert found == acts.brief(Enacted(5, act))
    assert (found.seq, found.messages) == (5, messages)
    if isinstance(act, Redact):
        assert found.act == msgspec.structs.replace(act, groups=())
    else:
        assert found.act == act


def test_spaces_in_the_json_of_an_act_count_nothing() -> None:
    spread = msgspec.json.format(acts.encode(ACTS[0][0]))
    assert acts.decode_brief(1, spread) == acts.brief(Enacted(1, ACTS[0][0]))
    empty = msgspec.json.format(acts.encode(ACTS[3][0])).replace(b"[]", b"[ \n ]")
    assert acts.decode_brief(1, empty).messages == 0


@pytest.mark.parametrize("on_disk", [False, True])
def test_both_stores_tell_briefly_what_they_keep(tmp_path: Path, on_disk: bool) -> None:
    async def main() -> None:
        store: Store = opened(tmp_path / "live.db", b"") if on_disk else open_memory()
        first = store.bounds.last_seq + 1
        enacted = [Enacted(first + number, act) for number, (act, _) in enumerate(ACTS)]
        await kept(store, *enacted)
        briefs = [acts.brief(one) for one in reversed(enacted)]
        assert store.journal.briefs(None, 100) == briefs
        assert store.journal.briefs(first + 3, 2) == briefs[-3:-1]
        assert store.journal.briefs(first, 2) == []
        assert store.journal.acts(first + 3, 2) == enacted[2:0:-1]
        await store.journal.close()

    run(main())


async def enact(house: House, act: Act) -> int:
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    house.inside.engine.act(act, done.set_result)
    seq: int = await soon(done)
    return seq


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("all messages of all acts are read")


@pytest.mark.parametrize("on_disk", [False, True])
@on_uvloop
async def test_the_audit_log_counts_without_reading_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    store: Any = {"store": str(tmp_path / "live.db")} if on_disk else {}
    async with serving(**AUTH, **store) as house:
        seqs = [await enact(house, act) for act, _ in ACTS]
        monkeypatch.setattr(Log, "acts", forbidden)
        answer = await give(house, "http", "audit", limit=1000)
        rows = answer["result"]["acts"]
        assert [row["seq"] for row in rows] == seqs[::-1]
        assert [row.get("messages") for row in rows] == [count for _, count in reversed(ACTS)]
        assert not any("groups" in row for row in rows)
        assert [("scrubbed" in row) for row in rows] == [("messages" in row) for row in rows]
        ends = [row["until"] for row in rows if row.get("until")]
        assert ends == ["2001-09-09T01:46:40.000Z"]
        page = (await give(house, "http", "audit", limit=2, before=seqs[3]))["result"]["acts"]
        assert [row["seq"] for row in page] == [seqs[2], seqs[1]]


@on_uvloop
async def test_a_start_reads_what_it_needs_of_the_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = {"store": str(tmp_path / "live.db")}
    async with serving(**AUTH, **store) as house:
        seq = (await house.server.publish(user())).seq
        await house.server.admin("redact", seq=seq)
        await house.server.admin("block", user_id="ann")
        await house.server.admin("block", user_id="bob")
        await house.server.admin("unblock", user_id="bob")
    with monkeypatch.context() as patch:
        patch.setattr("livelog.store.database.acts.read_acts", forbidden)
        patch.setattr("livelog.store.sqlite.read_acts", forbidden)
        async with serving(**AUTH, **store) as house:
            listed = (await house.server.admin("blocks")).result
            assert [row["user_id"] for row in listed["blocks"]] == ["ann"]
            log = house.context.log
            assert len(log._acts._redactions) == 1


@on_uvloop
async def test_acts_that_are_not_written_yet_are_told_with_the_others(tmp_path: Path) -> None:
    async with serving(**AUTH, store=str(tmp_path / "live.db")) as house:
        seqs = [await enact(house, act) for act, _ in ACTS[:3]]
        log = house.context.log
        for number in range(5):
            seq = seqs[-1] + 1 + number
            log._acts._unwritten[seq] = Enacted(seq, ACTS[number][0])
            seqs.append(seq)
        assert [one.seq for one in log.briefs()] == seqs[::-1]
        assert [one.seq for one in log.briefs(seqs[4])] == seqs[3::-1]
        assert isinstance(next(log.briefs()), Brief)
        assert [one.seq for one in islice(log.briefs(), 2)] == [seqs[-1], seqs[-2]]
        log._acts._unwritten.clear()


def test_blocks_come_by_the_page_in_the_order_in_which_they_were_set() -> None:
    """Whatever the clocks of the servers say that set them, and in whatever order they come."""
    clock = Clock(1000.0)
    blocks = Blocks(clock)
    names = []
    found = []
    for number in range(500):
        until = 500.0 if number % 5 == 0 else None
        at = f"2025-12-03T12:{number % 60:02}:{number // 60:02}.000Z"
        user_id, address = (
            (f"u{number}", "") if number % 2 else ("", f"10.0.{number // 256}.{number % 256}/32")
        )
        found.append(Block(user_id, address, until, "", "mod", at, number))
        if until is None:
            names.append(user_id or address)
    for block in random.Random(1).sample(found, len(found)):
        blocks.add(block)
    blocks._check()
    found, count = finish(blocks.page(0, 1000))
    assert [block.user_id or block.address for block in found] == names
    assert count == len(names) == 400
    found, count = finish(blocks.page(390, 5))
    assert ([block.user_id or block.address for block in found], count) == (names[390:395], 400)
    assert finish(blocks.page(400, 5)) == ([], 400)
