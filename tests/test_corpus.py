"""Bytes that a coverage-guided search found worth keeping, replayed: each reaches something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz_targets import House, targets

CORPUS = Path(__file__).parent / "corpus"
KEPT = sorted(CORPUS.glob("*/*"))


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def test_every_target_has_a_corpus(house: House) -> None:
    assert {path.parent.name for path in KEPT} == targets(house).keys()


@pytest.mark.parametrize("name", sorted({path.parent.name for path in KEPT}))
def test_nothing_breaks(name: str, house: House) -> None:
    target = targets(house)[name]
    for path in KEPT:
        if path.parent.name == name:
            target(path.read_bytes())
