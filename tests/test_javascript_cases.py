"""livelog.js against servers that are broken, hostile or from the future: `client-cases.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.follower import Follower, following
from tests.support.hostile import Case, Hostile, cases, playing
from tests.support.wire import on_uvloop, user

pytestmark = pytest.mark.node


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_client_survives(case: Case, node_modules: Path) -> None:
    @on_uvloop
    async def check() -> None:
        # Long waits are read off a clock that stands still.
        settings: dict[str, Any] = {"random": 0.1} if case.returns else {"clock": "test"}
        async with (
            playing(case) as hostile,
            following(hostile.url, node_modules, **settings) as follower,
        ):
            if case.expect.unsubscribed is not None:
                answer = await follower.call("listen", name="all", types=["user"])
                assert answer["error"]["code"] == case.expect.unsubscribed
                assert (await follower.call("history"))["messages"] == []
                return
            await follower.tell("listen", name="all", types=["user"])
            if case.asks:
                await asked(follower, case)
            await ended(follower, case)
            assert hostile.sent(case.asks) <= case.expect.sent_at_most
            assert hostile.connections <= case.expect.connections_at_most
            check_waits(follower, hostile)

    check()


async def asked(follower: Follower, case: Case) -> None:
    """Have it publish or ask for a page, and check the end of that call."""
    await follower.state("connected")
    message = user("x" * case.publish, id="m1")
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "publish": ("publish", {"message": message}),
        "get_history": ("history", {"limit": 50}),
        "search": ("search", {"query": "x", "limit": 50}),
    }
    act, given = calls[case.asks]
    if not case.expect.answered:
        await follower.tell(act, **given)
        return
    answer = await follower.call(act, **given)
    if case.expect.refused is not None:
        assert answer["error"]["code"] == case.expect.refused
    elif case.publish:
        assert (answer["id"], answer["seq"]) == ("m1", 900)
    else:
        assert "error" not in answer


async def ended(follower: Follower, case: Case) -> None:
    """Wait for the end of the case."""
    expected = case.expect
    if expected.stops is not None:
        assert (await follower.state("stopped"))["code"] == expected.stops
    elif not case.returns:
        await follower.until(lambda: follower.said("throttled", "state")[2:], "its wait")
    if not case.returns:
        return
    ids = [*expected.delivered, "probe"]
    await follower.until(lambda: [m["id"] for m in follower.messages()] == ids, f"{ids}")
    assert len(follower.said("gap")) == expected.gaps


def check_waits(follower: Follower, hostile: Hostile) -> None:
    """Check the time that it stayed away, or held a command back."""
    wait = hostile.case.expect.waits
    if wait is None:
        return
    if hostile.case.returns:
        assert hostile.waited_ms is not None
        assert wait.at_least_ms <= hostile.waited_ms <= wait.at_most_ms
        return
    held = [1000 * event["seconds"] for event in follower.said("throttled")]
    away = [state["retryAt"] for state in follower.said("state") if state["name"] == "waiting"]
    assert held + away != []
    assert all(wait.at_least_ms <= ms <= wait.at_most_ms for ms in held + away)
