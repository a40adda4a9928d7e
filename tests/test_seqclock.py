"""The clock that seqs follow: never far ahead of what is known, whatever the wall clock says."""

from __future__ import annotations

from pathlib import Path

import pytest

from livelog.wire.seqclock import AHEAD, HOUR, LATEST_BEGIN, SeqClock, resumed
from tests.support.keeping import everything, keeping, post
from tests.support.wire import on_uvloop, serving, user

DAY = 86_400
MICROSECONDS = 1_000_000
WRONG = 2**53 / MICROSECONDS + 365 * DAY
"""Unix time beyond the year 2255."""


def test_it_follows_the_wall_clock_as_long_as_that_can_be_right() -> None:
    wall, passed = 1000.0, 0.0
    seqs = SeqClock(1000 * MICROSECONDS, lambda: wall, lambda: passed)
    assert seqs.now() == 1000 * MICROSECONDS
    wall += 5
    assert seqs.now() == 1005 * MICROSECONDS
    wall = 10.0
    assert seqs.now() == 10 * MICROSECONDS
    wall = 1000.0 + 10 * DAY
    assert seqs.now() == 1000 * MICROSECONDS + AHEAD
    passed = 9.5 * DAY
    assert seqs.now() == (1000 + 10 * DAY) * MICROSECONDS


@pytest.mark.parametrize(
    ("now", "first"),
    [
        (1000.5, 1000.5 * MICROSECONDS - 1),
        (1000 + 3599, 4599 * MICROSECONDS - 1),
        (1000 + 3 * DAY, 1000 * MICROSECONDS + HOUR),
        (10.0, 1000 * MICROSECONDS + HOUR),
        (WRONG, 1000 * MICROSECONDS + HOUR),
    ],
)
def test_a_new_process_begins_above_all_that_were_given_out(now: float, first: float) -> None:
    assert resumed(1000 * MICROSECONDS, now) == first


@on_uvloop
async def test_a_clock_that_is_wrong_for_one_start_does_no_lasting_harm(tmp_path: Path) -> None:
    async with keeping(tmp_path) as house:
        [*_, before] = await post(await house.http(), range(10))
    async with keeping(tmp_path, clock=lambda: WRONG) as house:
        [*_, wrong] = await post(await house.http(), range(10, 20))
    async with keeping(tmp_path) as house:
        http = await house.http()
        [*_, after] = await post(http, range(20, 30))
        assert before["seq"] < wrong["seq"] < after["seq"]
        assert after["seq"] - before["seq"] < 2 * DAY * MICROSECONDS
        client = await house.client()
        await client.tell("subscribe", message_types=["user"], since=after["seq"])
        assert (await client.event())["action"] == "subscribed"
        assert len(await everything(http)) == 30


@pytest.mark.parametrize("kept", [True, False])
@on_uvloop
async def test_a_first_start_with_a_wrong_clock_leaves_room(tmp_path: Path, kept: bool) -> None:
    store = str(tmp_path / "live.db") if kept else "memory"
    async with serving(store=store, clock=lambda: WRONG) as house:
        receipt = await house.server.publish(user("hello"))
        assert receipt.seq is not None
        assert receipt.seq <= LATEST_BEGIN + 24 * HOUR


@on_uvloop
async def test_a_clock_that_jumps_while_it_runs_is_not_followed() -> None:
    now = [1_800_000_000.0]
    async with serving(clock=lambda: now[0]) as house:
        first = await house.server.publish(user("before"))
        now[0] = WRONG
        second = await house.server.publish(user("while"))
        now[0] = 1_800_000_001.0
        third = await house.server.publish(user("after"))
        seqs = [receipt.seq or 0 for receipt in (first, second, third)]
        assert 0 < seqs[0] < seqs[1] < seqs[2] < seqs[0] + 24 * HOUR


@on_uvloop
async def test_what_was_lost_in_a_crash_is_not_given_out_again(tmp_path: Path) -> None:
    """An idle store that has said it is alive begins above that, not above its last message."""
    now = [1_800_000_000.0]
    async with keeping(tmp_path, clock=lambda: now[0]) as house:
        await post(await house.http(), range(1))
        given_out = house.inside.context.log.head
    async with keeping(tmp_path, clock=lambda: 1_000_000_000.0) as house:
        [first] = await post(await house.http(), range(1, 2))
        assert first["seq"] > given_out + HOUR // 2
