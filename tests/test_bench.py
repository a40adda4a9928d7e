"""Checks of the comparison of two checkouts: ratios, spread and verdicts of `bench pairs`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench import report
from bench.comparison import (
    BETTER,
    SAME,
    WITHIN_SPREAD,
    WORSE,
    Compared,
    PairRow,
    comparison,
    lines,
)
from bench.counting import Counted, counting
from bench.layers import Delivering, measured, tables
from bench.report import Figures
from bench.server import Launch

STEADY = [100.0, 100.0, 100.0, 100.0, 100.0]
UNSTEADY = [100.0, 90.0, 100.0, 110.0, 100.0]  # a spread of 20 %


def scaled(values: list[float], factor: float) -> list[float]:
    return [value * factor for value in values]


@pytest.mark.parametrize(
    ("of_a", "factor", "verdict"),
    [
        (STEADY, 1.02, SAME),
        (STEADY, 1.04, WORSE),
        (STEADY, 0.98, SAME),
        (STEADY, 0.9, BETTER),
        (UNSTEADY, 1.02, SAME),
        (UNSTEADY, 1.2, WITHIN_SPREAD),
        (UNSTEADY, 1.25, WORSE),
        (UNSTEADY, 0.9, WITHIN_SPREAD),
    ],
)
def test_worse_is_beyond_the_margin_and_the_spread(
    of_a: list[float], factor: float, verdict: str
) -> None:
    assert comparison(Compared("x"), of_a, scaled(of_a, factor)).verdict == verdict


@pytest.mark.parametrize(("factor", "verdict"), [(0.9, WORSE), (1.1, BETTER), (0.98, SAME)])
def test_a_rate_is_worse_if_it_is_lower(factor: float, verdict: str) -> None:
    assert comparison(Compared("x", -1), STEADY, scaled(STEADY, factor)).verdict == verdict


def test_a_figure_may_have_a_margin_of_its_own() -> None:
    found = comparison(Compared("x", margin=0.02), STEADY, scaled(STEADY, 1.025))
    assert found.verdict == WORSE


def test_ratios_are_taken_pair_by_pair() -> None:
    drift = [100.0, 200.0, 300.0, 400.0, 500.0]
    found = comparison(Compared("x"), drift, scaled(drift, 1.5))
    assert found.ratios == (1.5,) * 5
    assert found.spread == pytest.approx(400 / 300)


def table_of(of_a: list[Figures], of_b: list[Figures]) -> list[list[str]]:
    row = PairRow("a load", lambda launch: {}, (Compared("p95 ms"),))
    return [*lines(row, of_a, of_b)]


def test_the_table_shows_medians_ratio_and_spread() -> None:
    of_a: list[Figures] = [{"p95 ms": value, "missing": 0} for value in (10.0, 12.0, 11.0)]
    of_b: list[Figures] = [{"p95 ms": value, "missing": 0} for value in (10.0, 12.0, 22.0)]
    assert table_of(of_a, of_b) == [
        ["a load", "p95 ms", "11", "12", "1.000", "1.000 .. 2.000", "18.2 %", SAME]
    ]


def test_missing_messages_are_worse() -> None:
    of_a: list[Figures] = [{"p95 ms": 1.0, "live missing": 0}]
    of_b: list[Figures] = [{"p95 ms": 1.0, "live missing": 2}]
    assert table_of(of_a, of_b)[1] == ["a load", "live missing", "0", "2", "", "", "", WORSE]


def git(folder: Path, *command: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    done = subprocess.run(
        ["git", *identity, *command], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_result_names_the_commit_and_changes_to_it(tmp_path: Path) -> None:
    source = tmp_path / "livelog" / "__main__.py"
    source.parent.mkdir()
    source.write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "--short", "HEAD")
    assert report.commit(tmp_path) == commit
    source.write_text("changed")
    assert report.commit(tmp_path) == f"{commit} with changes"


@pytest.mark.parametrize("alike", [True, False])
def test_counting_is_measured_on_messages_that_arrive(alike: bool) -> None:
    figures = counting(Counted(readers=5, rounds=3, alike=alike))
    assert figures["counts/delivery"] == (0.2 if alike else 1.0)
    assert figures["CPU us/delivery"] > 0
    assert figures["counting %"] >= 0


def test_the_layers_of_a_delivery_are_measured() -> None:
    figures = measured(Delivering(connections=3, rate=1000, rounds=2))
    assert all(us > 0 for us in figures.values())
    shown = tables(figures)
    assert all(shown.count(f"written {name}") for name in figures)


def test_a_folder_without_git_has_no_commit(tmp_path: Path) -> None:
    assert report.commit(tmp_path) == "unknown"


def test_a_server_is_started_from_its_checkout(tmp_path: Path) -> None:
    program = tmp_path / "livelog" / "__main__.py"
    program.parent.mkdir()
    (program.parent / "__init__.py").touch()  # without it an installed livelog would be found
    program.write_text(
        "import os, signal\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
        "print('ready on ws://127.0.0.1:1/other', flush=True)\n"
        "signal.pause()\n"
    )
    with Launch(checkout=tmp_path).server() as server:
        assert server.url == "ws://127.0.0.1:1/other"
