"""The rule for repeated ids: every node decides alike, also one that begins in the middle."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis.strategies as st
from hypothesis import given

from livelog.engine.base import Outcome
from livelog.engine.nats import batch
from livelog.engine.nats.order import Order, Placed
from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.wire.acts import Block
from livelog.wire.record import Draft, Receipt

BASE, SPAN = 10**15, 100
Message = tuple[str, str]
Stream = Sequence[tuple[int, Sequence[Message]]]

messages = st.tuples(st.sampled_from("abcde"), st.sampled_from(["u1", "u2"]))
streams = st.lists(st.tuples(st.integers(-20, 150), st.lists(messages, max_size=4)), max_size=25)


def draft(id: str, author: str = "u1") -> Draft:
    payload = b'{"type":"user","id":"%b","user_id":"%b"}' % (id.encode(), author.encode())
    return Draft(id, "user", 0, (), "", (), payload)


def stamped(steps: Stream) -> Stream:
    """Turn pauses between batches into times; the clock of the broker may step back."""
    now, found = 1000, []
    for pause, batch_ in steps:
        now += pause
        found.append((now, batch_))
    return found


def placed(order: Order, number: int, time: int, messages: Sequence[Message]) -> Placed:
    steps = order.place(number, time, [draft(*message) for message in messages])
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: Placed = stop.value
            return result


def spelled(outcome: Outcome) -> object:
    return outcome if isinstance(outcome, Receipt) else (outcome.code, outcome.field)


@given(streams)
def test_an_id_is_taken_unless_it_has_been_met_within_the_span(steps: Stream) -> None:
    order, met = Order(BASE, SPAN), dict[str, tuple[int, int, str]]()
    now = 0
    for number, (time, batch_) in enumerate(stamped(steps), 1):
        now = max(now, time)
        result, taken, outcomes = placed(order, number, time, batch_), [], list[object]()
        for index, (id, author) in enumerate(batch_):
            seq = batch.seq_of(BASE, number, index)
            last, first, owner = met.get(id, (now - SPAN, 0, ""))
            if last <= now - SPAN:
                first, owner = seq, author
                taken.append((seq, id))
            met[id] = (now, first, owner)
            same = owner == author
            outcomes.append(Receipt(id, first) if same else (POLICY_VIOLATION, "id"))
        assert [(record.seq, record.id) for record in result.records] == taken
        assert [*map(spelled, result.outcomes)] == outcomes
        order._repeats._check()


@given(streams, st.data())
def test_a_node_that_reads_only_the_last_span_again_decides_alike(
    steps: Stream, data: st.DataObject
) -> None:
    """With a clock that never steps back: where it does, it is the highest time that counts."""
    stream = stamped([(abs(pause), batch_) for pause, batch_ in steps])
    before, after = Order(BASE, SPAN), Order(BASE, SPAN)
    start = data.draw(st.integers(0, len(stream)))
    since = stream[start][0] - SPAN if start < len(stream) else 0
    for number, (time, batch_) in enumerate(stream, 1):
        mine = placed(before, number, time, batch_)
        if number > start:
            others = placed(after, number, time, batch_)
            assert [r.seq for r in mine.records] == [r.seq for r in others.records]
        elif time >= since:
            for _ in after.recall(number, time, [draft(*message).payload for message in batch_]):
                pass


def test_the_door_knows_somebody_elses_id_for_as_long_as_the_log_does() -> None:
    order = Order(BASE, SPAN)
    placed(order, 1, 1000, [("a", "u1")])
    assert order.refusal(draft("a", "u1")) is None
    assert order.refusal(draft("b", "u2")) is None
    refused = order.refusal(draft("a", "u2"))
    assert isinstance(refused, RefusedError)
    assert refused.code == POLICY_VIOLATION
    placed(order, 2, 1000 + SPAN, [])
    assert order.refusal(draft("a", "u2")) is None


def test_what_is_too_old_takes_no_memory() -> None:
    order = Order(BASE, SPAN)
    for number in range(1, 1000):
        placed(order, number, number * SPAN, [(f"m{number}", "u1"), (f"m{number}", "u1")])
        order._repeats._check()
        assert len(order._repeats) == 1


# Acts that come again.


def again(upto: int, part: int, *, last: bool, count: int = 2) -> batch.Renewal:
    some = (Block(by="m", at="2026-01-01T12:00:00.000Z", user_id=f"u{n}") for n in range(count))
    return batch.Renewal(upto, part, last, tuple(some))


def kinds(order: Order, number: int, renewal: batch.Renewal) -> list[tuple[int, str]]:
    """Seq and kind of the acts that an entry gives places to."""
    found = order.renew(number, 10**15, renewal)
    return [(each.seq - batch.seq_of(BASE, number), type(each.act).__name__) for each in found]


def test_the_note_of_a_repetition_is_placed_behind_its_last_part() -> None:
    order = Order(BASE, SPAN)
    acts = [(0, "Block"), (1, "Block")]
    assert kinds(order, 1, again(5, 0, last=True)) == [*acts, (2, "Renewed")]
    assert kinds(order, 2, again(6, 0, last=False)) == acts
    assert kinds(order, 3, again(7, 0, last=False)) == acts  # another node does the same
    assert kinds(order, 4, again(6, 1, last=False)) == acts
    assert kinds(order, 5, again(7, 1, last=True)) == [*acts, (2, "Renewed")]
    assert kinds(order, 6, again(6, 2, last=True, count=0)) == [(0, "Renewed")]


def test_a_repetition_that_lacks_a_part_is_not_noted() -> None:
    order = Order(BASE, SPAN)
    acts = [(0, "Block"), (1, "Block")]
    assert kinds(order, 1, again(5, 0, last=False)) == acts
    assert kinds(order, 2, again(5, 2, last=True)) == acts
    assert kinds(order, 3, again(6, 1, last=True)) == acts
    assert kinds(order, 4, again(6, 0, last=False)) == acts
    assert kinds(order, 5, again(6, 1, last=True)) == [*acts, (2, "Renewed")]


def test_a_node_that_starts_between_two_parts_notes_the_repetition_as_well() -> None:
    order = Order(BASE, SPAN)
    order.recall_control(1, 1000, again(5, 0, last=False))
    assert kinds(order, 2, again(5, 1, last=True))[-1] == (2, "Renewed")


def test_repetitions_that_are_never_ended_take_no_memory() -> None:
    order = Order(BASE, SPAN)
    for upto in range(100):
        kinds(order, upto + 1, again(upto, 0, last=False))
    assert len(order._renewing) < 10
