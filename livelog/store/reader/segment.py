"""A sealed segment of the index on disk: a posting list for each term, as in memory.

A segment covers a run of positions and is never changed; positions in it count from 0. Neighbours
are merged into larger ones, so that a search reads few. It is a `plan.Source`, as the index in
memory is. All of it is derived from the messages and can be made again from them.

Everything that is read has a checksum, and a segment lists the terms that it has, so that a posting
list that is missing is told from a term that does not occur. Where they do not agree the file is
damaged: that raises `sqlite3.DatabaseError`, and the index is made again.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterable, Iterator
from itertools import islice
from math import inf

from pyroaring import BitMap

from livelog.index.column import Column
from livelog.index.columns import Columns
from livelog.index.ngrams import beginning, matching
from livelog.index.numbers import Piece
from livelog.index.paths import behind
from livelog.index.plan import Sides, Steps
from livelog.index.postings import LONGEST_WHOLE
from livelog.index.timeindex import TimeIndex
from livelog.store.database.connection import Connection, Rows
from livelog.store.reader import checksums, pieces
from livelog.store.reader.cache import Cache
from livelog.store.reader.pieces import Directory, Row
from livelog.store.reader.storedcolumns import Numbering, StoredColumn
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
    CREATE TABLE counted(
        segment INTEGER NOT NULL,
        field TEXT NOT NULL,
        data BLOB NOT NULL,         -- see `storedcolumns`
        PRIMARY KEY (segment, field)
    ) STRICT;
"""
"""Each BLOB begins with a CRC-32 of what follows and of the place where it stands."""

JOINED, NUMBERS, KEY = "\x01", "\x02", "\x03"
"""Signs before the n-gram of a joined list, the number of a piece of numbers, and a key, also
`type=name`. No word begins with one, so no text makes what stands for something else."""

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

_PIECE = "SELECT positions FROM posting WHERE segment = ? AND term = ?"

_COLUMN = "SELECT data FROM counted WHERE segment = ? AND field = ?"

_COLUMNS = "SELECT field FROM counted WHERE segment = ?"

_TERMS_PER_QUERY = 500
"""Bound one by one: SQLite's JSON functions cut a string at U+0000."""

_ROW_BYTES, _PATH_BYTES = 120, 300
"""Memory of a row and a path in the directory of numbers."""

_NUMBERING_BYTES = 1000
"""Memory of a numbering without its values, which are counted with the columns."""

_HEADER = "first, count, earliest, latest, last_seq, lists, characters, checksum"

Posting = tuple[str, BitMap]


class Segment:
    """One row of the table `segment`, with its postings."""

    def __init__(self, connection: Connection, id: int, cache: Cache) -> None:
        self._connection = connection
        self._cache = cache
        self.id = id
        self.void = BitMap()
        """Positions of stubs, whose terms may be those of the messages that were there before."""
        self.stale = BitMap()
        """Positions of messages that may have other terms since."""
        self.first: int
        self.count: int
        self.last_seq: int
        [columns] = self._columns(_HEADER)
        [self.first, self.count, self._earliest, self._latest, *others, checksum] = columns
        [self.last_seq, self.lists, self.characters] = others
        if checksum != checksums.checksum_of(columns[:-1]):
            raise checksums.damaged(id, "its header")

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
            raise checksums.damaged(self.id, f"the list of {key!r}")
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
                raise checksums.damaged(self.id, "a key is missing")
            if term >= stop:
                return
            yield term, checksums.unpacked(self.id, term, packed)
            due += 1
        if due != len(self.hashes()):
            raise checksums.damaged(self.id, "a key is missing")

    def _rows(self, first: str) -> Iterator[tuple[str, int, bytes]]:
        """Read the rows of the lists from `first` on, in order."""
        for rows in self._batches(first):
            for encoded, place, packed in rows:
                yield encoded.decode(errors="replace"), place, packed

    def _batches(self, first: str) -> Iterator[list[tuple[bytes, int, bytes]]]:
        """Read the same rows, some at a time. Damaged ones do not fit their checksum."""
        ask, last, most = _NEXT_LISTS.format(">="), first, _READ_FIRST
        # Few at a time: a statement that is not at its end would keep the WAL from being reset.
        while rows := self._connection.execute(ask, (self.id, last, most)).fetchall():
            yield rows
            last = rows[-1][0].decode(errors="replace")
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
            raise checksums.damaged(self.id, "numbers")
        data = checksums.checked(self.id, f"{NUMBERS}{row.number}", found[0][0])
        return pieces.unpacked(row, data)

    def between(self, first: int, last: int) -> Steps[BitMap]:
        """Positions of the messages with a timestamp from `first` to `last`, both included."""
        # Most segments lie within a range or outside of it, and their times need not be read.
        if first <= self._earliest and self._latest <= last:
            return BitMap(self.positions)
        if last < self._earliest or first > self._latest:
            return BitMap()
        return (yield from self.time_index.between(first, last))

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
                raise checksums.damaged(self.id, "the list of a word")
            found |= BitMap.union(*lists)
            yield
        return found

    def columns(self, field: str) -> Steps[Iterable[Column] | None]:
        """Return the values of a field in one column, or in several, in steps.

        None if there are too many.
        """
        yield
        if field == "type":
            return [Column.of((name, self.of_type(name)) for name in TYPES)]
        stored = self._stored_column(field)
        if stored is not None:
            return [stored]
        made = Columns()  # not kept: of the fields without a column, most have few values
        return (yield from made.of(self, field, self.positions))

    def _stored_column(self, field: str) -> StoredColumn | None:
        # First, so that it is used as often as any column that has its numbers.
        numbering = self._cache.made(("numbering", field), Numbering, lambda _: _NUMBERING_BYTES)
        cached: StoredColumn | None = self._cache.get((self.id, "column", field))
        if cached is not None:
            return cached
        found = self._connection.execute(_COLUMN, (self.id, field)).fetchall()
        if not found:
            return None
        column = numbering.column_of(checksums.checked(self.id, f"column {field}", found[0][0]))
        return self._cache.put((self.id, "column", field), column, column.memory)

    def strings(self, start: str, within: range) -> Iterator[list[tuple[str, BitMap]]]:
        """Yield, in steps, what follows `start` in each key that begins so, and its positions.

        `within` is the whole segment.
        """
        found = self._keys_between(KEY + start, KEY + behind(start))
        while some := list(islice(found, _READ_AT_ONCE)):
            yield [(term[1 + len(start) :], places) for term, places in some]

    def numbers(self, path: str, within: range) -> Iterator[list[tuple[float, BitMap]]]:
        """Yield the numbers at a path in the same way; each may come several times."""
        for piece in self.pieces(path):
            content = piece.content
            yield [(piece.low, content)] if isinstance(content, BitMap) else content.within(within)

    def _lists(self, terms: list[str]) -> list[BitMap]:
        """Read the posting lists of those of `terms` that have one."""
        marks = ", ".join("?" * len(terms))
        rows = self._connection.execute(
            f"SELECT term, positions FROM posting WHERE segment = ? AND term IN ({marks})",
            (self.id, *terms),
        )
        return [checksums.unpacked(self.id, term, positions) for term, positions in rows]

    def _has_key(self, key: str) -> bool:
        keys = self.hashes()
        sought = checksums.hash_of(key)
        place = bisect_left(keys, sought)
        return place < len(keys) and keys[place] == sought

    def hashes(self) -> array[int]:
        """Return the hashes of its keys, sorted."""
        return self._cache.made(
            (self.id, "keys"), lambda: array("Q", self._blob("keys")), lambda each: 8 * len(each)
        )

    def _columns(self, names: str) -> Rows:
        return self._connection.execute(f"SELECT {names} FROM segment WHERE id = ?", (self.id,))

    def _blob(self, name: str) -> bytes:
        [[blob]] = self._columns(name)
        return checksums.checked(self.id, name, blob)

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
        for encoded, packed in self.stored():
            term = encoded.decode(errors="replace")
            positions = checksums.unpacked(self.id, term, packed)
            yield term, positions.shift(offset) if offset else positions

    def stored(self) -> Iterator[tuple[bytes, bytes]]:
        """Read the lists of words and keys as they are stored, unchecked and in order."""
        count = 0
        for rows in self._batches(KEY):
            for encoded, _, packed in rows:
                yield encoded, packed
            count += len(rows)
        if count != self.lists:
            raise checksums.damaged(self.id, "a list is missing")

    def joined(self) -> Iterator[Posting]:
        """Read the joined lists, in order."""
        for term, _, packed in self._rows(JOINED):
            if not term.startswith(JOINED):
                return
            yield term, checksums.unpacked(self.id, term, packed)

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
        for [field] in self._connection.execute(_COLUMNS, (self.id,)):
            column = self._stored_column(field)
            assert column is not None
            start = f"{KEY}{field}="
            lists = dict(self._keys_between(start, f"{KEY}{field}>"))
            assert lists.keys() <= {start + value for value in column.values[1:]}
            # Only now: a stored column has numbers alone, and shares its values with others.
            others = (lists.get(start + value, BitMap()) for value in column.values[1:])
            column.lists = [BitMap(), *others]
            column._check()
            column.lists = []
        assert [term for term, _ in self._keys_between(KEY, behind(KEY))] == keys
        hashes = sorted(checksums.hash_of(key[1:]) for key in keys)
        assert array("Q", self._blob("keys")) == array("Q", hashes)
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
