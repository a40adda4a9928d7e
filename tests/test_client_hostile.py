"""The Python client against servers that are broken, hostile or newer than it is.

The cases are those of `client-cases.json`, which the JavaScript client passes, too.
"""

from __future__ import annotations

import asyncio

import pytest

from livelog import ConnectionEndedError, Gap, RefusedError, Subscription, connect
from livelog.client.client import Client
from tests.support.hostile import PROBE, Case, Hostile, cases, playing
from tests.support.wire import on_uvloop, soon, user


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
@on_uvloop
async def test_a_client_lives_through_it(case: Case) -> None:
    async with playing(case) as hostile:
        if case.expect.stops is not None:
            await _stops(hostile, case.expect.stops)
            return
        async with connect(hostile.url) as log:
            await _lives(log, hostile, case)


async def _stops(hostile: Hostile, code: int) -> None:
    async with connect(hostile.url) as log:
        with pytest.raises(ConnectionEndedError) as caught:
            await soon(_until_the_probe(log.subscribe(["user"], since=0)))
    assert caught.value.code == code
    assert hostile.connections == 1


async def _lives(log: Client, hostile: Hostile, case: Case) -> None:
    async with log.subscribe(["user"], since=0) as messages:
        call = asyncio.ensure_future(_call(log, case))
        try:
            await _listen(messages, case)
            await _check_call(call, case)
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
    for action in ("publish", "get_history"):
        assert hostile.sent(action) <= case.expect.sent_at_most
    if case.expect.waits is not None and case.returns:
        assert hostile.waited_ms is not None
        assert hostile.waited_ms >= case.expect.waits.at_least_ms


async def _call(log: Client, case: Case) -> None:
    if case.publish:
        await log.publish(user("x" * case.publish))
    elif case.trigger == "get_history":
        await log.history(limit=50)


async def _listen(messages: Subscription, case: Case) -> None:
    if not case.returns:  # away for an hour, and not back at once
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_until_the_probe(messages), 1)
        return
    items = await soon(_until_the_probe(messages), "the probe")
    assert [item for item in items if item is not None] == case.expect.delivered
    assert items.count(None) == case.expect.gaps


async def _check_call(call: asyncio.Future[None], case: Case) -> None:
    if case.expect.refused is not None:
        with pytest.raises(RefusedError) as caught:
            await soon(call)
        assert caught.value.code == case.expect.refused
    elif case.expect.answered:
        await soon(call)


async def _until_the_probe(messages: Subscription) -> list[str | None]:
    """Return the ids of what comes before the probe; None stands for a gap."""
    seen: list[str | None] = []
    async for item in messages:
        if isinstance(item, Gap):
            seen.append(None)
        elif item.id == PROBE:
            break
        else:
            seen.append(item.id)
    return seen
