"""Subscriptions of the client against real servers: sharing, filters, resuming, slow consumers."""

from __future__ import annotations

import asyncio

import pytest

from livelog import (
    ConnectionEndedError,
    Gap,
    NotRunningError,
    RaidMessage,
    RefusedError,
    Status,
    UserMessage,
    connect,
)
from livelog.client.backoff import Clock
from livelog.client.reconnecting import PATIENCE
from livelog.client.subscription import QUEUE
from tests.support.cutting import proxying
from tests.support.following import IMPATIENT, contents, take
from tests.support.wire import SAMPLES, TYPES, House, on_uvloop, serving, soon, until


@on_uvloop
async def test_messages_come_as_structs_with_their_seq() -> None:
    async with serving() as house, connect(house.server.url) as log:
        async with log.subscribe() as messages:
            seqs = [house.append(sample).seq for sample in SAMPLES]
            got = await take(aiter(messages), 6)
        assert [type(item).__struct_config__.tag for item in got] == TYPES
        assert [item.seq for item in got if not isinstance(item, Gap)] == seqs
        raid = got[3]
        assert isinstance(raid, RaidMessage)
        assert raid.participants[0].class_ == "warrior"


@on_uvloop
async def test_filters_hold() -> None:
    async with (
        serving() as house,
        connect(house.server.url) as log,
        log.subscribe(["user"], filters={"channel": "general"}) as messages,
    ):
        house.publish("no", metadata={"channel": "trade"})
        house.publish("yes", metadata={"channel": "general"})
        assert contents(await take(aiter(messages), 1)) == ["yes"]


@on_uvloop
async def test_since_starts_in_the_past_and_leads_into_the_present() -> None:
    async with serving() as house, connect(house.server.url) as log:
        first, *_ = house.publish("a", "b", "c")
        async with log.subscribe(["user"], since=first) as messages:
            house.publish("d")
            assert contents(await take(aiter(messages), 3)) == ["b", "c", "d"]


@on_uvloop
async def test_a_loop_that_is_left_ends_its_subscription() -> None:
    async with serving() as house, connect(house.server.url) as log:
        house.publish("a")
        async for message in log.subscribe(["user"], since=0):
            assert isinstance(message, (UserMessage, Gap))
            break
        await until(lambda: not house.inside.audiences, "nobody listens")


@on_uvloop
async def test_closing_the_client_ends_the_loop() -> None:
    async with serving() as house:
        log = connect(house.server.url)
        async with log, log.subscribe(["user"]) as messages:
            reading = asyncio.ensure_future(anext(aiter(messages), None))
            await log.close()
            assert await soon(reading) is None
        with pytest.raises(NotRunningError, match="closed"):
            await log.history()


@on_uvloop
async def test_each_iteration_over_one_of_a_closed_client_says_so() -> None:
    async with serving() as house:
        async with connect(house.server.url) as log:
            messages = log.subscribe(["user"])
        for _ in range(2):
            with pytest.raises(NotRunningError, match="closed"):
                await soon(anext(aiter(messages)))


@on_uvloop
async def test_closing_the_client_ends_what_waits_for_a_connection() -> None:
    async def sleep(seconds: float) -> None:
        await asyncio.Event().wait()

    async with serving() as house, proxying(house.server.port) as proxy:
        statuses: list[Status] = []
        log = connect(proxy.url, clock=Clock(sleep=sleep), watch=statuses.append)
        async with log:
            await proxy.refuse()
            proxy.cut()
            await until(lambda: not statuses[-1].connected, "lost")
            asking = asyncio.ensure_future(log.history())
            await asyncio.sleep(0)
        with pytest.raises(ConnectionEndedError, match="closed"):
            await soon(asking)
        with pytest.raises(NotRunningError, match="closed"):
            await soon(log.history())


@on_uvloop
async def test_subscriptions_that_agree_share_a_connection() -> None:
    async with (
        serving() as house,
        connect(house.server.url) as log,
        log.subscribe(["user"]) as users,
        log.subscribe(["user", "raid"]) as both,
        log.subscribe(["dm"], filters={"user_id": "user_67890"}) as direct,
    ):
        for sample in SAMPLES:
            house.append(sample)
        assert [len(await take(aiter(each), n)) for each, n in [(users, 1), (direct, 1)]]
        got = await take(aiter(both), 2)
        assert isinstance(got[1], RaidMessage)
        assert len(house.inside.connections) == 1


@on_uvloop
async def test_one_that_ends_leaves_the_others_what_they_asked_for() -> None:
    async with (
        serving() as house,
        connect(house.server.url) as log,
        log.subscribe(["user", "raid"]) as stays,
    ):
        async with log.subscribe(["user", "dm"]):
            pass
        await until(lambda: told(house) == {"user", "raid"}, "unsubscribed")
        house.publish("still here")
        assert contents(await take(aiter(stays), 1)) == ["still here"]


def told(house: House) -> set[str]:
    """The types that the one client is subscribed to."""
    [audience] = house.inside.audiences
    return set(audience.subscription.types)


@on_uvloop
async def test_subscriptions_that_contradict_each_other_both_get_theirs() -> None:
    async with serving() as house, connect(house.server.url) as log:
        async with (
            log.subscribe(["user"], filters={"channel": "a"}) as a,
            log.subscribe(["user"], filters={"channel": "b"}) as b,
            log.subscribe(["user"]) as everything,
        ):
            for channel in "abab":
                house.publish(channel, metadata={"channel": channel})
            assert contents(await take(aiter(a), 2)) == ["a", "a"]
            assert contents(await take(aiter(b), 2)) == ["b", "b"]
            assert contents(await take(aiter(everything), 4)) == ["a", "b", "a", "b"]
            assert len(house.inside.connections) == 3
        await until(lambda: len(house.inside.connections) == 1, "their connections closed")


@on_uvloop
async def test_one_that_starts_in_the_past_does_not_take_others_there() -> None:
    async with serving() as house, connect(house.server.url) as log:
        house.publish("old")
        async with log.subscribe(["user"], since=0) as past, log.subscribe("user") as live:
            house.publish("new")
            assert contents(await take(aiter(past), 2)) == ["old", "new"]
            assert contents(await take(aiter(live), 1)) == ["new"]


@on_uvloop
async def test_a_refused_subscription_says_why_and_harms_no_other() -> None:
    async with serving() as house, connect(house.server.url) as log:
        async with log.subscribe(["user"]) as messages:
            with pytest.raises(RefusedError) as caught:
                async with log.subscribe(["user"], filters={"colour": "red"}):
                    pass
            with pytest.raises(RefusedError):
                await anext(aiter(log.subscribe(["usr"])))
            house.publish("hello")
            assert contents(await take(aiter(messages), 1)) == ["hello"]
        assert caught.value.code == 1002
        assert "colour" in str(caught.value)
        assert "channel" in caught.value.details["allowed"]


# Users who are slow.


@on_uvloop
async def test_a_slow_user_gets_everything_and_holds_up_nobody() -> None:
    async with (
        serving(stall_seconds=0.5) as house,
        connect(house.server.url) as log,
        log.subscribe(["user"]) as slow,
        log.subscribe(["user"]) as quick,
    ):
        count = 20 * QUEUE
        seen = asyncio.ensure_future(take(aiter(quick), count))
        for start in range(0, count, 100):
            house.publish(*(f"{n} {'x' * 1000}" for n in range(start, start + 100)))
            await asyncio.sleep(0)
        assert len(await soon(seen)) == count
        assert (await soon(log.history(limit=1))).total == count
        assert len(slow._items) == QUEUE
        assert slow in log._links.own
        got = contents(await take(aiter(slow), count))
        assert [int(text.split()[0]) for text in got] == [*range(count)]


@on_uvloop
async def test_a_user_who_was_away_for_long_goes_on_where_he_was() -> None:
    async with (
        # Longer than the client waits before it moves a subscription out.
        serving(stall_seconds=2 * PATIENCE, close_timeout=0.2) as house,
        connect(house.server.url, clock=IMPATIENT) as log,
        log.subscribe(["user"]) as slow,
    ):
        count = 20 * QUEUE
        for start in range(0, count, 100):
            house.publish(*(f"{n} {'x' * 1000}" for n in range(start, start + 100)))
            await asyncio.sleep(0)
        await until(
            lambda: slow in log._links.own and len(house.inside.connections) == 2, "moved out"
        )
        await until(lambda: len(house.inside.connections) == 1, "closed by the server")
        got = contents(await take(aiter(slow), count))
        assert [int(text.split()[0]) for text in got] == [*range(count)]
