"""Positions by id, in eight bytes a message, where a dictionary takes over a hundred.

Hash tables with open addressing, one for each run of 2**16 positions: a slot holds the position in
the run and a few bits of the hash. A run is forgotten by dropping its table, so nothing but the
last entry is ever deleted from a table, and nothing is moved to a larger one. The tables give
candidates; the caller sees in the message whether it has the id.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator

_RUN = 1 << 16
_SLOTS = 2 * _RUN
_EMPTY = bytes(4 * _SLOTS)
# A slot, from its low end: position in the run + 1, of 17 bits, then 15 bits of the hash. The 17
# low bits of the hash say where it is.
_POSITION_BITS = 17
_POSITION = (1 << _POSITION_BITS) - 1
_HASH = (1 << 32) - 1


class IdTable:
    """Positions by id; they are added in rising order without a hole.

    `add` takes constant time, `candidates` a look into each run.
    """

    def __init__(self) -> None:
        self._end = 0
        self._first = 0  # position at which the oldest run begins
        self._runs: deque[array[int]] = deque()

    def add(self, id: str) -> None:
        """Give the next position to `id`; after an exception nothing has changed."""
        run, place = divmod(self._end - self._first, _RUN)
        if run == len(self._runs):
            self._runs.append(array("I", _EMPTY))
        slots, hashed = self._runs[run], hash(id) & _HASH
        slot = hashed % _SLOTS
        while slots[slot]:
            slot = (slot + 1) % _SLOTS
        entry, end = hashed >> _POSITION_BITS << _POSITION_BITS | place + 1, self._end + 1
        slots[slot], self._end = entry, end

    def drop_last(self, id: str) -> None:
        """Take the last position back, which `id` has."""
        run, place = divmod(self._end - 1 - self._first, _RUN)
        slots, slot = self._runs[run], (hash(id) & _HASH) % _SLOTS
        while slots[slot] & _POSITION != place + 1:
            slot = (slot + 1) % _SLOTS
        slots[slot] = 0  # no other entry was placed behind this one
        self._end -= 1

    def candidates(self, id: str) -> Iterator[int]:
        """Yield positions that may have `id`, those of the newest run first."""
        hashed = hash(id) & _HASH
        mark = hashed >> _POSITION_BITS
        first = self._first + len(self._runs) * _RUN
        for slots in reversed(self._runs):
            first -= _RUN
            slot = hashed % _SLOTS
            while entry := slots[slot]:
                if entry >> _POSITION_BITS == mark:
                    yield first + (entry & _POSITION) - 1
                slot = (slot + 1) % _SLOTS

    @property
    def end(self) -> int:
        """Position that the next id gets."""
        return self._end

    def forget_before(self, position: int) -> None:
        """Drop the runs whose positions are all below."""
        while self._runs and self._first + _RUN <= min(position, self._end):
            self._runs.popleft()
            self._first += _RUN

    def _check(self) -> None:
        """Assert that each run holds its positions, once each."""
        assert self._first % _RUN == 0
        left = self._end - self._first
        for slots in self._runs:
            held = sorted((entry & _POSITION) - 1 for entry in slots if entry)
            assert held == list(range(min(left, _RUN)))
            left -= len(held)
        assert left == 0
