"""All words of the window by number, to find those that contain a given part.

A pair is two letters that follow each other, or the only one; for each there is a bitmap of the
numbers of the words it stands in. A part of two letters is then a lookup, and a longer one an
intersection that leaves few words to look at. New words wait in line first: some thousands are
looked through faster than they are entered, and a small window needs no pairs at all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from pyroaring import BitMap

LOOKED_THROUGH = 2048
"""Words that may wait in line: a third of a millisecond to look through."""


class Vocabulary:
    """Words, each added once. The number of one that was dropped is given to another."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self._waiting: OrderedDict[int, str] = OrderedDict()
        self._pairs: dict[str, BitMap] = {}

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
            for pair in _pairs(word):
                self._pairs[pair].discard(number)
                if not self._pairs[pair]:
                    del self._pairs[pair]
        self._free.append(number)

    @property
    def is_behind(self) -> bool:
        """Too many words are in line."""
        return len(self._waiting) > LOOKED_THROUGH

    def enter(self, count: int) -> Iterator[tuple[int, list[tuple[str, BitMap]]]]:
        """Enter up to `count` words while it is behind.

        Gives the number of each, with its pairs and the numbers of all words that have those.
        """
        while count and self.is_behind:
            number, word = self._waiting.popitem(last=False)
            entered = []
            for pair in _pairs(word):
                numbers = self._pairs.get(pair)
                if numbers is None:
                    numbers = self._pairs[pair] = BitMap()
                numbers.add(number)
                entered.append((pair, numbers))
            yield number, entered
            count -= 1

    def entered_with(self, pair: str) -> BitMap:
        """The numbers of the words that have been entered and contain `pair`."""
        return self._pairs.get(pair, _NONE)

    def containing(self, part: str) -> BitMap:
        """The numbers of all words that contain `part`."""
        waiting = BitMap([number for number, word in self._waiting.items() if part in word])
        if len(part) == 1:
            found = (numbers for pair, numbers in self._pairs.items() if part in pair)
            return BitMap.union(waiting, *found)
        entered = BitMap.intersection(*map(self.entered_with, _pairs(part)))
        if len(part) > 2:
            entered = BitMap([number for number in entered if part in self._words[number]])
        return entered | waiting

    def _check(self, words: Iterable[str]) -> None:
        """Assert that these are the words, and that each is found."""
        assert self._numbers.keys() == set(words)
        assert all(self._words[number] == word for word, number in self._numbers.items())
        assert set(self._free).isdisjoint(self._numbers.values())
        assert len(self._free) + len(self._numbers) == len(self._words)
        for pair, numbers in self._pairs.items():
            assert numbers
            assert all(pair in self._words[number] for number in numbers)
        for word, number in self._numbers.items():
            entered = all(number in self.entered_with(pair) for pair in _pairs(word))
            assert entered or number in self._waiting


_NONE = BitMap()


def _pairs(word: str) -> set[str]:
    return {one + other for one, other in pairwise(word)} or {word}


def matching(page: str, part: str) -> Iterator[str]:
    """Every word on `page` that contains `part`; each word stands between line breaks."""
    found = page.find(part)
    while found >= 0:
        end = page.find("\n", found)
        yield page[page.rfind("\n", 0, found) + 1 : end]
        found = page.find(part, end)
