"""The scheduler: turns of bounded time, in the order in which connections were queued."""

from __future__ import annotations

import asyncio

import pytest

from livelog.net import scheduler as module
from livelog.net.scheduler import Scheduler
from tests.support.wire import on_uvloop


class Time:
    """The time of `perf_counter`, set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Ten milliseconds for all in one iteration of the loop, one for each."""
    time = Time()
    monkeypatch.setattr(module, "perf_counter", time)
    monkeypatch.setattr(module, "HOLD_SECONDS", 0.010)
    monkeypatch.setattr(module, "TURN_SECONDS", 0.001)
    return time


class Busy:
    """A connection with so many milliseconds of work, which says when it has a turn."""

    def __init__(self, name: str, work: int, time: Time, log: list[str]) -> None:
        self.name, self.work, self.time, self.log = name, work, time, log

    def go_on(self, until: float) -> bool:
        self.log.append(self.name)
        assert until == pytest.approx(self.time.now + 0.001)
        self.time.now += 0.001
        self.work -= 1
        return self.work > 0


async def iteration() -> None:
    """Let the loop go through one iteration."""
    await asyncio.sleep(0)


@on_uvloop
async def test_there_is_time_until_it_is_used_up_and_again_in_the_next_iteration(
    time: Time,
) -> None:
    scheduler = Scheduler(asyncio.get_running_loop())
    assert scheduler.is_free()
    time.now = 0.009
    assert scheduler.is_free()
    time.now = 0.010
    assert not scheduler.is_free()
    await iteration()
    assert scheduler.is_free()


@on_uvloop
async def test_nothing_overtakes_the_queue(time: Time) -> None:
    scheduler, log = Scheduler(asyncio.get_running_loop()), list[str]()
    scheduler.wait(Busy("a", 1, time, log))
    assert not scheduler.is_free()
    await iteration()
    assert scheduler.is_free()
    assert log == ["a"]


@on_uvloop
async def test_turns_go_round_until_all_work_is_done(time: Time) -> None:
    scheduler, log = Scheduler(asyncio.get_running_loop()), list[str]()
    for name, work in {"a": 3, "b": 1, "c": 2}.items():
        scheduler.wait(Busy(name, work, time, log))
    await iteration()
    assert "".join(log) == "abcaca"


@on_uvloop
async def test_a_turn_of_the_loop_holds_so_many_turns_and_the_rest_waits(time: Time) -> None:
    scheduler, log = Scheduler(asyncio.get_running_loop()), list[str]()
    scheduler.wait(Busy("a", 25, time, log))
    counts = []
    for _ in range(4):
        await iteration()
        counts.append(len(log))
    assert counts == [10, 20, 25, 25]
    assert scheduler.is_free()


@on_uvloop
async def test_a_client_that_sends_little_waits_for_one_turn_of_each_other(time: Time) -> None:
    scheduler, log = Scheduler(asyncio.get_running_loop()), list[str]()
    for number in range(5):
        scheduler.wait(Busy(f"{number}", 1000, time, log))
    scheduler.wait(Busy("little", 1, time, log))
    await iteration()
    assert log.index("little") == 5


@on_uvloop
async def test_waiting_twice_is_waiting_once_and_a_dropped_one_has_no_turn(time: Time) -> None:
    scheduler, log = Scheduler(asyncio.get_running_loop()), list[str]()
    twice, gone = Busy("twice", 1, time, log), Busy("gone", 1, time, log)
    for busy in (twice, gone, twice):
        scheduler.wait(busy)
    scheduler.drop(gone)
    scheduler.drop(gone)
    await iteration()
    await iteration()
    assert log == ["twice"]
