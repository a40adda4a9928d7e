"""The client of the reading process: processes that are frozen, broken or missing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from livelog.budget.owner import INTERNAL
from livelog.fanout import catchup
from livelog.store.reader import calls, client
from livelog.store.reader.calls import RecordsCall
from livelog.store.sqlite import SqliteReader
from livelog.wire.record import Record
from tests.support.disk import reading_processes
from tests.support.keeping import filled, keeping, killed_reader, page, post, with_python
from tests.support.wire import TYPES, House, Http, on_uvloop, request, until
from tests.test_query import plainly

pytestmark = pytest.mark.usefixtures("no_reader_left")

OLD = "/api/history?limit=10&offset=100"


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time runs faster: ten beats in a second."""
    monkeypatch.setattr(client, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(client, "_SILENT_BEATS", 10)
    monkeypatch.setattr(client, "_SILENT_AT_START_BEATS", 50)
    monkeypatch.setattr(client, "_STARTING_BEATS", 200)
    monkeypatch.setattr(catchup, "RETRIES", (0.05, 0.1))


def process_of(house: House) -> client.ReaderClient:
    reader = house.inside.store.reader
    assert isinstance(reader, SqliteReader)
    return reader._process


@contextmanager
def frozen(folder: Path) -> Iterator[int]:
    """The reading process, stopped in the middle of whatever it does."""
    [reader] = reading_processes(folder)
    os.kill(reader, signal.SIGSTOP)
    try:
        yield reader
    finally:
        if reader in reading_processes(folder):
            os.kill(reader, signal.SIGCONT)


async def settled(house: House) -> Http:
    """A client of a server whose reading process is at work."""
    await until(lambda: filled(house), "filled")
    http = await house.http()  # one that says nothing for long is closed
    await page(http, limit=10, offset=100)
    await until(lambda: process_of(house)._has_answered, "a beat")
    return http


async def health(http: Http) -> Any:
    return (await http.ask("GET", "/healthz")).json


@on_uvloop
async def test_a_frozen_process_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LOST_BEATS", 10_000)
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(200))
        http = await settled(house)
        with frozen(tmp_path), monkeypatch.context() as patch:
            patch.setattr(client, "DEADLINE_SECONDS", 1.5)
            newest = await page(http, limit=10)
            assert newest["messages"] == messages[:-11:-1]
            assert newest["incomplete"] is True
            refused = await http.ask("GET", OLD)
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert "does not answer" in refused.json["details"]["issue"]
            told = await health(http)
            assert told["status"] == "degraded"
            assert "does not answer" in told["issue"]
        await until(lambda: not process_of(house).impaired, "an answer")
        assert (await health(http))["status"] == "ok"
        whole = await page(http, limit=10)
        assert (whole["total_count"], whole.get("incomplete")) == (200, None)
        assert (await page(http, limit=10, offset=100))["messages"] == messages[90:100][::-1]


@on_uvloop
async def test_a_process_that_stays_frozen_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LOST_BEATS", 10_000)
    async with keeping(tmp_path, faults=["the process that reads"]) as house:
        messages = await post(await house.http(), range(200))
        http = await settled(house)
        with frozen(tmp_path) as stopped:
            asking = asyncio.create_task(page(http, limit=10, offset=100))
            with monkeypatch.context() as patch:
                patch.setattr(client, "_LOST_BEATS", 10)
                await until(lambda: stopped not in reading_processes(tmp_path), "its end")
            assert (await asking)["messages"] == messages[90:100][::-1]


@on_uvloop
async def test_a_frozen_process_is_ended_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_END_SECONDS", 0.2)
    async with keeping(tmp_path) as house:
        await post(await house.http(), range(200))
        await settled(house)
        [reader] = reading_processes(tmp_path)
        os.kill(reader, signal.SIGSTOP)


@on_uvloop
async def test_calls_of_clients_that_have_left_are_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LOST_BEATS", 10_000)
    async with keeping(tmp_path) as house:
        await post(await house.http(), range(200))
        await settled(house)
        process = process_of(house)
        with frozen(tmp_path):
            gone, web = await house.http(), await house.client()
            await gone.send(request("GET", OLD))
            await web.tell("get_history", limit=10, offset=100)
            await until(lambda: len(process._pending) == 2, "two calls")
            gone.reset()
            web.reset()
            await until(lambda: not process._pending, "none")
            assert not process._counts
        await until(lambda: not process.impaired, "an answer")


@on_uvloop
async def test_a_client_that_only_closed_its_direction_is_answered_if_that_is_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LOST_BEATS", 10_000)
    async with keeping(tmp_path, close_timeout=1) as house:
        await post(await house.http(), range(200))
        await settled(house)
        with frozen(tmp_path):
            leaving = await house.http()
            await leaving.send(request("GET", OLD))
            await until(lambda: process_of(house)._pending, "a call")
            leaving.finish()
            await until(lambda: not process_of(house)._pending, "none")


@on_uvloop
async def test_a_client_is_not_dead_while_the_server_does_not_read_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LOST_BEATS", 10_000)
    monkeypatch.setattr(client, "DEADLINE_SECONDS", 4)
    async with keeping(tmp_path, ping_interval=1, ping_timeout=1) as house:
        await post(await house.http(), range(200))
        await settled(house)
        with frozen(tmp_path):
            web = await house.client()
            for request_id in (1, 2):  # the second one stops the reading
                await web.tell("get_history", limit=10, offset=100, request_id=request_id)
            event = await web.event()
            assert (event["action"], event["error_code"]) == ("error", 1011)
            assert event["details"]["retry_after_seconds"] == 1


@on_uvloop
async def test_too_many_calls_of_one_owner_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LOST_BEATS", 10_000)
    monkeypatch.setattr(client, "_CALLS_PER_OWNER", 2)
    async with keeping(tmp_path) as house:
        await post(await house.http(), range(200))
        await settled(house)
        with frozen(tmp_path):
            waiting = [await house.http() for _ in range(2)]
            for one in waiting:
                await one.send(request("GET", OLD))
            await until(lambda: len(process_of(house)._pending) == 2, "two calls")
            refused = await (await house.http()).ask("GET", OLD)
            assert refused.status == 503
            assert "too many" in refused.json["details"]["issue"]
        for one in waiting:
            assert (await one.answer()).status == 200


NOISE = "import os, time; os.write(0, b'no reading process speaks like this'); time.sleep(60)"
"""A process that answers with what is no answer."""

BROKEN = {"missing": "", "noisy": NOISE, "short-lived": "pass"}


@pytest.mark.parametrize("broken", BROKEN)
@on_uvloop
async def test_a_process_that_cannot_work_leaves_what_is_in_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    async with keeping(tmp_path, faults=["the process that reads"]) as house:
        messages = await post(await house.http(), range(200))
        http = await settled(house)
        with monkeypatch.context() as patch:
            patch.setattr(client, "DEADLINE_SECONDS", 2)
            with_python(tmp_path, patch, BROKEN[broken])
            if broken == "missing":
                (tmp_path / "python").unlink()
            killed_reader(tmp_path)
            refused = await http.ask("GET", OLD)
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            newest = await page(http, limit=10)
            assert newest["messages"] == messages[:-11:-1]
            told = await health(http)
            assert told["status"] == "degraded"
            assert f"{tmp_path}/live.db has failed" in told["issue"]
        await until(lambda: not process_of(house).impaired, "an answer")
        assert (await page(http, limit=10, offset=100))["messages"] == messages[90:100][::-1]


@on_uvloop
async def test_a_process_that_has_died_and_is_not_missed_yet_is_asked_nothing(
    tmp_path: Path,
) -> None:
    """Its transport is closed before anybody is told, and raised an error: a resume hung."""
    async with keeping(tmp_path, faults=["the process that reads"]) as house:
        messages = await post(await house.http(), range(200))
        http = await settled(house)
        process = process_of(house)
        for turns in range(4):
            await until(lambda: process._writer is not None, "a process")
            assert process._writer is not None
            process._writer.transport.abort()
            for _ in range(turns):
                await asyncio.sleep(0)
            call = RecordsCall(0, messages[-1]["seq"], 10)
            records = await process.ask(call, list[Record], INTERNAL)
            assert [one.seq for one in records] == [one["seq"] for one in messages[:10]]
        assert (await page(http, limit=10, offset=100))["messages"] == messages[90:100][::-1]


FAILING_INDEX = """
import sqlite3, sys
from pathlib import Path
from livelog.store.reader import __main__, segments, segmentwriter

def write(*_):
    raise sqlite3.DatabaseError("database disk image is malformed")

path = sys.argv[-1]
with open(f"{path}-starts", "a") as starts:
    starts.write("start ")
segments.SEALED_AT = 100
segmentwriter.write = write
sys.exit(__main__.main(__main__.logs.parsed(sys.argv[-2]), path))
"""
"""The reading process on a disk that damages each index when it is written."""


@on_uvloop
async def test_an_index_that_fails_again_and_again_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process lives on without it, and answers what can be answered; that is told once."""
    rests = (0.0, 0.0, 0.0, 3600.0)
    monkeypatch.setattr(client, "_INDEX_RESTS", rests)
    monkeypatch.setattr(client, "_RESTART_SECONDS", (0.0,))
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(300))
    with_python(tmp_path, monkeypatch, FAILING_INDEX)
    faults = ["the process that reads", "has failed again and again"]
    async with keeping(tmp_path, faults=faults) as house:
        await until(lambda: filled(house), "filled")
        process = process_of(house)
        await until(lambda: process._index_failures == len(rests) - 1, "failures")
        await until(lambda: process._has_answered, "the process without an index")
        http = await house.http()
        told = await health(http)
        assert told["status"] == "degraded"
        assert "has failed again and again" in told["issue"]
        found = await page(http, limit=10, user_id="u3")
        assert found["total_count"] == sum(plainly(one, {"user_id": "u3"}) for one in messages)
        assert (await page(http, limit=10, offset=100))["messages"] == messages[190:200][::-1]
    assert (tmp_path / "live.db-starts").read_text() == "start " * len(rests)


@on_uvloop
async def test_a_process_that_dies_again_and_again_loses_no_message_of_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is closed at most, with 1011, and gets everything when it resumes."""
    monkeypatch.setattr(client, "_RESTART_SECONDS", (0.0, 0.0))
    async with keeping(tmp_path, faults=["the process that reads"]) as house:
        messages = await post(await house.http(), range(2000))
        await settled(house)
        killing = asyncio.create_task(killed_often(tmp_path, 12))
        seqs: list[int] = []
        since = messages[0]["seq"]
        while not seqs or seqs[-1] < messages[-1]["seq"]:
            reader = await house.client()
            await reader.tell("subscribe", message_types=TYPES, since=seqs[-1] if seqs else since)
            while not seqs or seqs[-1] < messages[-1]["seq"]:
                event = await reader.event()
                assert event.get("action") != "gap"
                if "seq" in event and "action" not in event:
                    seqs.append(event["seq"])
                if event.get("action") == "disconnected":
                    assert event["reason"] == "server_error"
                    break
        killing.cancel()
        assert seqs == [one["seq"] for one in messages[1:]]


async def killed_often(folder: Path, times: int) -> None:
    for _ in range(times):
        await until(lambda: len(reading_processes(folder)) == 1, "a process")
        killed_reader(folder)
        await asyncio.sleep(0.05)


READING_LITTLE = """
import sys
from livelog.store.reader import __main__, chunks, searches

searches._SCANNED_PER_PAGE = chunks._SCANNED_PER_CHUNK = 2048
sys.exit(__main__.main(__main__.logs.parsed(sys.argv[-2]), sys.argv[-1]))
"""
"""The reading process, with more in the open end of its index than it reads one by one."""

PAST = [
    "/api/history?limit=10&offset=500",
    "/api/history?limit=1000&user_id=u3&before={}",
    "/api/search?query=dragon&limit=5&offset=100",
    "/api/search?query=%22red+dragon%22&limit=5&offset=100",
]
"""Questions that the window alone cannot answer, however slow the process is."""


@on_uvloop
async def test_a_process_that_dies_at_any_moment_of_a_question_is_not_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is asked again of the next process, which has to index the open end again."""
    monkeypatch.setattr(client, "_RESTART_SECONDS", (0.0, 0.0))
    with_python(tmp_path, monkeypatch, READING_LITTLE)
    async with keeping(tmp_path, faults=["the process that reads"]) as house:
        messages = await post(await house.http(), range(1000))
        http = await settled(house)
        for moment in range(12):
            asked = PAST[moment % len(PAST)].format(messages[500]["seq"])
            expected = await http.ask("GET", asked)
            with frozen(tmp_path) as reader:
                asking = asyncio.create_task(http.ask("GET", asked))
                await until(lambda: process_of(house)._pending, "the question")
            await asyncio.sleep(0.001 * moment)
            os.kill(reader, signal.SIGKILL)
            answer = await asking
            assert (answer.status, answer.json) == (200, expected.json)
            await settled(house)


@on_uvloop
async def test_a_signal_as_soon_as_the_process_is_there_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal and systemd send one to all processes, also to one that has just been made."""
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(300))
    signals = "".join(f"kill -{number:d} $$\n" for number in calls.SPARED)
    with_python(tmp_path, monkeypatch, f'{signals}exec {sys.executable} "$@"', shell="/bin/sh")
    async with keeping(tmp_path) as house:
        http = await settled(house)
        assert (await page(http, limit=10, offset=100))["messages"] == messages[190:200][::-1]
        assert process_of(house)._failed == 0


@on_uvloop
async def test_the_process_is_asked_for_numbers_beyond_64_bits(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        await post(await house.http(), range(200))
        http = await settled(house)
        for number in ("1e30", "-1e30", "1" + 300 * "0"):
            found = await page(http, limit=1, where=f"-metadata.level:>{number}")
            assert found["total_count"] == 200
