"""The tokenizer against its rule, character by character."""

from __future__ import annotations

import time
import unicodedata
from itertools import product

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from livelog.index.folding import searchable
from livelog.index.terms import terms
from livelog.index.text import Phrase, _in_json, fold, may_occur, occurs, phrases, split
from livelog.wire.messages import AnyMessage

letters = st.text(
    st.sampled_from('abAB1_ .-\t\n"=äßΣſ\ufb01\uff21½न\u093f\u0301🐉🇩😀\u200d'), max_size=12
)
plain = st.text(st.sampled_from("abAB1_ .-\n"), max_size=12)
anything = st.text(max_size=30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" .,!? - ", [".,!?", "-"]),
        ("a.,!?b - =", ["a", "b", "-", "\uff1d"]),
        ("नदी हमारा", ["नदी", "हमारा"]),
        ("gg🐉🔥!", ["gg", "🐉🔥"]),
        ("🇩🇪🇫🇷🇺", ["🇩🇪", "🇫🇷", "🇺"]),
        ("0\U0001fb00x", ["0", "\U0001fb00", "x"]),
        ("\ue0a0\U0001fae9\U000323b0", ["\ue0a0\U0001fae9", "\U000323b0"]),
        ("\U000323b0x \U000323b0\u0301", ["\U000323b0x", "\U000323b0\u0301"]),
        ("\U000110840x\U00011080\U00011082", ["\U000110840x\U00011080\U00011082"]),
        ("Hello, World!", ["hello", "world"]),
        ("Dragon's Lair", ["dragon", "s", "lair"]),
        ("snake_case 42nd", ["snake_case", "42nd"]),
        ("Straße ΣΊΣΥΦΟΣ", ["strasse", "σίσυφοσ"]),
        ("\uff26\uff35\uff2c\uff2c \ufb01re", ["full", "fire"]),
        ("さくら 桜", ["さくら", "桜"]),
        ("Tier 2 → Tier 1", ["tier", "2", "→", "tier", "1"]),
        ("a\nb\u2028c\x00d", ["a", "b", "c", "d"]),
    ],
)
def test_text_becomes_its_words(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def plainly(text: str) -> list[str]:
    """Split text as the module says it does, one character after the other."""
    found, kind = [" "], " "  # runs of characters of one kind
    for char in f"{searchable(text)} ":
        before, kind = kind, _kind(char, kind)
        if kind == before and not (kind == "f" and len(found[-1]) == 2):
            found[-1] += char
        else:
            found.append(char)
    kinds = [_kind(run, " ") for run in found]
    return [
        run.replace("=", "\uff1d")
        for at, run in enumerate(found)
        if kinds[at] in "wef" or kinds[at - 1 : at + 2] == [" ", "p", " "]
    ]


def _kind(char: str, before: str) -> str:
    char, category = char[0], unicodedata.category(char[0])
    if char.isspace() or category == "Cc":
        return " "
    if category[0] in "LN" or char == "_" or "\U00020000" <= char <= "\U0003ffff":
        return "w"
    if category[0] == "M":
        return before if before in "we" else "p"
    if "\U0001f1e6" <= char <= "\U0001f1ff":
        return "f"
    newer = "\U0001f000" <= char <= "\U0001faff" or category == "Co"
    return "e" if category == "So" or newer else "p"


@given(letters | anything)
def test_text_is_split_as_the_rules_say(text: str) -> None:
    assert split(text) == plainly(text)


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
        ('"" " " \u200b', []),
        ('"." !', [(".",), ("!",)]),
        ('"hello - world" :)', [("hello", "-", "world"), (":)",)]),
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


def follow(phrase: Phrase, words: list[str]) -> bool:
    """Tell whether `words` begin with those of `phrase`, punctuation between them apart."""
    if not phrase:
        return True
    return bool(words) and phrase[0] in words[0] and follow_or_pass(phrase[1:], words[1:])


def follow_or_pass(phrase: Phrase, words: list[str]) -> bool:
    if follow(phrase, words):
        return True
    return bool(words) and _kind(words[0], " ") == "p" and follow_or_pass(phrase, words[1:])


@given(
    st.lists(plain | letters, max_size=3),
    st.lists(st.sampled_from(["a", "b", "ab", "1", "-", ".", "🐉"]), min_size=2, max_size=4),
)
def test_quoted_words_occur_side_by_side_in_one_passage(
    passages: list[str], words: list[str]
) -> None:
    found = [split(passage) for passage in passages]
    expected = any(follow(tuple(words), one[at:]) for one in found for at in range(len(one)))
    assert occurs(tuple(words), fold(passages)) == expected
    json = msgspec.json.encode(passages)
    assert not json.isascii() or may_occur(tuple(words), json) >= expected


def test_a_phrase_does_not_reach_over_the_end_of_a_field() -> None:
    assert occurs(("red", "dragon"), fold(["a red dragon"]))
    assert not occurs(("red", "dragon"), fold(["a red", "dragon"]))
    assert not occurs(("red", "dragon"), fold(["red old dragon"]))


K = 64 * 1024
RUNS_OF_PUNCTUATION = " ".join(
    [
        "a",
        *".!,;:?()[]{}<>/|-+*&^%$#@",
        *map("".join, product(".!,;:?()[]{}<>/|-+*&^%$#@", repeat=3)),
        "c b",
    ]
)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        (("x", "a" * 255 + "b"), "x " + "a" * K),
        (("a" * 128, "a" * 128 + "b"), "a" * 128 + "b x " + ("a" * 300 + " ") * (K // 301)),
        (("a",) * 31 + ("b",), "b " + "a " * (K // 2)),
        (("a",) * 32, "x " + "a" * K),
        (("x", "y") * 15 + ("x", "x"), "x y " * (K // 4)),
        (("a", ".", "b"), "b a " + ". " * (K // 2) + "c b"),
        (("a",) * 31 + ("b",), "b " + "a " * 15 + "!" * (K - 40)),
        (("a",) * 31 + ("b",), "b " + "a " * 15 + "\\" * 2 * K),
        (("a", "b"), "ba\0" * (8 * K // 3)),
        (("a", *".!,;:?()[]{}<>/|-+*&^%$#@", "b"), RUNS_OF_PUNCTUATION),
    ],
)
def test_a_phrase_takes_time_linear_in_the_text(phrase: Phrase, text: str) -> None:
    """CPU time against ten times the bound; it took 80 ms and more."""
    folded, json = fold([text]), msgspec.json.encode(text)
    began = time.thread_time()
    assert not occurs(phrase, folded)
    may_occur(phrase, json)
    assert time.thread_time() - began < 0.1


@pytest.mark.parametrize(
    "unit",
    [
        "\ufdfa",
        "\u0301\u0323",
        "\uff9e\u0323",
        "\u0390",
        ". ",
        "a ",
        "न\u093f",
        "\u0640\u0627\u0654",
        "İ",
        "🇩",
        "¨",
    ],
)
def test_a_long_text_is_folded_in_bounded_time(unit: str) -> None:
    """CPU time against ten times the bound; marks in a row took 200 ms."""
    text = unit * (K // len(unit.encode()))
    began = time.thread_time()
    fold([text])
    assert time.thread_time() - began < 0.1


@pytest.mark.parametrize("unit", ["\ufdfa", "\ufdfa\u0301", "\U0001d15f"])
def test_names_that_grow_take_bounded_time(unit: str) -> None:
    """CPU time against ten times the bound, for five times the size; it took 125 ms."""
    name = unit * (256 // len(unit))
    raid = {"type": "raid", "raid_id": "r", "raid_name": "n", "boss_name": "b"}
    raid |= {"difficulty": "normal", "status": "wipe"}
    participants = [{"user_id": str(number), "username": name} for number in range(400)]
    message = msgspec.convert({**raid, "participants": participants}, AnyMessage)
    began = time.thread_time()
    terms(message)
    assert time.thread_time() - began < 0.4


def test_every_word_of_a_long_phrase_is_looked_for_in_json_and_few_are_followed() -> None:
    phrase = tuple(f"w{number}" for number in range(32))
    json = msgspec.json.encode({"a": " ".join(phrase)})
    assert may_occur(phrase, json)
    assert not may_occur((*phrase[:-1], "missing"), json)
    assert not may_occur(phrase, json.replace(b"w2 w3", b"w3 w2"))
    together = _in_json(phrase)
    assert together is not None
    assert len(together.others) < 4, "an expression for all takes long to compile"


def test_a_phrase_that_nearly_occurs_everywhere_costs_no_more_than_reading_the_text() -> None:
    nearly = " ".join(["a" * 20] * 3000)
    assert not occurs(("a",) * 31 + ("b",), fold([nearly + " c b"]))
    assert occurs(("a",) * 31 + ("b",), fold([nearly + " b"]))
