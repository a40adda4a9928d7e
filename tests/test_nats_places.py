"""Seqs from places: they rise, none is used twice, and a head leads back to its place."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog.engine.nats import batch
from livelog.engine.nats.batch import MAX_MESSAGES, MalformedError, Rebased
from livelog.engine.nats.order import Order
from livelog.engine.nats.places import Places, Rebase
from livelog.wire.record import Draft, Receipt
from livelog.wire.stubs import stub_of

BASE = 10**15
pieces = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 10**6)), max_size=4)


def rebased(steps: list[tuple[int, int]]) -> list[Rebase]:
    """Rebases at rising places, each above all seqs of before."""
    found, number, base = list[Rebase](), 0, BASE
    for entries, more in steps:
        number += entries
        base += 100 * MAX_MESSAGES + more
        found.append(Rebase(number, base, 0))
    return found


@given(pieces)
def test_seqs_rise_and_lead_back_to_their_places(steps: list[tuple[int, int]]) -> None:
    rebases = rebased(steps)
    places = Places(BASE)
    assert all(places.add(rebase) for rebase in rebases)
    assert all(places.add(rebase) for rebase in rebases), "they are read again"
    last = rebases[-1].number + 60 if rebases else 60
    records = {rebase.number for rebase in rebases}
    before = BASE
    for number in range(1, last):
        first, end = places.seq_of(number), places.seq_of(number, MAX_MESSAGES - 1)
        assert before < first <= end
        before = end
        if number not in records:
            assert places.place_of(first) == places.place_of(end) == number
            assert places.number_of(first) == places.number_of(end) == number
        assert Places(BASE, rebases).seq_of(number, 7) == places.seq_of(number, 7)


def test_a_head_in_what_was_lost_leads_to_the_entry_before_the_rebase() -> None:
    places = Places(BASE, [Rebase(5, BASE + 2**30, BASE + 90 * MAX_MESSAGES)])
    for lost in (6, 40, 90):
        assert places.place_of(batch.seq_of(BASE, lost)) == 4
        assert places.number_of(batch.seq_of(BASE, lost)) == 0
    assert places.place_of(batch.seq_of(BASE, 3)) == 3
    assert places.place_of(BASE - 1) == 0
    assert places.place_of(places.seq_of(6)) == 6


@pytest.mark.parametrize(
    "rebase", [Rebase(9, BASE, 0), Rebase(5, BASE + 2**30, 0), Rebase(9, BASE + 5, BASE + 2**29)]
)
def test_a_rebase_by_which_seqs_would_fall_is_refused(rebase: Rebase) -> None:
    places = Places(BASE, [Rebase(5, BASE + 1, 0)])
    assert not places.add(rebase)
    assert places.seq_of(10) == batch.seq_of(BASE + 1, 10)


# What is restored behind a rebase.


def message(id: str) -> Draft:
    payload = b'{"type":"user","id":"%b","user_id":"u1"}' % id.encode()
    return Draft(id, "user", 0, (), "", (), payload)


def done(steps: Any) -> Any:
    """The result of a generator."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def lost(number: int) -> int:
    return batch.seq_of(BASE, number)


def test_until_all_is_restored_nothing_else_is_placed() -> None:
    order = Order(BASE, 100)
    order.rebase(3, Rebased(BASE + 2**30, lost(6)))
    first = done(order.restore(1, [(lost(3), message("a")), (lost(4), message("b"))]))
    assert len(first) == 2
    assert order.healing
    between = done(order.place(5, 1, [message("c")]))
    assert between.records == []
    [refused] = between.outcomes
    assert "the log is being healed" in refused.issue
    done(order.restore(1, [(lost(6), message("d"))]))
    assert not order.healing
    after = done(order.place(7, 1, [message("c"), message("a")]))
    [record] = after.records
    assert (record.id, record.seq) == ("c", batch.seq_of(BASE + 2**30, 7))
    assert after.outcomes[1].seq == lost(3)


def test_the_id_of_what_was_restored_as_redacted_is_known_for_the_span_from_then_on() -> None:
    """Its author publishes it again, who is not known any more: the text does not come back."""
    order, span = Order(BASE, 100), 100
    order.rebase(3, Rebased(BASE + 2**30, lost(3)))
    stub = stub_of(b'{"type":"user","id":"a","timestamp":"2026-01-01T00:00:00Z","seq":1}', "spam")
    done(order.restore(1000, [(lost(3), message("a")._replace(payload=stub))]))
    assert order.refusal(message("a")) is None
    again = done(order.place(5, 1000 + span - 1, [message("a")]))
    assert (again.records, again.outcomes) == ([], [Receipt("a", lost(3))])
    later = done(order.place(6, 1000 + 2 * span - 1, [message("a")]))
    [record] = later.records  # nobody sends it again for so long: it is another message
    assert record.seq == batch.seq_of(BASE + 2**30, 6)


@pytest.mark.parametrize(
    ("seqs", "issue"),
    [
        ([lost(2)], "again"),
        ([lost(5), lost(4)], "again"),
        ([lost(4), lost(4)], "again"),
        ([lost(7)], "more than was lost"),
    ],
)
def test_what_does_not_belong_there_is_not_restored(seqs: list[int], issue: str) -> None:
    order = Order(BASE, 100)
    with pytest.raises(MalformedError, match="not awaited"):
        done(order.restore(1, [(lost(3), message("a"))]))
    order.rebase(3, Rebased(BASE + 2**30, lost(6)))
    with pytest.raises(MalformedError, match=issue):
        done(order.restore(1, [(seq, message(f"m{seq}")) for seq in seqs]))
    assert order.healing


def test_control_records_and_restored_messages_come_back_as_they_were_sent() -> None:
    record = Rebased(5, 7)
    assert batch.control(*batch.encode_control(record)) == record
    assert batch.control(batch.PLAIN, b"{}") is None
    for nonsense in (b"", b"{}", b"[1]", b'{"base":"x","until":1}'):
        with pytest.raises(MalformedError, match="is no control record"):
            batch.control("rebase/1", nonsense)
    lines = [b'{"id":"a","seq":12}', b'{"id":"b","content":",\\"seq\\":1}","seq":13}']
    found = [batch.unplaced(line) for line in batch.decode(*batch.encode_restored(lines))]
    assert found == [(12, b'{"id":"a"}'), (13, b'{"id":"b","content":",\\"seq\\":1}"}')]
    for nonsense in (b"{}", b'{"seq":x}', b'{"id":"a","seq":-1}', b'{"id":"a","seq":1'):
        with pytest.raises(MalformedError, match="without the seq"):
            batch.unplaced(nonsense)
