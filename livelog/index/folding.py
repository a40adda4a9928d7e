"""Folding of characters: texts that a reader takes for the same become equal.

`normalized` is NFKC_Casefold of the Unicode Standard (3.13, and UAX #31): compatibility forms
become the ordinary ones, case is folded, and characters that are not shown by themselves
(Default_Ignorable_Code_Point: soft hyphens, joiners, variation selectors) are dropped. `searchable`
also drops the points of Hebrew and Arabic, the tatweel and the dot that is left of `İ`, which most
people do not type. Vowel signs and accents stay.

Both bound their work: of a run of marks the first thirty count, as many as the Stream-Safe Text
Format of UAX #15 has, since to bring longer ones into order takes quadratic time; and only the
first thousand characters that become three or more are expanded. `livelog/web/viewer/folding.js`
does the same. Long texts are folded in pieces, since 64 KiB of some take many milliseconds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Literal

UNICODE = int(unicodedata.unidata_version.split(".")[0])
"""Version of the character tables: with another one, texts may be folded in another way."""

MAX_EXPANDED = 1000
"""Characters of a text that may become three or more; the others of them count as spaces."""

MAX_MARKS = 30
"""Marks in a row that count; in use are a few."""

_PIECE = 4096
"""Characters that are folded in one step, about: below a millisecond."""

_BASES = (
    r"\x00-\x7f\xc0-\u024f\u0391-\u0481\u05d0-\u05ea\u0620-\u063f\u0641-\u064a\u0904-\u0939"
    r"\u0e01-\u0e30\u1e00-\u1eff\u3000-\u3029\u3041-\u3096\u30a1-\u30fa\u3400-\u9fff"
    r"\uac00-\ud7a3\ue000-\uf8ff\uff01-\uff9d\U0001d400-\U0001d7cb\U0001f1e6-\U0001f64f"
    r"\U0001f680-\U0001f6ff\U0001f900-\U0001f9ff\U00020000-\U0003ffff"
)


@cache
def _cut() -> re.Pattern[str]:
    """Compile what finds a character before which text may be cut: none of these joins what stands
    before it."""
    return re.compile(f"[{_BASES}]")


_APART = "\ud800"
"""Half of a pair, which no text from JSON has; it joins and changes nothing beside it."""

_MOVING = "\u0345"
"""A mark that is folded to a letter, which its place must not change."""

_MAX_PASSES = 8  # no character takes more than three

_IGNORABLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Default_Ignorable_Code_Point of DerivedCoreProperties.txt, the same in Unicode 14 to 16."""

_HEBREW_POINTS = r"\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\ufb1e"
_ARABIC_POINTS = (
    # Without U+0653 to U+0655, the madda and hamza of which letters are composed.
    r"\u0610-\u061a\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8"
    r"\u06ea-\u06ed\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff"
)
_TATWEEL = r"\u0640"

_EXPANDING = (
    r"\xbc-\xbe\u0385\u0f77\u0f79\u1fc1-\u1fee\u2026\u2034\u2037\u2057\u2100-\u2189\u222d\u2230"
    r"\u2474-\u24b5\u2a0c\u2a74-\u2a76\u3200-\u33ff\ufb03\ufb04\ufb2c\ufb2d\ufc5e-\ufc63"
    r"\ufcf2-\ufcf4\ufd50-\ufdfc\ufe19\U0001d15e-\U0001d164\U0001d1bb-\U0001d1c0"
    r"\U0001f110-\U0001f12a\U0001f14e\U0001f240-\U0001f248"
)
"""The characters that become three or more, notes that become two, and some between them."""


_PLANE = 0x10000
_END = 2 * _PLANE
"""Behind it are ideographs, private use and what is not assigned."""

_UNIFORM = (
    ((0x100, 0x300), (0x1E00, 0x2000), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xAC00, 0xFB00)),
    ((0x12000, 0x12400), (0x13000, 0x13430), (0x17000, 0x18B00), (0x1D400, 0x1D7CC)),
)
"""Letters, ideographs, syllables, surrogates and private use of each plane: neither marks nor
symbols, in any version. The table of the others takes half the time."""


def _categories(plane: int) -> str:
    """Return the category of each character of a plane, in two letters."""
    found, first, end = list[str](), plane * _PLANE, (plane + 1) * _PLANE
    for start, stop in (*_UNIFORM[plane], (end, end)):
        found += map(unicodedata.category, map(chr, range(first, start)))
        found += ["--"] * (stop - start)
        first = stop
    return "".join(found)


@cache  # made with the first text that needs it: many processes never see one
def _class(plane: int) -> dict[str, str]:
    """Return the marks and the symbols of a plane, as what stands inside a `[]`."""
    table = _categories(plane)
    return {
        # Each begins with what is looked for, which is found ten times as fast.
        "M": "".join(_spans("M.(?:M.)*", table, plane)),
        "So": "".join(_spans("So(?:So)*", table, plane)),
    }


def _spans(pattern: str, table: str, plane: int) -> Iterator[str]:
    first = plane * _PLANE
    for found in re.finditer(pattern, table):
        yield f"{chr(first + found.start() // 2)}-{chr(first + found.end() // 2 - 1)}"


def of_category(name: Literal["M", "So"], end: int) -> str:
    """Return the characters of a Unicode category below `end`, that of a plane, for a `[]`."""
    return "".join(_class(plane)[name] for plane in range(end // _PLANE))


_EXPANDS = re.compile(f"[{_EXPANDING}]")
_IGNORED = re.compile(f"[{_IGNORABLE}]+")
_UNSEARCHED = re.compile(f"[{_IGNORABLE}{_HEBREW_POINTS}{_ARABIC_POINTS}{_TATWEEL}]+")
_DOT_OF_I = re.compile("(?<=[i\u1ecb\u012f\u1e2d])\u0307+")  # also of an i with a mark below
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


@cache  # compiled with the first text that needs it
def _long_run(end: int) -> re.Pattern[str]:
    """Compile what finds long runs of marks below `end`."""
    # Half-width sound marks are letters, but become marks.
    marks = of_category("M", end) + "\uff9e\uff9f"
    # Looked for at its first mark only; to count from every one takes many times as long.
    run = f"[{marks}](?<![{marks}].)[{marks}]{{{MAX_MARKS},}}"
    if end > _PLANE:  # most characters are not to be looked for in the list
        run = f"(?=[{of_category('M', _PLANE)}\uff9e\uff9f\U00010000-\U0001efff]){run}"
    return re.compile(run, re.DOTALL)


@cache
def _special() -> re.Pattern[str]:
    """Compile what finds all that the steps below look for, or that becomes it.

    Most scripts have none of it.
    """
    return re.compile(
        f"[\u0130{_IGNORABLE}{_TATWEEL}{_HEBREW_POINTS}{_ARABIC_POINTS}{_EXPANDING}"
        f"{of_category('M', _PLANE)}"
        "\ufb1d-\ufb4f\ufc5b-\ufdff\ufe70-\ufe7f\U00010000-\U0001f248]"
    )


Step = Callable[[str], str]


def normalized(text: str) -> str:
    """Return NFKC_Casefold of `text`: the form in which names are compared."""
    return text.lower() if text.isascii() else _folded(text, _without_ignorable)


def all_normalized(names: Sequence[str]) -> Generator[None, None, list[str]]:
    """Return the names of one message normalized, in steps.

    Of all of them together only so many characters expand.
    """
    if all(map(str.isascii, names)):
        return [name.lower() for name in names]
    return (yield from in_pieces(_APART.join(names), normalized)).split(_APART)


def searchable(text: str) -> str:
    """Return the form in which text is searched: without points, too."""
    return text.lower() if text.isascii() else _folded(text, _without_points)


def in_pieces(text: str, fold: Step) -> Generator[None, None, str]:
    """Return what `fold`, `normalized` or `searchable`, makes of `text`, in steps."""
    if len(text) <= _PIECE:
        return fold(text)
    text, start = _bounded(text), 0
    first = _composed if _MOVING in text else _same  # as for the whole
    found: list[str] = []
    while start < len(text):
        cut = _cut().search(text, start + _PIECE)
        end = cut.start() if cut else len(text)
        found.append(fold(first(text[start:end])))
        start = end
        yield
    return "".join(found)


def _folded(text: str, drop: Step) -> str:
    """Normalize, fold the case and drop, until nothing changes any more."""
    compose = _composed
    if _special().search(text):
        text = _bounded(text)
    else:
        compose, drop = _nfkc, _same
    if _MOVING in text:
        text = compose(text)
    text = drop(text.casefold())
    for _ in range(_MAX_PASSES):
        composed = compose(text)
        again = drop(composed.casefold())
        if again in (composed, text):  # folding the case takes some letters apart
            return composed
        text = again
    return composed


def _composed(text: str) -> str:
    """Return NFKC of `text`, with the first of the marks in long runs only."""
    # Two, since a class of characters is looked up in a table up to U+FFFF, and above in a list.
    long_run = _long_run(_END if _ASTRAL.search(text) else _PLANE)
    return _nfkc(long_run.sub(_beginning, text))


def _beginning(run: re.Match[str]) -> str:
    return run[0][:MAX_MARKS]


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _same(text: str) -> str:
    return text


def expanding(text: str) -> int:
    """Return the number of characters of `text` that may become three or more."""
    return 0 if text.isascii() else len(_EXPANDS.findall(text))


def _without_ignorable(text: str) -> str:
    return _IGNORED.sub("", text)


def _without_points(text: str) -> str:
    return _DOT_OF_I.sub("", _UNSEARCHED.sub("", text))


def _bounded(text: str) -> str:
    """Return `text` with spaces for most of the characters that grow, if there are very many."""
    beyond = next(islice(_EXPANDS.finditer(text), MAX_EXPANDED, None), None)
    if beyond is None:
        return text
    start = beyond.start()
    return text[:start] + _EXPANDS.sub(" ", text[start:])
