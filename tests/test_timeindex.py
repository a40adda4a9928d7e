"""Timestamps by position: ranges of them, also where one is far ahead of all others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyroaring import BitMap

from livelog.index import timeindex
from livelog.index.ordered import Ordered
from livelog.index.plan import finish
from livelog.index.timeindex import TimeIndex

AHEAD = 10**15


def times_with_one_ahead(count: int) -> TimeIndex:
    times = TimeIndex()
    for time in [AHEAD, *range(count)]:
        times.add(time)
    times._check()
    return times


@pytest.mark.parametrize("last", [0, 5, 50, 98, 99, AHEAD])
@pytest.mark.parametrize("first", [0, 1, 40, 99, AHEAD])
def test_a_range_is_found_among_those_behind_one_far_ahead(first: int, last: int) -> None:
    listed = [AHEAD, *range(100)]
    expected = [position for position, time in enumerate(listed) if first <= time <= last]
    assert list(finish(times_with_one_ahead(100).between(first, last))) == expected


def test_few_are_looked_at_for_a_range_with_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    times, looked_at = times_with_one_ahead(1000), list[int]()
    between = times._strays.between

    def counting(first: int, stop: int) -> Iterator[int]:
        found = list(between(first, stop))
        looked_at.extend(found)
        return iter(found)

    monkeypatch.setattr(Ordered, "between", lambda _, first, stop: counting(first, stop))
    assert len(finish(times.between(3, AHEAD))) == 998
    assert len(looked_at) == 3


def test_many_behind_one_far_ahead_are_looked_at_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pause others may come: that those of before are found is not harmed."""
    monkeypatch.setattr(timeindex, "_LISTED", 100)
    times = times_with_one_ahead(5000)
    steps, pauses = times.between(1000, 2999), 0
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found = stop.value
            break
        times.add(1500)
        pauses += 1
    assert pauses >= 20
    assert found & BitMap(range(5001)) == BitMap(range(1001, 3001))
    times._check()
