"""The tokenizer against its rule, character by character."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog.index.text import Phrase, fold, occurs, phrases, split

letters = st.text(st.sampled_from('abAB1_ .-\t\n"äßΣſ\ufb01\uff21½'), max_size=12)
plain = st.text(st.sampled_from("abAB1_ .-\n"), max_size=12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" .,!? - ", []),
        ("Hello, World!", ["hello", "world"]),
        ("Dragon's Lair", ["dragon", "s", "lair"]),
        ("snake_case 42nd", ["snake_case", "42nd"]),
        ("Straße ΣΊΣΥΦΟΣ", ["strasse", "σίσυφοσ"]),
        ("\uff26\uff35\uff2c\uff2c \ufb01re", ["full", "fire"]),
        ("さくら 桜", ["さくら", "桜"]),
        ("Tier 2 → Tier 1", ["tier", "2", "tier", "1"]),
        ("a\nb\u2028c\x00d", ["a", "b", "c", "d"]),
    ],
)
def test_text_becomes_its_words(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(plain)
def test_a_word_is_a_run_of_letters_digits_and_underscores(text: str) -> None:
    alone = "".join(c if c.isalnum() or c == "_" else " " for c in text)
    assert split(text) == alone.lower().split()


@given(st.text(max_size=30))
def test_splitting_words_again_changes_nothing(text: str) -> None:
    again = [word for once in split(text) for word in split(once)]
    assert split(" ".join(again)) == again


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("dragon", [("dragon",)]),
        ("Red  DRAGON", [("red",), ("dragon",)]),
        ('"red dragon"', [("red", "dragon")]),
        ('a "b c" d', [("a",), ("b", "c"), ("d",)]),
        ('a"b c"d', [("a",), ("b", "c"), ("d",)]),
        ("Dragon's", [("dragon",), ("s",)]),
        ('"Dragon\'s"', [("dragon", "s")]),
        ('"never closed', [("never", "closed")]),
        ('"" " " "." !', []),
        ('a a "a" "a b" "a b"', [("a",), ("a", "b")]),
    ],
)
def test_a_query_is_its_words_and_its_quoted_words_together(
    query: str, expected: list[Phrase]
) -> None:
    assert list(phrases(query)) == expected


@given(st.lists(letters, max_size=3), letters.filter(split))
def test_a_word_occurs_where_it_stands_inside_a_word(passages: list[str], query: str) -> None:
    [word, *_] = split(query)
    expected = any(word in other for passage in passages for other in split(passage))
    assert occurs((word,), fold(passages)) == expected


@given(st.lists(plain, max_size=3), st.lists(st.sampled_from(["a", "b", "ab", "1"]), min_size=2))
def test_quoted_words_occur_side_by_side_in_one_passage(
    passages: list[str], words: list[str]
) -> None:
    phrase = tuple(words)

    def stands_at(other: list[str], start: int) -> bool:
        there = other[start : start + len(phrase)]
        return len(there) == len(phrase) and all(
            word in found for word, found in zip(phrase, there, strict=True)
        )

    expected = any(
        stands_at(split(passage), start)
        for passage in passages
        for start in range(len(split(passage)))
    )
    assert occurs(phrase, fold(passages)) == expected


def test_a_phrase_does_not_reach_over_the_end_of_a_field() -> None:
    assert occurs(("red", "dragon"), fold(["a red dragon"]))
    assert not occurs(("red", "dragon"), fold(["a red", "dragon"]))
    assert not occurs(("red", "dragon"), fold(["red old dragon"]))


def test_a_phrase_that_nearly_occurs_everywhere_costs_no_more_than_reading_the_text() -> None:
    nearly = " ".join(["a" * 20] * 3000)
    assert not occurs(("a",) * 31 + ("b",), fold([nearly + " c b"]))
    assert occurs(("a",) * 31 + ("b",), fold([nearly + " b"]))
