"""Bytes that a coverage-guided search found worth keeping, replayed: each reaches something new.

`corpus/TARGET.txt` holds them in base64, one in a line, shortest first.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from livelog.net.websocket import commands
from tests.support.fuzz_targets import House, targets

CORPUS = {path.stem: path for path in (Path(__file__).parent / "corpus").glob("*.txt")}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def test_every_target_has_a_corpus(house: House) -> None:
    assert CORPUS.keys() == targets(house).keys()


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_nothing_breaks(name: str, house: House) -> None:
    target = targets(house)[name]
    kept = CORPUS[name].read_bytes().splitlines()
    assert kept
    for line in kept:
        target(base64.b64decode(line))


def test_what_breaks_is_noticed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the search would find nothing, whatever there is to find."""
    monkeypatch.setattr(commands, "timestamp", None)
    with pytest.raises(AssertionError, match="NoneType"):
        targets(house)["command"](b'{"action":"ping"}')
    house._faults.found.clear()
