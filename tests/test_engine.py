"""Seqs rise strictly, whatever the clock does, and stay exact in JavaScript."""

from __future__ import annotations

from datetime import UTC, datetime

import hypothesis.strategies as st
from hypothesis import given

from livelog.engine.local import LocalEngine

NOW = datetime(2025, 12, 3, 12, tzinfo=UTC).timestamp()
jumps = st.sampled_from([0.0, 0.0, 1e-7, 1e-6, 0.001, 1.0, -0.001, -3600.0, 3600.0])


@given(st.lists(jumps, max_size=200))
def test_seqs_rise_under_a_clock_that_stands_still_or_jumps_back(jumps: list[float]) -> None:
    engine, now, last = LocalEngine(), NOW, 0
    for jump in jumps:
        now += jump
        seq = engine.next(now)
        assert last < seq == engine.last
        assert seq == max(int(now * 1_000_000), last + 1)
        last = seq


def test_a_seq_is_the_time_in_microseconds_where_that_is_free() -> None:
    engine = LocalEngine()
    assert [engine.next(NOW), engine.next(NOW), engine.next(NOW + 1)] == [
        int(NOW) * 1_000_000,
        int(NOW) * 1_000_000 + 1,
        int(NOW + 1) * 1_000_000,
    ]


def test_a_new_engine_goes_on_above_what_an_earlier_one_has_given() -> None:
    earlier = LocalEngine()
    last = [earlier.next(NOW + 3600) for _ in range(3)][-1]
    assert LocalEngine(last).next(NOW) == last + 1


def test_seqs_stay_exact_in_javascript_for_two_centuries() -> None:
    in_2250 = datetime(2250, 1, 1, tzinfo=UTC).timestamp()
    assert LocalEngine().next(in_2250) < 2**53
