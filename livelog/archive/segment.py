"""A sealed part of the index on disk: for each term the positions that have it, as in memory.

A segment covers a run of positions and is never changed; positions in it count from 0. Neighbours
are merged into larger ones, so that a search has few to look into. All of it is derived from the
messages and can be made again from them.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, islice
from operator import itemgetter

from pyroaring import BitMap

from livelog.index import Mentions
from livelog.messages import TYPES
from livelog.query import Query
from livelog.store.opening import Connection, Rows, changed
from livelog.times import Times
from livelog.vocabulary import matching

SCHEMA = """
    CREATE TABLE segment(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        first INTEGER NOT NULL,     -- position
        count INTEGER NOT NULL,
        times BLOB NOT NULL,        -- of each message, 8 bytes, microseconds since 1970
        earliest INTEGER NOT NULL,
        latest INTEGER NOT NULL,
        last_seq INTEGER NOT NULL,
        vocabulary TEXT NOT NULL    -- its words, each between line breaks
    ) STRICT;
    CREATE TABLE posting(
        segment INTEGER NOT NULL,
        term TEXT NOT NULL,         -- a word, or `field=value`
        positions BLOB NOT NULL,    -- roaring bitmap
        PRIMARY KEY (segment, term)
    ) STRICT, WITHOUT ROWID;
"""

_DELETE_SOME = """
    DELETE FROM posting WHERE segment = ? AND term IN
        (SELECT term FROM posting WHERE segment = ? LIMIT 2000)
"""

_TERMS_PER_QUERY = 1000
"""Bound one by one: SQLite's JSON functions cut a string at U+0000."""

_TERMS_PER_STEP = 500
"""Terms that are merged between two pauses."""

_FEW = 32
"""Candidates that are verified sooner than the words of a query are looked up."""

_REMEMBERED = 16
"""Joined bitmaps that a segment keeps for parts of words asked for lately."""

Posting = tuple[str, BitMap]


class Segment:
    """One row of the table, with its postings."""

    def __init__(self, connection: Connection, id: int) -> None:
        self._connection = connection
        self.id = id
        self.first: int
        self.count: int
        self.last_seq: int
        [[self.first, self.count, self._earliest, self._latest, self.last_seq]] = self._columns(
            "first, count, earliest, latest, last_seq"
        )
        # What was read is kept, since it never changes.
        self._moments = lru_cache(1)(self._read_moments)
        self._vocabulary = lru_cache(1)(self._read_vocabulary)
        self._containing = lru_cache(_REMEMBERED)(self._join)

    @property
    def end(self) -> int:
        """The position behind it."""
        return self.first + self.count

    def find(self, query: Query, mentions: Mentions) -> BitMap:
        """What matches `query`; `mentions` tells of a position of the whole log."""
        found = BitMap(range(self.count))
        if len(query.types) < len(TYPES):
            found &= self._any_of(f"type={name}" for name in query.types)
        for key in query.keys:
            found &= self._any_of([key])
        if query.date_from > self._earliest or query.date_to < self._latest:
            found &= self._between(query.date_from, query.date_to)
        for part in sorted({word for phrase in query.phrases for word in phrase}, key=len):
            if len(found) > _FEW:
                found &= self._containing(part)
        few = len(found) <= _FEW
        for phrase in query.phrases:
            if few or len(phrase) > 1:
                found = BitMap([p for p in found if mentions(self.first + p, phrase)])
        return found

    def _any_of(self, terms: Iterable[str]) -> BitMap:
        found, remaining = BitMap(), iter(terms)
        while some := list(islice(remaining, _TERMS_PER_QUERY)):
            marks = ", ".join("?" * len(some))
            rows = self._connection.execute(
                f"SELECT positions FROM posting WHERE segment = ? AND term IN ({marks})",
                (self.id, *some),
            )
            found |= BitMap.union(BitMap(), *(BitMap.deserialize(each) for [each] in rows))
        return found

    def _join(self, part: str) -> BitMap:
        return self._any_of(matching(self._vocabulary(), part))

    def _columns(self, names: str) -> Rows:
        return self._connection.execute(f"SELECT {names} FROM segment WHERE id = ?", (self.id,))

    def _read_vocabulary(self) -> str:
        [[vocabulary]] = self._columns("vocabulary")
        return str(vocabulary)

    def _read_moments(self) -> Times:
        return Times.of(array("q", self.times()))

    def postings(self, offset: int) -> Iterator[Posting]:
        """All postings in the order of their terms, as if the segment began `offset` later."""
        rows = self._connection.execute(
            "SELECT term, positions FROM posting WHERE segment = ? ORDER BY term", (self.id,)
        )
        for term, positions in rows:
            yield term, BitMap.deserialize(positions).shift(offset)

    def times(self) -> bytes:
        """The times as they are stored."""
        [[times]] = self._columns("times")
        return bytes(times)

    def _between(self, first: int, last: int) -> BitMap:
        if last < self._earliest or first > self._latest:
            return BitMap()
        return self._moments().between(first, last)


def write(
    connection: Connection,
    first: int,
    times: bytes,
    last_seq: int,
    postings: Iterable[Posting],
) -> Generator[None, None, Segment]:
    """Write a segment, in steps of one transaction. `postings` hold each term once."""
    vocabulary = []
    remaining = iter(postings)
    each = array("q", times)
    connection.execute(
        "INSERT INTO segment(first, count, times, earliest, latest, last_seq, vocabulary)"
        " VALUES (?, ?, ?, ?, ?, ?, '')",
        (first, len(each), times, min(each), max(each), last_seq),
    )
    [[id]] = connection.execute("SELECT last_insert_rowid()")
    while batch := list(islice(remaining, _TERMS_PER_STEP)):
        connection.executemany(
            "INSERT INTO posting VALUES (?, ?, ?)",
            [(id, term, _packed(positions)) for term, positions in batch],
        )
        vocabulary += [term for term, _ in batch if "=" not in term]
        yield
    text = "\n".join(["", *vocabulary, ""])
    connection.execute("UPDATE segment SET vocabulary = ? WHERE id = ?", (text, id))
    return Segment(connection, id)


def merge(connection: Connection, segments: Sequence[Segment]) -> Generator[None, None, Segment]:
    """Write one segment with all that these neighbours have, in steps of one transaction."""
    first = segments[0].first
    streams = [segment.postings(segment.first - first) for segment in segments]
    by_term = groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0))
    joined = ((term, BitMap.union(*(found for _, found in group))) for term, group in by_term)
    times = b"".join(segment.times() for segment in segments)
    return write(connection, first, times, segments[-1].last_seq, joined)


def delete(connection: Connection, segment: Segment) -> Generator[None, None, None]:
    """Take a segment out of the file, in steps of one transaction."""
    connection.execute("DELETE FROM segment WHERE id = ?", (segment.id,))
    while _delete_some(connection, segment.id):
        yield


def _delete_some(connection: Connection, id: int) -> int:
    connection.execute(_DELETE_SOME, (id, id))
    return changed(connection)


def _packed(positions: BitMap) -> bytes:
    positions.run_optimize()
    return positions.serialize()
