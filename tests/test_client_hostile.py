"""The Python client against servers that are broken, hostile or newer than it is.

The cases are those of `client-cases.json`, which the JavaScript client passes, too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import get_args

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog import ConnectionEndedError, Gap, RefusedError, Status, Subscription, connect
from livelog.client import connection
from livelog.client.backoff import DELAYS, Clock
from livelog.client.client import Client
from livelog.client.decoding import decode
from livelog.client.errors import refusal
from livelog.client.reconnecting import HEARTBEAT
from livelog.client.waits import LONGEST, SHORTEST, held
from livelog.errors import SERVER_ERROR
from livelog.wire.events import AnyEvent, Error
from tests.support.following import impatient_sleep
from tests.support.hostile import ID, PROBE, Case, Close, Expected, Frame, Hostile, cases, playing
from tests.support.wire import Json, on_uvloop, soon, user


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
@on_uvloop
async def test_a_client_lives_through_it(case: Case) -> None:
    async with playing(case) as hostile:
        if case.expect.stops is not None:
            await _stops(hostile, case.expect.stops)
            return
        async with connect(hostile.url) as log:
            if case.expect.unsubscribed is not None:
                await _is_refused(log, case.expect.unsubscribed)
            else:
                await _lives(log, hostile, case)


async def _stops(hostile: Hostile, code: int) -> None:
    async with connect(hostile.url) as log:
        with pytest.raises(ConnectionEndedError) as caught:
            await soon(_until_the_probe(log.subscribe(["user"], since=0)))
    assert caught.value.code == code
    assert hostile.connections == 1


async def _is_refused(log: Client, code: int) -> None:
    with pytest.raises(RefusedError) as caught:
        await soon(log.subscribe(["user"], since=0).__aenter__())
    assert caught.value.code == code
    assert (await log.history()).messages == []  # the client lives on


async def _lives(log: Client, hostile: Hostile, case: Case) -> None:
    async with log.subscribe(["user"], since=0) as messages:
        call = asyncio.ensure_future(_call(log, case))
        try:
            await _listen(messages, case)
            await _check_call(call, case)
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
    assert hostile.sent(case.asks) <= case.expect.sent_at_most
    assert hostile.connections <= case.expect.connections_at_most
    if case.expect.waits is not None and case.returns:
        assert hostile.waited_ms is not None
        assert hostile.waited_ms >= case.expect.waits.at_least_ms


async def _call(log: Client, case: Case) -> None:
    if case.publish:
        await log.publish(user("x" * case.publish))
    elif case.asks == "get_history":
        await log.history(limit=50)
    elif case.asks == "search":
        await log.search("x", limit=50)


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


@on_uvloop
async def test_a_server_that_sends_its_clients_away_again_and_again_is_obeyed_less_and_less() -> (
    None
):
    waits: list[float] = []
    away = Frame(
        json={"action": "disconnected", "reason": "normal_closure", "reconnect_after_ms": 1}
    )
    case = Case("away", Expected(), frames=[away], close=Close(1001), plays=6)
    clock = Clock(sleep=impatient_sleep, random=lambda: 1.0)

    def watch(status: Status) -> None:
        if not status.connected:
            waits.append(status.retry_in)

    async with playing(case) as hostile, connect(hostile.url, clock=clock, watch=watch) as log:
        await soon(_until_the_probe(log.subscribe(["user"], since=0)))
    assert waits == [SHORTEST, *DELAYS[1:]]


@on_uvloop
async def test_a_subscription_that_meets_an_internal_error_spares_the_limit_of_commands() -> None:
    for named, waited in ((None, 5), (0.1, 5), (-1, 5), ("x", 5), (7, 7)):
        slept: list[float] = []

        async def sleep(seconds: float, slept: list[float] = slept) -> None:
            if seconds != HEARTBEAT:
                slept.append(seconds)
            await impatient_sleep(seconds)

        trouble = {"action": "error", "error_code": 1011, "error_message": "x", "request_id": ID}
        frame = Frame(json={**trouble, "details": {"issue": "x", "retry_after_seconds": named}})
        case = Case("trouble", Expected(), instead="subscribe", frames=[frame], plays=2)
        async with playing(case) as hostile, connect(hostile.url, clock=Clock(sleep=sleep)) as log:
            await soon(_until_the_probe(log.subscribe(["user"], since=0)))
        assert slept == [waited, waited]


ACTIONS = [kind.__struct_config__.tag for kind in get_args(AnyEvent)]
FIELDS = sorted({name for kind in get_args(AnyEvent) for name in kind.__struct_encode_fields__})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(st.sampled_from(ACTIONS), st.dictionaries(st.sampled_from([*FIELDS, "type"]), VALUES))
def test_no_event_is_too_odd_to_be_read_or_passed_over(action: str, fields: Json) -> None:
    event = decode(json.dumps({**fields, "action": action}))
    if isinstance(event, Error):
        refused = refusal(event)
        assert held(refused.retry_after, 1) <= LONGEST


@on_uvloop
async def test_commands_that_are_never_answered_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.05)
    calls: dict[str, Callable[[Client], Awaitable[object]]] = {
        "publish": lambda log: log.publish(user("x")),
        "get_history": lambda log: log.history(),
        "search": lambda log: log.search("x"),
    }
    for action, call in calls.items():
        case = Case("silence", Expected(), instead=action)
        async with playing(case) as hostile, connect(hostile.url) as log:
            with pytest.raises(RefusedError, match="not answered") as caught:
                await soon(call(log))
            assert caught.value.code == SERVER_ERROR
            assert (hostile.connections, hostile.sent(action)) == (1, 1)
            await soon(call(log))  # the connection lives: the next one is answered


@on_uvloop
async def test_a_subscription_that_is_never_confirmed_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.05)
    case = Case("silence", Expected(), instead="subscribe", plays=2)
    clock = Clock(sleep=impatient_sleep)
    async with playing(case) as hostile, connect(hostile.url, clock=clock) as log:
        await soon(_until_the_probe(log.subscribe(["user"], since=0)))
    assert hostile.sent("subscribe") == 3
    assert hostile.connections == 1
