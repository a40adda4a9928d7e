"""Slices of time: how work in steps shares the loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Generator
from itertools import pairwise

import pytest

from livelog.budget import shares, slices
from livelog.budget.owner import Owner
from livelog.budget.slices import SLICE_SECONDS, Pace, Slice, in_background, interleaved
from tests.support.wire import on_each_loop


def spin(seconds: float) -> None:
    """Use the processor for a while."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def work(steps: int, seconds: float, done: list[float]) -> Generator[None, None, int]:
    for _ in range(steps):
        spin(seconds)
        done.append(time.perf_counter())
        yield
    return steps


async def count_iterations(seen: list[int], done: list[float]) -> None:
    """Note in each iteration of the loop how many steps have been made."""
    while True:
        seen.append(len(done))
        await asyncio.sleep(0)


@on_each_loop
async def test_others_run_after_each_slice_whatever_a_step_costs() -> None:
    for steps, seconds in ((12, 0.0015), (200, 0.0001)):
        done: list[float] = []
        seen: list[int] = []
        watching = asyncio.create_task(count_iterations(seen, done))
        assert await interleaved(work(steps, seconds, done)) == steps
        watching.cancel()
        most = max(b - a for a, b in pairwise(seen))
        # A step begins only while the slice lasts; a busy machine makes fewer of them.
        assert 0 < most <= 2 * (SLICE_SECONDS / seconds + 1)


@on_each_loop
async def test_all_work_together_has_one_slice_in_an_iteration_and_each_gets_its_turn() -> None:
    done: list[float] = []
    seen: list[int] = []
    watching = asyncio.create_task(count_iterations(seen, done))
    steps: list[list[float]] = [[] for _ in range(20)]

    def noted(own: list[float]) -> Generator[None, None, None]:
        for _ in work(10, 0.0005, done):
            own.append(time.perf_counter())
            yield

    await asyncio.gather(*[interleaved(noted(own)) for own in steps])
    watching.cancel()
    most = max(b - a for a, b in pairwise(seen))
    assert most <= 2 * (SLICE_SECONDS / 0.0005 + 4)
    first_end, last_start = min(own[-1] for own in steps), max(own[0] for own in steps)
    assert last_start < first_end, "in turn, not one after the other"


@on_each_loop
async def test_an_owner_that_has_used_little_goes_before_busy_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "_CREDIT", 0.02)
    now, done = 0.0, 0
    monkeypatch.setattr(slices, "perf_counter", lambda: now)
    are_busy = asyncio.Event()

    def step() -> None:
        nonlocal now
        now += SLICE_SECONDS / 4

    def busy() -> Generator[None, None, None]:
        nonlocal done
        while True:
            step()
            done += 1
            if done == 8 * 60:
                are_busy.set()
            yield

    owners = [Owner("", f"192.0.2.{number}") for number in range(8)]
    tasks = [asyncio.create_task(interleaved(busy(), owner)) for owner in owners]
    await are_busy.wait()
    before: list[int] = []

    def asked() -> Generator[None, None, None]:
        for _ in range(20):
            step()
            before.append(done)
            yield

    await interleaved(asked(), Owner("", "192.0.2.99"))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert before[-1] - before[0] <= 4, "others' steps between the first and the last of its own"


@on_each_loop
async def test_short_work_is_done_at_once() -> None:
    done: list[float] = []
    iterations = asyncio.create_task(count_iterations([], done))
    started = asyncio.get_running_loop().time()
    assert await interleaved(work(1, 0, done)) == 1
    assert asyncio.get_running_loop().time() - started < 5
    iterations.cancel()


@on_each_loop
async def test_work_that_is_cancelled_leaves_its_place_to_others() -> None:
    done: list[float] = []
    endless = [asyncio.create_task(interleaved(work(10**9, 0.0005, []))) for _ in range(6)]
    await asyncio.sleep(0.02)
    for task in endless:
        task.cancel()
    assert await interleaved(work(5, 0.0005, done)) == 5
    await asyncio.gather(*endless, return_exceptions=True)


@on_each_loop
async def test_an_error_in_the_background_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Generator[None, None, None]:
        yield
        raise MemoryError

    with caplog.at_level(logging.ERROR, logger="livelog.budget.slices"):
        await in_background(fail(), "the work")
    assert "the work failed" in caplog.text


def test_a_pace_follows_the_time_of_its_items(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(slices, "perf_counter", lambda: now)
    pace = Pace()

    def step(seconds_each: float) -> float:
        nonlocal now
        took = seconds_each * pace.size
        with pace:
            now += took
        return took

    for seconds_each in (1e-6, 1e-4, 1e-5, 1e-7, 3e-5):
        for _ in range(20):
            step(seconds_each)
        assert step(seconds_each) <= SLICE_SECONDS / 2
    for _ in range(5):
        step(1.0)
    assert pace.size == 1


def test_a_slice_is_over_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10.0
    monkeypatch.setattr(slices, "perf_counter", lambda: now)
    slice = Slice(0.5)
    assert not slice.is_over()
    now = 10.5
    assert slice.is_over()
