"""The ways in which values are counted; which is taken depends on how many there are of what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from livelog.index import column
from livelog.index.analysis import tally
from livelog.store.reader import storedcolumns

Bounds = list[tuple[object, str, int]]

WAYS: dict[str, Bounds] = {
    "read": [],
    "by list": [(tally, "FEW", 0)],
    "by number": [
        (tally, "FEW", 0),
        (column, "_FEW_LISTS", 0),
        (column, "_LOOK_UP", 1000),
        (column, "_PICKED", 3),
        (column, "_COUNTED", 2),
        (storedcolumns, "FEW", 0),
    ],
    "passing": [(tally, "FEW", 0), (column, "LISTED", 1), (storedcolumns, "MOST", 1)],
}


@contextmanager
def counted(way: str) -> Iterator[None]:
    """Count in one way only, as far as that goes."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in WAYS[way]:
            patch.setattr(module, name, value)
        yield
