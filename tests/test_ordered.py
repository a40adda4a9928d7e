"""Strings in order: against a sorted list, and what the garbage collector tracks of them."""

from __future__ import annotations

import gc
import random
from bisect import bisect_left, insort

import pytest

from livelog.index.ordered import Ordered


@pytest.mark.parametrize("seed", range(3))
def test_it_does_what_a_sorted_list_does(seed: int) -> None:
    dice = random.Random(seed)
    ordered, expected = Ordered[int](), list[int]()
    for shrinking in (False, True):
        for _ in range(2000):
            item = dice.randrange(3000)
            if expected and (dice.random() < 0.3 or shrinking):
                ordered.remove(expected.pop(dice.randrange(len(expected))))
            elif item not in expected:
                insort(expected, item)
                ordered.add(item)
            first, stop = dice.randrange(-1, 3001), dice.randrange(-1, 3001)
            low, high = bisect_left(expected, first), bisect_left(expected, stop)
            assert ordered.rank(first) == low
            assert list(ordered.between(first, stop)) == expected[low:high]
        ordered._check()
        assert list(ordered) == expected
        assert len(ordered) == len(expected)
    assert len(ordered._blocks) < 10, "blocks that have become small are joined"


def test_it_is_made_of_many_at_once() -> None:
    items = [f"k{number}" for number in range(1000)]
    ordered = Ordered(items)
    ordered._check()
    assert list(ordered) == sorted(items)


def test_the_garbage_collector_does_not_walk_through_it() -> None:
    """Neither is an item visited: one that is seldom used is not in the processor's cache."""
    ordered = Ordered[str]()
    for number in range(20_000):
        ordered.add(f"request={number * 7919 % 20_000}")
    gc.collect()
    tracked = [part for part in (ordered._blocks, ordered._lasts) if gc.is_tracked(part)]
    assert sum(map(len, tracked)) < len(ordered) / 10
    assert not any(map(gc.is_tracked, ordered._blocks))
