"""Entries that come live: in order at the end, whatever the network does."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from livelog.engine.nats.arrivals import Arrivals
from livelog.engine.nats.stream import Entry


def entry(number: int, previous: int | None = None, size: int = 10) -> Entry:
    follows = number - 1 if previous is None else previous
    return Entry(number, follows, 0, "", 0, "", bytes(size))


@given(st.permutations(range(1, 9)), st.lists(st.integers(1, 8)), st.sets(st.integers(1, 7)))
def test_what_comes_swapped_or_doubled_is_taken_once_in_order(
    order: list[int], again: list[int], lost: set[int]
) -> None:
    arrivals, taken = Arrivals(0), list[int]()

    def take() -> None:
        while (found := arrivals.next()) is not None:
            taken.append(found.number)
            arrivals.take(found.number)

    for number in [*order, *again]:
        if number not in lost:
            arrivals.add(entry(number))
            take()
        arrivals._check()
    while arrivals.behind:  # what was lost is read
        number = arrivals.done + 1
        taken.append(number)
        arrivals.take(number)
        take()
    assert taken == list(range(1, 9))


def test_a_hole_shows_with_the_next_entry_and_by_hearsay() -> None:
    arrivals = Arrivals(4)
    assert not arrivals.behind
    arrivals.add(entry(6))
    assert arrivals.behind
    assert arrivals.next() is None
    arrivals.take(5)
    assert arrivals.next() == entry(6)
    arrivals.take(6)
    assert not arrivals.behind
    arrivals.hear(8)
    assert arrivals.behind
    assert arrivals.next() is None


def test_a_deleted_entry_leaves_no_hole() -> None:
    arrivals = Arrivals(4)
    arrivals.add(entry(6, previous=4))
    assert arrivals.next() == entry(6, previous=4)


def test_early_entries_are_bounded_for_they_can_be_read_again() -> None:
    arrivals = Arrivals(0)
    for number in range(2, 100):
        arrivals.add(entry(number, size=2**20))
        arrivals._check()
        assert arrivals._bytes <= 16 * 2**20
    arrivals.take(1)
    kept = []
    while (found := arrivals.next()) is not None:
        kept.append(found.number)
        arrivals.take(found.number)
    assert kept == list(range(2, 18))
    assert arrivals.behind
