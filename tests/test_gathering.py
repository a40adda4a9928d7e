"""Messages that come with one read of a connection are published together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from livelog.budget.owner import INTERNAL, Owner
from livelog.engine.base import Outcome
from livelog.log.gathering import Gathering
from livelog.net import scheduler
from livelog.wire.record import Draft, Receipt
from tests.support.wire import command, on_each_loop, on_uvloop, serving, user

ANN = Owner("ann", "192.0.2.1")


class Ingest:
    """Takes batches, and says what it took."""

    def __init__(self, room: int = 1 << 20) -> None:
        self.room = room
        self.batches: list[list[str]] = []
        self.owner = INTERNAL

    def has_room(self, owner: Owner, size: int) -> bool:
        return size <= self.room

    def publish(
        self,
        drafts: Sequence[Draft],
        done: Callable[[Sequence[Outcome]], object],
        owner: Owner,
        door: str,
    ) -> None:
        self.batches.append([draft.id for draft in drafts])
        self.owner = owner
        done([Receipt(draft.id, number) for number, draft in enumerate(drafts)])


def draft(id: str, size: int = 100) -> Draft:
    return Draft(id, "user", 0, (), "", (), bytes(size))


def gathering(ingest: Ingest) -> Gathering:
    return Gathering(ingest)  # type: ignore[arg-type]  # as much of it as is asked


def test_messages_are_published_together_and_each_is_answered() -> None:
    ingest, told = Ingest(), list[Outcome]()
    gathered = gathering(ingest)
    assert all(gathered.add(ANN, draft(id), told.append) for id in "abc")
    assert not ingest.batches
    gathered.publish()
    gathered.publish()
    assert ingest.batches == [["a", "b", "c"]]
    assert ingest.owner == ANN
    assert told == [Receipt("a", 0), Receipt("b", 1), Receipt("c", 2)]


def test_no_more_are_gathered_than_may_wait_in_any_case() -> None:
    ingest = Ingest()
    gathered = gathering(ingest)
    for id in "abcde":
        assert gathered.add(ANN, draft(id, 8192), print)
    assert ingest.batches == [["a", "b"], ["c", "d"]]


def test_one_for_which_there_is_no_room_beside_the_others_has_to_wait() -> None:
    ingest = Ingest(room=250)
    gathered = gathering(ingest)
    assert [gathered.add(ANN, draft(id), print) for id in "abc"] == [True, True, False]
    gathered.publish()
    assert ingest.batches == [["a", "b"]]


def test_an_answer_that_fails_is_no_matter_of_the_others() -> None:
    ingest, told = Ingest(), list[Outcome]()
    gathered = gathering(ingest)

    def fail(outcome: Outcome) -> None:
        raise ValueError(outcome)

    gathered.add(ANN, draft("a"), fail)
    gathered.add(ANN, draft("b"), told.append)
    gathered.publish()
    assert told == [Receipt("b", 1)]


# At the door.


def published(*contents: str) -> bytes:
    return b"".join(command("publish", message=user(content)) for content in contents)


@on_each_loop
async def test_what_comes_with_one_read_is_one_publication(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "HOLD_SECONDS", 60.0)  # however slow the machine is
    async with serving() as house:
        client = await house.client()
        await client.send(published(*"abcdefgh"))
        for _ in range(8):
            assert (await client.event())["action"] == "published"
        assert sum(house.context.ingest.waits.counts) == 1


@on_uvloop
async def test_a_command_finds_what_was_published_before_it_in_the_same_read() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(published("a", "b") + command("get_history") + published("c"))
        answers = [await client.event() for _ in range(4)]
        [history] = [one for one in answers if one["action"] == "history"]
        assert history["total_count"] == 2
