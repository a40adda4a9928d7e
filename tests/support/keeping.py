"""Servers that keep their log on disk: messages that differ, pages of them, and what is awaited."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from livelog.store import age, upkeep, writer
from livelog.store.database import file
from livelog.store.database.connection import Connection
from livelog.store.sqlite import SqliteJournal
from tests.support.disk import KEY, key_file, reading_processes
from tests.support.wire import Client, House, Http, Json, request, serving, user
from tests.test_query import complete, plainly

SHORT = user("short")
WORDS = ["red dragon", "blue dragon", "gate closed", "the gate of dragons", "quiet"]
SETTINGS: Json = {"limits": False, "window_messages": 50}
"""Of every server; the fixture `each_kind` adds a key."""


def foreign(path: Path) -> closing[Connection]:
    """Open the file as another program does that has its key."""
    return closing(file.connect(str(path), KEY if "store_key_file" in SETTINGS else b""))


@asynccontextmanager
async def keeping(folder: Path, **settings: Any) -> AsyncIterator[House]:
    """A server that keeps its log in `folder`, and little in memory."""
    usual = {"store": str(folder / "live.db"), **SETTINGS}
    async with serving(**{**usual, **settings}) as house:
        yield house


def sample(number: int) -> Json:
    """Messages that differ in what is filtered and searched."""
    words, who = WORDS[number % 5], f"u{number % 7}"
    timestamp = f"2026-01-{1 + number % 28:02d}T12:00:00.000Z"
    common = {"id": f"m{number}", "timestamp": timestamp}
    if number % 3 == 0:
        return {
            "type": "system",
            "event": "error",
            "data": {"note": words},
            "severity": "info",
            **common,
        }
    return user(f"{words} {number}", user_id=who, metadata={"channel": f"c{number % 2}"}, **common)


def batch(numbers: range) -> str:
    """The body that publishes samples."""
    return json.dumps([sample(number) for number in numbers])


async def post(http: Http, numbers: range) -> list[Json]:
    """Publish samples and wait until they are safe; returns them as they are kept."""
    answer = await http.ask("POST", "/api/messages", batch(numbers))
    assert answer.status == 201, answer
    seqs = [receipt["seq"] for receipt in answer.json["messages"]]
    return [
        complete(sample(number)) | {"seq": seq} for number, seq in zip(numbers, seqs, strict=True)
    ]


async def page(http: Http, **parameters: Any) -> Json:
    """A page of history."""
    answer = await http.ask("GET", f"/api/history?{urlencode(parameters)}")
    assert answer.status == 200, answer
    return answer.json


async def everything(http: Http, **filters: Any) -> list[Json]:
    """All of history by pages, oldest first."""
    found: list[Json] = []
    while True:
        part = await page(http, limit=1000, offset=len(found), **filters)
        found += part["messages"]
        assert part["messages"] or len(found) == part["total_count"]
        if len(found) >= part["total_count"]:
            return found[::-1]


def filled(house: House) -> bool:
    """The window has been filled after the start."""
    task = house.inside.filling
    return task is not None and task.done()


async def resumed(client: Client, upto: int) -> tuple[list[int], list[Json]]:
    """Read to the message with seq `upto`: the seqs of the messages, and the events in between."""
    seqs: list[int] = []
    events: list[Json] = []
    while not seqs or seqs[-1] < upto:
        event = await client.event()
        if "action" in event:
            events.append(event)
        else:
            seqs.append(event["seq"])
    return seqs, events


FILTERS: list[Json] = [
    {},
    {"type": "system"},
    {"user_id": "u3"},
    {"type": "user", "channel": "c1"},
    {"date_from": "2026-01-10T00:00:00Z", "date_to": "2026-01-12T23:00:00Z"},
    {"text": "dragon"},
    {"text": '"red dragon"'},
    {"text": "nowhere"},
]


SPANS = [(0, 10), (10, 25), (40, 30), (49, 2), (300, 200)]
ANCHORS = ["before", "after", "around"]
PLACES = [-1, -20, -48, -50, -52, -55, -200, 0]
"""Places of messages in the window, on disk, and where the two meet."""


async def check_history(http: Http, messages: list[Json]) -> None:
    """Pages of every kind, with every filter, are what a plain list gives.

    Each filter is asked beside each place, and each place by each anchor.
    """
    for turn, wanted in enumerate(FILTERS):
        hits = [one for one in reversed(messages) if plainly(one, wanted)]
        assert await everything(http, **wanted) == hits[::-1]
        asked = [_at(hits, *span) for span in (*SPANS, (len(hits), 5))]
        for number, place in enumerate(PLACES):
            anchor = ANCHORS[(turn + number) % len(ANCHORS)]
            asked.append(_beside(hits, anchor, messages[place]["seq"]))
        queries = [urlencode({**parameters, **wanted}) for parameters, _ in asked]
        await http.send(*(request("GET", f"/api/history?{query}") for query in queries))
        for query, (parameters, expected) in zip(queries, asked, strict=True):
            got = (await http.answer()).json
            assert (got["messages"], got["total_count"]) == (expected, len(hits)), query
            assert got["offset"] == parameters.get("offset", got["offset"])


def _at(hits: list[Json], offset: int, limit: int) -> tuple[Json, list[Json]]:
    """The parameters of a page, and what is on it."""
    return {"offset": offset, "limit": limit}, hits[offset : offset + limit]


def _beside(hits: list[Json], anchor: str, seq: int) -> tuple[Json, list[Json]]:
    newer = sum(one["seq"] > seq for one in hits)
    upto = sum(one["seq"] >= seq for one in hits)
    first = {"before": upto, "after": max(0, newer - 20), "around": max(0, newer - 10)}[anchor]
    end = newer if anchor == "after" else first + 20
    return {anchor: seq, "limit": 20}, hits[first:end]


def with_python(folder: Path, patch: pytest.MonkeyPatch, script: str, shell: str = "") -> None:
    """Start the processes that read by a script, whatever they are told: it is their Python."""
    fake = folder / "python"
    fake.write_text(f"#!{shell or sys.executable}\n{script}\n")
    fake.chmod(0o700)
    patch.setattr(sys, "executable", str(fake))


def killed_reader(folder: Path) -> int:
    """Kill the process that reads; returns which it was."""
    [reader] = reading_processes(folder)
    os.kill(reader, signal.SIGKILL)
    return reader


def pragma(house: House, text: str) -> int:
    """Ask or tell the connection that writes."""
    journal = house.inside.store.journal
    assert isinstance(journal, SqliteJournal)
    [[value]] = journal._writer._connection.execute(f"PRAGMA {text}")
    return int(value)


FULL = ["the store cannot be written to", "the store can be written to again"]
"""Logged by a server whose disk was full for a while."""


# Fixtures, which `conftest` hands on.


@pytest.fixture
def no_reader_left(tmp_path: Path) -> Iterator[None]:
    """The processes that read have ended when the test has."""
    yield
    assert not reading_processes(tmp_path)


@pytest.fixture(params=["plain", "encrypted"])
def each_kind(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once with a plain file, once with an encrypted one."""
    if request.param == "encrypted":
        monkeypatch.setitem(SETTINGS, "store_key_file", key_file(tmp_path / "live.key"))


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer tries again soon, and gives up early."""
    monkeypatch.setattr(writer, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(file, "_BUSY_SECONDS", 0.05)


@pytest.fixture
def no_idle_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer looks at its files when it writes, and not while it has nothing to do.

    Nor does it write by itself: the index of the log may be cut between its look and its writing.
    """
    monkeypatch.setattr(upkeep, "_TRIM_SECONDS", 60.0)
    monkeypatch.setattr(upkeep, "_ALIVE_SECONDS", 60.0)


@pytest.fixture
def quick_trims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trim old messages all the time, and believe the clock even if it is set."""
    monkeypatch.setattr(upkeep, "_TRIM_SECONDS", 0.02)
    monkeypatch.setattr(age, "FIRST_CUT_SECONDS", 0)
    monkeypatch.setattr(age, "_SUSPENDED_SECONDS", 0)
