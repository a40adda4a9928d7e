"""A sealed segment of the index on disk: a posting list for each term, as in memory.

A segment covers a run of positions and is never changed; positions in it count from 0. Neighbours
are merged into larger ones, so that a search reads few. It is a `plan.Source`, as the index in
memory is. All of it is derived from the messages and can be made again from them.

A part of a word stands for all the words that contain it. To read the posting list of each would
take hundreds of milliseconds where very many do, so a merge also stores joined lists: one for each
n-gram or single letter that stands in that many words, under `JOINED` and the n-gram. (A segment
that has just been sealed is too small to need them.)

Everything that is read has a checksum, and a segment lists the terms that it has, so that a posting
list that is missing is told from a term that does not occur. Where they do not agree the file is
damaged: that raises `sqlite3.DatabaseError`, and the index is made again.
"""

from __future__ import annotations

import heapq
import sqlite3
import struct
import sys
import zlib
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain, groupby, islice
from math import inf
from operator import itemgetter
from typing import NamedTuple

from pyroaring import BitMap

from livelog.index.ngrams import beginning, grams, matching
from livelog.index.numbers import Piece, Values
from livelog.index.paths import behind, long_key
from livelog.index.plan import Sides, Steps
from livelog.index.postings import LONGEST_WHOLE
from livelog.index.timeindex import TimeIndex
from livelog.store.database.connection import Connection, Rows, changed
from livelog.store.reader import pieces
from livelog.store.reader.cache import Cache
from livelog.store.reader.pieces import Directory, Row
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.messages import TYPES, MessageType

SCHEMA = """
    CREATE TABLE segment(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        first INTEGER NOT NULL,     -- position
        count INTEGER NOT NULL,
        earliest INTEGER NOT NULL,
        latest INTEGER NOT NULL,
        last_seq INTEGER NOT NULL,
        lists INTEGER NOT NULL,     -- number of posting lists, without joined ones
        characters INTEGER NOT NULL,  -- of the vocabulary
        checksum INTEGER NOT NULL,  -- of the columns before
        dropped INTEGER NOT NULL,   -- merged or trimmed: to be deleted, with its posting lists
        times BLOB NOT NULL,        -- of each message, 8 bytes, microseconds since 1970
        vocabulary BLOB NOT NULL,   -- its words, each between line breaks
        keys BLOB NOT NULL,         -- hashes of its keys and types, 8 bytes each, sorted
        numbers BLOB NOT NULL       -- directory of its numbers: see `pieces`
    ) STRICT;
    CREATE TABLE posting(
        segment INTEGER NOT NULL,
        term TEXT NOT NULL,         -- a word, or one of the signs below and what follows it
        place INTEGER NOT NULL,     -- of a key among all of them, in their order; else 0
        positions BLOB NOT NULL,    -- roaring bitmap, or a piece of numbers
        PRIMARY KEY (segment, term)
    ) STRICT, WITHOUT ROWID;
"""
"""Each BLOB begins with a CRC-32 of what follows and of the place where it stands."""

JOINED, NUMBERS, KEY = "\x01", "\x02", "\x03"
"""Signs before the n-gram of a joined list, the number of a piece of numbers, and a key, also
`type=name`. No word begins with one, so no text makes what stands for something else."""

_DELETE_SOME = """
    DELETE FROM posting WHERE segment = ? AND term IN
        (SELECT term FROM posting WHERE segment = ? LIMIT 2000)
"""

_NEXT_LISTS = """
    SELECT CAST(term AS BLOB), place, positions FROM posting WHERE segment = ? AND term {} ?
    ORDER BY term LIMIT ?
"""
_READ_FIRST, _READ_AT_ONCE = 8, 100
"""Lists that are read together: first, and then."""

_KEY_BEFORE = """
    SELECT place FROM posting WHERE segment = ? AND term > ? AND term < ?
    ORDER BY term DESC LIMIT 1
"""

_INSERT = "INSERT INTO posting VALUES (?, ?, ?, ?)"
_PIECE = "SELECT positions FROM posting WHERE segment = ? AND term = ?"

_TERMS_PER_QUERY = 500
"""Bound one by one: SQLite's JSON functions cut a string at U+0000."""

_TERMS_PER_STEP = 500
"""Terms that are merged between two pauses."""

_TERMS_PER_COMMIT = 10_000
"""Terms that are committed together: some megabytes."""

_JOINED_FROM = 1000
"""Words from which on the joined list of an n-gram is stored."""

_COUNTED_PER_STEP = 2000
"""Words whose n-grams are counted between two pauses."""

_GRAMS_COUNTED = 100_000
"""N-grams that are counted at a time; beyond, the rare ones are given up."""

_ROW_BYTES, _PATH_BYTES = 120, 300
"""Memory of a row and a path in the directory of numbers."""

_CHECK = struct.Struct("<I")

Posting = tuple[str, BitMap]


class Segment:
    """One row of the table `segment`, with its postings."""

    def __init__(self, connection: Connection, id: int, cache: Cache) -> None:
        self._connection = connection
        self._cache = cache
        self.id = id
        self.first: int
        self.count: int
        self.last_seq: int
        [columns] = self._columns(_HEADER)
        [self.first, self.count, self._earliest, self._latest, *others, checksum] = columns
        [self.last_seq, self.lists, self.characters] = others
        if checksum != _checksum_of(columns[:-1]):
            raise _damaged(id, "its header")

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
        return self.of_key(f"type={name}")

    def of_key(self, key: str) -> BitMap:
        """Positions of the messages with a key."""
        found = self._lists([KEY + key])
        if not found and self._has_key(key):
            raise _damaged(self.id, f"the list of {key!r}")
        return found[0] if found else BitMap()

    def with_keys(self, first: str, stop: str) -> Steps[BitMap]:
        """Positions of the messages with a key from `first` to before `stop`, in steps."""
        yield
        cached: BitMap | None = self._cache.get((self.id, "keys", first, stop))
        if cached is not None:
            return cached
        found = BitMap()
        for _, positions in self._keys_between(KEY + first, KEY + stop):
            found |= positions
            yield
        return self._cached((self.id, "keys", first, stop), found)

    def _keys_between(self, first: str, stop: str) -> Iterator[Posting]:
        """Read the lists of the keys from `first` to before `stop`.

        The places of those, and of the keys before and behind them, tell whether one is missing.
        """
        before = self._connection.execute(_KEY_BEFORE, (self.id, KEY, first)).fetchall()
        due = before[0][0] + 1 if before else 0
        for term, place, packed in self._rows(first):
            if not term.startswith(KEY):
                break
            if place != due:
                raise _damaged(self.id, "a key is missing")
            if term >= stop:
                return
            yield term, _unpacked(self.id, term, packed)
            due += 1
        if due != len(self._hashes()):
            raise _damaged(self.id, "a key is missing")

    def _rows(self, first: str) -> Iterator[tuple[str, int, bytes]]:
        """Read the rows of the lists from `first` on, in order."""
        ask, last, most = _NEXT_LISTS.format(">="), first, _READ_FIRST
        # Few at a time: a statement that is not at its end would keep the WAL from being reset.
        while rows := self._connection.execute(ask, (self.id, last, most)).fetchall():
            for encoded, place, packed in rows:
                last = encoded.decode(errors="replace")  # damaged ones do not fit their checksum
                yield last, place, packed
            ask, most = _NEXT_LISTS.format(">"), _READ_AT_ONCE

    def with_numbers(self, path: str, low: float, high: float) -> Steps[BitMap]:
        """Positions of the messages with a number at a path from `low` to `high`, in steps."""
        yield
        cached: BitMap | None = self._cache.get((self.id, "numbers", path, low, high))
        if cached is not None:
            return cached
        found = BitMap()
        for row in self._directory().get(path, ()):
            if row.low <= high and low <= row.high:
                found.update(self._piece(row).between(low, high))
                yield
        return self._cached((self.id, "numbers", path, low, high), found)

    def with_any_number(self, path: str) -> Steps[BitMap]:
        """Positions of the messages with a number at a path or one in it, in steps."""
        found, inside = BitMap(), f"{path}."
        for one in self._directory():
            if one == path or one.startswith(inside):
                found |= yield from self.with_numbers(one, -inf, inf)
        return found

    def _directory(self) -> Directory:
        return self._cache.made(
            (self.id, "directory"),
            lambda: pieces.decoded(self._blob("numbers")),
            lambda found: _ROW_BYTES * sum(map(len, found.values())) + _PATH_BYTES * len(found),
        )

    def _piece(self, row: Row) -> Piece:
        found = self._connection.execute(_PIECE, (self.id, f"{NUMBERS}{row.number}")).fetchall()
        if not found:
            raise _damaged(self.id, "numbers")
        return pieces.unpacked(row, _checked(self.id, f"{NUMBERS}{row.number}", found[0][0]))

    def between(self, first: int, last: int) -> BitMap:
        """Positions of the messages with a timestamp from `first` to `last`, both included."""
        # Most segments lie within a range or outside of it, and their times need not be read.
        if first <= self._earliest and self._latest <= last:
            return BitMap(self.positions)
        if last < self._earliest or first > self._latest:
            return BitMap()
        return self.time_index.between(first, last)

    @property
    def time_index(self) -> TimeIndex:
        """Timestamps of the messages by position."""
        times: TimeIndex = self._cache.made(
            (self.id, "times"), self._read_time_index, lambda _: 8 * self.count
        )
        return times

    def containing(self, part: str) -> Steps[BitMap]:
        """Positions of the messages with a word that contains `part`, in steps."""
        yield
        cached: BitMap | None = self._cache.get((self.id, "containing", part))
        if cached is not None:
            return cached
        joined = self._lists([JOINED + part])
        found = joined[0] if joined else (yield from self._join(matching(self._vocabulary(), part)))
        return self._cached((self.id, "containing", part), found)

    def _cached(self, key: Hashable, found: BitMap) -> BitMap:
        # A bitmap takes two bytes for each position where they lie far apart, else a bit.
        size = min(2 * len(found), self.count // 8) + 200
        return self._cache.put(key, found, size)

    def beginning(self, part: str) -> Steps[Sides]:
        """Positions of the messages with a word that begins with `part`, in steps."""
        yield
        words = self._vocabulary()
        begun = (word for word in beginning(words, part) if len(word) <= LONGEST_WHOLE)
        long = (word for word in matching(words, part) if len(word) > LONGEST_WHOLE)
        sure = yield from self._join(begun)
        return Sides(sure, sure | (yield from self._join(long)))

    def _join(self, words: Iterable[str]) -> Steps[BitMap]:
        """Join the positions of words."""
        found, remaining = BitMap(), iter(words)
        while some := list(islice(remaining, _TERMS_PER_QUERY)):
            lists = self._lists(some)
            if len(lists) < len(some):
                raise _damaged(self.id, "the list of a word")
            found |= BitMap.union(*lists)
            yield
        return found

    def values(self, field: str) -> Iterator[tuple[str, BitMap]] | None:
        """Iterate over the values of a field and their positions; None if some are not indexed."""
        if field == "type":
            return ((name, self.of_type(name)) for name in TYPES)
        if field not in KEY_FILTERS or self.of_key(long_key(field)):
            return None
        start = f"{KEY}{field}="
        found = self._keys_between(start, behind(start))
        return ((term[len(start) :], positions) for term, positions in found)

    def _lists(self, terms: list[str]) -> list[BitMap]:
        """Read the posting lists of those of `terms` that have one."""
        marks = ", ".join("?" * len(terms))
        rows = self._connection.execute(
            f"SELECT term, positions FROM posting WHERE segment = ? AND term IN ({marks})",
            (self.id, *terms),
        )
        return [_unpacked(self.id, term, positions) for term, positions in rows]

    def _has_key(self, key: str) -> bool:
        keys = self._hashes()
        sought = _hash(key)
        place = bisect_left(keys, sought)
        return place < len(keys) and keys[place] == sought

    def _hashes(self) -> array[int]:
        return self._cache.made(
            (self.id, "keys"), lambda: array("Q", self._blob("keys")), lambda each: 8 * len(each)
        )

    def _columns(self, names: str) -> Rows:
        return self._connection.execute(f"SELECT {names} FROM segment WHERE id = ?", (self.id,))

    def _blob(self, name: str) -> bytes:
        [[blob]] = self._columns(name)
        return _checked(self.id, name, blob)

    def _vocabulary(self) -> str:
        return self._cache.made(
            (self.id, "vocabulary"), lambda: self._blob("vocabulary").decode(), sys.getsizeof
        )

    def _read_time_index(self) -> TimeIndex:
        return TimeIndex.of(array("q", self.times()))

    def words(self) -> list[str]:
        """Return every word that occurs."""
        return self._blob("vocabulary").decode().split("\n")[1:-1]

    def postings(self, offset: int) -> Iterator[Posting]:
        """Read the lists of words and keys, in order, as if the segment began `offset` later."""
        count = 0
        for term, _, packed in self._rows(KEY):
            positions = _unpacked(self.id, term, packed)
            yield term, positions.shift(offset) if offset else positions
            count += 1
        if count != self.lists:
            raise _damaged(self.id, "a list is missing")

    def pieces(self, path: str) -> Iterator[Piece]:
        """Read the numbers of a path."""
        return map(self._piece, self._directory().get(path, ()))

    def paths(self) -> Collection[str]:
        """Return the paths with numbers."""
        return self._directory().keys()

    def times(self) -> bytes:
        """Return the times as they are stored."""
        return self._blob("times")

    def _check(self) -> None:
        """Assert that what is stored of the segment agrees with itself."""
        times, words = array("q", self.times()), self.words()
        assert (len(times), min(times), max(times)) == (self.count, self._earliest, self._latest)
        assert sum(len(self.of_type(name)) for name in TYPES) == self.count
        stored = dict(self.postings(0))
        assert all(positions and positions[-1] < self.count for positions in stored.values())
        keys = [term for term in stored if term.startswith(KEY)]
        assert stored.keys() == {*keys, *words}
        assert [term for term, _ in self._keys_between(KEY, behind(KEY))] == keys
        assert array("Q", self._blob("keys")) == array("Q", sorted(_hash(k[1:]) for k in keys))
        self._check_numbers()
        joined = self._connection.execute(
            "SELECT term FROM posting WHERE segment = ? AND term <= ?",
            (self.id, chr(ord(JOINED) + 1)),
        )
        for [term] in joined.fetchall():
            found = [stored[word] for word in words if term[1:] in word]
            assert self._lists([term])[0] == BitMap.union(*found)

    def _check_numbers(self) -> None:
        numbers = [row.number for rows in self._directory().values() for row in rows]
        assert numbers == list(range(len(numbers)))
        for path in self.paths():
            for piece in self.pieces(path):
                pairs = list(piece.pairs())
                assert (piece.low, piece.high) == (min(pairs)[0], max(pairs)[0])
                assert all(position < self.count for _, position in pairs)


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
    numbers: Iterable[tuple[str, Piece] | None],
) -> Steps[int]:
    """Write a segment in steps, within a transaction; `postings` hold each term once.

    They are in order, keys behind their sign; `numbers` are in the order of their paths, with a
    pause at each None.

    It is committed in parts, lest one commit take long. Only with the last one, which is left to
    the caller, it is there: until then it counts as dropped. Return its id.
    """
    id = _insert_row(connection)
    keys, directory = array("Q"), Directory()
    rows = chain(_rows_of(id, postings, keys), _rows_of_numbers(id, numbers, directory))
    yield from _insert(connection, rows)
    times, vocabulary = array("q", origin.times), "\n".join(["", *words, ""])
    header = [origin.first, len(times), min(times), max(times), origin.last_seq]
    header += [len(words) + len(keys), len(vocabulary)]
    blobs = {
        "times": origin.times,
        "vocabulary": vocabulary.encode(),
        "keys": array("Q", sorted(keys)).tobytes(),
        "numbers": pieces.encoded(directory),
    }
    sealed = [_sealed(id, name, data) for name, data in blobs.items()]
    connection.execute(_FILL_ROW, [*header, _checksum_of(header), *sealed, id])
    return id


def _insert_row(connection: Connection) -> int:
    """Take an id; the row is filled once the keys are known."""
    connection.execute(
        "INSERT INTO segment VALUES (NULL, 0, 0, 0, 0, 0, 0, 0, 0, 1, x'', x'', x'', x'')"
    )
    [[id]] = connection.execute("SELECT last_insert_rowid()")
    return int(id)


Stored = tuple[int, str, int, bytes]
"""A row of the table `posting`."""


def _rows_of(id: int, postings: Iterable[Posting], keys: array[int]) -> Iterator[Stored]:
    """Yield the rows of `postings`; add the hash of each key among them to `keys`."""
    for term, positions in postings:
        if term.startswith(KEY):
            yield id, term, len(keys), _packed(id, term, positions)
            keys.append(_hash(term[1:]))
        else:
            yield id, term, 0, _packed(id, term, positions)


def _rows_of_numbers(
    id: int, numbers: Iterable[tuple[str, Piece] | None], directory: Directory
) -> Iterator[Stored | None]:
    """Yield the rows of `numbers`, which are added to the directory, and their pauses."""
    number = 0
    for found in numbers:
        if found is None:
            yield None
            continue
        path, piece = found
        directory.setdefault(path, []).append(Row(number, piece.low, piece.high))
        term = f"{NUMBERS}{number}"
        yield id, term, 0, _sealed(id, term, pieces.packed(piece))
        number += 1


def _widespread(words: Iterable[str], most: int) -> Steps[dict[str, BitMap]]:
    """Find the n-grams and letters that stand in very many of `words`; give each an empty list.

    At most `most` are found, those in the most words.
    """
    counts, remaining = Counter[str](), iter(words)
    while some := list(islice(remaining, _COUNTED_PER_STEP)):
        counts.update(chain.from_iterable(map(_letters_and_grams, some)))
        if len(counts) > _GRAMS_COUNTED:
            counts = Counter(dict(counts.most_common(_GRAMS_COUNTED // 2)))
        yield
    return {gram: BitMap() for gram, count in counts.most_common(most) if count >= _JOINED_FROM}


def _letters_and_grams(word: str) -> set[str]:
    return grams(word).union(word)


def _with_joined(
    postings: Iterable[Posting], words: Collection[str], joined: dict[str, BitMap]
) -> Iterator[Posting]:
    """Pass `postings` on, joining those of each n-gram on the way, and then the joined lists."""
    # Joined while the lists stream past, which saves a second pass over the file; of all the lists
    # only the joined ones are in memory at once.
    for term, positions in postings:
        if joined and term in words:
            for gram in joined.keys() & _letters_and_grams(term):
                joined[gram] |= positions
        yield term, positions
    yield from ((JOINED + gram, positions) for gram, positions in joined.items())


def _insert(connection: Connection, rows: Iterable[Stored | None]) -> Steps[None]:
    """Insert rows in steps, one of which ends at each None."""
    batch, uncommitted = list[Stored](), 0
    for row in rows:
        if row is not None:
            batch.append(row)
            if len(batch) < _TERMS_PER_STEP:
                continue
        connection.executemany(_INSERT, batch)
        yield
        uncommitted += len(batch)
        batch.clear()
        if uncommitted >= _TERMS_PER_COMMIT:
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            uncommitted = 0
    connection.executemany(_INSERT, batch)


def merge(connection: Connection, segments: Sequence[Segment], memory_bytes: int) -> Steps[int]:
    """Write one segment with all messages of these neighbours, in steps, as `write` does.

    `memory_bytes` bounds the joined lists. Return the id of the segment.
    """
    # Each stream is in the order of its terms, so the lists of a term meet without sorting.
    first = segments[0].first
    streams = [segment.postings(segment.first - first) for segment in segments]
    by_term = groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0))
    whole = ((term, BitMap.union(*(found for _, found in group))) for term, group in by_term)
    words = set[str]().union(*(segment.words() for segment in segments))
    count = sum(segment.count for segment in segments)
    joined = yield from _widespread(words, memory_bytes // (count // 8 + 1000))
    times = b"".join(segment.times() for segment in segments)
    origin = Origin(first, times, segments[-1].last_seq)
    lists = _with_joined(whole, words, joined)
    return (yield from write(connection, origin, words, lists, _merged_numbers(segments)))


def _merged_numbers(segments: Sequence[Segment]) -> Iterator[tuple[str, Piece] | None]:
    """Yield the numbers of all segments together, and None after each step of the work on them."""
    for path in sorted(set[str]().union(*(segment.paths() for segment in segments))):
        values = Values()
        for segment in segments:
            for piece in segment.pieces(path):
                values.extend(piece, segment.first - segments[0].first)
                yield None
        yield from ((path, piece) for piece in values.pieces())


def drop(connection: Connection, segment: Segment) -> None:
    """Mark a segment as one that is not read any more, and is to be deleted."""
    connection.execute("UPDATE segment SET dropped = 1 WHERE id = ?", (segment.id,))


def delete(connection: Connection, id: int) -> Steps[None]:
    """Delete a segment from the file, in steps, within a transaction that is committed in parts."""
    while _delete_some(connection, id):
        connection.execute("COMMIT")
        yield
        connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM segment WHERE id = ?", (id,))


def _delete_some(connection: Connection, id: int) -> int:
    connection.execute(_DELETE_SOME, (id, id))
    return changed(connection)


# Checksums.

_HEADER = "first, count, earliest, latest, last_seq, lists, characters, checksum"
_FILL_ROW = """
    UPDATE segment SET first = ?, count = ?, earliest = ?, latest = ?, last_seq = ?, lists = ?,
        characters = ?, checksum = ?, dropped = 0, times = ?, vocabulary = ?, keys = ?, numbers = ?
    WHERE id = ?
"""


def _packed(id: int, term: str, positions: BitMap) -> bytes:
    positions.run_optimize()
    return _sealed(id, term, positions.serialize())


def _unpacked(id: int, term: str, packed: bytes) -> BitMap:
    return BitMap.deserialize(_checked(id, term, packed))


def _sealed(id: int, place: str, data: bytes) -> bytes:
    """Return `data` behind its checksum, which also covers the place it belongs to."""
    return _CHECK.pack(zlib.crc32(data, zlib.crc32(place.encode(), id))) + data


def _checked(id: int, place: str, sealed: bytes) -> bytes:
    """Return the data behind a checksum. Raises `sqlite3.DatabaseError` if it is not that."""
    data = sealed[_CHECK.size :]
    if sealed[: _CHECK.size] != _CHECK.pack(zlib.crc32(data, zlib.crc32(place.encode(), id))):
        raise _damaged(id, place)
    return data


def _checksum_of(columns: Sequence[int]) -> int:
    return zlib.crc32(repr(list(columns)).encode())


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


def _damaged(id: int, what: str) -> sqlite3.DatabaseError:
    return sqlite3.DatabaseError(f"segment {id} is damaged: {what}")
