"""The garbage collector of the serving process: its full passes, and what they walk through."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from livelog.cli import garbage
from tests.support.wire import PATIENCE


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the collector of the tests as it was."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Cycle:
    """An object that only the collector frees."""

    def __init__(self) -> None:
        self.self = self


async def _started() -> asyncio.Task[None]:
    task = asyncio.create_task(garbage.collect_when_idle())
    await asyncio.sleep(0)
    return task


def test_full_passes_do_not_walk_through_what_there_was_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Modules and classes are most of what is tracked, and stay."""
    monkeypatch.setattr(garbage, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(garbage, "_FULL_SECONDS", 0.0)
    monkeypatch.setattr(garbage, "_IDLE", 1e9)

    async def run() -> None:
        gc.collect()  # what other tests have left is freed, and not frozen
        before = len(gc.get_objects())
        task = await _started()
        assert gc.get_freeze_count() > 0.9 * before
        dead = weakref.ref(Cycle())
        async with asyncio.timeout(PATIENCE):
            while dead() is not None:  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0)
        assert gc.get_freeze_count() > 0.9 * before
        assert len(gc.get_objects()) < 0.1 * before
        task.cancel()

    asyncio.run(run())


@pytest.mark.parametrize(("idle", "full"), [(True, 2), (False, 1)])
def test_full_passes_are_made_when_the_process_is_idle(
    idle: bool, full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(gc, "collect", lambda *_: calls.append(None))
    monkeypatch.setattr(garbage, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(garbage, "_FULL_SECONDS", 0.0)
    monkeypatch.setattr(garbage, "_IDLE", 1e9 if idle else 0.0)

    async def run() -> None:
        task = asyncio.create_task(garbage.collect_when_idle())
        async with asyncio.timeout(PATIENCE):
            while len(calls) < full:  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0)
            if not idle:
                await asyncio.sleep(0.1)
        task.cancel()

    asyncio.run(run())
    assert (len(calls) >= full) if idle else (len(calls) == full)
    assert gc.get_threshold()[2] == 1_000_000


def test_young_garbage_that_holds_much_memory_is_freed_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = iter([0, 10])  # then at its highest for good
    monkeypatch.setattr(garbage, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(garbage, "_GROWN_BYTES", 5)
    monkeypatch.setattr(garbage, "_resident", lambda: next(sizes, 10))

    async def run() -> None:
        task = await _started()
        dead = weakref.ref(Cycle())
        async with asyncio.timeout(PATIENCE):
            while dead() is not None:  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0)
        task.cancel()

    asyncio.run(run())
