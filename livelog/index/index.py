"""The index in memory: for each term a bitmap of the positions of the messages that have it.

Counting, intersecting and turning to a deep page are then arithmetic on compressed bitmaps
(roaring), whatever the number of hits. A position counts messages since the index began; forgotten
positions are masked at once and swept out of the bitmaps later. Both adding and sweeping are
generators that pause after each small step. It is a `plan.Source`: `plan.find` searches it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from pyroaring import BitMap

from livelog.index.column import Column
from livelog.index.columns import Columns
from livelog.index.keys import Keys
from livelog.index.ngrams import MAX_QUEUED
from livelog.index.numbers import Numbers, Piece
from livelog.index.paths import cut, long_key
from livelog.index.plan import Sides, Steps, finish
from livelog.index.positions import shifted
from livelog.index.postings import SHORT_TEXT, Postings
from livelog.index.terms import is_redacted
from livelog.index.timeindex import TimeIndex
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.messages import TYPES, MessageType
from livelog.wire.record import Record

_GRAIN = 256
"""Keys that are added in one step: about a tenth of a millisecond."""

_RECENT = 4096
"""Messages whose keys are kept as they came, for live counts."""

_FEW_KEYS = 32
"""Keys of a message that is one of them."""

_POSITION_BYTES = 2
"""Memory of a position in a bitmap of types."""

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
        self._keys = Keys()
        self._numbers = Numbers()
        self._words = Postings(max_queued)
        self._times = TimeIndex(first)
        self._columns = Columns()
        self.void = BitMap()
        """Positions of stubs: the terms of what was there before may be in the lists."""
        self.stale = BitMap()
        """Positions of messages that have changed since they were added: see `plan.Source`."""
        self._recent: deque[tuple[str, ...] | None] = deque(maxlen=_RECENT)
        """Keys of the newest messages, None for one that has many."""

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly; forgotten positions count until they are swept."""
        span = len(self._times)
        fields = self._keys.memory + self._numbers.memory
        fields += span * _POSITION_BYTES + self._columns.memory
        return fields + self._times.memory + self._words.memory(span)

    def add(self, record: Record) -> None:
        """Index `record` at the next position, in one piece."""
        finish(self.adding(record))

    def add_at_once(self, record: Record) -> bool:
        """Index `record` at the next position, unless that needs steps; tell whether it is there.

        Nearly every message is short, and a generator for each would take longer than some of the
        work.
        """
        if len(record.text) > SHORT_TEXT or len(record.keys) > _FEW_KEYS or self._words.is_behind:
            return False
        position = self.end
        self._keys.add(self._noted(record, position), position)
        self._words.add_short(set(record.text.split()), position)
        self._times.add(record.time)
        self._recent.append(record.keys)
        self.end = position + 1
        return True

    def adding(self, record: Record) -> Steps[None]:
        """Index `record` at the next position, in steps; it is found once the last is made."""
        position = self.end
        remaining = iter(self._noted(record, position))
        while some := list(islice(remaining, _GRAIN)):
            self._keys.add(some, position)
            yield
        yield from self._words.adding(set(record.text.split()), position)
        self._times.add(record.time)
        self._recent.append(record.keys if len(record.keys) <= _FEW_KEYS else None)
        self.end += 1

    def _noted(self, record: Record, position: int) -> Collection[str]:
        """Note all of a message but its keys, text and time; return the keys that it gets."""
        keys = record.keys
        self._types[record.type].add(position)
        if is_redacted(keys):
            self.void.add(position)
        if record.numbers and (left := self._numbers.add(record.numbers, position)):
            return {*keys, *(cut(path.partition(".")[0]) for path in left)}
        return keys

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
        return self._keys.of(key) or _NOTHING

    def with_keys(self, first: str, stop: str) -> Steps[BitMap]:
        """Positions of the messages with a key from `first` to before `stop`, in steps."""
        return self._keys.between(first, stop)

    def with_numbers(self, path: str, low: float, high: float) -> Steps[BitMap]:
        """Positions of the messages with a number at a path from `low` to `high`, in steps."""
        return self._numbers.between(path, low, high)

    def with_any_number(self, path: str) -> Steps[BitMap]:
        """Positions of the messages with a number at a path or one in it, in steps."""
        return self._numbers.below(path)

    def between(self, first: int, last: int) -> Steps[BitMap]:
        """Positions of the messages with a timestamp from `first` to `last`, both included."""
        return self._times.between(first, last)

    def containing(self, part: str) -> Steps[BitMap]:
        """Positions of the messages with a word that contains `part`, in steps."""
        return self._words.containing(part)

    @property
    def time_index(self) -> TimeIndex:
        """Timestamps of the messages by position."""
        return self._times

    def columns(self, field: str) -> Steps[Iterable[Column] | None]:
        """Return the values of a field in one column, or in several, in steps.

        None if there are too many.
        """
        if field == "type":
            return [Column.of(self._types.items())]
        within = range(self._times.first, self.end)
        return (yield from self._columns.of(self, field, within, self.keys_at))

    def strings(self, start: str, within: range) -> Iterator[list[tuple[str, BitMap]]]:
        """Yield, in steps, what follows `start` in each key that begins so, and its positions
        `within` a range.
        """
        return self._keys.within(start, within)

    def numbers(self, path: str, within: range) -> Iterator[list[tuple[float, BitMap]]]:
        """Yield the numbers at a path in the same way; each may come several times."""
        return self._numbers.within(path, within)

    def values(self, field: str) -> Iterator[tuple[str, BitMap]] | None:
        """Iterate over the values of a field and their positions; None if some are not indexed."""
        if field == "type":
            return iter(list(self._types.items()))
        if field not in KEY_FILTERS or self._keys.of(long_key(field)):
            return None
        return self._keys.beginning(f"{field}=")

    def number_of_values(self, field: str) -> int | None:
        """Return how many values of a field are indexed; None if some are not."""
        if field == "type":
            return len(TYPES)
        if field not in KEY_FILTERS or self._keys.of(long_key(field)):
            return None
        return self._keys.count(f"{field}=")

    def keys_at(self, position: int) -> tuple[str, ...] | None:
        """Return the keys of a message if it is one of the newest and has few, else None."""
        place = position - self.end
        holds = position not in self.void and position not in self.stale
        known = place >= -len(self._recent) and holds
        return self._recent[place] if known else None

    def beginning(self, part: str) -> Steps[Sides]:
        """Positions of the messages with a word that begins with `part`, in steps."""
        return self._words.beginning(part)

    @property
    def keys(self) -> int:
        """Number of distinct keys."""
        return len(self._keys)

    @property
    def memory_of_numbers(self) -> int:
        """Bytes of memory that the numbers take, nearly."""
        return self._numbers.memory

    @property
    def tables(self) -> list[dict[Any, Any]]:
        """The tables with an entry for each word, key or n-gram."""
        return [*self._keys.tables, *self._words.tables]

    def vocabulary(self) -> Collection[str]:
        """Return every word that occurs."""
        return self._words.words()

    def words(self) -> Iterator[tuple[str, BitMap]]:
        """Iterate over every word and its positions, in order of the words.

        To sort them takes about a microsecond a word, in one piece.
        """
        return ((word, self._words.of(word)) for word in sorted(self._words.words()))

    def terms(self) -> Iterator[tuple[str, BitMap]]:
        """Iterate over every key and its positions, types as `type=name`, in order of the keys."""
        types = [(f"type={name}", found) for name, found in self._types.items() if found]
        return merge(self._keys.items(), sorted(types, key=itemgetter(0)), key=itemgetter(0))

    def pieces(self) -> Iterator[tuple[str, Piece]]:
        """Iterate over all numbers, in pieces, in the order of their paths."""
        return self._numbers.pieces()

    def renumbered(self) -> Index:
        """Return the same index with positions counted from the oldest one that is kept.

        It takes some microseconds a term. Searches under way continue on the old index, and their
        result has to be thrown away.
        """
        distance = self.start
        fresh = Index()
        fresh.end = self.end - distance
        fresh._recent = self._recent
        fresh.void = shifted(self.void, distance)
        fresh.stale = shifted(self.stale, distance)
        fresh._types = {name: shifted(bitmap, distance) for name, bitmap in self._types.items()}
        fresh._keys = self._keys.renumbered(distance)
        fresh._numbers = self._numbers.renumbered(distance)
        fresh._words = self._words.renumbered(distance)
        finish(self._times.sweep(distance))
        fresh._times = self._times.shifted(distance)
        return fresh

    def sweep(self, upto: int | None = None) -> Steps[None]:
        """Remove what has been forgotten from all structures, in steps; below `upto` if given."""
        start = self.start if upto is None else min(upto, self.start)
        self._columns.sweep(start)
        self.void.remove_range(0, start)
        self.stale.remove_range(0, start)
        yield from self._times.sweep(start)
        for postings in self._types.values():
            postings.remove_range(0, start)
        yield from self._keys.sweep(start)
        yield from self._numbers.sweep(start)
        yield from self._words.sweep(start)

    def _check(self) -> None:
        """Assert that each kept position has one type, and that words and times hold."""
        kept = BitMap(range(self.start, self.end))
        assert BitMap.union(*self._types.values()) & kept == kept
        assert sum(len(postings & kept) for postings in self._types.values()) == len(self)
        self._keys._check()
        self._columns._check(self)
        self._numbers._check()
        self._words._check(kept)
        self._times._check()
