"""Publishers whose messages wait for the index, and those who have caused little of that."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.budget.backlog import BACKLOG_BYTES, Backlog
from livelog.budget.owner import Owner
from livelog.log.window import Window
from livelog.net.websocket import publishing
from tests.support.wire import on_uvloop, serving, soon, until, user

FLOODER, OTHER = Owner("", "192.0.2.1"), Owner("", "192.0.2.2")
LARGE = 60_000


class Index:
    """Bytes that wait, each message in a step."""

    def __init__(self) -> None:
        self.waiting: deque[int] = deque()
        self.backlog = Backlog(lambda: sum(self.waiting), self.work)

    def publish(self, owner: Owner, size: int) -> None:
        self.waiting.append(size)
        self.backlog.add(owner, size)
        self.backlog._check()

    def work(self) -> bool:
        if self.waiting:
            self.waiting.popleft()
        return bool(self.waiting)


def flooded(*owners: Owner) -> Index:
    """Messages of these owners wait, as many as may."""
    index = Index()
    for owner in owners * 100:
        if index.backlog.has_room(owner, LARGE):
            index.publish(owner, LARGE)
    return index


def test_an_owner_with_much_in_the_backlog_works_before_it_publishes_more() -> None:
    index = flooded(FLOODER)
    assert sum(index.waiting) <= BACKLOG_BYTES
    before = len(index.waiting)
    assert not index.backlog.has_room(FLOODER, LARGE)
    for _ in index.backlog.making_room(FLOODER, LARGE):
        pass
    assert index.backlog.has_room(FLOODER, LARGE)
    assert len(index.waiting) == before - 1, "no more work than is needed"


def test_owners_with_little_in_the_backlog_pass_at_once() -> None:
    index = flooded(FLOODER)
    assert index.backlog.has_room(OTHER, LARGE)
    index.publish(OTHER, 200)
    assert index.backlog.has_room(OTHER, 200)
    assert not index.backlog.has_room(OTHER, LARGE)


def test_a_user_at_many_addresses_and_many_users_at_one_are_one_publisher() -> None:
    index = flooded(Owner("u", "192.0.2.1"), Owner("v", "192.0.2.1"))
    assert not index.backlog.has_room(Owner("u", "192.0.2.7"), LARGE)
    assert not index.backlog.has_room(Owner("w", "192.0.2.1"), LARGE)
    assert index.backlog.has_room(Owner("w", "192.0.2.7"), LARGE)


def test_a_crowd_has_a_bounded_backlog() -> None:
    crowd = [Owner("", f"192.0.2.{number}") for number in range(50)]
    assert sum(flooded(*crowd).waiting) <= BACKLOG_BYTES + len(crowd) * LARGE


def test_nobody_waits_where_nothing_does() -> None:
    index = flooded(FLOODER)
    index.waiting.clear()
    assert index.backlog.has_room(FLOODER, LARGE)
    assert not index.backlog._parts


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 300_000), st.integers(0, 3))))
def test_the_parts_are_those_of_the_messages_that_wait(events: list[tuple[str, int, int]]) -> None:
    index, owners = Index(), deque[tuple[str, int]]()
    for name, size, steps in events:
        index.publish(Owner("", name), size)
        owners.append((name, size))
        for _ in range(steps):
            index.work()
        while len(owners) > len(index.waiting):
            owners.popleft()
        index.backlog.has_room(FLOODER, 0)
        assert list(index.backlog._published) == [(Owner("", who), size) for who, size in owners]
        index.backlog._check()


# At the doors.

WORDS = " ".join(f"w{number}" for number in range(9000))
MOST = BACKLOG_BYTES // len(WORDS)
"""Messages of these words that may wait."""


@contextmanager
def standing_still() -> Iterator[None]:
    """Let the index of the window make no progress."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Window, "_add_some", lambda window: None)
        patch.setattr(publishing, "_ROOM_SECONDS", 0.05)
        yield


@on_uvloop
async def test_a_flooder_at_a_websocket_waits_and_others_do_not() -> None:
    async with serving() as house:
        flooder = await house.client(source="127.0.0.5")
        other = await house.client(source="127.0.0.6")
        with standing_still():
            for number in range(MOST + 1):
                answer = await flooder.ask("publish", message=user(WORDS), request_id=number)
                assert answer["action"] == ("published" if number < MOST else "error")
            assert answer["error_code"] == 1011
            assert answer["details"]["retry_after_seconds"]
            assert answer["request_id"] == MOST
            published = await other.ask("publish", message=user("hello"))
            assert published["action"] == "published"
            assert (await other.ask("search", query="hello"))["count"] == 1
        again = await flooder.ask("publish", message=user(WORDS))
        assert again["action"] == "published"
        assert house.context.log.waiting_bytes < BACKLOG_BYTES, "it has worked for that"


@on_uvloop
async def test_a_flooder_over_http_waits_and_others_do_not() -> None:
    async with serving() as house:
        flooder = await house.http(source="127.0.0.5")
        other = await house.http(source="127.0.0.6")
        with standing_still():
            body = json.dumps([user(WORDS)] * (2 * MOST))
            flooding = asyncio.ensure_future(flooder.ask("POST", "/api/messages", body))
            log = house.context.log
            await until(lambda: log.waiting_bytes > BACKLOG_BYTES - 2 * len(WORDS), "a flood")
            answer = await other.ask("POST", "/api/messages", json.dumps(user("hello")))
            assert answer.status == 201
            assert not flooding.done()
            assert log.waiting_bytes < BACKLOG_BYTES + 2 * len(WORDS)
        assert (await soon(flooding)).json["count"] == 2 * MOST
