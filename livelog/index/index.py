"""The index in memory: for each term a bitmap of the positions of the messages that have it.

Counting, intersecting and turning to a deep page are then arithmetic on compressed bitmaps
(roaring), whatever the number of hits. A position counts messages since the index began; forgotten
positions are masked at once and swept out of the bitmaps later. Both adding and sweeping are
generators that pause after each small step. It is a `plan.Source`: `plan.find` searches it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

from pyroaring import BitMap

from livelog.index.ngrams import MAX_QUEUED, Roomy
from livelog.index.plan import Steps, finish
from livelog.index.postings import Postings, shifted
from livelog.index.terms import field_of
from livelog.index.timeindex import TimeIndex
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.messages import TYPES, MessageType
from livelog.wire.record import Record

_GRAIN = 256
"""Keys that are handled in one step: about a tenth of a millisecond."""

_RECENT = 4096
"""Messages whose keys are kept as they came, for live counts."""

_FEW_KEYS = 32
"""Keys of a message that is one of them."""

_KEY_BYTES = 500
_POSITION_BYTES = 2
"""Memory of a key, and of a position in a bitmap of keys or types."""

_NOTHING: Final = BitMap()


class Index:
    """Terms of the messages at the positions from `start` up to, not including, `end`.

    Positions must stay below 2**32, which is what a bitmap holds: see `renumbered`. `max_queued`
    is the number of words that wait for their n-grams: see `ngrams`.
    """

    def __init__(self, max_queued: int = MAX_QUEUED, first: int = 0) -> None:
        self.start = first
        self.end = first
        self._types: dict[MessageType, BitMap] = {name: BitMap() for name in TYPES}
        self._keys: dict[str, BitMap] = {}
        self._of_field: dict[str, dict[str, None]] = {}
        """Field → its keys."""
        self._words = Postings(max_queued)
        self._times = TimeIndex(first)
        self._recent: deque[tuple[str, ...] | None] = deque(maxlen=_RECENT)
        """Keys of the newest messages, None for one that has many."""
        self._key_count = 0
        """Positions of all keys together."""
        self._roomy = Roomy()

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly; forgotten positions count until they are swept."""
        span = len(self._times)
        keys = len(self._keys) * _KEY_BYTES + self._key_count * _POSITION_BYTES
        types = span * _POSITION_BYTES
        return types + keys + self._times.memory + self._words.memory(span)

    def add(self, record: Record) -> None:
        """Index `record` at the next position, in one piece."""
        finish(self.adding(record))

    def adding(self, record: Record) -> Steps[None]:
        """Index `record` at the next position, in steps; it is found once the last is made."""
        position = self.end
        self._types[record.type].add(position)
        if len(record.keys) <= _GRAIN:  # nearly every message
            self._add_keys(record.keys, position)
        else:
            remaining = iter(record.keys)
            while some := list(islice(remaining, _GRAIN)):
                self._add_keys(some, position)
                yield
        yield from self._words.adding(set(record.text.split()), position)
        self._times.add(record.time)
        self._recent.append(record.keys if len(record.keys) <= _FEW_KEYS else None)
        self.end += 1

    def _add_keys(self, keys: Collection[str], position: int) -> None:
        for key in keys:
            postings = self._keys.get(key)
            if postings is None:
                postings = self._keys[key] = BitMap()
                self._of_field.setdefault(field_of(key), {})[key] = None
            postings.add(position)
        self._key_count += len(keys)

    def forget_before(self, start: int) -> None:
        """Forget the positions below `start`, also those that have not been added yet."""
        self.start = start
        if start > self.end:
            self._times.skip(start - self.end)
            self._recent.clear()
            self.end = start

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

    @property
    def time_index(self) -> TimeIndex:
        """Timestamps of the messages by position."""
        return self._times

    def values(self, field: str) -> Iterator[tuple[str, BitMap]] | None:
        """Iterate over the values of a field and their positions; None if some are not indexed."""
        if field == "type":
            return iter(list(self._types.items()))
        if field not in KEY_FILTERS:
            return None
        skipped = len(field) + 1
        keys = list(self._of_field.get(field, ()))  # one may come or go meanwhile
        return ((key[skipped:], self._keys.get(key, _NOTHING)) for key in keys)

    def number_of_values(self, field: str) -> int | None:
        """Return how many values of a field are indexed; None if some are not."""
        if field == "type":
            return len(TYPES)
        return len(self._of_field.get(field, ())) if field in KEY_FILTERS else None

    def keys_at(self, position: int) -> tuple[str, ...] | None:
        """Return the keys of a message if it is one of the newest and has few, else None."""
        place = position - self.end
        return self._recent[place] if place >= -len(self._recent) else None

    @property
    def keys(self) -> int:
        """Number of distinct keys."""
        return len(self._keys)

    def vocabulary(self) -> Collection[str]:
        """Return every word that occurs."""
        return self._words.words()

    def postings(self) -> Iterator[tuple[str, BitMap]]:
        """Iterate over every term and its positions, types as `type=name`, in order of the terms.

        To sort them takes about a microsecond a term, in one piece.
        """
        lists = {f"type={name}": found for name, found in self._types.items() if found} | self._keys
        for term in sorted([*lists, *self._words.words()]):
            yield term, lists[term] if term in lists else self._words.of(term)

    def renumbered(self) -> Index:
        """Return the same index with positions counted from the oldest one that is kept.

        It takes some microseconds a term. Searches under way continue on the old index, and their
        result has to be thrown away.
        """
        distance = self.start
        fresh = Index()
        fresh.end = self.end - distance
        fresh._recent = self._recent
        fresh._types = {name: shifted(bitmap, distance) for name, bitmap in self._types.items()}
        keys = ((key, shifted(bitmap, distance)) for key, bitmap in self._keys.items())
        fresh._keys = {key: bitmap for key, bitmap in keys if bitmap}
        for key in fresh._keys:
            fresh._of_field.setdefault(field_of(key), {})[key] = None
        fresh._key_count = sum(map(len, fresh._keys.values()))
        fresh._words = self._words.renumbered(distance)
        finish(self._times.sweep(distance))
        fresh._times = self._times.shifted(distance)
        return fresh

    def sweep(self, upto: int | None = None) -> Steps[None]:
        """Remove what has been forgotten from all structures, in steps; below `upto` if given."""
        start = self.start if upto is None else min(upto, self.start)
        yield from self._times.sweep(start)
        for postings in self._types.values():
            postings.remove_range(0, start)
        keys = iter(list(self._keys))
        while some := list(islice(keys, _GRAIN)):
            for key in some:
                self._sweep_key(key, start)
            yield
        if self._roomy.is_sparse(len(self._keys)):
            self._keys = dict(self._keys)
            self._of_field = {field: dict(keys) for field, keys in self._of_field.items()}
        yield from self._words.sweep(start)

    def _sweep_key(self, key: str, start: int) -> None:
        postings = self._keys[key]
        before = len(postings)
        postings.remove_range(0, start)
        self._key_count -= before - len(postings)
        if not postings:
            del self._keys[key], self._of_field[field_of(key)][key]

    def _check(self) -> None:
        """Assert that each kept position has one type, and that words and times hold."""
        kept = BitMap(range(self.start, self.end))
        assert BitMap.union(*self._types.values()) & kept == kept
        assert sum(len(postings & kept) for postings in self._types.values()) == len(self)
        assert self._key_count == sum(map(len, self._keys.values()))
        assert all(self._keys.values())
        assert {key for keys in self._of_field.values() for key in keys} == self._keys.keys()
        self._words._check(kept)
        self._times._check()
