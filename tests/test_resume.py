"""Resuming with `since`, and gaps."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.support.wire import (
    House,
    on_each_loop,
    on_uvloop,
    serving,
)


@on_each_loop
async def test_since_gives_everything_after_it_once_and_then_what_follows() -> None:
    async with serving() as house:
        seqs = house.publish(*map(str, range(100)))
        client = await house.client()
        answer = await client.ask("subscribe", message_types=["user"], since=seqs[39])
        assert answer["seq"] == seqs[39]
        house.publish("live")
        assert await client.contents(61) == [*map(str, range(40, 100)), "live"]
        assert await client.everything() == []


@on_uvloop
async def test_since_at_the_head_is_the_present() -> None:
    async with serving() as house:
        [head] = house.publish("old")
        client = await house.client()
        answer = await client.ask("subscribe", message_types=["user"], since=head)
        assert answer["seq"] == head
        house.publish("new")
        assert await client.contents(1) == ["new"]


@pytest.mark.parametrize("seed", range(4))
@on_each_loop
async def test_who_reconnects_with_its_last_seq_misses_nothing_and_gets_nothing_twice(
    seed: int,
) -> None:
    async with serving(limits=False) as house:
        dice = random.Random(seed)
        publishing = asyncio.create_task(_publish_now_and_then(house, dice, 400))
        got: list[int] = []
        since = 0
        while len(got) < 400:
            client = await house.client(f"?message_types=user,dm&since={since}")
            for _ in range(dice.randrange(1, 60)):
                event = await client.event()
                since = event["seq"]
                if "type" in event:
                    got.append(since)
                if len(got) == 400:
                    break
            dice.choice([client.close, client.reset])()
        assert got == await publishing


async def _publish_now_and_then(house: House, dice: random.Random, count: int) -> list[int]:
    seqs: list[int] = []
    while len(seqs) < count:
        for number in range(min(dice.randrange(1, 10), count - len(seqs))):
            seqs += house.publish("x" * dice.randrange(3000), id=f"{len(seqs)}.{number}")
        await asyncio.sleep(0.001)
    return seqs


@on_each_loop
async def test_what_can_no_longer_be_had_is_told_as_a_gap() -> None:
    async with serving(window_messages=10) as house:
        seqs = house.publish(*map(str, range(30)))
        client = await house.client()
        await client.ask("subscribe", message_types=["user"], since=seqs[4])
        assert await client.event() == {"action": "gap", "from": seqs[4], "to": seqs[19]}
        assert await client.contents(10) == [str(n) for n in range(20, 30)]
        house.publish("live")
        assert await client.contents(1) == ["live"]


@on_uvloop
async def test_there_is_no_gap_where_nothing_is_missing() -> None:
    async with serving(window_messages=10) as house:
        seqs = house.publish(*map(str, range(30)))
        client = await house.client(f"?message_types=user&since={seqs[19]}")
        await client.event()
        assert await client.contents(10) == [str(n) for n in range(20, 30)]


@on_uvloop
async def test_a_gap_is_told_to_a_reader_that_was_too_slow_for_the_window() -> None:
    async with serving(window_messages=10) as house:
        slow = await house.client("?message_types=user", receive_buffer=4096)
        await slow.event()
        peer = house.inside.connection
        published: list[int] = []
        while not peer.reader.blocked:
            published += house.publish("x" * 30_000)
            await asyncio.sleep(0)
        published += house.publish(*["x"] * 100)
        got: list[int] = []
        while len(got) < 10 or got[-1] != published[-1]:
            event = await slow.event()
            if event.get("action") == "gap":
                assert event["from"] >= got[-1]
                assert event["to"] == published[-11]
                gap_after = len(got)
            else:
                got.append(event["seq"])
        assert got == published[:gap_after] + published[-10:]
