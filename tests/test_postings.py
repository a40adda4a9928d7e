"""Posting lists and n-grams against a plain dictionary.

The bounds at which words are entered and joined bitmaps kept ready are made small, so that a few
words pass them.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import islice

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pyroaring import BitMap

from livelog.index import positions, postings
from livelog.index.ngrams import NGrams, matching
from livelog.index.plan import finish
from livelog.index.postings import Postings


@pytest.fixture(autouse=True, scope="module")
def small_bounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "_READY_FROM", 4)
        patch.setattr(postings, "_GRAIN", 2)
        patch.setattr(postings, "_ENTERED", 2)
        patch.setattr(postings, "_JOINED", 3)
        patch.setattr(positions, "_ADDED", 4)
        patch.setattr(positions, "RARE", 3)
        patch.setattr(postings, "_MAX_LETTERS", 4)
        patch.setattr(postings, "_OVERLAP", 2)
        yield


words = st.text("abcß", min_size=1, max_size=8)


def indexed(found: set[str]) -> set[str]:
    """The words, a long one in pieces of four letters, of which neighbours share two."""
    pieces = {word: [word[at : at + 4] for at in range(0, len(word) - 2, 2)] for word in found}
    return {piece for word in found for piece in (pieces[word] if len(word) > 4 else [word])}


class PostingsAgainstADictionary(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.postings = Postings(max_queued=3)
        self.words: dict[int, set[str]] = {}
        self.start = self.end = 0

    @rule(found=st.sets(words, max_size=6))
    def add(self, found: set[str]) -> None:
        finish(self.postings.adding(set(found), self.end))
        self.words[self.end] = found
        self.end += 1

    @rule(count=st.integers(1, 5))
    def sweep(self, count: int) -> None:
        self.start = min(self.start + count, self.end)
        for _ in self.postings.sweep(self.start):
            pass
        self.words = {p: found for p, found in self.words.items() if p >= self.start}
        assert set(self.postings.words()) == indexed(set().union(*self.words.values()))

    @rule(count=st.integers(1, 5), found=st.sets(words, max_size=6))
    def add_while_sweeping(self, count: int, found: set[str]) -> None:
        start = min(self.start + count, self.end)
        steps = self.postings.sweep(start)
        next(steps, None)
        self.add(found)
        for _ in steps:
            pass
        self.start = start
        self.words = {p: found for p, found in self.words.items() if p >= start}

    @rule(count=st.integers(1, 5), found=st.sets(words, max_size=6), made=st.integers(1, 9))
    def sweep_while_adding(self, count: int, found: set[str], made: int) -> None:
        steps = self.postings.adding(set(found), self.end)
        for _ in islice(steps, made):
            pass
        self.start = min(self.start + count, self.end)
        finish(self.postings.sweep(self.start))
        finish(steps)
        self.words = {p: known for p, known in self.words.items() if p >= self.start}
        self.words[self.end] = found
        self.end += 1

    @rule()
    def renumber(self) -> None:
        self.postings = self.postings.renumbered(self.start)
        self.words = {p - self.start: found for p, found in self.words.items()}
        self.end -= self.start
        self.start = 0

    @rule(part=st.text("abcß", min_size=1, max_size=2))
    def containing(self, part: str) -> None:
        found = finish(self.postings.containing(part)) & BitMap(range(self.start, self.end))
        assert set(found) == {
            p for p, known in self.words.items() if any(part in word for word in known)
        }

    @rule(part=st.text("abcß", min_size=1, max_size=2))
    def beginning(self, part: str) -> None:
        sure, maybe = finish(self.postings.beginning(part))
        kept = BitMap(range(self.start, self.end))
        begun = {p: [w for w in known if w.startswith(part)] for p, known in self.words.items()}
        assert set(sure & kept) == {
            p for p, some in begun.items() if min(map(len, some), default=3) <= 2
        }
        assert {p for p, some in begun.items() if some} <= set(maybe & kept)

    @invariant()
    def agree(self) -> None:
        self.postings._check(BitMap(range(self.start, self.end)))
        live = {word: set(found) for word, found in self.postings.items()}
        for word in indexed(set().union(*self.words.values())):
            expected = {p for p, known in self.words.items() if word in indexed(known)}
            assert {p for p in live[word] if p >= self.start} == expected


TestPostingsAgainstADictionary = PostingsAgainstADictionary.TestCase


def test_an_ngram_is_made_ready_in_steps() -> None:
    found = Postings(max_queued=0)
    for position in range(3):
        finish(found.adding({f"ab{position}"}, position))
    steps = list(found.adding({"ab3"}, 3))
    assert len(steps) > 2, "one for the word, and two for `ab`, which four words have now"
    found._check(BitMap(range(4)))


def test_ngrams_find_every_word_that_contains_a_part() -> None:
    known = [f"word{number}" for number in range(2000)]
    found = NGrams(max_queued=3)
    numbers = {word: found.add(word) for word in known}
    for _ in range(1500):
        found.enter()
    found._check(numbers)
    for part in ("word1", "99", "d", "rd19", "word1999", "nothing"):
        expected = [numbers[word] for word in known if part in word]
        assert sorted(finish(found.containing(part))) == expected


def test_searches_do_not_copy_the_queue() -> None:
    found = NGrams()
    for number in range(20_000):
        found.add(f"word{number}")
    tracemalloc.start()
    try:
        searches = [found.containing("word19999") for _ in range(20)]
        for each in searches:
            next(each)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < found.memory // 10
    assert all(len(finish(each)) == 1 for each in searches)


def test_words_that_leave_the_queue_during_a_search_are_found() -> None:
    found = NGrams()
    numbers = {found.add(f"word{number}") for number in range(2000)}
    dropped = {found.add("no") for _ in range(3)}
    search = found.containing("word")
    next(search)
    while found._queued_count > 3:
        found.enter()
    for number in dropped:
        found.drop(number)
    found._check(f"word{number}" for number in range(2000))
    assert set(finish(search)) == numbers


class Looked(str):
    """A word that counts how often it is looked into."""

    looks = 0

    def __contains__(self, part: object) -> bool:
        Looked.looks += 1
        return isinstance(part, str) and super().__contains__(part)


def test_only_words_near_one_that_is_looked_for_are_looked_into() -> None:
    found = NGrams()
    for number in range(20_000):
        found.add(Looked(f"word{number}"))
    assert not finish(found.containing("dragon"))
    assert Looked.looks == 0
    assert list(finish(found.containing("rd19998"))) == [19_998]
    assert Looked.looks <= 512
    found.add("dragon")  # beside words that have been searched
    assert list(finish(found.containing("dragon"))) == [20_000]
    found._check([*(f"word{number}" for number in range(20_000)), "dragon"])


def test_words_on_a_page_are_found_whole() -> None:
    page = "\nred\ndragon\ndrag\ndred\n"
    assert list(matching(page, "dra")) == ["dragon", "drag"]
    assert list(matching(page, "red")) == ["red", "dred"]
    assert list(matching(page, "dragons")) == []
