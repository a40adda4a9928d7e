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
    with_python,
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
        messages = await post(await house.http(), range(2000))  # some chunks
    async with keeping(tmp_path, faults=[failed]) as house:
        http = await house.http()
        await until(lambda: filled(house), "filled")
        readers = [await house.client() for _ in range(3)]
        for place, reader in enumerate(readers):
            since = messages[place * 10]["seq"]
            await reader.tell("subscribe", message_types=TYPES, since=since)
        for _ in range(3):
            await http.send(request("GET", "/api/history?limit=1000&offset=500"))
            await until(lambda: reading_processes(tmp_path), "a process")
            killed = killed_reader(tmp_path)
            answer = await http.answer()
            assert answer.json["messages"] == messages[500:1500][::-1]
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


SEALING_EARLY = """
import sys
from livelog.store.reader import __main__, segments

segments.SEALED_AT = 256
sys.exit(__main__.main(__main__.logs.parsed(sys.argv[-2]), sys.argv[-1]))
"""
"""The reading process, with a segment for every few messages."""


@pytest.mark.usefixtures("each_kind")
@pytest.mark.parametrize("harm", [lose, spoil, cut])
@on_uvloop
async def test_an_index_that_was_harmed_is_made_again(
    tmp_path: Path, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_python(tmp_path, monkeypatch, SEALING_EARLY)
    index = tmp_path / "live.db-index"
    async with keeping(tmp_path) as house:
        http = await house.http()
        messages = await post(http, range(600))
        await page(http, limit=1000)
        # Sealed: the first 512 have got segments.
        await until(lambda: Path(f"{index}-wal").stat().st_size > 100_000, "segments")
    harm(index)
    async with keeping(tmp_path) as house:
        http = await house.http()
        hits = [one for one in reversed(messages) if plainly(one, {"user_id": "u3"})]
        got = await page(http, limit=1000, offset=20, user_id="u3")
        assert (got["total_count"], got["messages"]) == (len(hits), hits[20:])


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
