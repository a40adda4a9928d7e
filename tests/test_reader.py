"""The reading process: replaced when it is killed, its index made again when it is harmed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from livelog.budget.owner import INTERNAL
from livelog.index.query import EVERYTHING, NOTHING
from tests.support.disk import reading_processes
from tests.support.keeping import (
    filled,
    keeping,
    killed_reader,
    page,
    post,
    resumed,
)
from tests.support.wire import (
    TYPES,
    on_uvloop,
    request,
    until,
)
from tests.test_query import plainly

pytestmark = pytest.mark.usefixtures("no_reader_left")


def _another(folder: Path, killed: int) -> bool:
    return reading_processes(folder) != [killed]


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_a_reading_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    """Clients that were reading read on, without a gap."""
    failed = "the process that reads"
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(5000))
    async with keeping(tmp_path, faults=[failed]) as house:
        http = await house.http()
        await until(lambda: filled(house), "filled")
        readers = [await house.client() for _ in range(3)]
        for place, reader in enumerate(readers):
            since = messages[place * 10]["seq"]
            await reader.tell("subscribe", message_types=TYPES, since=since)
        for _ in range(3):
            await http.send(request("GET", "/api/history?limit=1000&offset=3000"))
            await until(lambda: reading_processes(tmp_path), "a process")
            killed = killed_reader(tmp_path)
            answer = await http.answer()
            assert answer.json["messages"] == messages[1000:2000][::-1]
            # The answer may have been on its way already when the process was killed.
            await until(partial(_another, tmp_path, killed), "another process")
        for place, reader in enumerate(readers):
            seqs, events = await resumed(reader, messages[-1]["seq"])
            assert [event["action"] for event in events] == ["subscribed"]
            assert seqs == [one["seq"] for one in messages[place * 10 + 1 :]]


def lose(index: Path) -> None:
    index.unlink()


def spoil(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    index.write_bytes(data)


def cut(index: Path) -> None:
    os.truncate(index, index.stat().st_size // 2)


@pytest.mark.usefixtures("each_kind")
@pytest.mark.parametrize("harm", [lose, spoil, cut])
@on_uvloop
async def test_an_index_that_was_harmed_is_made_again(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    index = tmp_path / "live.db-index"
    async with keeping(tmp_path) as house:
        http = await house.http()
        messages = []
        for start in range(0, 9000, 3000):
            messages += await post(http, range(start, start + 3000))
        await page(http)
        # Sealed: the first 8192 have got a segment.
        await until(lambda: Path(f"{index}-wal").stat().st_size > 100_000, "a segment")
    harm(index)
    async with keeping(tmp_path) as house:
        http = await house.http()
        hits = [one for one in reversed(messages) if plainly(one, {"user_id": "u3"})]
        got = await page(http, limit=1000, offset=600, user_id="u3")
        assert (got["total_count"], got["messages"]) == (len(hits), hits[600:])


@on_uvloop
async def test_readers_at_one_place_share_a_chunk_only_if_it_may_be_as_large(
    tmp_path: Path,
) -> None:
    async with keeping(tmp_path) as house:
        await post(await house.http(), range(300))
        reader, wanted = (
            house.inside.store.reader,
            NOTHING.with_types(dict.fromkeys(TYPES, EVERYTHING)),
        )
        assert reader is not None
        asked = [
            reader.chunk(0, house.context.log.head, wanted, most, INTERNAL) for most in (20_000, 1)
        ]
        large, small = await asyncio.gather(*asked)
        assert len(large.frames[0]) > 10_000
        assert len(small.frames[0]) < 1000
