"""Where each word of the window occurs, and how to find all that contain a part.

Most words are rare, and what is rare is spread out, which costs a bitmap dearly. So the positions
of a word begin as an array, and become a bitmap once there are many of them. A part of a word
stands for all the words that contain it, and their positions have to be joined. For the few grams
that stand in thousands of words the joined bitmap is kept ready, and every message adds to it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Generator, Iterable, Iterator
from itertools import islice

from pyroaring import BitMap

from livelog.index.ngrams import LOOKED_THROUGH, Vocabulary

_RARE = 384
"""Positions up to which an array is the smaller form; in a large window they lie far apart."""

_READY_FROM = 2000
"""Words from which on a gram's joined bitmap is kept ready: to join so many takes milliseconds."""

_JOINED_PER_STEP = 2048
"""Words that are joined between two pauses."""

_SWEPT_PER_STEP = 2048
"""Words that are swept between two pauses."""

_ENTERED_PER_MESSAGE = 32
"""Words entered with each message while too many are in line; few messages bring more."""

_SETTLED_PER_MESSAGE = 16
"""Words that are looked at with each message, whether their array has grown too long."""

_NOTHING = BitMap()


class _Rare(array):  # type: ignore[type-arg]  # takes no argument before Python 3.12
    """The positions of a rare word, added to as a bitmap is."""

    __slots__ = ()
    add = array.append


Positions = _Rare | BitMap


class Postings:
    """Words and the positions that have them; `looked_through` is the vocabulary's."""

    def __init__(self, looked_through: int = LOOKED_THROUGH) -> None:
        self._vocabulary = Vocabulary(looked_through)
        self._ready: dict[str, BitMap] = {}
        """Joined positions, by gram, of the words that have been entered."""
        self._of_word: dict[str, list[Positions]] = {}
        """Where a word's positions go: to its own, which come first, and to those of `_ready`."""
        self._by_number: list[list[Positions]] = []
        """The same lists, by number of the word."""
        self._settled = 0
        """Number of the word that is looked at next."""

    def __len__(self) -> int:
        return len(self._of_word)

    def add(self, words: Iterable[str], position: int) -> None:
        """Note that the message at `position`, the newest, has these words, each given once."""
        known = self._of_word
        for word in words:
            places = known.get(word)
            if places is None:
                places = self._new(word)
            for place in places:
                place.add(position)
        self._settle()
        if self._vocabulary.is_behind:
            self._enter()

    def words(self) -> Collection[str]:
        """Every word."""
        return self._of_word.keys()

    def items(self) -> Iterator[tuple[str, BitMap]]:
        """Every word with its positions."""
        return ((word, BitMap(places[0])) for word, places in self._of_word.items())

    def containing(self, part: str) -> Generator[None, None, BitMap]:
        """The positions of all words that contain `part`, forgotten ones perhaps among them."""
        numbers, joined = self._vocabulary.containing(part), BitMap()
        for gram, ready in self._ready.items():
            if part in gram:
                numbers -= self._vocabulary.entered_with(gram)
                joined |= ready
        remaining = iter(numbers)
        while chosen := list(islice(remaining, _JOINED_PER_STEP)):
            joined |= self._joined(chosen)
            yield
        return joined

    def sweep(self, start: int) -> Iterator[None]:
        """Take out the positions below `start`, in steps, and forget words that have no others."""
        words = iter(list(self._of_word.items()))
        while batch := list(islice(words, _SWEPT_PER_STEP)):
            for word, places in batch:
                places[0] = _without(places[0], start)
                if not places[0]:
                    self._vocabulary.drop(word)
                    del self._of_word[word]
            yield
        for joined in self._ready.values():
            joined.remove_range(0, start)

    def renumbered(self, distance: int) -> Postings:
        """The same, with every position lower by `distance`; what falls below 0 is left out."""
        fresh = Postings(self._vocabulary.looked_through)
        for word, positions in self.items():
            fresh._new(word)[0] = shifted(positions, distance)
        while fresh._vocabulary.is_behind:
            fresh._enter()
        return fresh

    def _new(self, word: str) -> list[Positions]:
        number = self._vocabulary.add(word)
        places: list[Positions] = [_Rare("I")]
        self._of_word[word] = places
        self._by_number[number : number + 1] = [places]
        return places

    def _settle(self) -> None:
        """Give words that are no longer rare their bitmap: a few words at a time, all in turn."""
        first = self._settled
        for places in self._by_number[first : first + _SETTLED_PER_MESSAGE]:
            if isinstance(places[0], _Rare) and len(places[0]) > _RARE:
                places[0] = BitMap(places[0])
        following = first + _SETTLED_PER_MESSAGE
        self._settled = following if following < len(self._by_number) else 0

    def _enter(self) -> None:
        """Let some words that are in line have their grams, and add to what is ready of those."""
        for number, grams in self._vocabulary.enter(_ENTERED_PER_MESSAGE):
            places = self._by_number[number]
            for gram, numbers in grams:
                ready = self._ready.get(gram)
                if ready is not None:
                    ready.update(places[0])
                    places.append(ready)
                elif len(numbers) >= _READY_FROM:
                    self._make_ready(gram, numbers)

    def _make_ready(self, gram: str, numbers: BitMap) -> None:
        joined = self._ready[gram] = self._joined(numbers)
        for number in numbers:
            self._by_number[number].append(joined)

    def _joined(self, numbers: Iterable[int]) -> BitMap:
        """The positions of all these words."""
        of_number = self._by_number
        found = [of_number[number][0] for number in numbers]
        joined = BitMap.union(_NOTHING, *[one for one in found if type(one) is BitMap])
        # After the others, since many are added fastest among many; as bytes, to join them at once.
        joined.update(array("I", b"".join([one for one in found if type(one) is _Rare])))
        return joined

    def _check(self, kept: BitMap) -> None:
        """Assert that what is ready is what the words say, within `kept`."""
        self._vocabulary._check(self._of_word)
        for gram, joined in self._ready.items():
            numbers = self._vocabulary.entered_with(gram)
            assert joined & kept == self._joined(numbers) & kept
            for number in numbers:
                assert any(joined is each for each in self._by_number[number])
        for places in self._of_word.values():
            assert any(places is each for each in self._by_number)
            assert list(places[0]) == sorted(set(places[0]))


def _without(positions: Positions, start: int) -> Positions:
    """`positions` from `start` on, in the form that suits so many."""
    if isinstance(positions, _Rare):
        del positions[: bisect_left(positions, start)]
        return positions
    positions.remove_range(0, start)
    # Not as soon as it may, or it might change again and again.
    return _Rare("I", positions) if len(positions) < _RARE // 2 else positions


def shifted(positions: BitMap, distance: int) -> BitMap:
    """`positions`, each lower by `distance`, without those that would fall below 0."""
    kept = positions.copy()
    kept.remove_range(0, distance)
    return kept.shift(-distance)
