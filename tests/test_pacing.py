"""The rest after each round: fan-out keeps to its share, and no rest misses the latency target."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog.fanout.pacing import CREDIT, Pacing

shares = st.sampled_from([0.1, 0.5, 0.55, 0.9])
spans = st.floats(1e-5, 0.1)
others = st.sampled_from([0.0, 0.0, 0.001, 0.05])


@given(shares, st.lists(st.tuples(spans, others), min_size=1, max_size=100))
def test_under_load_fan_out_takes_its_share_of_the_time(
    share: float, rounds: list[tuple[float, float]]
) -> None:
    pacing, start, busy = Pacing(share, target=1e9), 1000.0, 0.0
    for spent, other in rounds:
        now = start + spent + other
        start = max(now, pacing.next_start(start, spent, now))
        busy += spent
        assert busy <= share * (start - 1000.0 + CREDIT) + 1e-6


@given(shares, st.floats(0.001, 1), st.lists(st.tuples(spans, spans, others), max_size=100))
def test_round_and_rest_together_keep_the_target_where_the_round_alone_does(
    share: float, target: float, rounds: list[tuple[float, float, float]]
) -> None:
    pacing, start = Pacing(share, target), 1000.0
    for pause, spent, other in rounds:
        start += pause
        now = start + spent + other
        following = pacing.next_start(start, spent, now)
        assert following - now <= max(0.0, target - spent) + 1e-6
        start = max(now, following)


@given(shares, spans)
def test_a_round_without_a_rest_before_it_is_paid_in_full(share: float, spent: float) -> None:
    pacing, start = Pacing(share, target=1e9), 1000.0
    first = pacing.next_start(start, spent, start + spent)
    second = pacing.next_start(first, spent, first + spent)
    assert second - first >= spent / share - CREDIT - 1e-6
    assert second == pytest.approx(1000.0 - CREDIT + 2 * spent / share) or first < 1000.0 + spent


@pytest.mark.parametrize("spent", [0.0001, 0.001, 0.01])
def test_a_message_after_a_pause_leaves_at_once(spent: float) -> None:
    pacing = Pacing(share=0.5, target=1.0)
    for start in (0.1, 1000.0, 2000.0):
        assert pacing.next_start(start, spent, start + spent) <= start + spent


def test_a_long_pause_earns_no_more_credit_than_a_short_one() -> None:
    starts = []
    for pause in (0.1, 3600.0):
        pacing = Pacing(share=0.5, target=10.0)
        pacing.next_start(100.0, 0.001, 100.001)
        start = 100.0 + pause
        starts.append(pacing.next_start(start, 0.2, start + 0.2) - start)
    assert starts[0] == pytest.approx(starts[1])
    assert starts[0] == pytest.approx(0.4 - CREDIT)


def test_debt_that_the_target_forbids_to_rest_off_is_forgiven() -> None:
    pacing = Pacing(share=0.1, target=0.05)
    start = 100.0
    for _ in range(50):
        start = pacing.next_start(start, 0.04, start + 0.04)
    idle = start + 1.0
    assert pacing.next_start(idle, 0.001, idle + 0.001) <= idle + 0.001
