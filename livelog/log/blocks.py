"""Frames by position, in a form that the garbage collector does not walk through.

A list of a million frames is visited from end to end by every full collection, which holds the loop
for a tenth of a second. Here they stand in tuples of some dozens, which the collector stops to
track as soon as it has seen that they hold nothing but bytes; it visits the list of tuples alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from pyroaring import BitMap

_SIZE = 32
"""Frames in a block."""


class Blocks:
    """Frames at the positions from `start` up to, not including, `end`."""

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._base = 0
        """Position at which the first block begins."""
        self._blocks: list[tuple[bytes, ...]] = []
        """All are full but the last; dropped frames of the first are empty."""

    def extend(self, frames: Sequence[bytes]) -> None:
        """Add frames at `end`; after an exception nothing has changed."""
        blocks, end = self._blocks, self.end + len(frames)
        room = (self._base - self.end) % _SIZE
        last = (*blocks[-1], *frames[:room]) if room else ()
        whole = len(blocks)
        blocks += [tuple(frames[at : at + _SIZE]) for at in range(room, len(frames), _SIZE)]
        if room:
            blocks[whole - 1] = last
        self.end = end

    def __getitem__(self, position: int) -> bytes:
        block, place = divmod(position - self._base, _SIZE)
        return self._blocks[block][place]

    def replace(self, position: int, frame: bytes) -> None:
        """Put a frame into the place of another."""
        block, place = divmod(position - self._base, _SIZE)
        frames = self._blocks[block]
        self._blocks[block] = (*frames[:place], frame, *frames[place + 1 :])

    def picked(self, positions: Iterable[int]) -> list[bytes]:
        """Return the frames at some positions, in the order of these."""
        blocks, base = self._blocks, self._base  # without a call for each
        return [blocks[(at - base) // _SIZE][(at - base) % _SIZE] for at in positions]

    def kept(self) -> Callable[[int], bytes]:
        """Return what gives the frame at a position that is kept now, also once it is dropped."""
        blocks, base = self._blocks[:], self._base
        return lambda position: blocks[(position - base) // _SIZE][(position - base) % _SIZE]

    def between(self, first: int, end: int) -> list[bytes]:
        """Return the frames from `first` up to `end`."""
        low, skipped = divmod(first - self._base, _SIZE)
        high = -((self._base - end) // _SIZE)
        found = list(chain.from_iterable(self._blocks[low:high]))
        return found[skipped : skipped + end - first]

    def at(self, positions: BitMap) -> list[bytes]:
        """Return the frames at some positions, in order."""
        if not positions:
            return []
        first = positions.min()
        found = self.between(first, positions.max() + 1)
        return found if len(found) == len(positions) else [found[p - first] for p in positions]

    def drop_before(self, position: int) -> int:
        """Drop the frames below `position`; return their size in bytes."""
        size = sum(map(len, self.between(self.start, position)))
        self.start = position
        whole, place = divmod(position - self._base, _SIZE)
        del self._blocks[:whole]
        self._base += whole * _SIZE
        if place:
            first = list(self._blocks[0])
            first[:place] = [b""] * place
            self._blocks[0] = tuple(first)
        return size

    def drop_from(self, position: int) -> None:
        """Take back the frames from `position` on."""
        whole, place = divmod(position - self._base, _SIZE)
        kept = self._blocks[whole][:place] if place else ()
        del self._blocks[whole:]
        if place:
            self._blocks.append(kept)
        self.end = position

    def renumber(self, distance: int) -> None:
        """Count all positions lower by `distance`."""
        self.start -= distance
        self.end -= distance
        self._base -= distance

    def _check(self) -> None:
        """Assert that the blocks are full and hold the positions."""
        assert self._base <= self.start <= self.end
        assert all(len(block) == _SIZE for block in self._blocks[:-1])
        assert sum(map(len, self._blocks)) == self.end - self._base
        assert not any(self.between(self._base, self.start))
