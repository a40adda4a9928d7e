"""Live counts of the Python client against real servers, and of a server in its own process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from livelog import Counts, Gap, LiveCounts, RefusedError, connect
from livelog.client.livecounts import QUEUE
from tests.support.cutting import proxying
from tests.support.following import IMPATIENT
from tests.support.identity import SECRET, token
from tests.support.wire import House, Json, on_uvloop, serving, soon, until, user


async def following(items: AsyncIterator[Counts | Gap]) -> Counts | Gap:
    item: Counts | Gap = await soon(anext(items), "counts")
    return item


async def summed(items: AsyncIterator[Counts | Gap], upto: int) -> Json:
    """The sum of all counts up to a seq."""
    total: Counter[str] = Counter()
    while True:
        item = await following(items)
        assert isinstance(item, Counts)
        total.update(item.counts)
        if item.to_seq >= upto:
            return dict(total)


@on_uvloop
async def test_counts_come_as_they_are_made() -> None:
    async with serving() as house, connect(house.server.url) as log:
        filters = {"where": "NOT dragon"}
        async with log.watch("channel", interval_seconds=1, filters=filters) as counts:
            for channel, content in [("a", "x"), ("a", "dragon"), ("b", "x"), ("a", "x")]:
                last = house.publish(content, metadata={"channel": channel})[-1]
            assert await summed(aiter(counts), last) == {"a": 2, "b": 1}
            assert len(house.context.watches) == 1
        await until(lambda: not len(house.context.watches), "unwatched")


@on_uvloop
async def test_several_stand_beside_subscriptions() -> None:
    async with (
        serving() as house,
        connect(house.server.url) as log,
        log.watch() as types,
        log.watch("user_id") as users,
        log.subscribe() as messages,
    ):
        last = house.publish("x", user_id="__proto__")[-1]
        assert await summed(aiter(types), last) == {"user": 1}
        assert await summed(aiter(users), last) == {"__proto__": 1}
        assert (await soon(anext(aiter(messages)))).content == "x"


@on_uvloop
async def test_after_a_reconnect_it_watches_again_and_tells_the_gap() -> None:
    async with (
        serving() as house,
        proxying(house.server.port) as proxy,
        connect(proxy.url, clock=IMPATIENT) as log,
        log.watch() as counts,
    ):
        items = aiter(counts)
        before = house.publish("x")[-1]
        assert await summed(items, before) == {"user": 1}
        proxy.cut()
        lost = house.publish("x", "x")[-1]
        while not isinstance(item := await following(items), Gap):
            assert not item.total_count
        assert (item.from_, item.to) == (before, lost)
        last = house.publish("x")[-1]
        assert await summed(items, last) == {"user": 1}


@on_uvloop
async def test_what_the_server_refuses_is_raised() -> None:
    async with serving() as house, connect(house.server.url) as log:
        wrong: list[tuple[Json, str]] = [
            ({"interval_seconds": 0}, "interval_seconds"),
            ({"interval_seconds": float("nan")}, "interval_seconds"),
            ({"group_by": "chanel"}, "group_by"),
            ({"filters": {"where": "("}}, "filters.where"),
        ]
        for arguments, field in wrong:
            with pytest.raises(RefusedError) as refused:
                await following(aiter(log.watch(**arguments)))
            assert refused.value.field == field
        with pytest.raises(RefusedError):
            log.watch(filters={"channel": object()})
        assert (await log.history()).total == 0


@on_uvloop
async def test_the_seventeenth_is_refused_and_the_others_go_on() -> None:
    async with serving(limits=False) as house, connect(house.server.url) as log:
        watches = [log.watch(interval_seconds=3600) for _ in range(16)]
        for each in watches:
            await each.__aenter__()
        with pytest.raises(RefusedError) as refused:
            await log.watch().__aenter__()
        assert refused.value.code == 1008
        assert len(house.context.watches) == 16
        watches[0].close()
        await until(lambda: len(house.context.watches) == 15, "room")
        async with log.watch():
            assert len(house.context.watches) == 16


@on_uvloop
async def test_a_new_token_that_does_not_allow_it_ends_it() -> None:
    passed = 0.0
    tokens = [token("ann", "read", lasts=500), token("ann", "read:user", lasts=1000)]
    async with (
        serving(clock=lambda: time.time() + passed, jwt_secret=SECRET, jwt_leeway=0) as house,
        connect(house.server.url, token=lambda: tokens.pop(0)) as log,
        log.watch(filters={"type": "raid"}) as raids,
    ):
        items = aiter(raids)
        passed = 450
        house.inside.review_sessions()
        with pytest.raises(RefusedError, match="token"):
            await summed(items, 2**53)


def test_a_slow_consumer_gets_a_gap() -> None:
    async def main() -> None:
        counts = LiveCounts("w1", "type", 1, {}, lambda _: None, lambda _: None)
        counts.confirm(0)
        for seq in range(QUEUE + 10):
            counts.put(Counts(id="w1", from_seq=seq, to_seq=seq + 1, total_count=1, counts={}))
        assert counts.full
        counts.end()
        first, *others = [item async for item in counts]
        assert isinstance(first, Gap)
        assert (first.from_, first.to) == (0, 11)
        assert [one.from_seq for one in others if isinstance(one, Counts)] == [
            *range(11, QUEUE + 10)
        ]

    asyncio.run(main())


# In process.


@on_uvloop
async def test_a_program_watches_its_own_server() -> None:
    async with serving() as house:
        async with house.server.watch("user_id") as counts:
            house.append({"type": "dm", "from_user_id": "a", "from_username": "A",
                          "to_user_id": "b", "content": "x"})  # fmt: skip
            last = house.publish("x", user_id="c")[-1]
            assert await summed(aiter(counts), last) == {"a": 1, "b": 1, "c": 1}
        assert not len(house.context.watches)


@on_uvloop
async def test_as_a_user_it_counts_what_that_one_may_read() -> None:
    async with serving() as house, house.server.watch(as_user="a") as counts:
        for sender in ("a", "c"):
            house.append({"type": "dm", "from_user_id": sender, "from_username": "A",
                          "to_user_id": "b", "content": "x"})  # fmt: skip
        last = house.append(user("x")).seq
        assert await summed(aiter(counts), last) == {"dm": 1, "user": 1}


@on_uvloop
async def test_in_process_wrong_arguments_are_refused_at_once() -> None:
    async with serving() as house:
        wrong: list[Json] = [
            {"group_by": "content"},
            {"interval_seconds": 0.5},
            {"interval_seconds": float("nan")},
            {"filters": {"date_from": "x"}},
        ]
        for arguments in wrong:
            with pytest.raises(RefusedError):
                house.server.watch(**arguments)


@on_uvloop
async def test_a_server_that_stops_ends_the_loop() -> None:
    async with serving() as house:
        counts = house.server.watch()
        await counts.__aenter__()
        await soon(house.server.close())
        assert [item async for item in counts if isinstance(item, Gap)] == []


def slow(house: House, counts: Any) -> bool:
    """Whether a watch has been passed over."""
    return any(watcher.late for watcher in house.inside.watchers)


@on_uvloop
async def test_a_slow_program_gets_fewer_counts_for_longer_times() -> None:
    async with serving() as house, house.server.watch() as counts:
        for tick in range(QUEUE + 3):
            house.publish("x")
            house.context.watches.tick(tick * 10.0)
            await until(lambda n=tick: len(counts._items) > n or slow(house, counts), "counted")  # type: ignore[misc]
        last = house.context.log.head
        assert len(counts._items) == QUEUE
        assert await summed(aiter(counts), last) == {"user": QUEUE + 3}
