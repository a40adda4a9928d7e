"""All words of the window by number, to find those that contain a given part.

A gram is two or three letters that follow each other, or the only one; for each there is a bitmap
of the numbers of the words it stands in. A part of up to three letters is then a lookup, and a
longer one an intersection that leaves few words to look at. New words wait in line first: some
thousands are looked through faster than they are entered, and a small window needs no grams at all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from operator import add

from pyroaring import BitMap

_LONGEST = 3
"""Letters of the longer grams."""

LOOKED_THROUGH = 2048
"""Words that may wait in line if nothing else is said: they take a third of a millisecond."""


class Vocabulary:
    """Words, each added once. The number of one that was dropped is given to another.

    Up to `looked_through` words may wait in line.
    """

    def __init__(self, looked_through: int = LOOKED_THROUGH) -> None:
        self.looked_through = looked_through
        self._words: list[str] = []
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self._waiting: OrderedDict[int, str] = OrderedDict()
        self._grams: dict[str, BitMap] = {}

    def add(self, word: str) -> int:
        """Put `word` in line; returns its number."""
        if self._free:
            number = self._free.pop()
            self._words[number] = word
        else:
            number = len(self._words)
            self._words.append(word)
        self._numbers[word] = number
        self._waiting[number] = word
        return number

    def drop(self, word: str) -> None:
        """Forget a word."""
        number = self._numbers.pop(word)
        if self._waiting.pop(number, None) is None:
            for gram in grams(word):
                self._grams[gram].discard(number)
                if not self._grams[gram]:
                    del self._grams[gram]
        self._free.append(number)

    @property
    def is_behind(self) -> bool:
        """Too many words are in line."""
        return len(self._waiting) > self.looked_through

    def enter(self, count: int) -> Iterator[tuple[int, list[tuple[str, BitMap]]]]:
        """Enter up to `count` words while it is behind.

        Gives the number of each, with its grams and the numbers of all words that have those.
        """
        while count and self.is_behind:
            number, word = self._waiting.popitem(last=False)
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
        """The numbers of the words that have been entered and contain `gram`."""
        return self._grams.get(gram, _NONE)

    def containing(self, part: str) -> BitMap:
        """The numbers of all words that contain `part`."""
        waiting = BitMap([number for number, word in self._waiting.items() if part in word])
        if len(part) == 1:
            found = (n for gram, n in self._grams.items() if part in gram and len(gram) < _LONGEST)
            return BitMap.union(waiting, *found)
        entered = BitMap.intersection(*map(self.entered_with, _longest_grams(part)))
        if len(part) > _LONGEST:
            entered = BitMap([number for number in entered if part in self._words[number]])
        return entered | waiting

    def _check(self, words: Iterable[str]) -> None:
        """Assert that these are the words, and that each is found."""
        assert self._numbers.keys() == set(words)
        assert all(self._words[number] == word for word, number in self._numbers.items())
        assert set(self._free).isdisjoint(self._numbers.values())
        assert len(self._free) + len(self._numbers) == len(self._words)
        for gram, numbers in self._grams.items():
            assert numbers
            assert all(gram in self._words[number] for number in numbers)
        for word, number in self._numbers.items():
            entered = all(number in self.entered_with(gram) for gram in grams(word))
            assert entered or number in self._waiting


_NONE = BitMap()


def grams(word: str) -> set[str]:
    """The pairs and triples of letters in a word; a lone letter stands for itself."""
    pairs = list(map(add, word, word[1:]))
    return {*pairs, *map(add, pairs, word[2:])} or {word}


def _longest_grams(part: str) -> set[str]:
    """The fewest grams that a word has to have to contain `part`, of two letters or more."""
    length = min(len(part), _LONGEST)
    return {part[at : at + length] for at in range(len(part) - length + 1)}


def matching(page: str, part: str) -> Iterator[str]:
    """Every word on `page` that contains `part`; each word stands between line breaks."""
    found = page.find(part)
    while found >= 0:
        end = page.find("\n", found)
        yield page[page.rfind("\n", 0, found) + 1 : end]
        found = page.find(part, end)
