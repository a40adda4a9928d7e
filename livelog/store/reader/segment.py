"""A sealed part of the index on disk: for each term the positions that have it, as in memory.

A segment covers a run of positions and is never changed; positions in it count from 0. Neighbours
are merged into larger ones, so that a search has few to look into. With the first merge the joined
positions of the grams (and letters) that stand in very many words are stored, too: to fetch those
of every word would take a search hundreds of milliseconds. All of it is derived from the messages
and can be made again from them.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import NamedTuple

from pyroaring import BitMap

from livelog.index.index import Mentions
from livelog.index.ngrams import grams, matching
from livelog.index.query import Query
from livelog.index.timestamps import Timestamps
from livelog.store.database.connection import Connection, Rows, changed
from livelog.wire.messages import TYPES

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
        term TEXT NOT NULL,         -- a word, `field=value`, or `=` and a gram
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

_JOINED_FROM = 1000
"""Words from which on the joined positions of a gram are stored."""

_COUNTED_PER_STEP = 2000
"""Words whose grams are counted between two pauses."""

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
        if query.own is not None:
            found -= self._any_of(["type=dm"]) - self._any_of([query.own])
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
        stored = self._any_of([f"={part}"])  # none is stored empty
        return stored or self._any_of(matching(self._vocabulary(), part))

    def _columns(self, names: str) -> Rows:
        return self._connection.execute(f"SELECT {names} FROM segment WHERE id = ?", (self.id,))

    def _read_vocabulary(self) -> str:
        [[vocabulary]] = self._columns("vocabulary")
        return str(vocabulary)

    def _read_moments(self) -> Timestamps:
        return Timestamps.of(array("q", self.times()))

    def words(self) -> list[str]:
        """Every word that occurs."""
        return self._vocabulary().split()

    def postings(self, offset: int) -> Iterator[Posting]:
        """Those of words and fields in their order, as if the segment began `offset` later."""
        rows = self._connection.execute(
            "SELECT term, positions FROM posting"
            " WHERE segment = ? AND (term < '=' OR term >= '>') ORDER BY term",
            (self.id,),
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


class Origin(NamedTuple):
    """The messages that a segment covers: their first position, their times, their last seq."""

    first: int
    times: bytes
    last_seq: int


def write(
    connection: Connection,
    origin: Origin,
    words: Collection[str],
    postings: Iterable[Posting],
) -> Generator[None, None, Segment]:
    """Write a segment, in steps of one transaction. `postings` hold each term once."""
    id = _insert_row(connection, origin, words)
    yield from _insert(connection, id, postings)
    return Segment(connection, id)


def _insert_row(connection: Connection, origin: Origin, words: Collection[str]) -> int:
    each = array("q", origin.times)
    vocabulary = "\n".join(["", *words, ""])
    connection.execute(
        "INSERT INTO segment(first, count, times, earliest, latest, last_seq, vocabulary)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (origin.first, len(each), origin.times, min(each), max(each), origin.last_seq, vocabulary),
    )
    [[id]] = connection.execute("SELECT last_insert_rowid()")
    return int(id)


def _widespread(words: Iterable[str]) -> Generator[None, None, dict[str, BitMap]]:
    """The grams and letters that stand in very many of these words, without positions yet."""
    counts, remaining = Counter[str](), iter(words)
    while some := list(islice(remaining, _COUNTED_PER_STEP)):
        counts.update(chain.from_iterable(map(_letters_and_grams, some)))
        yield
    return {gram: BitMap() for gram, count in counts.items() if count >= _JOINED_FROM}


def _letters_and_grams(word: str) -> set[str]:
    return grams(word).union(word)


def _with_joined(postings: Iterable[Posting], joined: dict[str, BitMap]) -> Iterator[Posting]:
    """The same postings, and behind them those of `joined`, which are added up on the way."""
    for term, positions in postings:
        if "=" not in term:
            for gram in joined.keys() & _letters_and_grams(term):
                joined[gram] |= positions
        yield term, positions
    yield from ((f"={gram}", positions) for gram, positions in joined.items())


def _insert(
    connection: Connection, id: int, postings: Iterable[Posting]
) -> Generator[None, None, None]:
    remaining = iter(postings)
    while batch := list(islice(remaining, _TERMS_PER_STEP)):
        connection.executemany(
            "INSERT INTO posting VALUES (?, ?, ?)",
            [(id, term, _packed(positions)) for term, positions in batch],
        )
        yield


def merge(connection: Connection, segments: Sequence[Segment]) -> Generator[None, None, Segment]:
    """Write one segment with all that these neighbours have, in steps of one transaction."""
    first = segments[0].first
    streams = [segment.postings(segment.first - first) for segment in segments]
    by_term = groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0))
    whole = ((term, BitMap.union(*(found for _, found in group))) for term, group in by_term)
    words = set[str]().union(*(segment.words() for segment in segments))
    joined = yield from _widespread(words)
    times = b"".join(segment.times() for segment in segments)
    origin = Origin(first, times, segments[-1].last_seq)
    return (yield from write(connection, origin, words, _with_joined(whole, joined)))


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
