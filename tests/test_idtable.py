"""The id table against a plain list, with runs so short that they fill and end."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livelog.log import idtable
from livelog.log.idtable import IdTable


@pytest.fixture(autouse=True, scope="module")
def short_runs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idtable, "_RUN", 8)
        patch.setattr(idtable, "_SLOTS", 16)
        patch.setattr(idtable, "_EMPTY", bytes(64))
        yield


class IdTableAgainstAList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = IdTable()
        self.ids: list[str] = []
        self.forgotten = 0

    @rule(ids=st.lists(st.text(max_size=3), max_size=20))
    def add(self, ids: list[str]) -> None:
        for id in ids:
            self.table.add(id)
            self.ids.append(id)

    @rule(kept=st.integers(0, 30))
    def forget(self, kept: int) -> None:
        position = max(0, len(self.ids) - kept)
        self.table.forget_before(position)
        self.forgotten = max(self.forgotten, position)

    @invariant()
    def every_id_is_among_its_candidates_until_it_is_forgotten(self) -> None:
        self.table._check()
        for id in {*self.ids, "never seen"}:
            found = list(self.table.candidates(id))
            assert len(found) == len(set(found))
            assert all(0 <= position < len(self.ids) for position in found)
            assert all(position > self.forgotten - idtable._RUN for position in found)
            known = {place for place, one in enumerate(self.ids) if one == id}
            assert {place for place in known if place >= self.forgotten} <= set(found)

    @invariant()
    def runs_come_newest_first(self) -> None:
        for id in {*self.ids[-5:]}:
            runs = [position // idtable._RUN for position in self.table.candidates(id)]
            assert runs == sorted(runs, reverse=True)


TestIdTableAgainstAList = IdTableAgainstAList.TestCase


def test_a_full_run_holds_all_it_should() -> None:
    table = IdTable()
    ids = [f"id_{number}" for number in range(80)]
    for id in ids:
        table.add(id)
    assert len(table._runs) == 10
    table._check()
    for position, id in enumerate(ids):
        assert position in table.candidates(id)
