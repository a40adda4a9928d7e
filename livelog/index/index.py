"""The index in memory: for each term a bitmap of the positions of the messages that have it.

Counting, intersecting and turning to a deep page are then arithmetic on compressed bitmaps
(roaring), whatever the number of hits. A position counts messages since the index began; forgotten
positions are masked at once and swept out of the bitmaps later, a few thousand terms at a time.
It is a `plan.Source`: `plan.find` searches it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

from pyroaring import BitMap

from livelog.index.ngrams import MAX_QUEUED
from livelog.index.plan import Steps
from livelog.index.postings import Postings, shifted
from livelog.index.timeindex import TimeIndex
from livelog.wire.messages import TYPES, MessageType
from livelog.wire.record import Record

_SWEPT_PER_STEP = 2048
"""Terms whose bitmaps are swept at a time."""

_NOTHING: Final = BitMap()


class Index:
    """Terms of the messages at the positions from `start` up to, not including, `end`.

    Positions must stay below 2**32, which is what a bitmap holds: see `renumbered`. `max_queued`
    is the number of words that wait for their n-grams: see `ngrams`.
    """

    def __init__(self, max_queued: int = MAX_QUEUED) -> None:
        self.start = 0
        self.end = 0
        self._types: dict[MessageType, BitMap] = {name: BitMap() for name in TYPES}
        self._keys: dict[str, BitMap] = {}
        self._words = Postings(max_queued)
        self._times = TimeIndex()
        self._swept = 0
        self._sweep: Iterator[None] | None = None

    def __len__(self) -> int:
        return self.end - self.start

    def add(self, record: Record) -> None:
        """Index `record` at the next position."""
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

    @property
    def positions(self) -> range:
        """Positions of the messages that are kept."""
        return range(self.start, self.end)

    def of_type(self, name: MessageType) -> BitMap:
        """Positions of the messages of one type."""
        return self._types[name]

    def of_key(self, key: str) -> BitMap:
        """Positions of the messages with a key."""
        return self._keys.get(key, _NOTHING)

    def between(self, first: int, last: int) -> BitMap:
        """Positions of the messages with a timestamp from `first` to `last`, both included."""
        return self._times.between(first, last)

    def containing(self, part: str) -> Steps[BitMap]:
        """Positions of the messages with a word that contains `part`, in steps."""
        return self._words.containing(part)

    def vocabulary(self) -> Collection[str]:
        """Return every word that occurs."""
        return self._words.words()

    def postings(self) -> Iterator[tuple[str, BitMap]]:
        """Iterate over every term and its positions, types as `type=name`."""
        for name, positions in self._types.items():
            if positions:
                yield f"type={name}", positions
        yield from self._keys.items()
        yield from self._words.items()

    def renumbered(self) -> Index:
        """Return the same index with positions counted from the oldest one that is kept.

        It takes some microseconds a term. Searches under way continue on the old index, and their
        result has to be thrown away.
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

    def _sweeping(self, start: int) -> Iterator[None]:
        """Remove the positions below `start` from all structures, in steps."""
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
        """Assert that each kept position has one type, and that words and times hold."""
        kept = BitMap(range(self.start, self.end))
        assert BitMap.union(*self._types.values()) & kept == kept
        assert sum(len(postings & kept) for postings in self._types.values()) == len(self)
        self._words._check(kept)
        self._times._check()
