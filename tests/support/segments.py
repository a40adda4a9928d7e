"""A model of a store on disk, for state machines that change it in every way."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, rule

from livelog.index.query import EVERYTHING
from livelog.store.reader import indexfile, segments, segmentwriter
from livelog.wire.record import Record
from tests.support import strategies
from tests.support.disk import Disk
from tests.support.strategies import Json, messages, record
from tests.test_query import complete

SAMPLE = {"type": "system", "event": "error", "data": {"note": "red dragon"}}
queries = st.just(EVERYTHING) | strategies.queries


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    """Bounds that a few messages reach."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SEALED_AT", 4)
        patch.setattr(segments, "_INDEXED_PER_STEP", 3)
        patch.setattr(segments, "_LARGEST", 128)
        patch.setattr(segmentwriter, "_JOINED_FROM", 2)
        patch.setattr(segmentwriter, "_TERMS_PER_STEP", 5)
        patch.setattr(segmentwriter, "_TERMS_PER_COMMIT", 10)
        yield


class DiskMachine(RuleBasedStateMachine):
    """A store's file, and the list of the messages that it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.disk = Disk(self.folder / "live.db")
        self.kept: list[Record] = []
        self.last = 0

    def teardown(self) -> None:
        self.disk.close()
        shutil.rmtree(self.folder)

    @rule(batch=st.lists(messages, min_size=1, max_size=5), step=st.integers(1, 3))
    def append(self, batch: list[Json], step: int) -> None:
        fresh = []
        for message in batch:
            self.last += step
            fresh.append(record(complete(message) | {"id": f"id_{self.last}"}, self.last))
        self.disk.write(fresh)
        self.kept += fresh

    @rule(steps=st.integers(1, 20))
    def work(self, steps: int) -> None:
        """Seal, merge and drop segments, perhaps only in part."""
        for _ in range(steps):
            self.disk.reader.work()

    @rule(losing_the_index=st.booleans())
    def reopen(self, losing_the_index: bool) -> None:
        self.disk.reader.close()
        if losing_the_index:
            indexfile.remove(f"{self.disk.path}-index")
        self.disk.reopen()

    @rule(kept=st.integers(0, 30), deleted=st.booleans())
    def trim(self, kept: int, deleted: bool) -> None:
        upto = max(self.disk.trimmed_upto, self.last - kept)
        self.disk.trim(upto, deleted=deleted)
        self.kept = [one for one in self.kept if one.seq > upto]
