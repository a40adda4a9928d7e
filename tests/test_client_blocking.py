"""The blocking client: the calls of the ordinary one, from threads without an event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from livelog import (
    NotRunningError,
    RefusedError,
    UnreachableError,
    UserMessage,
    sync_connect,
)
from livelog.client.blocking import SyncClient
from tests.support.ports import free_port
from tests.support.process import ROOT
from tests.support.wire import PATIENCE, House, on_uvloop, serving, soon, user

Result = TypeVar("Result")


async def in_thread(act: Callable[[SyncClient], Result], house: House) -> Result:
    """Run `act` with a client, in a thread beside the server's loop."""

    def run() -> Result:
        with sync_connect(house.server.url) as log:
            return act(log)

    return await asyncio.to_thread(run)


@on_uvloop
async def test_calls_block_until_they_are_answered() -> None:
    async with serving() as house:

        def act(log: SyncClient) -> None:
            receipt = log.publish(user("an ancient dragon"))
            [message] = log.history(limit=5).messages
            assert message.seq == receipt.seq
            assert log.search("dragon").total == 1
            assert log.analyze(group_by="type").total == 1
            with pytest.raises(RefusedError, match="spam"):
                log.publish({"type": "spam"})

        await in_thread(act, house)


@on_uvloop
async def test_messages_are_followed_and_the_loop_may_be_left() -> None:
    async with serving() as house:
        house.publish("one", "two")

        def act(log: SyncClient) -> list[str]:
            found: list[str] = []
            for item in log.follow(["user"], since=0):
                assert isinstance(item, UserMessage)
                found.append(item.content)
                if len(found) == 2:
                    log.publish(user("three"))
                if len(found) == 3:
                    break
            assert log.history().total == 3  # it goes on after the loop
            return found

        assert await in_thread(act, house) == ["one", "two", "three"]


@on_uvloop
async def test_threads_share_a_client() -> None:
    async with serving(limits=False) as house:

        def act(log: SyncClient) -> None:
            def work(number: int) -> None:
                for each in range(20):
                    log.publish(user(f"{number} {each}"))

            threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            assert log.history().total == 100

        await in_thread(act, house)


@on_uvloop
async def test_closing_ends_what_other_threads_wait_for() -> None:
    async with serving() as house:
        ended, begun = threading.Event(), threading.Event()
        await house.server.publish(user("hello"))

        def act(log: SyncClient) -> None:
            followed = iter(log.follow(["user"], since=0))

            def wait() -> None:
                for _ in followed:
                    begun.set()
                ended.set()

            waiting = threading.Thread(target=wait)
            waiting.start()
            assert begun.wait(PATIENCE)
            log.close()
            waiting.join(PATIENCE)
            assert ended.is_set()
            with pytest.raises(NotRunningError):
                log.history()

        await in_thread(act, house)


@on_uvloop
async def test_a_call_that_takes_too_long_ends() -> None:
    async with serving() as house:
        url = house.server.url

        def act() -> None:
            with sync_connect(url, timeout=0.2) as log:
                house.inside.context.loop.call_soon_threadsafe(stopped.set)
                gone.wait(PATIENCE)
                with pytest.raises(TimeoutError):
                    log.history()

        stopped, gone = asyncio.Event(), threading.Event()
        task = asyncio.create_task(asyncio.to_thread(act))
        await stopped.wait()
        await house.server.close()
        gone.set()
        await task


def test_outside_of_its_block_it_is_not_running() -> None:
    log = sync_connect("ws://127.0.0.1:1/ws/live-log")
    with pytest.raises(NotRunningError, match="with sync_connect"):
        log.history()


def test_nobody_there_is_told_and_leaves_nothing() -> None:
    before = threading.active_count()
    with (
        pytest.raises(UnreachableError),
        sync_connect(f"ws://127.0.0.1:{free_port()}/ws/live-log"),
    ):
        pass
    assert threading.active_count() == before


@on_uvloop
async def test_a_forked_process_is_told_to_connect_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as house:

        def act(log: SyncClient) -> None:
            with monkeypatch.context() as patched:
                patched.setattr(os, "getpid", lambda: -1)
                with pytest.raises(NotRunningError, match="after the fork"):
                    log.history()
            assert log.history().total == 0

        await in_thread(act, house)


@on_uvloop
async def test_one_that_is_opened_lasts_and_may_be_opened_again() -> None:
    async with serving() as house:
        url = house.server.url

        def act() -> None:
            log = sync_connect(url)
            assert log.open() is log
            threads = threading.active_count()
            log.open().publish(user("one"))
            assert threading.active_count() == threads
            log.close()
            with pytest.raises(NotRunningError, match="`open`"):
                log.history()
            assert log.open().history().total == 1
            log.close()

        await asyncio.to_thread(act)


FORKING = """
import os, sys, threading
from livelog import sync_connect

log = sync_connect(sys.argv[1], timeout=20)
message = {"type": "user", "user_id": "u1", "username": "Ann"}
log.open().publish({**message, "content": "parent"})
log._lock.acquire()  # as a thread may at this moment
child = os.fork()
if not child:
    log.open().publish({**message, "content": "child"})
    os._exit(0)
log._lock.release()
assert os.waitpid(child, 0)[1] == 0
log.open().publish({**message, "content": "parent again"})
log.close()
"""


@on_uvloop
async def test_a_forked_process_connects_anew_and_leaves_its_parent_alone() -> None:
    async with serving() as house:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FORKING, house.server.url, cwd=ROOT
        )
        try:
            assert await soon(process.wait(), "the end of parent and child") == 0
        finally:
            if process.returncode is None:
                process.kill()
        page = await house.server.history()
        contents = [one.content for one in page.messages if isinstance(one, UserMessage)]
        assert contents == ["parent again", "child", "parent"]
