"""Answers to the server's calls, from the rows and the segments of the index.

An answer is found in steps, between which other calls have their turn and the index goes on. Each
slice of steps sees one snapshot of the store; none is held from one slice to the next, because that
would keep the write-ahead log from being given back. What may change in between is that the oldest
messages are trimmed: they are taken out of what was found before a page is made of it.

The server speaks of seqs; positions are used in the reading process alone. How pages and analyses
are made stands in `searches`, what readers that are behind get in `chunks`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from time import perf_counter
from typing import Any

from livelog.index.analysis.question import Counts
from livelog.index.paging import Chunk, Page
from livelog.index.plan import Steps
from livelog.store.database.file import index_path
from livelog.store.reader.calls import (
    MEMORY_BYTES,
    AnalyzeCall,
    Call,
    ChunkCall,
    CleanCall,
    DamageCall,
    PageCall,
    Progress,
    RecordsCall,
)
from livelog.store.reader.chunks import Chunks
from livelog.store.reader.rows import Damage, Rows
from livelog.store.reader.searches import Searches
from livelog.store.reader.segments import Segments
from livelog.store.reader.stored import Stored
from livelog.wire.record import Record

Answer = Page | Counts | Chunk | list[Record] | Damage | bool


class StoredMessages:
    """Rows and index of the store at `path`; methods raise `rows.Unreadable` when reading fails.

    `memory_bytes` bounds the memory of the index, which is begun after `rest` seconds.
    """

    def __init__(
        self, path: str, key: bytes, memory_bytes: int = MEMORY_BYTES, rest: float = 0.0
    ) -> None:
        rows = Rows(path, key)
        self._index = partial(Segments, index_path(path), rows, key, memory_bytes)
        rests_until = perf_counter() + rest if rest else 0.0
        # Without an index messages are read one by one, as far as that goes.
        segments = Segments(":memory:", rows, b"", memory_bytes) if rest else self._index()
        self._stored = stored = Stored(rows, segments, rests_until)
        searches, chunks = Searches(stored), Chunks(stored)
        self._answers: dict[type, Callable[[Any], Steps[Any]]] = {
            DamageCall: stored.damage,
            CleanCall: stored.clean,
            PageCall: searches.page,
            AnalyzeCall: searches.analyze,
            ChunkCall: chunks.chunk,
            RecordsCall: chunks.records,
        }

    def answer(self, call: Call) -> Steps[Answer]:
        """Answer a call in steps. Raises `NotIndexedError` for what can only be found later."""
        return self._answers[type(call)](call)

    def snapshot(self) -> AbstractContextManager[None]:
        """Read from one snapshot of the store, for a slice of steps."""
        return self._stored.rows.snapshot()

    def work(self) -> bool:
        """Do a step of the work in the background; return False when there is none."""
        stored = self._stored
        if perf_counter() < stored.rests_until:
            return stored.rows.scrub()
        if stored.rests_until:
            stored.segments.close()  # which no call reads: nothing is in it
            stored.segments, stored.rests_until = self._index(), 0.0
        return stored.segments.work() or stored.rows.scrub()

    @property
    def progress(self) -> Progress:
        """How far the messages are indexed."""
        return self._stored.segments.progress

    def close(self) -> None:
        """Close the files."""
        self._stored.segments.close()
        self._stored.rows.close()
