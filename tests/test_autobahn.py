"""RFC 6455, case by case: the cases of Autobahn's test suite against the echo server.

The runner of this repository always runs; the original one where `.ci/run` finds a Python 2.7.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.autobahn.cases import Case, all_cases
from tests.autobahn.runner import NON_STRICT, OK, run_all

ROOT = Path(__file__).parent.parent
GROUPS = ["1", "2", "3", "4", "5", "6", "7", "9", "10", "12", "13"]

NOT_STRICT = {"6.4.3", "6.4.4"}
"""Where the first part of one frame cannot be UTF-8: a frame is looked at when it is whole."""

ORIGINAL = "from autobahntestsuite.wstest import run; run()"
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}


@cache
def cases() -> list[Case]:
    """All cases, made when they are first needed: they hold megabytes."""
    return list(all_cases())


def group_of(case: Case) -> str:
    return case.name.split(".")[0]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of an echo server."""
    command = [sys.executable, "-m", "tests.autobahn.echo"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.send_signal(signal.SIGINT)


def test_there_are_as_many_cases_as_in_the_suite() -> None:
    assert len({case.name for case in cases()}) == len(cases()) == 516
    assert {group_of(case) for case in cases()} == {*GROUPS}


@pytest.mark.parametrize("group", GROUPS)
def test_no_case_fails(group: str, url: str) -> None:
    verdicts = asyncio.run(run_all(url, [case for case in cases() if group_of(case) == group]))
    wrong = {
        name: verdict
        for name, verdict in verdicts.items()
        if verdict[0] != (NON_STRICT if name in NOT_STRICT else OK)
    }
    assert not wrong


def the_original_suite_finds_no_fault_either(url: str, tmp_path: Path) -> None:
    """The variables name a Python 2.7, and the folder in which the suite is installed for it."""
    asked = {
        "outdir": "reports",
        "servers": [{"agent": "livelog", "url": url}],
        "cases": ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"],
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    command = [os.environ["AUTOBAHN_PYTHON"], "-c", ORIGINAL, "-m", "fuzzingclient"]
    subprocess.run(
        [*command, "-s", "asked.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.environ["AUTOBAHN_PATH"]},
        check=True,
        capture_output=True,
        timeout=400,
    )
    found = json.loads((tmp_path / "reports" / "index.json").read_text())["livelog"]
    assert len(found) > 200
    wrong = {
        name: verdict
        for name, verdict in found.items()
        if name not in INFORMATIONAL
        and (verdict["behavior"], verdict["behaviorClose"])
        != ("NON-STRICT" if name in NOT_STRICT else "OK", "OK")
    }
    assert not wrong


if "AUTOBAHN_PYTHON" in os.environ:  # otherwise `.ci/run` says so; a skipped test fails it
    test_the_original_suite = the_original_suite_finds_no_fault_either
