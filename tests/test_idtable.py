"""Ids and their positions against a plain list, with runs so short that they fill and end."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog.log import idtable
from livelog.log.idtable import IdTable


@pytest.fixture(autouse=True, scope="module")
def short_runs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idtable, "_RUN", 8)
        patch.setattr(idtable, "_SLOTS", 16)
        patch.setattr(idtable, "_EMPTY", bytes(64))
        yield


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(0, 60))
def test_every_id_is_among_its_candidates_until_it_is_forgotten(
    ids: list[str], forgotten: int
) -> None:
    table = IdTable()
    for id in ids:
        table.add(id)
    table.forget_before(forgotten)
    for id in {*ids, "never seen"}:
        found = list(table.candidates(id))
        assert len(found) == len(set(found))
        assert all(0 <= position < len(ids) for position in found)
        expected = {p for p, known in enumerate(ids) if known == id and p >= forgotten}
        assert expected <= set(found)
        assert all(p >= forgotten - idtable._RUN for p in found)


def test_a_full_run_holds_all_it_should() -> None:
    table = IdTable()
    ids = [f"id_{number}" for number in range(80)]
    for id in ids:
        table.add(id)
    assert len(table._runs) == 10
    for position, id in enumerate(ids):
        assert position in table.candidates(id)
