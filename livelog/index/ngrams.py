"""N-grams of the indexed words: they find the words that contain a given part.

Every word has a number. An n-gram is two or three letters that follow each other, or the only
letter of a word; for each n-gram there is a bitmap of the numbers of the words it stands in. A part
of up to three letters is then one lookup, and a longer part is an intersection that leaves few
words to compare.

New words are queued and not entered at once: to scan some thousands of queued words takes less time
than to enter them, a word that leaves the window while it is queued is never entered, and a small
window needs no n-grams at all. Only when more than `max_queued` wait are the oldest entered, a few
with each message. So a message that brings thousands of new words, as few do, does not pay for
their n-grams; a search scans the queue, however long, in small steps.

The tables are dictionaries of strings, numbers and bitmaps, none of which the garbage collector
tracks: it does not walk through them, however many words there are.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from operator import add
from typing import Any, Final, TypeVar

from pyroaring import BitMap

from livelog.index.plan import Steps

_LONGEST = 3
"""Letters of the longer n-grams."""

MAX_QUEUED = 2048
"""Words that may be queued by default: a search scans them in some microseconds."""

_WORD_BYTES = 140
_GRAM_BYTES = 300
_ENTRY_BYTES = 3
"""Memory of a word and its numbers without its letters, of an n-gram, and of a word's place in the
bitmap of an n-gram."""

_GRAIN = 256
"""Words or n-grams that are compared in one step: well below a tenth of a millisecond."""

_RUN = 4096

_QUEUED_RUN = 512
"""Numbers whose queued words stand together and are searched in one step, well below a millisecond:
a search needs no copy of the queue, which may take more memory than an answer."""

_LETTER_COPIES = 2
"""Copies of a word's letters: its own, and the one on the page of its run."""

_SPARSE = 4
"""A dictionary is made anew when it holds less than this part of what it once held."""

_ROOMY = 4096
"""Entries below which an emptied dictionary is not worth making anew."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Roomy:
    """Tells when dictionaries that were emptied should give their memory back."""

    def __init__(self) -> None:
        self._peak = _ROOMY

    def is_sparse(self, size: int) -> bool:
        """Tell whether far more than `size` entries were held; then it begins to count anew."""
        if size * _SPARSE < self._peak:
            self._peak = max(_ROOMY, size)
            return True
        self._peak = max(self._peak, size)
        return False


class NGrams:
    """Words, each added once, and their n-grams. The number of a dropped word is used again.

    Up to `max_queued` words are searched without n-grams.
    """

    def __init__(self, max_queued: int = MAX_QUEUED) -> None:
        self.max_queued = max_queued
        self.end = 0
        """Number above those of all words."""
        self._count = 0
        """Number of words."""
        self._words: list[dict[int, str]] = []
        """Words by number, in a dictionary for each run of `_RUN` numbers: large ones would be
        copied when they grow, which takes many milliseconds."""
        self._free = array("I")
        """Numbers below `end` that no word has."""
        self._queued: dict[int, dict[int, str]] = {}
        """Words that have not been entered, by number, for each run of `_QUEUED_RUN` numbers."""
        self._pages: dict[int, str] = {}
        """The words of a run on one page, made when it is searched. Some of them may have left the
        queue since, none has come."""
        self._queued_count = 0
        self._order = array("I")
        """Their numbers in the order in which they came, from `_first` on, and dropped ones."""
        self._first = 0
        self._grams: dict[str, BitMap] = {}
        self._letters = 0
        """Letters of all words together."""
        self._entries = 0
        """Numbers in the bitmaps of all n-grams together."""
        self._roomy = Roomy()

    @property
    def memory(self) -> int:
        """Bytes of memory, nearly."""
        words = self._count * _WORD_BYTES + self._letters * _LETTER_COPIES
        return words + len(self._grams) * _GRAM_BYTES + self._entries * _ENTRY_BYTES

    @property
    def tables(self) -> list[dict[Any, Any]]:
        """The tables with an entry for each word or n-gram."""
        return [*self._words, *self._queued.values(), self._grams]

    def add(self, word: str) -> int:
        """Queue `word`; return its number."""
        if self._free:
            number = self._free.pop()
        else:
            number = self.end
            self.end += 1
            if not number % _RUN:
                self._words.append({})
        self._words[number // _RUN][number] = word
        run = number // _QUEUED_RUN
        self._queued.setdefault(run, {})[number] = word
        self._pages.pop(run, None)
        self._queued_count += 1
        self._order.append(number)
        self._count += 1
        self._letters += len(word)
        return number

    def drop(self, number: int) -> None:
        """Forget the word with a number."""
        word = self._words[number // _RUN].pop(number)
        self._count -= 1
        self._letters -= len(word)
        if self._unqueue(number) is not None:
            if len(self._order) > 2 * self._queued_count + _ROOMY:
                left = chain.from_iterable(self._queued.values())
                self._order, self._first = array("I", left), 0
        else:
            for gram in grams(word):
                numbers = self._grams[gram]
                numbers.discard(number)
                self._entries -= 1
                if not numbers:
                    del self._grams[gram]
        self._free.append(number)

    def compact(self) -> Steps[None]:
        """Give back the memory of tables in which few words are left of many, in steps."""
        if not self._roomy.is_sparse(self._count):
            return
        if not self._count:
            self.end, self._words, self._free = 0, [], array("I")
            self._order, self._first = array("I"), 0
        for place in range(len(self._words)):
            self._words[place] = dict(self._words[place])
            yield
        self._grams = dict(self._grams)
        yield
        for run, words in list(self._queued.items()):
            self._queued[run] = dict(words)
        yield

    def word(self, number: int) -> str | None:
        """Return the word with a number, None if no word has it."""
        return self._words[number // _RUN].get(number) if number < self.end else None

    def words(self, numbers: Iterable[int]) -> list[str]:
        """Return the words with these numbers, without those that have been dropped."""
        # Without a call for each: searches spend most of their time here.
        found: list[str] = []
        wanted, at = sorted(numbers), 0
        for run, known in enumerate(self._words):
            first, at = at, bisect_left(wanted, (run + 1) * _RUN, at)
            if first < at:
                found += filter(None, map(known.get, wanted[first:at]))
        return found

    @property
    def is_behind(self) -> bool:
        """Tell whether too many words are queued."""
        return self._queued_count > self.max_queued

    def enter(self) -> tuple[str, list[tuple[str, BitMap]]]:
        """Enter the word that was queued first.

        Return it, and its n-grams with the numbers of all words that have those.
        """
        number, word = self._pop()
        entered = []
        for gram in grams(word):
            numbers = self._grams.get(gram)
            if numbers is None:
                numbers = self._grams[gram] = BitMap()
            numbers.add(number)
            entered.append((gram, numbers))
        self._entries += len(entered)
        return word, entered

    def _pop(self) -> tuple[int, str]:
        """Take the word that was queued first out of the queue, which is not empty."""
        while True:
            number = self._order[self._first]
            self._first += 1
            if self._first > max(_ROOMY, len(self._order) // 2):
                del self._order[: self._first]
                self._first = 0
            word = self._unqueue(number)
            if word is not None:
                return number, word

    def _unqueue(self, number: int) -> str | None:
        """Take the word with a number out of the queue, if it is there."""
        run = number // _QUEUED_RUN
        words = self._queued.get(run, _NO_WORDS)
        word = words.pop(number, None)
        if word is not None:
            self._queued_count -= 1
            if not words:
                del self._queued[run]
                self._pages.pop(run, None)
        return word

    def entered_with(self, gram: str) -> BitMap:
        """Return the numbers of the entered words that contain `gram`."""
        return self._grams.get(gram, _NONE)

    def containing(self, part: str) -> Steps[BitMap]:
        """Find the numbers of all words that contain `part`."""
        queued = BitMap()
        for run in list(self._queued):  # it may have gone during a pause
            words = self._queued.get(run, _NO_WORDS)
            # Most runs have no such word, and one page is searched many times as fast as its words.
            if part in (self._pages.get(run) or self._page(run, words)):
                queued.update([number for number, word in words.items() if part in word])
            yield
        if len(part) == 1:
            return queued | (yield from self._with_letter(part))
        entered = BitMap.intersection(*map(self.entered_with, _longest_grams(part)))
        if len(part) > _LONGEST:  # the n-grams are there, but perhaps not in this order
            entered = yield from self._with_part(part, entered)
        return entered | queued

    def _page(self, run: int, words: dict[int, str]) -> str:
        """Make the page of a run; of one that is gone there is none."""
        page = "\n".join(words.values())
        if words:
            self._pages[run] = page
        return page

    def beginning(self, part: str, length: int) -> Steps[tuple[BitMap, BitMap]]:
        """Find the words up to a length that begin with `part`, and the longer ones with it."""
        numbers, begun, long = (yield from self.containing(part)), BitMap(), BitMap()
        for some in _grains(numbers):
            runs, end = self._words, self.end
            for number in some:
                word = runs[number // _RUN].get(number, "") if number < end else ""
                if len(word) > length:
                    long.add(number)
                elif word.startswith(part):
                    begun.add(number)
            yield
        return begun, long

    def _with_letter(self, letter: str) -> Steps[BitMap]:
        """Find the entered words with one letter."""
        # A word of two letters or more with this one has a pair with it, so that the pairs and the
        # lone letters are enough.
        found = BitMap()
        for some in _grains(list(self._grams)):
            pairs = [gram for gram in some if letter in gram and len(gram) < _LONGEST]
            found |= BitMap.union(_NONE, *map(self.entered_with, pairs))
            yield
        return found

    def _with_part(self, part: str, numbers: BitMap) -> Steps[BitMap]:
        """Keep the numbers of words that contain `part`."""
        found = BitMap()
        for some in _grains(numbers):
            runs, end = self._words, self.end
            found.update([n for n in some if n < end and part in runs[n // _RUN].get(n, "")])
            yield
        return found

    def _check(self, words: Iterable[str]) -> None:
        """Assert that these are the words, and that each can be found."""
        found = {number: word for run in self._words for number, word in run.items()}
        assert sorted(found.values()) == sorted(words)
        assert len(found) == self._count
        assert set(self._free).isdisjoint(found)
        assert len(self._free) + self._count == self.end
        assert self._letters == sum(map(len, found.values()))
        assert self._entries == sum(map(len, self._grams.values()))
        for gram, numbers in self._grams.items():
            assert numbers
            assert all(gram in found[number] for number in numbers)
        queued = {number: word for run in self._queued.values() for number, word in run.items()}
        assert queued.items() <= found.items()
        assert all(n // _QUEUED_RUN == run for run, some in self._queued.items() for n in some)
        assert len(queued) == self._queued_count
        assert all(self._queued.values())
        assert self._pages.keys() <= self._queued.keys()
        pages = {run: set(page.split("\n")) for run, page in self._pages.items()}
        assert all(pages[run].issuperset(self._queued[run].values()) for run in pages)
        assert not _NO_WORDS
        assert len(self._order) <= 2 * len(queued) + 2 * _ROOMY + self._first
        for number, word in found.items():
            assert number not in queued or number in self._order[self._first :]
            entered = all(number in self.entered_with(gram) for gram in grams(word))
            assert entered or number in queued


_NONE = BitMap()

_NO_WORDS: Final[dict[int, str]] = {}

Item = TypeVar("Item")


def _grains(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut `items` into pieces for one step each."""
    remaining = iter(items)
    while some := list(islice(remaining, _GRAIN)):
        yield some


def grams(word: str) -> set[str]:
    """Return the pairs and triples of letters in a word; a lone letter stands for itself."""
    pairs = list(map(add, word, word[1:]))
    return {*pairs, *map(add, pairs, word[2:])} or {word}


def _longest_grams(part: str) -> set[str]:
    """Return the fewest n-grams that a word with `part`, two letters or more, must have."""
    length = min(len(part), _LONGEST)
    return {part[at : at + length] for at in range(len(part) - length + 1)}


def beginning(page: str, part: str) -> Iterator[str]:
    """Find every word on `page` that begins with `part`; each word stands between line breaks."""
    found = page.find(f"\n{part}")
    while found >= 0:
        end = page.find("\n", found + 1)
        yield page[found + 1 : end]
        found = page.find(f"\n{part}", end)


def matching(page: str, part: str) -> Iterator[str]:
    """Find every word on `page` that contains `part`; each word stands between line breaks."""
    found = page.find(part)
    while found >= 0:
        end = page.find("\n", found)
        yield page[page.rfind("\n", 0, found) + 1 : end]
        found = page.find(part, end)
