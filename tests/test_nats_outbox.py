"""The outbox: batches as large as they may be, one answer per submit, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog.engine.base import Outcome
from livelog.engine.nats import batch
from livelog.engine.nats.outbox import Outbox
from livelog.errors import GOING_AWAY, SERVER_ERROR, RefusedError
from livelog.wire.record import Draft, Receipt


def drafts(*ids: str, size: int = 10) -> list[Draft]:
    return [Draft(id, "user", 0, (), "", (), bytes(size)) for id in ids]


def receipts(sent: Sequence[Draft]) -> list[Outcome]:
    return [Receipt(draft.id, 1) for draft in sent]


def spelled(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{outcome.details.get('id')}?" if isinstance(outcome, RefusedError) else outcome.id
        for outcome in outcomes
    ]


@given(st.lists(st.integers(1, 3000), max_size=6), st.lists(st.integers(1, 2000), max_size=6))
def test_submits_ride_together_or_in_parts_and_keep_their_order(
    first: list[int], second: list[int]
) -> None:
    outbox, told, flown = Outbox(10), list[list[str]](), list[str]()
    number = 0

    def fly() -> None:
        flight = outbox.depart(batch.MAX_BYTES)
        assert 0 < len(flight.drafts) <= batch.MAX_MESSAGES
        flown.extend(draft.id for draft in flight.drafts)
        flight.settle(receipts(flight.drafts))
        outbox.land()

    expected = []
    for size in [*first, 0, *second]:
        if not size and outbox:
            fly()
        if size:
            ids = [f"m{number + index}" for index in range(size)]
            number += size
            expected.append(ids)
            outbox.add(drafts(*ids), lambda outcomes: told.append(spelled(outcomes)), 0)
    while outbox:
        fly()
    assert told == expected
    assert flown == [f"m{index}" for index in range(number)]
    assert outbox.bytes == 0
    assert outbox.due is None


def test_a_message_larger_than_a_batch_goes_alone() -> None:
    outbox = Outbox(10)
    outbox.add(drafts("a", "b", "c", size=2 * batch.MAX_BYTES), lambda outcomes: None, 0)
    assert [len(outbox.depart(batch.MAX_BYTES).drafts) for _ in "abc"] == [1, 1, 1]


def test_who_has_waited_too_long_is_told_with_the_id_and_the_others_wait_on() -> None:
    outbox, told = Outbox(10), list[list[str]]()
    for now, ids in enumerate(["ab", "c", "d"]):
        outbox.add(drafts(*ids), lambda outcomes: told.append(spelled(outcomes)), now)
    flight = outbox.depart(20)
    assert [draft.id for draft in flight.drafts] == ["a"]
    assert outbox.due == 10
    outbox.expire(9.9)
    assert not told
    outbox.expire(10)
    assert told == [["a?", "b?"]]
    assert not flight.awaited
    outbox.expire(11)
    assert told == [["a?", "b?"], ["c?"]]
    flight.settle(receipts(flight.drafts))  # it has come through after all
    outbox.land()
    assert [draft.id for draft in outbox.depart(20).drafts] == ["d"]
    assert outbox.due == 12


def test_the_refusal_says_what_to_do() -> None:
    outbox, told = Outbox(0), list[Outcome]()
    outbox.add(drafts("a"), told.extend, 0)
    outbox.expire(0)
    [refused] = told
    assert isinstance(refused, RefusedError)
    assert (refused.code, refused.retry_after) == (SERVER_ERROR, 1)
    assert refused.issue == "not acknowledged, publish it again with the same id"
    assert refused.details["id"] == "a"


def test_at_the_end_all_are_told_the_reason_once() -> None:
    outbox, told = Outbox(10), list[Outcome]()
    outbox.add(drafts("a", "b"), told.extend, 0)
    flight = outbox.depart(15)
    gone = RefusedError(GOING_AWAY, "", "gone")
    outbox.end(gone)
    assert told == [gone, gone]
    flight.settle(receipts(flight.drafts))
    assert len(told) == 2
    assert not outbox


def test_one_who_cannot_be_told_harms_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    outbox, told = Outbox(10), list[str]()

    def fail(outcomes: Sequence[Outcome]) -> None:
        raise RuntimeError("lost interest")

    outbox.add(drafts("a"), fail, 0)
    outbox.add(drafts("b"), lambda outcomes: told.extend(spelled(outcomes)), 0)
    flight = outbox.depart(batch.MAX_BYTES)
    flight.settle(receipts(flight.drafts))
    assert told == ["b"]
    assert "could not be told" in caplog.text
