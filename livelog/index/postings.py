"""Posting lists: the positions of the messages that each word occurs in.

Most words are rare, and rare positions lie far apart, where a bitmap takes much more memory than an
array. So the positions of a word begin as an array, and become a bitmap once there are many.

A part of a word stands for all the words that contain it, and their posting lists have to be
joined, which takes milliseconds if they are thousands. So the joined list of each n-gram that
stands in that many words is kept ready: every word lists the bitmaps its positions go to, its own
first and then those of its ready n-grams, and a new message adds its position to each.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Generator, Iterable, Iterator
from itertools import islice

from pyroaring import BitMap

from livelog.index.ngrams import MAX_QUEUED, NGrams

_RARE = 384
"""Positions up to which an array is the smaller form; in a large window they lie far apart."""

_READY_FROM = 2000
"""Words from which on the joined list of an n-gram is kept ready."""

_JOINED_PER_STEP = 2048
"""Words whose posting lists are joined between two pauses."""

_SWEPT_PER_STEP = 2048
"""Words that are swept between two pauses."""

_ENTERED_PER_MESSAGE = 32
"""Words entered with each message while too many are queued; few messages bring more new ones."""

_SETTLED_PER_MESSAGE = 16
"""Words that are checked with each message for an array that has grown too long."""

_NOTHING = BitMap()


class _Rare(array):  # type: ignore[type-arg]  # takes no argument before Python 3.12
    """Positions of a rare word; `add` is that of a bitmap."""

    __slots__ = ()
    add = array.append


Positions = _Rare | BitMap


class Postings:
    """Words and their positions; `max_queued` is a bound of `NGrams`."""

    def __init__(self, max_queued: int = MAX_QUEUED) -> None:
        self._ngrams = NGrams(max_queued)
        self._ready: dict[str, BitMap] = {}
        """Joined positions of the entered words, by n-gram."""
        self._of_word: dict[str, list[Positions]] = {}
        """Bitmaps and arrays a word's positions go to: its own first, then those of `_ready`."""
        self._by_number: list[list[Positions]] = []
        """The same lists by number of the word."""
        self._settled = 0
        """Number of the word whose array is checked next."""

    def __len__(self) -> int:
        return len(self._of_word)

    def add(self, words: Iterable[str], position: int) -> None:
        """Add the newest message, at `position`; each of its words is given once."""
        known = self._of_word
        for word in words:
            places = known.get(word)
            if places is None:
                places = self._new(word)
            for place in places:
                place.add(position)
        self._settle()
        if self._ngrams.is_behind:
            self._enter()

    def words(self) -> Collection[str]:
        """Return every word."""
        return self._of_word.keys()

    def items(self) -> Iterator[tuple[str, BitMap]]:
        """Iterate over every word and its positions."""
        return ((word, BitMap(places[0])) for word, places in self._of_word.items())

    def containing(self, part: str) -> Generator[None, None, BitMap]:
        """Join the positions of all words that contain `part`, in steps."""
        numbers, joined = self._ngrams.containing(part), BitMap()
        for gram, ready in self._ready.items():
            if part in gram:
                # All entered words with the gram are in its ready list; only the others are left.
                numbers -= self._ngrams.entered_with(gram)
                joined |= ready
        remaining = iter(numbers)
        while chosen := list(islice(remaining, _JOINED_PER_STEP)):
            joined |= self._joined(chosen)
            yield
        return joined

    def sweep(self, start: int) -> Iterator[None]:
        """Remove the positions below `start`, in steps, and forget words without any other."""
        words = iter(list(self._of_word.items()))
        while batch := list(islice(words, _SWEPT_PER_STEP)):
            for word, places in batch:
                places[0] = _without(places[0], start)
                if not places[0]:
                    self._ngrams.drop(word)
                    del self._of_word[word]
            yield
        for joined in self._ready.values():
            joined.remove_range(0, start)

    def renumbered(self, distance: int) -> Postings:
        """Return the same with every position lower by `distance`, without those below 0."""
        fresh = Postings(self._ngrams.max_queued)
        for word, positions in self.items():
            fresh._new(word)[0] = shifted(positions, distance)
        while fresh._ngrams.is_behind:
            fresh._enter()
        return fresh

    def _new(self, word: str) -> list[Positions]:
        number = self._ngrams.add(word)
        places: list[Positions] = [_Rare("I")]
        self._of_word[word] = places
        self._by_number[number : number + 1] = [places]
        return places

    def _settle(self) -> None:
        """Turn arrays that have grown too long into bitmaps: a few words a message, all in turn."""
        # Not in `add`, where the check would run for each word of each message.
        first = self._settled
        for places in self._by_number[first : first + _SETTLED_PER_MESSAGE]:
            if isinstance(places[0], _Rare) and len(places[0]) > _RARE:
                places[0] = BitMap(places[0])
        following = first + _SETTLED_PER_MESSAGE
        self._settled = following if following < len(self._by_number) else 0

    def _enter(self) -> None:
        """Enter some queued words, and add their positions to the ready lists of their n-grams."""
        for number, grams in self._ngrams.enter(_ENTERED_PER_MESSAGE):
            places = self._by_number[number]
            for gram, numbers in grams:
                ready = self._ready.get(gram)
                if ready is not None:
                    # From now on the word is not joined by number any more, so its positions so
                    # far have to be in the ready list, and later ones have to go there.
                    ready.update(places[0])
                    places.append(ready)
                elif len(numbers) >= _READY_FROM:
                    self._make_ready(gram, numbers)

    def _make_ready(self, gram: str, numbers: BitMap) -> None:
        joined = self._ready[gram] = self._joined(numbers)
        for number in numbers:
            self._by_number[number].append(joined)

    def _joined(self, numbers: Iterable[int]) -> BitMap:
        """Join the positions of these words."""
        of_number = self._by_number
        found = [of_number[number][0] for number in numbers]
        joined = BitMap.union(_NOTHING, *[one for one in found if type(one) is BitMap])
        # Arrays after the bitmaps, since many are added fastest to many; joined as bytes, so that
        # one call adds them all.
        joined.update(array("I", b"".join([one for one in found if type(one) is _Rare])))
        return joined

    def _check(self, kept: BitMap) -> None:
        """Assert that the ready lists are those of their words, within `kept`."""
        self._ngrams._check(self._of_word)
        for gram, joined in self._ready.items():
            numbers = self._ngrams.entered_with(gram)
            assert joined & kept == self._joined(numbers) & kept
            for number in numbers:
                assert any(joined is each for each in self._by_number[number])
        for places in self._of_word.values():
            assert any(places is each for each in self._by_number)
            assert list(places[0]) == sorted(set(places[0]))


def _without(positions: Positions, start: int) -> Positions:
    """Return `positions` from `start` on, as an array or a bitmap according to their number."""
    if isinstance(positions, _Rare):
        del positions[: bisect_left(positions, start)]
        return positions
    positions.remove_range(0, start)
    # Only at half the bound, or a word near it would change its form again and again.
    return _Rare("I", positions) if len(positions) < _RARE // 2 else positions


def shifted(positions: BitMap, distance: int) -> BitMap:
    """Return `positions`, each lower by `distance`, without those that would fall below 0."""
    kept = positions.copy()
    kept.remove_range(0, distance)
    return kept.shift(-distance)
