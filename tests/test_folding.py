"""Folding of characters against the Unicode tables of Python and of Node."""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from livelog.index import folding, text
from livelog.index.folding import (
    MAX_EXPANDED,
    MAX_MARKS,
    all_normalized,
    in_pieces,
    normalized,
    searchable,
)
from livelog.index.plan import finish
from livelog.index.text import fold
from tests.support.follower import NODE

UNICODE_JS = Path(__file__).parent / "support" / "js" / "unicode.mjs"
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
needs_node = pytest.mark.skipif(NODE is None, reason="Node is not installed")
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@cache
def known_to_node() -> Any:
    assert NODE is not None
    done = subprocess.run([NODE, str(UNICODE_JS)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@needs_node
def test_the_ignorable_characters_are_those_of_the_unicode_character_database() -> None:
    """Node has DerivedCoreProperties.txt built in, by way of ICU."""
    listed = {char for char in CHARACTERS if folding._IGNORED.fullmatch(char)}
    assert listed == set(map(chr, known_to_node()["ignorable"]))


@needs_node
def test_python_and_javascript_take_the_same_characters_for_equal() -> None:
    known = known_to_node()
    unassigned = set(map(chr, known["unassigned"]))
    in_both = [c for c in CHARACTERS if c not in unassigned and unicodedata.category(c) != "Cn"]
    there = {chr(code): text for code, text in known["changed"]}
    pairs = {(searchable(char), there.get(char, char)) for char in in_both}
    # One text may differ, as JavaScript folds Cherokee to small letters, but not what equals what.
    assert len({one for one, _ in pairs}) == len(pairs) == len({other for _, other in pairs})


@pytest.mark.parametrize("end", [0x10000, 0x20000])
@pytest.mark.parametrize("name", ["M", "So"])
def test_the_marks_and_symbols_are_those_of_the_unicode_tables(
    name: Literal["M", "So"], end: int
) -> None:
    listed = re.compile(f"[{folding.of_category(name, end)}]")
    for char in map(chr, range(0x20000)):
        wanted = ord(char) < end and unicodedata.category(char).startswith(name)
        assert (listed.match(char) is not None) == wanted, hex(ord(char))


@pytest.mark.parametrize(
    ("text", "name", "word"),
    [
        ("Jose\u0301", "josé", "josé"),
        ("STRASSE ẞß", "strasse ssss", "strasse ssss"),
        ("\uff26\uff35\uff2c\uff2c \ufb01re", "full fire", "full fire"),
        ("İzmir", "i\u0307zmir", "izmir"),
        ("I\u0323\u0307", "\u1ecb\u0307", "\u1ecb"),
        ("مُحَمَّد", "مُحَمَّد", "محمد"),
        ("آ \u0627\u0640\u0653", "آ \u0627\u0640\u0653", "آ آ"),
        ("שָׁלוֹם", "שָׁלוֹם", "שלום"),
        ("dra\u00adgon\u200b", "dragon", "dragon"),
        ("e\u034f\u0301", "é", "é"),
        ("\u03b1\u0345\u0301", "άι", "άι"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ", "σίσυφοσ"),
    ],
)
def test_what_is_folded(text: str, name: str, word: str) -> None:
    assert (normalized(text), searchable(text)) == tuple(
        unicodedata.normalize("NFC", expected) for expected in (name, word)
    )


@given(anything)
def test_folding_is_nfkc_casefold(text: str) -> None:
    """The definition of UAX #31: a mapping of each character of NFD, then NFC."""
    mapped = "".join(map(_nfkc_casefold, unicodedata.normalize("NFD", text)))
    assert normalized(text) == unicodedata.normalize("NFC", mapped)


@cache
def _nfkc_casefold(char: str) -> str:
    before, after = "", char
    while before != after:
        kept = "".join(c for c in after if not folding._IGNORED.match(c))
        before, after = after, unicodedata.normalize("NFKC", kept.casefold())
    return after


@given(anything)
def test_folding_again_changes_nothing(text: str) -> None:
    assert normalized(normalized(text)) == normalized(text)
    assert searchable(searchable(text)) == searchable(text)


@given(anything)
def test_the_form_of_unicode_makes_no_difference(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert searchable(unicodedata.normalize(form, text)) == searchable(text)


@given(st.lists(anything, max_size=5))
def test_names_of_a_message_are_folded_as_each_by_itself(names: list[str]) -> None:
    assert finish(all_normalized(names)) == [normalized(name) for name in names]


def test_names_of_a_message_grow_only_so_far_together() -> None:
    names = finish(all_normalized(["\ufdfa" * 256] * 80))
    assert len(names) == 80
    assert sum(map(len, names)) < 18 * MAX_EXPANDED + 80 * 256
    assert names[0] == normalized("\ufdfa" * 256)


def test_each_character_that_needs_care_is_known_as_such() -> None:
    """`_special` leaves nothing out, or the steps that it guards would not be taken."""
    for char in CHARACTERS:
        composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", char).casefold())
        assert folding._special().search(char) or (
            folding._without_points(composed) == composed
            and not re.search("[\u0300-\u036f]{3}", char)
        ), hex(ord(char))
        if len(unicodedata.normalize("NFKC", char)) > 2:
            assert folding._EXPANDS.match(char), hex(ord(char))


def test_of_a_run_of_marks_the_first_count() -> None:
    for marks in ("\u0301\u0323", "\uff9e\u0323", "\U0001d165\u0301"):
        assert len(searchable("a" + marks * 20_000)) <= MAX_MARKS + 1
    assert searchable("a" + "\u0301" * 40) == searchable("a" + "\u0301" * 50)
    assert searchable("a" + "\u0301" * 5) != searchable("a" + "\u0301" * 6)


def test_text_grows_only_so_far() -> None:
    grown = searchable("\ufdfa" * 20_000)
    assert len(grown) <= 18 * MAX_EXPANDED + 20_000
    assert searchable("\ufdfa") in grown
    assert searchable("… " * 500) == "... " * 500
    assert max(len(searchable(char * 21_000)) for char in "\u0390ŉ¼\ufdfb㌖") < 70_000


# Long texts, in pieces.

_ODD = "aiI \n\0._\u0130\u0307\u0301\u0345\u0323\ufdfa\u00bd\u00df\u03a3\u0e33\u1112\u1161\u11ab"
_ODD += "\u064b\u0640\u05b8\u200d\u00ad\ufe0f\U0001d165\U0001f1e9\U0001f409\u00a8\u0344\u1e2d"
_ODD += "\uff9e\u3099"
_MIXED = "a\u0301\U0001d400 ! \ufdfa\U0001f409\u0939\u093f"


@given(st.text(_ODD, max_size=60) | anything)
@example("i" + "\u0301" * 40 + "a\u0307 i\u0307")
@example("\u0345 \u1e2d\uff9e\u0307")
def test_a_text_in_pieces_is_folded_as_in_one(sample: str) -> None:
    whole = searchable(sample), normalized(sample), fold([sample])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "_PIECE", 2)
        patch.setattr(text, "_PIECE", 2)
        pieces = finish(in_pieces(sample, searchable)), finish(in_pieces(sample, normalized))
        assert (*pieces, fold([sample])) == whole


@pytest.mark.parametrize(
    "part",
    [
        "\u00e9 ! ",
        "a\u0301\U0001d400 ! \ufdfa\U0001f409\u0939\u093f",
        "a" + "\U0001d165" * 20,
        "\ufdfa ",
        "漢",
        "กำ",
        "हिन्दी",
        "각",
        "محمد",
        "\U0001f409",
        "\U0001d49c",
        "\uff41",
    ],
)
def test_a_long_text_that_is_costly_is_folded_in_many_steps(part: str) -> None:
    sample = part * (32_000 // len(part))
    assert sum(1 for _ in text.folding([sample])) >= len(sample) // folding._PIECE - 1


def test_text_is_cut_before_characters_alone_that_join_none() -> None:
    second = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # jamo
    for char in CHARACTERS:
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            second.add(chr(int(parts[1], 16)))
    for char in filter(folding._cut().match, CHARACTERS):
        first = unicodedata.normalize("NFKC", char.casefold())[0]
        joins = first in second or unicodedata.category(first)[0] == "M"
        assert not joins, hex(ord(char))
