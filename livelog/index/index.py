"""What is where in the window: for each term a bitmap of the positions that have it.

Counting, intersecting and turning to a deep page are then arithmetic on compressed bitmaps
(roaring), whatever the number of hits. A position counts messages since the index began; forgotten
positions are masked at once and swept out of the bitmaps later, a few thousand terms at a time.

Searches are generators that pause between steps of some milliseconds at most, so that a long one
can be interleaved with other work. Messages that come in meanwhile are not in its result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from itertools import islice
from typing import Final

from pyroaring import BitMap

from livelog.index.ngrams import LOOKED_THROUGH
from livelog.index.postings import Postings, shifted
from livelog.index.query import BEGINNING_OF_TIME, END_OF_TIME, Query
from livelog.index.text import Phrase
from livelog.index.timestamps import Timestamps
from livelog.wire.messages import TYPES, MessageType
from livelog.wire.record import Record

_VERIFIED_PER_STEP = 100
"""Messages whose text is looked at between two pauses; their JSON has to be decoded for it."""

_FEW = 32
"""Candidates that are verified sooner than the words of a query are looked up."""

_SWEPT_PER_STEP = 2048
"""Terms whose bitmaps are swept at a time."""

_NOTHING: Final = BitMap()

Mentions = Callable[[int, Phrase], bool]
"""Tells whether a phrase stands in the text of the message at a position."""


class Index:
    """Terms of the messages at the positions from `start` up to, not including, `end`.

    Positions must stay below 2**32, which is what a bitmap holds: see `renumbered`. Up to
    `looked_through` words are looked through one by one when a part of a word is searched.
    """

    def __init__(self, looked_through: int = LOOKED_THROUGH) -> None:
        self.start = 0
        self.end = 0
        self._types: dict[MessageType, BitMap] = {name: BitMap() for name in TYPES}
        self._keys: dict[str, BitMap] = {}
        self._words = Postings(looked_through)
        self._times = Timestamps()
        self._swept = 0
        self._sweep: Iterator[None] | None = None

    def __len__(self) -> int:
        return self.end - self.start

    def add(self, record: Record) -> None:
        """Give `record` the next position."""
        position = self.end
        self.end += 1
        self._types[record.type].add(position)
        self._times.add(record.time)
        for key in record.keys:
            postings = self._keys.get(key)
            if postings is None:
                postings = self._keys[key] = BitMap()
            postings.add(position)
        self._words.add(set(record.text.split()), position)

    def forget(self) -> None:
        """Forget the oldest position."""
        self.start += 1
        if self._sweep is None and self.start - self._swept > max(1024, len(self) // 8):
            self._sweep = self._sweeping(self.start)
        if self._sweep is not None and next(self._sweep, self) is self:
            self._sweep = None

    def of_type(self, name: MessageType) -> BitMap:
        """The positions of one type, forgotten ones perhaps among them."""
        return self._types[name]

    def find(self, query: Query, mentions: Mentions) -> Generator[None, None, BitMap]:
        """The positions whose messages match `query`."""
        found = self.select(query, range(self.start, self.end))
        for part in sorted({word for phrase in query.phrases for word in phrase}, key=len):
            if len(found) > _FEW:
                found &= yield from self._words.containing(part)
        few = len(found) <= _FEW
        for phrase in query.phrases:
            if few or len(phrase) > 1:
                found = yield from self._verified(phrase, found, mentions)
        return found & BitMap(range(self.start, self.end))

    def select(self, query: Query, within: range) -> BitMap:
        """The positions in `within` that match all of `query` but its text."""
        found = BitMap(range(max(within.start, self.start), min(within.stop, self.end)))
        if len(query.types) < len(TYPES):
            found &= BitMap.union(_NOTHING, *(self._types[name] for name in query.types))
        for key in query.keys:
            found &= self._keys.get(key, _NOTHING)
        if query.own is not None:
            found -= self._types["dm"] - self._keys.get(query.own, _NOTHING)
        if query.date_from > BEGINNING_OF_TIME or query.date_to < END_OF_TIME:
            found &= self._times.between(query.date_from, query.date_to)
        return found

    def vocabulary(self) -> Collection[str]:
        """Every word that occurs."""
        return self._words.words()

    def postings(self) -> Iterator[tuple[str, BitMap]]:
        """Every term with the positions that have it, types as `type=name`."""
        for name, positions in self._types.items():
            yield f"type={name}", positions
        yield from self._keys.items()
        yield from self._words.items()

    def renumbered(self) -> Index:
        """The same index, with positions counted from the oldest one that is kept.

        It takes some microseconds a term; searches under way go on with this one and are void.
        """
        distance = self.start
        fresh = Index()
        fresh.end = self.end - distance
        fresh._types = {name: shifted(bitmap, distance) for name, bitmap in self._types.items()}
        fresh._keys = {term: shifted(bitmap, distance) for term, bitmap in self._keys.items()}
        fresh._words = self._words.renumbered(distance)
        self._times.forget_before(distance)
        fresh._times = self._times.shifted(distance)
        return fresh

    def _verified(
        self, phrase: Phrase, candidates: BitMap, mentions: Mentions
    ) -> Generator[None, None, BitMap]:
        """Those of `candidates` in which the words of `phrase` stand side by side."""
        verified = BitMap()
        positions = iter(candidates)
        while batch := list(islice(positions, _VERIFIED_PER_STEP)):
            verified.update([p for p in batch if mentions(p, phrase)])
            yield
        return verified

    def _sweeping(self, start: int) -> Iterator[None]:
        """Take the positions below `start` out of all structures, in steps."""
        self._swept = start
        self._times.forget_before(start)
        for postings in self._types.values():
            postings.remove_range(0, start)
        keys = iter(list(self._keys))
        while batch := list(islice(keys, _SWEPT_PER_STEP)):
            for key in batch:
                self._keys[key].remove_range(0, start)
                if not self._keys[key]:
                    del self._keys[key]
            yield
        yield from self._words.sweep(start)

    def _check(self) -> None:
        """Assert that what is kept is what the bitmaps say."""
        kept = BitMap(range(self.start, self.end))
        assert BitMap.union(*self._types.values()) & kept == kept
        assert sum(len(postings & kept) for postings in self._types.values()) == len(self)
        self._words._check(kept)
        self._times._check()
