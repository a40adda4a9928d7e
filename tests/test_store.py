"""The log on disk, as a user meets it: real files, real sockets, the real reading process.

A server tells all that an earlier one acknowledged as if there had been no restart, also while its
window is being filled. What is found is held against a plain list of what was published.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from livelog.budget.owner import INTERNAL
from livelog.index.query import EVERYTHING, NOTHING
from livelog.store import writer
from tests.support.keeping import (
    SHORT,
    check_history,
    everything,
    filled,
    keeping,
    page,
    post,
    resumed,
    sample,
)
from tests.support.wire import (
    TYPES,
    Client,
    House,
    Json,
    on_uvloop,
    serving,
    soon,
    until,
    user,
)
from tests.test_query import plainly

pytestmark = pytest.mark.usefixtures("no_reader_left")


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_history_is_the_same_before_and_after_a_restart(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        http = await house.http()
        messages = await post(http, range(400))
        await check_history(http, messages)
    async with keeping(tmp_path) as house:
        http = await house.http()
        await check_history(http, messages)
        await until(lambda: filled(house), "filled")
        await check_history(http, messages)
        messages += await post(http, range(400, 420))
        await check_history(http, messages)


@on_uvloop
async def test_search_finds_the_same_over_both_doors(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(200))
    async with keeping(tmp_path) as house:
        client, http = await house.client(), await house.http()
        for query in ("dragon", '"the gate"', "gate closed", "nowhere"):
            hits = [one for one in reversed(messages) if plainly(one, {"text": query})]
            found = await client.ask("search", query=query, limit=1000)
            assert found["results"] == hits
            assert found["count"] == len(hits)
            parameters = urlencode({"query": query, "limit": 1000})
            answer = (await http.ask("GET", f"/api/search?{parameters}")).json
            assert (answer["results"], answer["count"]) == (hits, len(hits))


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_what_is_published_right_after_the_start_is_kept_once(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(100))
    async with keeping(tmp_path) as house:  # no other task has run yet
        house.append(sample(100))
        again = house.append(sample(99))
        assert again.seq == messages[-1]["seq"]
        await until(lambda: filled(house), "filled")
        got = await everything(await house.http())
    assert [one["id"] for one in got] == [f"m{number}" for number in range(101)]


@on_uvloop
async def test_what_is_in_line_when_the_server_stops_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_COMMIT_RECORDS", 1000)
    async with keeping(tmp_path) as house:
        for number in range(3000):  # more than one statement takes
            house.append({**SHORT, "id": f"m{number}"})
    async with keeping(tmp_path) as house:
        got = await everything(await house.http())
        assert [one["id"] for one in got] == [f"m{number}" for number in range(3000)]


# Resume from disk.


@on_uvloop
async def test_many_readers_resume_from_disk_under_live_traffic(tmp_path: Path) -> None:
    """Each gets what it wants from its cursor on, in order, once."""
    async with keeping(tmp_path) as house:
        http = await house.http()
        messages = []
        for start in range(0, 2000, 500):
            messages += await post(http, range(start, start + 500))
    async with keeping(tmp_path) as house:
        wants: list[Json] = [{}, {"text": "dragon"}, {"user_id": "u3"}, {"channel": "c1"}]
        cursors = [0, messages[0]["seq"], messages[700]["seq"], messages[701]["seq"] - 1]
        cursors += [messages[1949]["seq"], messages[1960]["seq"], messages[-1]["seq"]]
        readers = []
        for number in range(200):
            client = await house.client()
            wanted = wants[number % 4] if number >= 100 else {}
            since = cursors[number % 7] if number >= 50 else 0
            readers.append((client, wanted, since))
        for client, wanted, since in readers:
            await client.tell("subscribe", message_types=TYPES, filters=wanted, since=since)
        publishing = asyncio.create_task(publish_slowly(house, messages, range(2000, 2300)))
        got = await asyncio.gather(*(read_to_the_last(client) for client, *_ in readers))
        await publishing
        hits = [[one for one in messages if plainly(one, wanted)] for wanted in wants]
        for (_, wanted, since), seqs in zip(readers, got, strict=True):
            expected = [one["seq"] for one in hits[wants.index(wanted)] if one["seq"] > since]
            assert seqs == expected


async def publish_slowly(house: House, messages: list[Json], numbers: range) -> None:
    """Publish by tens, and last a message that every reader gets."""
    http = await house.http()
    for first in range(numbers.start, numbers.stop, 10):
        messages += await post(http, range(first, first + 10))
    house.append(user("dragon", user_id="u3", id="last", metadata={"channel": "c1"}))


async def read_to_the_last(client: Client) -> list[int]:
    """The seqs of all messages before the last one."""
    seqs: list[int] = []
    while True:
        payload = await client.text()
        if b'"id":"last"' in payload:
            return seqs
        if payload.startswith(b'{"type":'):
            seqs.append(int(payload[payload.rindex(b":") + 1 : -1]))
        else:
            assert payload.startswith(b'{"action":"subscribed"'), payload


@on_uvloop
async def test_a_cursor_that_cannot_be_is_told_so(tmp_path: Path) -> None:
    """One of another log, one in the future, and none at all."""
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(100))
    async with keeping(tmp_path) as house:
        first, last = messages[0]["seq"], messages[-1]["seq"]
        client = await house.client()
        await client.tell("subscribe", message_types=TYPES, since=1000)
        seqs, [_, gap] = await resumed(client, last)
        assert (gap["action"], gap["from"]) == ("gap", 1000)
        assert 1000 < gap["to"] < first
        assert seqs == [one["seq"] for one in messages]
        client = await house.client()
        error = await client.ask("subscribe", message_types=TYPES, since=2**52)
        assert (error["action"], error["error_code"]) == ("error", 1002)
        assert error["details"]["field"] == "since"
        client = await house.client(f"?message_types={','.join(TYPES)}&since=0")
        seqs, [subscribed] = await resumed(client, last)
        assert subscribed["action"] == "subscribed"
        assert seqs == [one["seq"] for one in messages]


# A start.


@pytest.mark.parametrize("window", [50, 1000])
@on_uvloop
async def test_it_serves_while_the_window_is_filled(tmp_path: Path, window: int) -> None:
    """Reads, resume, publishing and publishing again, with the window smaller or larger."""
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(600))
    async with keeping(tmp_path, window_messages=window) as house:
        http = await house.http()
        client = await house.client(f"?message_types={','.join(TYPES)}&since=0")
        number = 600
        while not filled(house):
            messages += await post(http, range(number, number + 7))
            again = house.append(sample(number - 40))
            assert again.seq == messages[number - 40]["seq"]
            got = await page(http, limit=100, offset=20)
            assert got["messages"] == messages[::-1][20:120]
            assert got["total_count"] == len(messages)
            number += 7
        await check_history(http, messages)
        seqs, _ = await resumed(client, messages[-1]["seq"])
        assert seqs == [one["seq"] for one in messages]
        assert await everything(http) == messages
        house.inside.window._check()


@on_uvloop
async def test_who_resumes_while_the_window_is_filled_gets_nothing_twice(tmp_path: Path) -> None:
    """Those who wait to fetch from disk are overtaken by the window, which then has it all."""
    store = str(tmp_path / "live.db")
    async with serving(store=store) as house:
        seqs = house.publish(*map(str, range(40)))
        await house.server.publish(user("40"))
    async with serving(store=store) as house:
        clients = [await house.client(f"?message_types=user&since={seq}") for seq in seqs]
        for number, client in enumerate(clients):
            assert (await client.event())["action"] == "subscribed"
            wanted = [str(content) for content in range(number + 1, 41)]
            assert await client.contents(len(wanted)) == wanted
        await until(lambda: filled(house), "filled")
        house.publish("live")
        assert [await client.contents(1) for client in clients] == [["live"]] * 40


@on_uvloop
async def test_live_traffic_may_fill_the_window_by_itself(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(600))
    async with keeping(tmp_path, window_messages=20) as house:
        for number in range(600, 700):  # before the filling has begun
            house.append(sample(number))
        http = await house.http()
        messages += await post(http, range(700, 800))
        await until(lambda: filled(house), "filled")
        assert len(house.inside.window) <= 20
        got = await everything(http)
        assert [one["id"] for one in got] == [f"m{number}" for number in range(800)]


@on_uvloop
async def test_an_id_published_again_after_a_restart_has_its_first_place(tmp_path: Path) -> None:
    """Also when it is among those that are not yet in memory."""
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(100))
    async with keeping(tmp_path) as house:
        client, publisher = await house.client(), await house.client()
        await client.ask("subscribe", message_types=TYPES)
        for wait in (False, True):
            if wait:
                await until(lambda: filled(house), "filled")
            for number in (60, 99):
                published = await publisher.ask("publish", message=sample(number))
                assert published["seq"] == messages[number]["seq"]
        assert await client.everything() == []
        assert await everything(await house.http()) == messages


@on_uvloop
async def test_a_clock_that_is_set_back_does_not_lower_a_seq(tmp_path: Path) -> None:
    now = [time.time()]
    seqs = []
    for _ in range(3):
        async with keeping(tmp_path, clock=lambda: now[0]) as house:
            seqs += house.publish("one", "two")
            now[0] -= 3600
            seqs += house.publish("three", "four")
            now[0] -= 3600
    assert seqs == sorted(set(seqs))
    async with keeping(tmp_path) as house:
        assert [one["seq"] for one in await everything(await house.http())] == seqs


@on_uvloop
async def test_a_chunk_that_is_given_up_is_asked_for_anew_by_the_next_reader(
    tmp_path: Path,
) -> None:
    async with keeping(tmp_path) as house:
        await post(await house.http(), range(200))
        reader = house.inside.store.reader
        assert reader is not None
        wanted = NOTHING.with_types({"user": EVERYTHING})
        asked = (0, house.context.log.head, wanted, 1 << 16, INTERNAL)
        first = asyncio.ensure_future(reader.chunk(*asked))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)  # it is being cancelled, and is not forgotten yet
        assert (await soon(reader.chunk(*asked))).frames
        await asyncio.gather(first, return_exceptions=True)
