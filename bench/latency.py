"""Latencies as HdrHistogram keeps them: microseconds, three significant digits, to ten minutes.

No value is dropped: a value beyond the range counts as the highest of the range, because
the histogram would leave it out in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from hdrh.histogram import HdrHistogram

HIGHEST_US = 600_000_000


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of a distribution, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, nanoseconds: Iterable[int]) -> Self:
        histogram = HdrHistogram(1, HIGHEST_US, 3)
        for value, count in Counter(ns // 1000 for ns in nanoseconds).items():
            histogram.record_value(min(max(value, 1), HIGHEST_US), count)
        p50, p95, p99 = (histogram.get_value_at_percentile(p) / 1000 for p in (50, 95, 99))
        return cls(histogram.total_count, p50, p95, p99, histogram.get_max_value() / 1000)

    def figures(self, prefix: str = "") -> dict[str, float]:
        return {f"{prefix}{name} ms": getattr(self, name) for name in ("p50", "p95", "p99", "max")}
