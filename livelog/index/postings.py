"""Posting lists: the positions of the messages that each word occurs in.

A part of a word stands for all the words that contain it, and their posting lists have to be
joined, which takes milliseconds if they are thousands. So the joined list of each n-gram that
stands in that many words is kept ready. Every ready list has a *mark*, a single character, and
every entered word a string of the marks of its n-grams; a new message adds its position to the
lists whose marks its words have.

All work is done in small steps, since one message may bring ten thousand words. The tables hold
strings, byte arrays and bitmaps, which the garbage collector does not track: it never walks through
them. For that reason, too, an array is a `bytearray` and marks are characters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any

from pyroaring import BitMap

from livelog.index import positions
from livelog.index.ngrams import MAX_QUEUED, NGrams, Roomy
from livelog.index.plan import Sides, Steps, finish
from livelog.index.positions import Positions, bitmap, packed, shifted

_READY_FROM = 2000
"""Words from which on the joined list of an n-gram is kept ready."""

_GRAIN = 128
"""Words that are handled in one step: about a tenth of a millisecond."""

_JOINED = 1024
"""Words whose positions are gathered in one step of a search; most have a few."""

_ENTERED = 32
"""Words that are entered with each message while too many are queued; few bring more new ones."""

_MAX_LETTERS = 512
"""Letters up to which a word is one; a longer one is indexed as pieces of this length."""

SHORT_TEXT = _MAX_LETTERS
"""Letters of a text whose words can be added in one step: none is long."""

_OVERLAP = 256
"""Letters that two neighbouring pieces share: no part of a word that is looked for is longer."""

LONGEST_WHOLE = _OVERLAP
"""Letters up to which an indexed word is one, and no piece: every piece has more."""

_WORD_BYTES = 280
_POSITION_BYTES = 4
"""Memory of a word without its n-grams, and of a position."""


class Postings:
    """Words and their positions; `max_queued` is a bound of `NGrams`."""

    def __init__(self, max_queued: int = MAX_QUEUED) -> None:
        self._ngrams = NGrams(max_queued)
        self._of_word: dict[str, Positions] = {}
        self._count = 0
        """Positions of all words together."""
        self._marks: dict[str, str] = {}
        """The marks of the words that have any."""
        self._ready: dict[str, str] = {}
        """Mark of the ready list, by n-gram."""
        self._of_mark: dict[str, BitMap] = {}
        """Joined positions of the entered words, by mark."""
        self._roomy = Roomy()

    def __len__(self) -> int:
        return len(self._of_word)

    def memory(self, span: int) -> int:
        """Return the bytes of memory, nearly, when the positions lie within a `span`."""
        ready = len(self._ready) * (span >> 3)  # a bitmap is not larger
        words = len(self._of_word) * _WORD_BYTES + self._count * _POSITION_BYTES
        return words + ready + self._ngrams.memory

    @property
    def tables(self) -> list[dict[Any, Any]]:
        """The tables with an entry for each word or n-gram."""
        return [self._of_word, self._marks, self._of_mark, *self._ngrams.tables]

    @property
    def is_behind(self) -> bool:
        """Tell whether too many words wait for their n-grams, which are entered in steps."""
        return self._ngrams.is_behind

    def adding(self, words: set[str], position: int) -> Steps[None]:
        """Add the newest message, at `position`, in steps; `words` are used up."""
        long = [word for word in words if len(word) > _MAX_LETTERS]
        if long:
            words.difference_update(long)
            words.update(*map(_pieces, long))
        if len(words) <= _GRAIN:  # nearly every message
            self.add_short(words, position)
        else:
            remaining = iter(words)
            while some := list(islice(remaining, _GRAIN)):
                self.add_short(some, position)
                yield
        for _ in range(_ENTERED):
            if not self._ngrams.is_behind:
                return
            yield from self._entering()
            yield

    def add_short(self, words: Collection[str], position: int) -> None:
        """Add the newest message, at `position`, in one step; none of its words is long."""
        known, here, most = self._of_word, packed(position), 4 * positions.RARE
        for word, places in zip(words, [*map(known.get, words)], strict=True):
            if isinstance(places, BitMap):
                places.add(position)
            elif places is None:
                self._ngrams.add(word)
                known[word] = bytearray(here)
            else:
                places += here
                if len(places) > most:
                    known[word] = bitmap(places)
        self._count += len(words)
        if self._marks:
            marks = map(self._marks.get, words)
            for mark in set("".join(filter(None, marks))):
                self._of_mark[mark].add(position)

    def words(self) -> Collection[str]:
        """Return every word."""
        return self._of_word.keys()

    def items(self) -> Iterator[tuple[str, BitMap]]:
        """Iterate over every word and its positions."""
        return ((word, bitmap(places)) for word, places in self._of_word.items())

    def of(self, word: str) -> BitMap:
        """Return the positions of a word that occurs."""
        return bitmap(self._of_word[word])

    def containing(self, part: str) -> Steps[BitMap]:
        """Join the positions of all words that contain `part`, in steps."""
        part = part[:_OVERLAP]  # no query has a longer one
        numbers = yield from self._ngrams.containing(part)
        joined = BitMap()
        for gram, mark in self._ready.items():
            if part in gram:
                # All entered words with the gram are in its ready list; only the others are left.
                numbers -= self._ngrams.entered_with(gram)
                joined |= self._of_mark[mark]
        return joined | (yield from self._joining(numbers))

    def beginning(self, part: str) -> Steps[Sides]:
        """Find the positions of a word that begins with `part`, in steps.

        A longer word may be a piece of one that begins otherwise.
        """
        begun, long = yield from self._ngrams.beginning(part, _OVERLAP)
        sure = yield from self._joining(begun)
        return Sides(sure, sure | (yield from self._joining(long)))

    def sweep(self, start: int) -> Steps[None]:
        """Remove the positions below `start`, in steps, and forget words without any other."""
        for first in range(0, self._ngrams.end, _GRAIN):
            for number in range(first, first + _GRAIN):
                word = self._ngrams.word(number)
                if word is not None:
                    self._sweep_word(number, word, start)
            yield
        for gram, mark in list(self._ready.items()):
            self._of_mark[mark].remove_range(0, start)
            if len(self._ngrams.entered_with(gram)) < _READY_FROM // 2:
                self._unready(gram)
            yield
        yield from self._ngrams.compact()
        if self._roomy.is_sparse(len(self._of_word)):
            self._of_word = dict(self._of_word)
            yield
            self._marks = dict(self._marks)

    def _sweep_word(self, number: int, word: str, start: int) -> None:
        before = self._of_word[word]
        if not positions.begin_before(before, start):
            return  # as most
        count = positions.count(before)
        left = positions.without(before, start)
        self._count -= count - positions.count(left)
        if left is not before:
            self._of_word[word] = left
        if not left:
            self._ngrams.drop(number)
            del self._of_word[word]
            self._marks.pop(word, None)

    def renumbered(self, distance: int) -> Postings:
        """Return the same with every position lower by `distance`, without those below 0."""
        fresh = Postings(self._ngrams.max_queued)
        for word, places in self.items():
            left = shifted(places, distance)
            if left:
                fresh._ngrams.add(word)
                fresh._of_word[word] = positions.smallest(left)
                fresh._count += len(left)
        while fresh._ngrams.is_behind:
            finish(fresh._entering())
        return fresh

    def _entering(self) -> Steps[None]:
        """Enter a queued word, and add its positions to the ready lists of its n-grams.

        The n-grams that have become frequent get such a list in steps. If that is given up
        half-way, the next word with them goes on with it.
        """
        word, grams = self._ngrams.enter()
        places, ready, frequent = self._of_word[word], self._ready, list[str]()
        for gram, numbers in grams:
            mark = ready.get(gram)
            if mark is not None:
                # From now on the word is not joined by number any more, so its positions so far
                # have to be in the ready list, and later ones have to go there.
                positions.join(self._of_mark[mark], places)
                self._marks[word] = self._marks.get(word, "") + mark
            elif len(numbers) >= _READY_FROM:
                frequent.append(gram)
        for gram in frequent:
            yield from self._making_ready(gram)

    def _making_ready(self, gram: str) -> Steps[None]:
        """Keep the joined list of an n-gram ready from now on.

        No message is added in a pause. What a sweep removes in one from the lists of the words may
        stay in the joined list, until the next sweep.
        """
        joined = yield from self._joining(list(self._ngrams.entered_with(gram)))
        mark = next(mark for mark in map(chr, range(1, 1 << 20)) if mark not in self._of_mark)
        self._ready[gram], self._of_mark[mark] = mark, joined
        for word in self._ngrams.words(self._ngrams.entered_with(gram)):
            self._marks[word] = self._marks.get(word, "") + mark

    def _unready(self, gram: str) -> None:
        """Give up the ready list of an n-gram that stands in few words now."""
        mark = self._ready.pop(gram)
        del self._of_mark[mark]
        for word in self._ngrams.words(self._ngrams.entered_with(gram)):
            self._marks[word] = self._marks[word].replace(mark, "")

    def _joined(self, numbers: Iterable[int]) -> BitMap:
        """Join the positions of these words."""
        return finish(self._joining(numbers))

    def _joining(self, numbers: Iterable[int]) -> Steps[BitMap]:
        """Join the positions of these words, in steps."""
        joined, remaining = BitMap(), iter(numbers)
        while chosen := list(islice(remaining, _JOINED)):
            found = [*map(self._of_word.__getitem__, self._ngrams.words(chosen))]
            joined = yield from positions.joining(found, joined)
        return joined

    def _check(self, kept: BitMap) -> None:
        """Assert that the ready lists are those of their words, within `kept`."""
        self._ngrams._check(self._of_word)
        assert self._count == sum(map(positions.count, self._of_word.values()))
        assert self._marks.keys() <= self._of_word.keys()
        assert sorted(self._ready.values()) == sorted(self._of_mark)
        for gram, mark in self._ready.items():
            numbers = self._ngrams.entered_with(gram)
            assert self._of_mark[mark] & kept == self._joined(numbers) & kept
            marked = {word for word, marks in self._marks.items() if mark in marks}
            assert marked == set(self._ngrams.words(numbers))
        for places in self._of_word.values():
            positions._check(places)


def _pieces(word: str) -> set[str]:
    """Cut a long word so that each part of it of `_OVERLAP` letters stands in one of the pieces."""
    step = _MAX_LETTERS - _OVERLAP
    return {word[at : at + _MAX_LETTERS] for at in range(0, len(word) - _OVERLAP, step)}
