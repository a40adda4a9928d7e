"""A row of a table: a load, its measurement, and the bounds of its figures."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from bench.report import Figures
from bench.server import Launch

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
}
VERDICTS = {True: "met", False: "MISSED"}


@dataclass(frozen=True)
class Target:
    """One figure and its bound."""

    figure: str
    relation: str
    bound: float

    def __str__(self) -> str:
        return f"{self.figure} {self.relation} {self.bound:,g}"

    def is_met(self, value: float) -> bool:
        return COMPARE[self.relation](value, self.bound)


@dataclass(frozen=True)
class Row:
    """One load, its measurement, and the targets under it."""

    name: str
    measure: Callable[[Launch], Figures]
    targets: tuple[Target, ...]
