"""A sealed segment of the index on disk: a posting list for each term, as in memory.

A segment covers a run of positions and is never changed; positions in it count from 0. Neighbours
are merged into larger ones, so that a search reads few. It is a `plan.Source`, as the index in
memory is. All of it is derived from the messages and can be made again from them.

A part of a word stands for all the words that contain it. To read the posting list of each would
take hundreds of milliseconds where very many do, so a merge also stores joined lists: one for each
n-gram or single letter that stands in that many words, under `=` and the n-gram. (A segment that
has just been sealed is too small to need them.)
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

from livelog.index.ngrams import grams, matching
from livelog.index.plan import Steps
from livelog.index.timeindex import TimeIndex
from livelog.store.database.connection import Connection, Rows, changed
from livelog.wire.messages import TYPES, MessageType

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
        term TEXT NOT NULL,         -- `type=name`, `field=value`, a word, or `=` and an n-gram
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
"""Words from which on the joined list of an n-gram is stored."""

_COUNTED_PER_STEP = 2000
"""Words whose n-grams are counted between two pauses."""

_CACHED = 16
"""Parts of words whose joined positions a segment caches."""

Posting = tuple[str, BitMap]


class Segment:
    """One row of the table `segment`, with its postings."""

    def __init__(self, connection: Connection, id: int) -> None:
        self._connection = connection
        self.id = id
        self.first: int
        self.count: int
        self.last_seq: int
        [[self.first, self.count, self._earliest, self._latest, self.last_seq]] = self._columns(
            "first, count, earliest, latest, last_seq"
        )
        # Cached without end, since a segment never changes.
        self._time_index = lru_cache(1)(self._read_time_index)
        self._vocabulary = lru_cache(1)(self._read_vocabulary)
        self._containing = lru_cache(_CACHED)(self._join)

    @property
    def end(self) -> int:
        """Position behind the last message."""
        return self.first + self.count

    @property
    def positions(self) -> range:
        """Positions of its messages, counted from 0."""
        return range(self.count)

    def of_type(self, name: MessageType) -> BitMap:
        """Positions of the messages of one type."""
        return self._any_of([f"type={name}"])

    def of_key(self, key: str) -> BitMap:
        """Positions of the messages with a key."""
        return self._any_of([key])

    def between(self, first: int, last: int) -> BitMap:
        """Positions of the messages with a timestamp from `first` to `last`, both included."""
        # Most segments lie within a range or outside of it, and their times need not be read.
        if first <= self._earliest and self._latest <= last:
            return BitMap(self.positions)
        if last < self._earliest or first > self._latest:
            return BitMap()
        return self._time_index().between(first, last)

    def containing(self, part: str) -> Steps[BitMap]:
        """Positions of the messages with a word that contains `part`, in one step."""
        yield
        return self._containing(part)

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
        stored = self._any_of([f"={part}"])  # empty if there is none: no list is stored empty
        return stored or self._any_of(matching(self._vocabulary(), part))

    def _columns(self, names: str) -> Rows:
        return self._connection.execute(f"SELECT {names} FROM segment WHERE id = ?", (self.id,))

    def _read_vocabulary(self) -> str:
        [[vocabulary]] = self._columns("vocabulary")
        return str(vocabulary)

    def _read_time_index(self) -> TimeIndex:
        return TimeIndex.of(array("q", self.times()))

    def words(self) -> list[str]:
        """Return every word that occurs."""
        return self._vocabulary().split()

    def postings(self, offset: int) -> Iterator[Posting]:
        """Read the lists of words and keys, in order, as if the segment began `offset` later."""
        rows = self._connection.execute(
            "SELECT term, positions FROM posting"
            " WHERE segment = ? AND (term < '=' OR term >= '>') ORDER BY term",
            (self.id,),
        )
        for term, positions in rows:
            yield term, BitMap.deserialize(positions).shift(offset)

    def times(self) -> bytes:
        """Return the times as they are stored."""
        [[times]] = self._columns("times")
        return bytes(times)

    def _check(self) -> None:
        """Assert that what is stored of the segment agrees with itself."""
        times, words = array("q", self.times()), self.words()
        assert (len(times), min(times), max(times)) == (self.count, self._earliest, self._latest)
        assert sum(len(self.of_type(name)) for name in TYPES) == self.count
        stored = dict(self.postings(0))
        assert all(positions and positions[-1] < self.count for positions in stored.values())
        assert sorted(words) == sorted(term for term in stored if "=" not in term)
        joined = self._connection.execute(
            "SELECT term FROM posting WHERE segment = ? AND term >= '=' AND term < '>'", (self.id,)
        )
        for [term] in joined.fetchall():
            found = [stored[word] for word in words if term[1:] in word]
            assert self._any_of([term]) == BitMap.union(*found)


class Origin(NamedTuple):
    """Run of messages that a segment covers: first position, times, last seq."""

    first: int
    times: bytes
    last_seq: int


def write(
    connection: Connection,
    origin: Origin,
    words: Collection[str],
    postings: Iterable[Posting],
) -> Generator[None, None, Segment]:
    """Write a segment in steps of one transaction; `postings` hold each term once."""
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
    """Find the n-grams and letters that stand in very many of `words`; give each an empty list."""
    counts, remaining = Counter[str](), iter(words)
    while some := list(islice(remaining, _COUNTED_PER_STEP)):
        counts.update(chain.from_iterable(map(_letters_and_grams, some)))
        yield
    return {gram: BitMap() for gram, count in counts.items() if count >= _JOINED_FROM}


def _letters_and_grams(word: str) -> set[str]:
    return grams(word).union(word)


def _with_joined(postings: Iterable[Posting], joined: dict[str, BitMap]) -> Iterator[Posting]:
    """Pass `postings` on, joining those of each n-gram on the way, and then the joined lists."""
    # Joined while the lists stream past, which saves a second pass over the file; of all the lists
    # only the joined ones are in memory at once.
    for term, positions in postings:
        if "=" not in term:  # a word
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
    """Write one segment with all messages of these neighbours, in steps of one transaction."""
    # Each stream is in the order of its terms, so the lists of a term meet without sorting.
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
    """Delete a segment from the file, in steps of one transaction."""
    connection.execute("DELETE FROM segment WHERE id = ?", (segment.id,))
    while _delete_some(connection, segment.id):
        yield


def _delete_some(connection: Connection, id: int) -> int:
    connection.execute(_DELETE_SOME, (id, id))
    return changed(connection)


def _packed(positions: BitMap) -> bytes:
    positions.run_optimize()
    return positions.serialize()
