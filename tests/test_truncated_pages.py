"""Pages that are cut short because their bytes are too many: from memory, from disk, and from both.

The oracle is the whole page: what is kept of it is one run, with the message nearest to the place
asked for, and the next message would not fit.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from livelog.budget.memory import PAGE_BYTES
from livelog.budget.owner import INTERNAL, Owner
from livelog.index.paging import Anchor, Page, Span, fitting
from livelog.index.query import EVERYTHING, Query
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.base import Bounds, Store
from livelog.store.memory import MemoryJournal
from livelog.wire.record import Record
from tests.support.browser import hosting
from tests.support.disk import Disk
from tests.support.process import CLEAN, ROOT
from tests.support.strategies import record
from tests.support.wire import Json, on_uvloop, serving, user

ANCHORS: list[Anchor | None] = [None, "before", "after", "around"]


class Stored:
    """The reading half of a store, without a process."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.asked: list[Page] = []

    async def page(
        self,
        query: Query,
        upto: int,
        span: Span,
        owner: Owner,
        *,
        ahead: int = 0,
        optional: bool = False,
    ) -> Page:
        self.asked.append(self.disk.page(query, upto, span, ahead))
        return self.asked[-1]


@contextmanager
def logged(records: list[Record], in_window: int) -> Iterator[tuple[Log, Stored]]:
    """A log whose newest messages are in its window, and the others on disk alone."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder) / "live.db")
        if records:
            disk.write(records)
        behind = records[: len(records) - in_window]
        stored = Stored(disk)
        window = Window(1000, 1 << 30, behind[-1].seq if behind else 0)
        store = Store(MemoryJournal(), stored, Bounds())  # type: ignore[arg-type]  # pages only
        log = Log(window, store)
        log.commit(records[len(records) - in_window :], lambda refused: None)
        try:
            yield log, stored
        finally:
            disk.close()


@example(sizes=[0, 0], in_window=1, anchor="around", at=2, limit=2, max_bytes=1)
@given(
    sizes=st.lists(st.integers(0, 300), max_size=14),
    in_window=st.integers(0, 14),
    anchor=st.sampled_from(ANCHORS),
    at=st.integers(0, 16),
    limit=st.integers(1, 10),
    max_bytes=st.integers(1, 1500),
)
def test_a_cut_page_is_the_part_nearest_to_its_place(
    sizes: list[int], in_window: int, anchor: Anchor | None, at: int, limit: int, max_bytes: int
) -> None:
    records = [
        record({"type": "system", "event": "error", "data": {"x": "y" * size}}, seq)
        for seq, size in enumerate(sizes, 1)
    ]
    whole = Span(limit, 0, anchor, at) if anchor else Span(limit, at)
    cut = Span(whole.limit, whole.offset, anchor, whole.seq, max_bytes)
    with logged(records, min(in_window, len(records))) as (log, stored):
        full = asyncio.run(log.read(EVERYTHING, whole, INTERNAL))
        page = asyncio.run(log.read(EVERYTHING, cut, INTERNAL))
        built = [sum(map(len, each.payloads[1:])) for each in stored.asked[1:]]
    assert not full.truncated
    assert all(bytes_ <= max_bytes for bytes_ in built)
    assert page.total == full.total == len(records)
    assert page.truncated == (len(page.payloads) < len(full.payloads))
    first = page.offset - full.offset
    kept = range(first, first + len(page.payloads))
    assert page.payloads == full.payloads[first : kept.stop]
    if not full.payloads:
        return
    assert page.payloads
    # The frames in the window are measured with their head of a few bytes.
    assert sum(map(len, page.payloads)) <= max_bytes or len(page.payloads) == 1
    newest_first = [one.seq for one in reversed(records)]
    nearest = cut.nearest(lambda seq: sum(one > seq for one in newest_first), full.offset)
    assert min(max(nearest, 0), len(full.payloads) - 1) in kept
    if page.truncated:
        assert sum(map(len, page.payloads)) + max(map(len, full.payloads)) + 140 > max_bytes


@pytest.mark.parametrize(
    "span",
    [Span(40), Span(40, 5), Span(40, anchor="around", seq=9), Span(40, anchor="after", seq=9)],
)
def test_no_more_is_held_than_may_be_on_a_page_while_the_store_is_asked(span: Span) -> None:
    records = [
        record({"type": "system", "event": "error", "data": {"x": "y" * 1000}}, seq)
        for seq in range(1, 51)
    ]
    held: list[int] = []
    with logged(records, 40) as (log, stored):

        async def page(*given: Any, **named: Any) -> Page:
            log.trim(50)
            # Two for the record and the argument; more for what else holds on to a frame.
            held.append(sum(sys.getrefcount(one.frame) > 2 for one in records))
            return Page([], 0, 40)

        stored.page = page  # type: ignore[method-assign]
        asyncio.run(log.read(EVERYTHING, replace(span, max_bytes=4000), INTERNAL))
    assert len(held) == 1
    assert held[0] <= 4


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(-3, 15), st.integers(0, 30))
def test_what_does_not_fit_is_not_asked_for(sizes: list[int], nearest: int, room: int) -> None:
    asked: list[int] = []

    def size(place: int) -> int:
        asked.append(place)
        return sizes[place]

    kept = fitting(len(sizes), nearest, size, room)
    assert len(asked) == len(set(asked)) <= len(kept) + 1
    assert {*kept} <= {*asked}


def text(number: int) -> str:
    return f"{number} ".ljust(60_000, "x")


def numbers(page: Json) -> list[int]:
    found = page["messages"] if "messages" in page else page["results"]
    return [int(message["content"].split()[0]) for message in found]


@pytest.mark.parametrize("window", [1000, 100, 1], ids=["memory", "both", "disk"])
@on_uvloop
async def test_both_doors_cut_a_page_and_say_where_it_goes_on(window: int, tmp_path: Path) -> None:
    store = str(tmp_path / "live.db")
    async with serving(store=store, window_messages=window, limits=False) as house:
        seqs = [house.append(user(text(number))).seq for number in range(160)]
        client, http = await house.client(), await house.http()
        for action, path, fields in [
            ("get_history", "history", {}),
            ("search", "search", {"query": "xxx"}),
        ]:
            asked: dict[str, Any] = {"limit": 150, "offset": 0, **fields}
            found: list[int] = []
            while len(found) < 150:
                page = await client.ask(action, **asked)
                answer = await http.ask("GET", f"/api/{path}?{urlencode(asked)}")
                if page.get("incomplete") or answer.json.get("incomplete"):
                    continue  # a busy machine: the store has not answered in time
                assert answer.json == page
                assert len(answer.body) < PAGE_BYTES + 1000
                found += numbers(page)
                if len(found) < 150:
                    assert page["truncated"]
                    assert page["next_offset"] == page["offset"] + len(numbers(page))
                    asked |= {"offset": page["next_offset"], "limit": 150 - len(found)}
            assert found == [*range(159, 9, -1)]
            assert "truncated" not in page
            assert "next_offset" not in page
        for place, nearest in [({"before": seqs[80]}, 79), ({"after": seqs[10]}, 11)]:
            page = await client.ask("get_history", limit=100, **place)
            assert page["truncated"]
            assert nearest in (numbers(page)[0], numbers(page)[-1])
        page = await client.ask("get_history", limit=150, around=seqs[80])
        assert page["truncated"]
        middle = numbers(page).index(80)
        assert abs(len(numbers(page)) - 1 - 2 * middle) <= 1
        assert numbers(page) == [*range(numbers(page)[0], numbers(page)[-1] - 1, -1)]


@on_uvloop
async def test_a_program_is_told_where_a_cut_page_goes_on() -> None:
    async with serving() as house:
        for number in range(100):
            house.append(user(text(number)))
        page = await house.server.history(limit=100)
        assert page.truncated
        assert page.next_offset == len(page.messages) < 100
        rest = await house.server.search("xxx", limit=100, offset=page.next_offset)
        assert (rest.truncated, rest.next_offset) == (False, None)
        assert len(page.messages) + len(rest.messages) == 100


@pytest.fixture(scope="module")
def past() -> Iterator[tuple[str, list[int]]]:
    """The address of a server with more messages than fit onto a page, and their seqs."""
    with hosting("--store", "memory", "--no-limits") as host:
        url = f"ws://127.0.0.1:{host.port}/ws/live-log"
        lines = "\n".join(json.dumps(user(text(number))) for number in range(160))
        publish = [sys.executable, "-m", "livelog", "publish", "--url", url, "-"]
        subprocess.run(publish, input=lines, text=True, cwd=ROOT, env=CLEAN, check=True)
        yield url, printed(url, "--limit", "160")


def printed(url: str, *options: str) -> list[int]:
    """Return the seqs of the messages that the command prints."""
    history = [sys.executable, "-m", "livelog", "history", "--url", url, "--json", *options]
    done = subprocess.run(history, capture_output=True, text=True, cwd=ROOT, env=CLEAN, check=True)
    return [json.loads(line)["seq"] for line in done.stdout.splitlines()]


def test_the_command_line_prints_more_than_a_page(past: tuple[str, list[int]]) -> None:
    assert len(past[1]) == 160


@pytest.mark.parametrize(
    ("place", "first", "end"), [("--before", 76, 160), ("--after", 0, 75), ("--around", 0, 150)]
)
def test_the_command_line_goes_on_behind_a_cut_page(
    past: tuple[str, list[int]], place: str, first: int, end: int
) -> None:
    url, everything = past
    assert printed(url, "--limit", "150", place, str(everything[75])) == everything[first:end]
