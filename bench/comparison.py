"""Two checkouts in figures: the ratio B/A of every pair of runs, and a verdict.

B is WORSE in a figure if the median of the ratios is beyond a margin of 3 % plus the spread of A,
which is (max - min) / median of its runs. Beyond the margin alone the verdict is `within spread`:
repeat the row on a quieter machine. Messages that are missing, doubled or not acknowledged are
compared by their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench import report
from bench.report import Figures
from bench.server import Launch

MARGIN = 0.03
WORSE, WITHIN_SPREAD, SAME, BETTER = "WORSE", "within spread", "same", "better"
HEAD = ("load", "figure", "A", "B", "B/A", "range of B/A", "spread of A", "verdict")
FAULTS = ("missing", "surplus", "out of order", "unacknowledged")


@dataclass(frozen=True)
class Compared:
    """Figure of a row; `sign` is 1 if less is better and -1 if more is."""

    figure: str
    sign: int = 1
    margin: float = MARGIN


@dataclass(frozen=True)
class PairRow:
    """Load that is brought to both checkouts, and the figures that are compared."""

    name: str
    measure: Callable[[Launch], Figures]
    compared: tuple[Compared, ...]


@dataclass(frozen=True)
class Comparison:
    """Medians of both sides, the ratios of the pairs, and the baseline's spread."""

    a: float
    b: float
    ratios: tuple[float, ...]
    spread: float
    verdict: str


def measured(row: PairRow, a: Launch, b: Launch, pairs: int) -> tuple[list[Figures], list[Figures]]:
    """Measure a row alternately on both checkouts; return the figures of each."""
    of_a, of_b = list[Figures](), list[Figures]()
    for _ in range(pairs):
        of_a.append(row.measure(a))
        of_b.append(row.measure(b))
    return of_a, of_b


def comparison(compared: Compared, of_a: Sequence[float], of_b: Sequence[float]) -> Comparison:
    """Compare the runs of one figure, pair by pair."""
    ratios = tuple(b / a for a, b in zip(of_a, of_b, strict=True))
    middle = median(of_a)
    spread = (max(of_a) - min(of_a)) / middle
    verdict = judged(median(ratios) ** compared.sign, compared.margin, spread)
    return Comparison(middle, median(of_b), ratios, spread, verdict)


def judged(cost: float, margin: float, spread: float) -> str:
    """Return the verdict on a median ratio of costs, above 1 if B costs more."""
    if cost > 1 + margin + spread:
        return WORSE
    if cost < 1 / (1 + margin + spread):
        return BETTER
    return SAME if 1 / (1 + margin) <= cost <= 1 + margin else WITHIN_SPREAD


def lines(row: PairRow, of_a: Sequence[Figures], of_b: Sequence[Figures]) -> Iterator[list[str]]:
    """Yield the row's lines of the table."""
    for each in row.compared:
        name = each.figure
        found = comparison(each, [run[name] for run in of_a], [run[name] for run in of_b])
        sides = report.number(found.a), report.number(found.b), f"{median(found.ratios):.3f}"
        span = f"{min(found.ratios):.3f} .. {max(found.ratios):.3f}"
        yield [row.name, name, *sides, span, f"{100 * found.spread:.1f} %", found.verdict]
    yield from faults(row.name, of_a, of_b)


def faults(name: str, of_a: Sequence[Figures], of_b: Sequence[Figures]) -> Iterator[list[str]]:
    """Yield a line for each kind of fault that has occurred on either side."""
    for fault in (figure for figure in of_a[0] if figure.endswith(FAULTS)):
        a, b = (sum(run[fault] for run in side) for side in (of_a, of_b))
        if a or b:
            verdict = WORSE if b > a else SAME if a == b else BETTER
            yield [name, fault, report.number(a), report.number(b), "", "", "", verdict]


def runs(row: PairRow, of_a: Sequence[Figures], of_b: Sequence[Figures]) -> str:
    """List every run of the compared figures, in order."""
    listed = [
        [f"{each.figure}, {side}", *(report.number(run[each.figure]) for run in found)]
        for each in row.compared
        for side, found in (("A", of_a), ("B", of_b))
    ]
    return report.aligned(listed)
