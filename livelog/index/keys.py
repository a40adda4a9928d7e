"""Keys of messages, in their order: see `paths` for their forms.

All keys of one field, of one path and the paths in it, or that begin alike, stand side by side, so
that the messages with any of them are found without a look at the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

from pyroaring import BitMap

from livelog.index import positions
from livelog.index.ngrams import Roomy
from livelog.index.ordered import Ordered
from livelog.index.paths import behind
from livelog.index.plan import Steps
from livelog.index.positions import Positions, bitmap, packed, shifted

_GRAIN = 256
"""Keys that are swept in one step: about a tenth of a millisecond."""

_JOINED = 256
"""Keys whose positions are gathered in one step of a search; most of very many have a few."""

_COUNTED = 500
"""Keys whose positions are copied in one step, to be counted."""

_COUNTED_AS_BITMAP = 16
"""Positions from which on a key whose field is counted is kept as a bitmap: to make one takes much
longer than to count in it."""

_KEY_BYTES = 300
_BITMAP_BYTES = 600
_POSITION_BYTES = 2
"""Memory of a key, of a bitmap without its positions, and of a position in it."""


class Keys:
    """Keys and the positions of the messages that have them."""

    def __init__(self) -> None:
        self._of: dict[str, Positions] = {}
        self._sorted = Ordered[str]()
        self._count = 0
        """Positions of all keys together."""
        self._bitmaps = 0
        """Keys whose positions are a bitmap."""
        self._roomy = Roomy()

    def __len__(self) -> int:
        return len(self._of)

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly."""
        bitmaps = self._bitmaps * _BITMAP_BYTES
        return len(self._of) * _KEY_BYTES + bitmaps + self._count * _POSITION_BYTES

    @property
    def tables(self) -> list[dict[Any, Any]]:
        """The tables with an entry for each key."""
        return [self._of]

    def add(self, keys: Collection[str], position: int) -> None:
        """Add keys of the newest message, at `position`."""
        known, here = self._of, packed(position)
        for key in keys:
            places = known.get(key)
            if isinstance(places, BitMap):
                places.add(position)
            elif places is None:
                known[key] = bytearray(here)
                self._sorted.add(key)
            else:
                places += here
                if len(places) > 4 * positions.RARE:
                    self._as_bitmap(key, places)
        self._count += len(keys)

    def _as_bitmap(self, key: str, places: bytearray) -> BitMap:
        found = self._of[key] = bitmap(places)
        self._bitmaps += 1
        return found

    def of(self, key: str) -> BitMap | None:
        """Return the positions of the messages with a key, None without any."""
        places = self._of.get(key)
        return None if places is None else bitmap(places)

    def between(self, first: str, stop: str) -> Steps[BitMap]:
        """Join the positions of the keys from `first` to before `stop`, in steps."""
        joined = BitMap()
        # Anew after each pause, since there may be other keys then.
        while some := list(islice(self._sorted.between(first, stop), _JOINED)):
            first = _next(some[-1])
            joined = yield from positions.joining([self._of[key] for key in some], joined)
            yield
        return joined

    def within(self, start: str, some: range) -> Iterator[list[tuple[str, BitMap]]]:
        """Yield, in steps, what follows `start` in each key that begins so, with its positions
        among `some`, where there are any.
        """
        first, stop, same = start, behind(start), BitMap(some)
        while keys := list(islice(self._sorted.between(first, stop), _COUNTED)):
            first = _next(keys[-1])
            found = ((key, positions.within(self._of[key], some, same)) for key in keys)
            yield [(key[len(start) :], places) for key, places in found if places]

    def beginning(self, start: str) -> Iterator[tuple[str, BitMap]]:
        """Iterate over what follows `start` in each key that begins so, and its positions.

        Keys that come or go meanwhile may be left out.
        """
        for key in list(self._sorted.between(start, behind(start))):
            places = self._of.get(key)
            if isinstance(places, bytearray) and positions.count(places) >= _COUNTED_AS_BITMAP:
                places = self._as_bitmap(key, places)
            if places is not None:
                yield key[len(start) :], bitmap(places)

    def count(self, start: str) -> int:
        """Return how many keys begin with `start`."""
        return self._sorted.rank(behind(start)) - self._sorted.rank(start)

    def items(self) -> Iterator[tuple[str, BitMap]]:
        """Iterate over every key and its positions, in order of the keys."""
        return ((key, bitmap(self._of[key])) for key in self._sorted)

    def sweep(self, start: int) -> Steps[None]:
        """Remove the positions below `start`, in steps, and forget keys without any other."""
        keys = iter(list(self._of))
        while some := list(islice(keys, _GRAIN)):
            for key in some:
                self._sweep_key(key, start)
            yield
        if self._roomy.is_sparse(len(self._of)):
            self._of = dict(self._of)

    def _sweep_key(self, key: str, start: int) -> None:
        before = self._of[key]
        if not positions.begin_before(before, start):
            return
        count = positions.count(before)
        left = positions.without(before, start)
        self._count -= count - positions.count(left)
        self._bitmaps -= isinstance(before, BitMap)
        self._bitmaps += isinstance(left, BitMap) and bool(left)
        if left:
            self._of[key] = left
        else:
            del self._of[key]
            self._sorted.remove(key)

    def renumbered(self, distance: int) -> Keys:
        """Return the same with every position lower by `distance`, without those below 0."""
        fresh = Keys()
        left = ((key, shifted(places, distance)) for key, places in self.items())
        fresh._of = {key: positions.smallest(places) for key, places in left if places}
        fresh._sorted = Ordered(fresh._of)
        fresh._count = sum(map(positions.count, fresh._of.values()))
        fresh._bitmaps = sum(isinstance(places, BitMap) for places in fresh._of.values())
        return fresh

    def _check(self) -> None:
        """Assert that the tables agree."""
        assert list(self._sorted) == sorted(self._of)
        assert self._count == sum(map(positions.count, self._of.values()))
        assert self._bitmaps == sum(isinstance(each, BitMap) for each in self._of.values())
        for places in self._of.values():
            positions._check(places)
        self._sorted._check()


def _next(key: str) -> str:
    """Return the first string that comes after `key` in order."""
    return f"{key}\0"
