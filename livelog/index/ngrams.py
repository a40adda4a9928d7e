"""N-grams of the indexed words: they find the words that contain a given part.

Every word has a number. An n-gram is two or three letters that follow each other, or the only
letter of a word; for each n-gram there is a bitmap of the numbers of the words it stands in. A part
of up to three letters is then one lookup, and a longer part is an intersection that leaves few
words to compare.

New words are queued and not entered at once: to scan some thousands of queued words takes less time
than to enter them, a word that leaves the window while it is queued is never entered, and a small
window needs no n-grams at all. Only when more than `max_queued` wait are the oldest entered, a few
with each message, so that no single message pays for many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from operator import add

from pyroaring import BitMap

_LONGEST = 3
"""Letters of the longer n-grams."""

MAX_QUEUED = 2048
"""Words that may be queued by default: a search scans them in a third of a millisecond."""


class NGrams:
    """Words, each added once, and their n-grams. The number of a dropped word is used again.

    Up to `max_queued` words are searched without n-grams.
    """

    def __init__(self, max_queued: int = MAX_QUEUED) -> None:
        self.max_queued = max_queued
        self._words: list[str] = []
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self._queued: OrderedDict[int, str] = OrderedDict()
        self._grams: dict[str, BitMap] = {}

    def add(self, word: str) -> int:
        """Queue `word`; return its number."""
        if self._free:
            number = self._free.pop()
            self._words[number] = word
        else:
            number = len(self._words)
            self._words.append(word)
        self._numbers[word] = number
        self._queued[number] = word
        return number

    def drop(self, word: str) -> None:
        """Forget `word`."""
        number = self._numbers.pop(word)
        if self._queued.pop(number, None) is None:
            for gram in grams(word):
                self._grams[gram].discard(number)
                if not self._grams[gram]:
                    del self._grams[gram]
        self._free.append(number)

    @property
    def is_behind(self) -> bool:
        """Tell whether too many words are queued."""
        return len(self._queued) > self.max_queued

    def enter(self, count: int) -> Iterator[tuple[int, list[tuple[str, BitMap]]]]:
        """Enter up to `count` queued words, as long as too many are queued.

        Yield the number of each, with its n-grams and the numbers of all words that have those.
        """
        while count and self.is_behind:
            number, word = self._queued.popitem(last=False)
            entered = []
            for gram in grams(word):
                numbers = self._grams.get(gram)
                if numbers is None:
                    numbers = self._grams[gram] = BitMap()
                numbers.add(number)
                entered.append((gram, numbers))
            yield number, entered
            count -= 1

    def entered_with(self, gram: str) -> BitMap:
        """Return the numbers of the entered words that contain `gram`."""
        return self._grams.get(gram, _NONE)

    def containing(self, part: str) -> BitMap:
        """Return the numbers of all words that contain `part`."""
        queued = BitMap([number for number, word in self._queued.items() if part in word])
        if len(part) == 1:
            # A word of two letters or more with this one has a pair with it, so that the pairs
            # and the lone letters are enough.
            found = (n for gram, n in self._grams.items() if part in gram and len(gram) < _LONGEST)
            return BitMap.union(queued, *found)
        entered = BitMap.intersection(*map(self.entered_with, _longest_grams(part)))
        if len(part) > _LONGEST:  # the n-grams are there, but perhaps not in this order
            entered = BitMap([number for number in entered if part in self._words[number]])
        return entered | queued

    def _check(self, words: Iterable[str]) -> None:
        """Assert that these are the words, and that each can be found."""
        assert self._numbers.keys() == set(words)
        assert all(self._words[number] == word for word, number in self._numbers.items())
        assert set(self._free).isdisjoint(self._numbers.values())
        assert len(self._free) + len(self._numbers) == len(self._words)
        for gram, numbers in self._grams.items():
            assert numbers
            assert all(gram in self._words[number] for number in numbers)
        for word, number in self._numbers.items():
            entered = all(number in self.entered_with(gram) for gram in grams(word))
            assert entered or number in self._queued


_NONE = BitMap()


def grams(word: str) -> set[str]:
    """Return the pairs and triples of letters in a word; a lone letter stands for itself."""
    pairs = list(map(add, word, word[1:]))
    return {*pairs, *map(add, pairs, word[2:])} or {word}


def _longest_grams(part: str) -> set[str]:
    """Return the fewest n-grams that a word with `part`, two letters or more, must have."""
    length = min(len(part), _LONGEST)
    return {part[at : at + length] for at in range(len(part) - length + 1)}


def matching(page: str, part: str) -> Iterator[str]:
    """Find every word on `page` that contains `part`; each word stands between line breaks."""
    found = page.find(part)
    while found >= 0:
        end = page.find("\n", found)
        yield page[page.rfind("\n", 0, found) + 1 : end]
        found = page.find(part, end)
