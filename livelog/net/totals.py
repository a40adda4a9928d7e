"""The metrics of several workers as one page.

Counters and histograms are added up; a gauge gets a label `worker`, since only some make sense as a
sum. A counter must never fall, or a rate over it would be wrong: what a process had counted before
it ended stays in the sum, and the process that takes its place counts on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

Series = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels."""

_UP = "1 while the worker answers."

_SUMMED = ("counter", "histogram")


class _Counted(NamedTuple):
    """Counts of the processes of one worker."""

    before: Mapping[Series, float]
    """By those that have ended."""
    now: Mapping[Series, float]
    """By the one that runs, when it was asked last."""

    @property
    def sum(self) -> dict[Series, float]:
        return _added(self.before, self.now)

    def followed_by(self, now: Mapping[Series, float]) -> _Counted:
        """Return the same with newer counts, which are less behind the end of a process."""
        if any(now.get(series, 0.0) < value for series, value in self.now.items()):
            return _Counted(self.sum, now)
        return _Counted(self.before, now)


class Totals:
    """The sums over some workers, by number; it remembers what each has counted."""

    def __init__(self, workers: Iterable[int]) -> None:
        self._counted = {number: _Counted({}, {}) for number in workers}

    def merge(self, pages: Mapping[int, str]) -> list[Family]:
        """Return the metrics of all: of the workers without a page, what they have counted."""
        from prometheus_client.core import GaugeMetricFamily, Metric
        from prometheus_client.parser import text_string_to_metric_families

        up = GaugeMetricFamily("livelog_worker_up", _UP, labels=["worker"])
        families: dict[str, Family] = {}
        for number, counted in self._counted.items():
            up.add_metric([str(number)], number in pages)
            now: dict[Series, float] = {}
            for family in text_string_to_metric_families(pages.get(number, "")):
                kind = family.type
                mine = families.setdefault(
                    family.name, Metric(family.name, family.documentation, kind)
                )
                for name, labels, value in _samples(family):
                    if kind in _SUMMED:
                        now[name, tuple(labels.items())] = value
                    else:
                        mine.add_sample(name, {**labels, "worker": str(number)}, value)
            if number in pages:
                self._counted[number] = counted.followed_by(now)
        self._add_sums(families.values())
        return [up, *families.values()]

    def _add_sums(self, families: Iterable[Family]) -> None:
        sums: dict[Series, float] = {}
        for counted in self._counted.values():
            sums = _added(sums, counted.sum)
        by_name = {name: family for family in families for name in _names(family)}
        for (name, labels), value in sums.items():
            if (family := by_name.get(name)) is not None:  # or no worker is there that has it
                family.add_sample(name, dict(labels), value)


def _names(family: Family) -> list[str]:
    """Return the names of the series of a family that are summed."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    return [family.name + ending for ending in endings.get(family.type, ())]


def _samples(family: Family) -> Iterator[tuple[str, dict[str, str], float]]:
    for sample in family.samples:
        yield sample.name, sample.labels, sample.value


def _added(one: Mapping[Series, float], other: Mapping[Series, float]) -> dict[Series, float]:
    """Return the sums of what is in either."""
    return {series: one.get(series, 0.0) + other.get(series, 0.0) for series in {**one, **other}}
