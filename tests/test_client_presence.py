"""Presence of the Python clients against real servers: who comes and goes, over reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from livelog import Online, OnlineChanged, PresenceChanges, RefusedError, connect, sync_connect
from livelog.client.presencechanges import QUEUE
from tests.support.cutting import proxying
from tests.support.following import IMPATIENT
from tests.support.identity import token
from tests.support.moderating import AUTH, entered
from tests.support.wire import House, on_uvloop, serving, soon, until

Items = AsyncIterator[Online | OnlineChanged]


def followers(house: House) -> int:
    online = house.context.online
    assert online is not None
    return len(online._followers)


def named(item: Online | OnlineChanged) -> list[str]:
    """The users on line that an item names."""
    users = item.users if isinstance(item, Online) else item.joined
    return [user.id for user in users] if isinstance(users, list) else []


async def following(items: Items) -> Online | OnlineChanged:
    item: Online | OnlineChanged = await soon(anext(items), "presence")
    return item


async def naming(items: Items, user: str) -> Online | OnlineChanged:
    """The next item that tells that a user has come."""
    while user not in named(item := await following(items)):
        pass
    return item


@on_uvloop
async def test_first_comes_the_state_and_then_who_comes_and_goes() -> None:
    async with (
        serving(**AUTH) as house,
        connect(house.server.url, token=token("ann", "presence")) as log,
        log.watch_presence(limit=10) as changes,
    ):
        items = aiter(changes)
        first = await following(items)
        assert isinstance(first, Online)
        assert (first.count, named(first)) == (1, ["ann"])
        bob = await entered(house, "bob")
        joined = await naming(items, "bob")
        assert isinstance(joined, OnlineChanged)
        assert joined.count == 2
        bob.close()
        left = await following(items)
        assert isinstance(left, OnlineChanged)
        assert (left.count, left.left) == (1, ["bob"])


@on_uvloop
async def test_without_the_scope_the_number_alone_is_told() -> None:
    async with (
        serving(**AUTH) as house,
        connect(house.server.url, token=token("ann", "read")) as log,
    ):
        items = aiter(log.watch_presence())
        assert (await following(items)).count == 1
        await entered(house, "bob")
        while (item := await following(items)).count < 2:
            pass
        assert named(item) == []


@on_uvloop
async def test_several_share_a_connection_and_the_last_one_ends_it() -> None:
    async with (
        serving(**AUTH) as house,
        connect(house.server.url, token=token("ann", "presence read")) as log,
        log.subscribe(),
        log.watch(),
    ):
        async with log.watch_presence() as one:
            async with log.watch_presence(limit=1) as other:
                await entered(house, "bob")
                for each in (one, other):
                    await naming(aiter(each), "bob")
            assert followers(house) == 1
        await until(lambda: not followers(house), "nobody follows")
        async with log.watch_presence() as again:
            assert named(await following(aiter(again))) == ["ann", "bob"]


@on_uvloop
async def test_after_a_reconnect_comes_the_state_again() -> None:
    async with (
        serving(**AUTH, limits=False) as house,
        proxying(house.server.port) as proxy,
        connect(proxy.url, token=token("ann", "presence"), clock=IMPATIENT) as log,
        log.watch_presence() as changes,
    ):
        items = aiter(changes)
        assert isinstance(await following(items), Online)
        proxy.cut()
        await entered(house, "bob")
        while not (isinstance(item := await following(items), Online) and "bob" in named(item)):
            pass
        assert item.count == 2
        await entered(house, "eve")
        assert isinstance(await naming(items, "eve"), OnlineChanged)


@on_uvloop
async def test_what_the_server_refuses_is_raised_and_the_client_goes_on() -> None:
    async with serving() as house, connect(house.server.url) as log:
        for _ in range(2):
            with pytest.raises(RefusedError, match="there are no users"):
                await following(aiter(log.watch_presence()))
        assert (await log.history()).total == 0
    async with (
        serving(**AUTH) as house,
        connect(house.server.url, token=token("ann", "presence")) as log,
    ):
        with pytest.raises(RefusedError) as refused:
            await log.watch_presence(limit=0).__aenter__()
        assert refused.value.field == "limit"


def test_a_slow_consumer_is_told_that_some_are_missing() -> None:
    async def main() -> None:
        changes = PresenceChanges(100, lambda _: None, lambda _: None)
        changes.put(OnlineChanged(count=7))  # of before it is in force
        changes.confirm(Online(count=0))
        for count in range(1, QUEUE + 10):
            changes.put(OnlineChanged(count=count, joined=[]))
        changes.end()
        first, *others = [item async for item in changes]
        assert first == OnlineChanged(count=10, incomplete=True)
        assert [item.count for item in others] == [*range(11, QUEUE + 10)]
        assert not any(item.incomplete for item in others if isinstance(item, OnlineChanged))
        again = PresenceChanges(100, lambda _: None, lambda _: None)
        for count in range(QUEUE + 10):
            again.confirm(Online(count=count))
        again.end()
        assert [item.count async for item in again] == [*range(10, QUEUE + 10)]

    asyncio.run(main())


@on_uvloop
async def test_the_blocking_client_iterates_too() -> None:
    async with serving(**AUTH) as house:
        came = asyncio.Event()
        loop = asyncio.get_running_loop()

        def iterate() -> list[Online | OnlineChanged]:
            with sync_connect(house.server.url, token=token("ann", "presence")) as log:
                found: list[Online | OnlineChanged] = []
                for item in log.watch_presence():
                    found.append(item)
                    loop.call_soon_threadsafe(came.set)
                    if "bob" in named(item):
                        return found
                return []

        iterating = asyncio.create_task(asyncio.to_thread(iterate))
        await soon(came.wait())
        await entered(house, "bob")
        first, *_, last = await soon(iterating)
        assert isinstance(first, Online)
        assert isinstance(last, OnlineChanged)
