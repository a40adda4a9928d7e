"""Where each word of the window occurs, and how to find all that contain a part.

For each word a bitmap of positions. A part of a word stands for all the words that contain it, and
their bitmaps have to be joined. For the few pairs of letters that stand in thousands of words
the joined bitmap is kept ready, and every message adds to it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import islice

from pyroaring import BitMap

from livelog.vocabulary import Vocabulary

_READY_FROM = 3000
"""Words from which on a pair's joined bitmap is kept ready: to join so many takes milliseconds."""

_JOINED_PER_STEP = 1024
"""Bitmaps that are joined between two pauses."""

_SWEPT_PER_STEP = 2048
"""Words that are swept between two pauses."""

_ENTERED_PER_MESSAGE = 32
"""Words entered with each message while too many are in line; few messages bring more."""

_NOTHING = BitMap()


class Postings:
    """Words and the positions that have them."""

    def __init__(self) -> None:
        self._vocabulary = Vocabulary()
        self._ready: dict[str, BitMap] = {}
        """Joined positions, by pair of letters, of the words that have been entered."""
        self._bitmaps: dict[str, list[BitMap]] = {}
        """Where a word's positions go: into its own bitmap, and those of `_ready` that it is in."""
        self._by_number: list[list[BitMap]] = []
        """The same lists, by number of the word."""

    def __len__(self) -> int:
        return len(self._bitmaps)

    def add(self, words: Iterable[str], position: int) -> None:
        """Note that the message at `position`, the newest, has these words, each given once."""
        known = self._bitmaps
        for word in words:
            bitmaps = known.get(word)
            if bitmaps is None:
                bitmaps = self._new(word)
            for bitmap in bitmaps:
                bitmap.add(position)
        if self._vocabulary.is_behind:
            self._enter()

    def items(self) -> Iterator[tuple[str, BitMap]]:
        """Every word with its positions."""
        return ((word, bitmaps[0]) for word, bitmaps in self._bitmaps.items())

    def containing(self, part: str) -> Generator[None, None, BitMap]:
        """The positions of all words that contain `part`, forgotten ones perhaps among them."""
        numbers, joined = self._vocabulary.containing(part), BitMap()
        for pair, ready in self._ready.items():
            if part in pair:
                numbers -= self._vocabulary.entered_with(pair)
                joined |= ready
        remaining = iter(numbers)
        while chosen := list(islice(remaining, _JOINED_PER_STEP)):
            joined |= BitMap.union(_NOTHING, *(self._by_number[each][0] for each in chosen))
            yield
        return joined

    def sweep(self, start: int) -> Iterator[None]:
        """Take the positions below `start` out of all bitmaps, in steps, and forget empty words."""
        words = iter(list(self._bitmaps.items()))
        while batch := list(islice(words, _SWEPT_PER_STEP)):
            for word, bitmaps in batch:
                bitmaps[0].remove_range(0, start)
                if not bitmaps[0]:
                    self._vocabulary.drop(word)
                    del self._bitmaps[word]
            yield
        for joined in self._ready.values():
            joined.remove_range(0, start)

    def renumbered(self, distance: int) -> Postings:
        """The same, with every position lower by `distance`; what falls below 0 is left out."""
        fresh = Postings()
        for word, positions in self.items():
            fresh._new(word)[0] |= shifted(positions, distance)
        while fresh._vocabulary.is_behind:
            fresh._enter()
        return fresh

    def _new(self, word: str) -> list[BitMap]:
        number = self._vocabulary.add(word)
        bitmaps = self._bitmaps[word] = [BitMap()]
        self._by_number[number : number + 1] = [bitmaps]
        return bitmaps

    def _enter(self) -> None:
        """Let some words that are in line have their pairs, and add to what is ready of those."""
        for number, pairs in self._vocabulary.enter(_ENTERED_PER_MESSAGE):
            bitmaps = self._by_number[number]
            for pair, numbers in pairs:
                ready = self._ready.get(pair)
                if ready is not None:
                    ready |= bitmaps[0]
                    bitmaps.append(ready)
                elif len(numbers) >= _READY_FROM:
                    self._make_ready(pair, numbers)

    def _make_ready(self, pair: str, numbers: BitMap) -> None:
        found = [self._by_number[number] for number in numbers]
        joined = self._ready[pair] = BitMap.union(*(bitmaps[0] for bitmaps in found))
        for bitmaps in found:
            bitmaps.append(joined)

    def _check(self, kept: BitMap) -> None:
        """Assert that what is ready is what the words say, within `kept`."""
        self._vocabulary._check(self._bitmaps)
        for pair, joined in self._ready.items():
            words = [self._by_number[n][0] for n in self._vocabulary.entered_with(pair)]
            assert joined & kept == BitMap.union(_NOTHING, *words) & kept
            for number in self._vocabulary.entered_with(pair):
                assert any(joined is each for each in self._by_number[number])
        for bitmaps in self._bitmaps.values():
            assert any(bitmaps is each for each in self._by_number)


def shifted(positions: BitMap, distance: int) -> BitMap:
    """`positions`, each lower by `distance`, without those that would fall below 0."""
    kept = positions.copy()
    kept.remove_range(0, distance)
    return kept.shift(-distance)
