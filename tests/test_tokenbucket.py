"""Token buckets against exact arithmetic, and what they promise."""

from __future__ import annotations

from fractions import Fraction

import hypothesis.strategies as st
from hypothesis import given

from livelog.net.tokenbucket import Rate, TokenBucket

rates = st.builds(Rate, st.integers(1, 200), st.sampled_from([1.0, 2.5, 60.0]))
pauses = st.lists(st.integers(0, 5000).map(lambda ms: ms / 1000), max_size=200)


CLOSE = 2e-3
"""Part of a token that is too close to tell."""


class Model:
    """A bucket that is refilled token by token, without rounding."""

    def __init__(self, rate: Rate) -> None:
        self.limit = Fraction(rate.limit)
        self.per_second = self.limit / Fraction(rate.window)
        self.tokens = self.limit
        self.now = Fraction(0)

    def refill(self, now: float) -> None:
        self.tokens = min(self.limit, self.tokens + (Fraction(now) - self.now) * self.per_second)
        self.now = Fraction(now)


@given(rates, pauses)
def test_a_bucket_does_what_exact_arithmetic_does(rate: Rate, pauses: list[float]) -> None:
    bucket, model, now = TokenBucket(rate), Model(rate), 0.0
    for pause in pauses:
        now += pause
        model.refill(now)
        granted = bucket.take(now)
        if abs(model.tokens - 1) > CLOSE:
            assert granted == (model.tokens >= 1)
        model.tokens -= granted
        used = model.limit - model.tokens
        assert used - CLOSE <= bucket.used(now) < used + 1 + CLOSE
        assert abs(bucket.reset_in(now) / rate.interval - used) < CLOSE
        assert (bucket.retry_after(now) == 0) == (bucket.used(now) < rate.limit)


@given(rates, pauses)
def test_in_no_span_of_time_it_grants_more_than_limit_and_refill(
    rate: Rate, pauses: list[float]
) -> None:
    bucket, now = TokenBucket(rate), 0.0
    granted: list[float] = []
    for pause in pauses:
        now += pause
        if bucket.take(now):
            granted.append(now)
    for first, start in enumerate(granted):
        for count, end in enumerate(granted[first:], start=1):
            assert count <= rate.limit + (end - start) / rate.interval + CLOSE


@given(rates, st.floats(0, 1e6))
def test_when_the_told_time_has_passed_there_is_a_token(rate: Rate, now: float) -> None:
    bucket = TokenBucket(rate)
    for _ in range(rate.limit):
        assert bucket.take(now)
    assert not bucket.take(now)
    wait = bucket.retry_after(now)
    assert 0 < wait <= rate.interval * 1.001
    assert bucket.take(now + wait + 1e-6)
    assert bucket.reset_in(now) >= bucket.retry_after(now)


@given(rates, st.floats(0, 1e6))
def test_a_bucket_that_has_rested_is_full(rate: Rate, now: float) -> None:
    bucket = TokenBucket(rate)
    for later in (now, now + 2 * rate.window):
        assert (bucket.used(later), bucket.reset_in(later), bucket.retry_after(later)) == (0, 0, 0)
        assert bucket.take(later)
        assert bucket.used(later) == 1


def test_near_the_limit_it_says_so_once_until_use_has_been_lower() -> None:
    bucket = TokenBucket(Rate(100, 60))
    said = [number for number in range(1, 101) if bucket.take(0) and bucket.nearly_empty(0)]
    assert said == [95]
    assert bucket.used(0) == 100
    assert bucket.take(30)
    assert not bucket.nearly_empty(30)
    said = [n for n in range(51, 100) if bucket.take(30) and bucket.nearly_empty(30)]
    assert len(said) == 1


def test_with_ten_commands_the_last_one_warns() -> None:
    bucket = TokenBucket(Rate(10, 60))
    assert [n for n in range(1, 11) if bucket.take(5) and bucket.nearly_empty(5)] == [10]
