"""Writing a segment anew, some of whose messages have changed, out of its own lists.

That takes a quarter of the time that indexing all of its messages again would, or less: a list
without any of them is copied as it is stored. The old segment is not changed in its place: where
SQLite moves rows, it leaves parts of them behind in the pages, and these are overwritten with the
whole segment.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from pyroaring import BitMap

from livelog.index.index import Index
from livelog.index.numbers import Block, Piece
from livelog.index.plan import Steps
from livelog.store.database.connection import Connection
from livelog.store.reader import checksums, segmentwriter
from livelog.store.reader.pieces import Directory
from livelog.store.reader.segment import JOINED, KEY, Posting, Segment
from livelog.store.reader.segmentwriter import ColumnWriter, Origin, Stored

_TYPE = f"{KEY}type="


class Changed(NamedTuple):
    """Messages of a segment that have changed since it was written."""

    positions: BitMap
    now: Index
    """Index of them as they are now, in their order."""
    places: list[int]
    """Position of each in the segment; of those that are gone there is none."""

    def postings(self) -> list[Posting]:
        """Return the lists of their keys and words, in order."""
        keys = ((KEY + key, found) for key, found in self.now.terms())
        return [(term, self._placed(found)) for term, found in chain(keys, self.now.words())]

    def numbers(self) -> defaultdict[str, list[Piece]]:
        """Return their numbers by path."""
        found = defaultdict[str, list[Piece]](list)
        for path, piece in self.now.pieces():
            pairs = [(value, self.places[position]) for value, position in piece.pairs()]
            found[path].append(_piece(pairs))
        return found

    def _placed(self, positions: BitMap) -> BitMap:
        return BitMap([self.places[each] for each in positions])


def remake(connection: Connection, segment: Segment, changed: Changed) -> Steps[int]:
    """Write a segment anew, in steps; of messages that have changed it has what they have now.

    It is committed as by `segmentwriter.write`. Return the id of the new segment.
    """
    id, directory = segmentwriter.insert_row(connection), Directory()
    copy = _Copy(id, segment, changed, ColumnWriter(connection, id, segment.count))
    numbers = segmentwriter.rows_of_numbers(id, _numbers(segment, changed), directory)
    yield from segmentwriter.insert(connection, chain(copy.joined(), copy.rows(), numbers))
    origin = Origin(segment.first, segment.times(), segment.last_seq)
    segmentwriter.fill_row(connection, id, origin, copy.words, copy.hashes(), directory)
    return id


class _Copy:
    """The lists of a segment as they are now. To be read once, to the end."""

    def __init__(self, id: int, segment: Segment, changed: Changed, columns: ColumnWriter) -> None:
        self._id = id
        self._segment = segment
        self._gone = changed.positions
        self._present = BitMap(changed.places)
        self._fresh = changed.postings()
        self._columns = columns
        self.words: list[str] = []
        """Words that have a list, once all were read."""
        self._lost: set[str] = set()
        self._added: set[str] = set()
        """Terms that have no list any more, and those that had none before."""

    def hashes(self) -> array[int]:
        """Return the hashes of the keys that have a list, once all were read."""
        known = set(self._segment.hashes()).difference(_hashes(self._lost))
        return array("Q", sorted(known.union(_hashes(self._added))))

    def joined(self) -> Iterator[Stored]:
        """Yield the rows of the joined lists."""
        words = [(term, positions) for term, positions in self._fresh if not term.startswith(KEY)]
        for term, positions in self._segment.joined():
            found = [lists for word, lists in words if term[len(JOINED) :] in word]
            if left := BitMap.union(positions - self._gone, *found):
                yield self._id, term, 0, checksums.packed(self._id, term, left)

    def rows(self) -> Iterator[Stored]:
        """Yield the rows of the keys and words, in order."""
        id, place, add, note = self._id, 0, self._columns.add, self.words.append
        for term, positions, packed in self._lists():
            if term[0] == KEY:
                add(term[1:], positions)
                yield id, term, place, packed
                place += 1
            else:
                note(term)
                yield id, term, 0, packed
        self._columns.end()

    def _lists(self) -> Iterator[tuple[str, BitMap, bytes]]:
        """Yield terms, their positions, and these as they are to be stored."""
        id, old, gone = self._id, self._segment.id, self._gone
        coming = deque(self._fresh)
        for encoded, blob in self._segment.stored():
            data, packed = checksums.resealed(old, id, encoded, blob)
            term, positions = encoded.decode(), BitMap.deserialize(data)
            while coming and coming[0][0] < term:
                yield self._new(*coming.popleft())
            fresh = coming.popleft()[1] if coming and coming[0][0] == term else None
            if fresh is None and not positions.intersect(gone):
                yield term, positions, packed
            elif left := self._left(term, positions) | (fresh or BitMap()):
                yield term, left, checksums.packed(id, term, left)
            else:
                self._lost.add(term)
        for found in coming:
            yield self._new(*found)

    def _left(self, term: str, positions: BitMap) -> BitMap:
        """Return the positions of messages that have not changed.

        Those that have been trimmed keep their type: each position has one.
        """
        return positions - (self._present if term.startswith(_TYPE) else self._gone)

    def _new(self, term: str, positions: BitMap) -> tuple[str, BitMap, bytes]:
        self._added.add(term)
        return term, positions, checksums.packed(self._id, term, positions)


def _hashes(terms: set[str]) -> set[int]:
    return {checksums.hash_of(term[len(KEY) :]) for term in terms if term.startswith(KEY)}


def _numbers(segment: Segment, changed: Changed) -> Iterator[tuple[str, Piece] | None]:
    """Yield the numbers of a segment with those of changed messages, and pauses."""
    fresh = changed.numbers()
    for path in sorted({*segment.paths(), *fresh}):
        for piece in segment.pieces(path):
            if left := _without(piece, changed.positions):
                yield path, left
            yield None
        yield from ((path, piece) for piece in fresh[path])


def _without(piece: Piece, gone: BitMap) -> Piece | None:
    """Return what is left of a piece without the numbers at some positions; None if nothing is."""
    if isinstance(piece.content, BitMap):
        left = piece.content - gone
        return piece._replace(content=left) if left else None
    pairs = [(value, position) for value, position in piece.pairs() if position not in gone]
    return _piece(pairs) if pairs else None


def _piece(pairs: list[tuple[float, int]]) -> Piece:
    values, positions = zip(*pairs, strict=True)
    return Piece(min(values), max(values), Block(array("d", values), array("I", positions)))
