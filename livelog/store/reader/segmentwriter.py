"""Writing segments: sealing the open end of the index, merging neighbours, deleting what is merged.

A part of a word stands for all the words that contain it. To read the posting list of each would
take hundreds of milliseconds where very many do, so a merge also stores joined lists: one for each
n-gram or single letter that stands in that many words, under `JOINED` and the n-gram. (A segment
that has just been sealed is too small to need them.)
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import NamedTuple

from pyroaring import BitMap

from livelog.index.ngrams import grams
from livelog.index.numbers import Piece, Values
from livelog.index.plan import Steps
from livelog.store.database.connection import Connection, changed
from livelog.store.reader import checksums, pieces
from livelog.store.reader.pieces import Directory, Row
from livelog.store.reader.segment import JOINED, KEY, NUMBERS, Posting, Segment
from livelog.store.reader.storedcolumns import Columns

_FILL_ROW = """
    UPDATE segment SET first = ?, count = ?, earliest = ?, latest = ?, last_seq = ?, lists = ?,
        characters = ?, checksum = ?, dropped = 0, times = ?, vocabulary = ?, keys = ?, numbers = ?
    WHERE id = ?
"""

_DELETE_SOME = """
    DELETE FROM posting WHERE segment = ? AND term IN
        (SELECT term FROM posting WHERE segment = ? LIMIT 2000)
"""

_TIME_BYTES = 8

_INSERT = "INSERT INTO posting VALUES (?, ?, ?, ?)"

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
    id = insert_row(connection)
    keys, directory = array("Q"), Directory()
    columns = ColumnWriter(connection, id, len(origin.times) // _TIME_BYTES)
    lists = _rows_of(id, postings, keys, columns)
    yield from insert(connection, chain(lists, rows_of_numbers(id, numbers, directory)))
    fill_row(connection, id, origin, words, array("Q", sorted(keys)), directory)
    return id


def fill_row(
    connection: Connection,
    id: int,
    origin: Origin,
    words: Collection[str],
    hashes: array[int],
    directory: Directory,
) -> None:
    """Fill the row of a segment, of whose keys these are the `hashes`, sorted."""
    vocabulary, times = "\n".join(["", *words, ""]), array("q", origin.times)
    header = [origin.first, len(times), min(times), max(times), origin.last_seq]
    header += [len(words) + len(hashes), len(vocabulary)]
    blobs = {
        "times": origin.times,
        "vocabulary": vocabulary.encode(),
        "keys": hashes.tobytes(),
        "numbers": pieces.encoded(directory),
    }
    sealed = [checksums.sealed(id, name, data) for name, data in blobs.items()]
    connection.execute(_FILL_ROW, [*header, checksums.checksum_of(header), *sealed, id])


def insert_row(connection: Connection) -> int:
    """Take an id; the row is filled once the keys are known."""
    connection.execute(
        "INSERT INTO segment VALUES (NULL, 0, 0, 0, 0, 0, 0, 0, 0, 1, x'', x'', x'', x'')"
    )
    [[id]] = connection.execute("SELECT last_insert_rowid()")
    return int(id)


class ColumnWriter:
    """Writes the columns of a segment of `count` messages, made of its keys in their order."""

    def __init__(self, connection: Connection, id: int, count: int) -> None:
        self._connection = connection
        self._id = id
        self._columns = Columns(count)

    def add(self, key: str, positions: BitMap) -> None:
        """Take the next key."""
        self._write(self._columns.add(key, positions))

    def end(self) -> None:
        """Write the last column."""
        self._write(self._columns.end())

    def _write(self, made: Iterable[tuple[str, bytes]]) -> None:
        for field, data in made:
            sealed = checksums.sealed(self._id, f"column {field}", data)
            self._connection.execute(
                "INSERT INTO counted VALUES (?, ?, ?)", (self._id, field, sealed)
            )


Stored = tuple[int, str, int, bytes]
"""A row of the table `posting`."""


def _rows_of(
    id: int, postings: Iterable[Posting], keys: array[int], columns: ColumnWriter
) -> Iterator[Stored]:
    """Yield the rows of `postings`; add the hash of each key among them to `keys`."""
    for term, positions in postings:
        if term.startswith(KEY):
            columns.add(term[1:], positions)
            yield id, term, len(keys), checksums.packed(id, term, positions)
            keys.append(checksums.hash_of(term[1:]))
        else:
            yield id, term, 0, checksums.packed(id, term, positions)
    columns.end()


def rows_of_numbers(
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
        yield id, term, 0, checksums.sealed(id, term, pieces.packed(piece))
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


def insert(connection: Connection, rows: Iterable[Stored | None]) -> Steps[None]:
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
    connection.execute("DELETE FROM counted WHERE segment = ?", (id,))
    connection.execute("DELETE FROM segment WHERE id = ?", (id,))


def _delete_some(connection: Connection, id: int) -> int:
    connection.execute(_DELETE_SOME, (id, id))
    return changed(connection)
