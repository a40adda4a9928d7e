"""Figures from two looks at the metrics: rates, and quantiles of what has happened in between.

Pure: the text format of Prometheus comes in, numbers come out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from livelog.errors import RefusedError
from livelog.wire.events import AdminResult

Labels = tuple[tuple[str, str], ...]
Samples = Mapping[str, Mapping[Labels, float]]
"""Name without `livelog_` → labels → value."""

_SAMPLE = re.compile(r"livelog_(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Look(NamedTuple):
    """All that was seen at one moment; `at` is in seconds of any clock."""

    at: float
    samples: Samples
    rows: list[dict[str, Any]]
    total: int
    """Clients in all."""
    issues: tuple[str, ...]
    """The reasons why a part is missing."""
    health: str = ""
    """The health of the server and why; empty if it is well, or nothing tells."""


def read(
    at: float,
    metrics: bytes | RefusedError,
    answer: bytes | RefusedError,
    health: bytes | RefusedError = b"",
) -> Look:
    """Make a look of the answers of a server, or of the reasons why there is none."""
    issues: list[str] = []
    samples: Samples = {}
    rows: list[dict[str, Any]] = []
    total = 0
    if isinstance(metrics, RefusedError):
        issues.append(f"no metrics: {metrics}")
    else:
        samples = parse(metrics.decode())
    if isinstance(answer, RefusedError):
        issues.append(f"no clients: {answer}")
    else:
        result = msgspec.json.decode(answer, type=AdminResult).result
        rows, total = result["connections"], result["total_count"]
    return Look(at, samples, rows, total, tuple(issues), _ailing(health))


class _Health(msgspec.Struct):
    status: str
    issue: str = ""


def _ailing(health: bytes | RefusedError) -> str:
    """Return the health unless it is good; what stands in for the server may answer anything."""
    if isinstance(health, RefusedError):
        return ""
    try:
        found = msgspec.json.decode(health, type=_Health)
    except (ValueError, RecursionError):
        return ""
    if found.status == "ok":
        return ""
    return f"{found.status}: {found.issue}" if found.issue else found.status


def parse(text: str) -> Samples:
    """Parse the text format of Prometheus; what is not livelog's own is left out."""
    samples: dict[str, dict[Labels, float]] = {}
    for line in text.splitlines():
        found = _SAMPLE.fullmatch(line)
        if found is not None:
            labels = tuple(sorted(_LABEL.findall(found[2] or "")))
            samples.setdefault(found[1], {})[labels] = float(found[3])
    return samples


class Figures:
    """The figures between two looks."""

    def __init__(self, before: Look | None, now: Look) -> None:
        self._before = now if before is None else before
        self._now = now
        self._seconds = now.at - self._before.at

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the values with these labels."""
        return _sum(self._now.samples, name, labels)

    def values(self, name: str, label: str) -> dict[str, float]:
        """Return the values by one label."""
        found: dict[str, float] = {}
        for labels, value in self._now.samples.get(name, {}).items():
            which = dict(labels).get(label, "")
            found[which] = found.get(which, 0.0) + value
        return found

    def rate(self, name: str, **labels: str) -> float:
        """Return by how much a counter has risen in a second; 0 after a restart."""
        return self._risen(name, labels) / self._seconds if self._seconds > 0 else 0.0

    def rates(self, name: str, label: str) -> dict[str, float]:
        """Return the rates by one label."""
        return {each: self.rate(name, **{label: each}) for each in self.values(name, label)}

    def quantile(self, name: str, share: float, **labels: str) -> float | None:
        """Return the bound in seconds below which this share of the durations was; None without.

        It is infinite above the last bound.
        """
        bounds = {dict(key)["le"] for key in self._now.samples.get(f"{name}_bucket", {})}
        counts = {
            float(bound): self._risen(f"{name}_bucket", {**labels, "le": bound}) for bound in bounds
        }
        total = counts.get(math.inf, 0.0)
        if not total:
            return None
        return min(bound for bound, count in counts.items() if count >= share * total)

    def _risen(self, name: str, labels: Mapping[str, str]) -> float:
        before = _sum(self._before.samples, name, labels)
        return max(0.0, _sum(self._now.samples, name, labels) - before)


def _sum(samples: Samples, name: str, labels: Mapping[str, str]) -> float:
    wanted = labels.items()
    return sum(value for key, value in samples.get(name, {}).items() if wanted <= dict(key).items())
