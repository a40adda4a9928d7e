"""Figures beside their targets: tables with verdicts, printed and saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from bench import report
from bench.report import Figures
from bench.rows import VERDICTS, Row, Target
from bench.server import Launch

HEAD = ("load", "target", "measured", "range", "verdict")


def print_rows(
    rows: Sequence[Row], launch: Callable[[], Launch], times: int, named: str, out: str | None
) -> int:
    """Measure each row with `named` in its name so many times; print the medians and ranges."""
    lines: list[list[str]] = []
    details: list[str] = []
    for row in (row for row in rows if named in row.name):
        print(f"... {row.name}", flush=True)
        runs = [row.measure(launch()) for _ in range(times)]
        lines += compared(row.name, row.targets, runs)
        details.append(detail(row.name, medians(runs)))
    return print_result(f"medians of {times}", lines, details, out)


def print_found(
    about: str,
    found: Mapping[str, Figures],
    targets: Mapping[str, Sequence[Target]],
    out: str | None,
) -> int:
    """Print figures of one run, by the names of their rows."""
    lines = [line for name in found for line in compared(name, targets[name], [found[name]])]
    return print_result(about, lines, [detail(*each) for each in found.items()], out)


def print_result(
    about: str, lines: Sequence[Sequence[str]], details: Sequence[str], out: str | None
) -> int:
    """Print and save a table with all figures below it; return 1 if a target was missed."""
    parts = [report.heading(about), report.table(HEAD, lines), "All figures", *details]
    print_and_save(parts, out)
    return 1 if any(line[-1] == VERDICTS[False] for line in lines) else 0


def print_and_save(parts: Sequence[str], out: str | None) -> None:
    text = "\n\n".join(parts)
    print(text)
    report.save(text, out)


def compared(name: str, targets: Sequence[Target], runs: Sequence[Figures]) -> list[list[str]]:
    """Return a line for each target."""
    lines = []
    for target in targets:
        values = [run[target.figure] for run in runs]
        span = f"{report.number(min(values))} .. {report.number(max(values))}"
        verdict = VERDICTS[target.is_met(median(values))]
        lines.append([name, str(target), report.number(median(values)), span, verdict])
    return lines


def detail(name: str, figures: Figures) -> str:
    return f"{name}\n\n{report.listing(figures)}"


def medians(runs: Sequence[Figures]) -> Figures:
    return {name: median(run[name] for run in runs) for name in runs[0]}
