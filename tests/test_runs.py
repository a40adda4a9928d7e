"""Runs of positions by bucket of time: kept, extended and swept, they are those of a plain loop."""

from __future__ import annotations

from itertools import groupby

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from pyroaring import BitMap

from livelog.index import runs as runs_module
from livelog.index.plan import finish
from livelog.index.runs import RUN_BYTES, Runs
from livelog.index.timeindex import TimeIndex

Span = tuple[int, int]


def tens(time: int) -> Span:
    return time - time % 10, time - time % 10 + 10


def asked(times: TimeIndex, first: int, last: int) -> Runs:
    return finish(times.runs.of("tens", tens, times, range(first, last + 1)))


def plainly(times: TimeIndex, first: int, last: int) -> list[tuple[int, list[int]]]:
    """Start of each bucket from `first` to `last`, and the positions in it that are asked for."""
    by_start = groupby(range(first, last + 1), lambda place: tens(times.latest(place))[0])
    return [(start, list(places)) for start, places in by_start]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(-3, 14), max_size=30), st.integers(0, 9), st.data()),
        min_size=1,
        max_size=6,
    )
)
def test_runs_are_what_a_plain_loop_finds(acts: list[tuple[list[int], int, st.DataObject]]) -> None:
    times, time, end = TimeIndex(), 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs_module, "MOST", 4)
        for steps, swept, data in acts:
            for step in steps:
                time += step
                times.add(time)
            end += len(steps)
            if times.first + swept < end:
                finish(times.sweep(times.first + swept))
            if times.first == end:
                continue
            first = data.draw(st.integers(times.first, end - 1))
            last = data.draw(st.integers(first, end - 1))
            found, wanted = asked(times, first, last), BitMap(range(first, last + 1))
            within = found.within(first, last)
            some = zip(found.starts[within], found.places[within], strict=True)
            assert [(start, list(places & wanted)) for start, places in some] == plainly(
                times, first, last
            )


def test_what_has_been_found_is_kept_in_bounds() -> None:
    times = TimeIndex()
    for time in range(1000):
        times.add(time)
    whole = asked(times, 0, 999)
    assert asked(times, 300, 700) is whole
    times.add(1003)
    longer = asked(times, 500, 1000)
    assert longer.starts == [*whole.starts, 1000]
    assert longer.places[3] is whole.places[3]
    for kind in ("others", "more"):
        finish(times.runs.of(kind, tens, times, range(200, 201)))
    assert times.runs.memory == 2 * RUN_BYTES  # the first kind has been given up
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs_module, "MOST", 20)
        asked(times, 0, 500)
        for last in range(500, 1000, 10):
            asked(times, last - 20, last)
            assert times.runs.memory <= (51 + 5 + 1) * RUN_BYTES
