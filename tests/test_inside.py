"""Tests reach into a running server in one place: `tests/support/inside.py`."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
INSIDE = TESTS / "support" / "inside.py"
REACHING = re.compile(r"server\._|\._context|context\.\w+\._")


def test_only_one_module_reaches_into_a_server() -> None:
    reaching = [
        f"{path.relative_to(TESTS)}:{number}: {line.strip()}"
        for path in sorted(TESTS.rglob("*.py"))
        if path not in (INSIDE, Path(__file__))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if REACHING.search(line)
    ]
    assert not reaching


def test_what_it_looks_for_is_found_where_it_may_be() -> None:
    assert REACHING.search(INSIDE.read_text(encoding="utf-8"))
