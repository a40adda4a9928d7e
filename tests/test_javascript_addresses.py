"""livelog.js with the addresses of several servers on a real broker, of which some are killed."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from tests.support.brokers import fresh_url
from tests.support.follower import Follower, following
from tests.support.process import Start, ready
from tests.support.wire import on_uvloop, user

pytestmark = pytest.mark.node


@on_uvloop
async def _killed_in_turn(start: Start, engine: str, modules: Path) -> None:
    processes = [start("--port", "0", "--engine", engine, "--no-limits") for _ in range(3)]
    urls = [ready(process) for process in processes]
    async with following(urls, modules, random=0) as follower:
        assert await follower.call("listen", name="all", types=["user"]) is None
        for turn, process in enumerate(processes[:2]):
            calls = [
                await follower.tell("publish", message=user(str(100 * turn + number)))
                for number in range(100)
            ]
            await follower.until(partial(acknowledged, follower, calls), "one of them")
            process.send_signal(signal.SIGKILL)
            await follower.until(partial(acknowledged, follower, calls, 100), "all of them")
        seqs = sorted(event["answer"]["seq"] for event in follower.said("done") if event["answer"])
        assert len(set(seqs)) == 200
        await follower.until(lambda: len(follower.messages()) >= 200, "all messages")
        assert [message["seq"] for message in follower.messages()] == seqs
        assert not follower.said("gap")
        assert (await follower.call("history", limit=1))["total_count"] == 200


def acknowledged(follower: Follower, calls: list[int], count: int = 1) -> bool:
    """Whether so many of these calls have their receipts."""
    return len([event for event in follower.said("done") if event["call"] in calls]) >= count


def test_goes_on_where_servers_are_killed_with_all_once_and_in_order(
    start: Start, node_modules: Path
) -> None:
    _killed_in_turn(start, fresh_url(), node_modules)
