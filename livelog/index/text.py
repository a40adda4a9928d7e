"""The only tokenizer: it splits text into words and tells when words of a query occur in it.

Text is folded first (see `folding`). A word is then one of

- a run of letters, digits and underscores, with their marks: vowel signs, accents and the like;
- a run of emoji and other pictographs; a flag is one by itself;
- a run of punctuation that stands alone between spaces, such as `:)`. Beside letters or emoji
  punctuation only separates.

Folded text keeps words apart by spaces and passages (one field of a message each) by a line break.
A word of a query occurs where it stands inside a word of the text; words in double quotes must
stand side by side in one passage, where punctuation that is not asked for does not separate them.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from functools import cache, lru_cache
from operator import contains
from typing import NamedTuple

import msgspec

from livelog.index.folding import in_pieces, of_category, searchable

Phrase = tuple[str, ...]
"""Words that stand together; a word on its own is a phrase of one."""

MAX_WORDS = 32
"""Maximum number of words in a query."""

MAX_WORD = 256
"""Maximum length of a word of a query, in characters of its folded form."""

_END = "\0"
"""Separates passages while they are folded, all at once; in a message it ends a passage, too."""

_SPACE = r"\s\x00-\x1f\x7f-\x9f"


_IDEOGRAPHS = r"\U00020000-\U0003ffff"  # known to this Python or not
_FLAGS = r"\U0001f1e6-\U0001f1ff"
# Private use too, where fonts have their icons, and emoji that are newer than this Python.
_NEWER_EMOJI = r"\ue000-\uf8ff\U0001f000-\U0001faff\U000f0000-\U0010ffff"


@cache  # compiled with the first text that needs it
def _words(end: int) -> re.Pattern[str]:
    """Compile what finds words in text without marks and symbols above `end`, but for emoji."""
    marks, emoji = of_category("M", end), _NEWER_EMOJI + of_category("So", end)
    return re.compile(
        r"(?!\s)(?:"  # not each of these at every space
        rf"(?:\w+|[{_IDEOGRAPHS}]\w*)(?:[{marks}{_IDEOGRAPHS}]+\w*)*"
        rf"|[{_FLAGS}]{{1,2}}"
        rf"|[{emoji}](?:(?![{_FLAGS}])[{emoji}{marks}])*"
        rf"|(?<![^{_SPACE}])[^\w{_SPACE}{emoji}{_IDEOGRAPHS}]+(?![^{_SPACE}])"
        rf"|{_END})"
    )


@cache
def _punctuation() -> re.Pattern[str]:
    """Compile what finds a character of punctuation."""
    return re.compile(rf"[^\w{_IDEOGRAPHS}{of_category('So', 0x20000)}{_NEWER_EMOJI}]")


_ASCII_WORD = re.compile(rf"\w+|(?<![^{_SPACE}])[^\w{_SPACE}]+(?![^{_SPACE}])|{_END}", re.ASCII)
_BEYOND_BASIC = re.compile(r"[\U00010000-\U0001efff\U0001fb00-\U0001ffff]")
_GAP = re.compile(r"\s")
"""Where a text may be cut: no word has one, and each is looked at beside itself alone."""
_PIECE = 4096
"""Characters in which words are looked for in one step, about: a millisecond."""
_ALONE = re.compile(rf"[^\w{_SPACE}](?<![^{_SPACE}].)[^\w{_SPACE}]*(?![^{_SPACE}])")
"""Punctuation between spaces in ASCII text; with the set first, a search skips to the next one."""


def _kind(char: str) -> str:
    if char == "_" or char.isalnum():
        return "w"
    return " " if re.match(f"[{_SPACE}]", char) else "."


_KINDS = "".join(map(_kind, map(chr, range(256)))).encode()
"""Letter, space or punctuation, of each byte of ASCII text, for `bytes.translate`."""


def _ascii(char: str) -> str:
    if char == _END:
        return "\n"
    return char.lower() if char.isalnum() or char == "_" else " "


_ASCII = "".join(_ascii(chr(code)) for code in range(128)).encode().ljust(256)
"""ASCII characters as they stand in folded text, for `bytes.translate`, which takes a quarter of
the time of `str.translate`."""

_EQUALS = "\uff1d"
"""Stands for `=` in words, since keys and n-grams of the index have that; never in folded text."""

_QUOTED_OR_WORD = re.compile(r'"([^"]*)"?|([^"\s]+)')


_OF_EACH_TABLE = "e\u0301 \U0001d165 \U00020000"


def prepare() -> None:
    """Make the tables for text beyond ASCII now, in 20 ms: a server's messages do not wait then."""
    for text in _OF_EACH_TABLE.split():
        split(text)
    _punctuation()


def split(text: str) -> list[str]:
    """Return the words of `text`, in order."""
    return fold([text]).split()


def written(phrase: Phrase) -> str:
    """Return `phrase` as a text of which `split` makes it again."""
    return " ".join(phrase).replace(_EQUALS, "=")


def fold(passages: Iterable[str]) -> str:
    """Fold the text of a message into the form that `occurs` searches."""
    steps = folding(passages)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found: str = stop.value
            return found


def folded_at_once(passages: Iterable[str]) -> str | None:
    """Fold the text of a message, if it is of the usual kind; None if `folding` has to."""
    text = _END.join(passages)
    if not text.isascii():
        return None
    data = text.encode()
    return None if _has_lone_punctuation(data, text) else data.translate(_ASCII).decode()


def folding(passages: Iterable[str]) -> Generator[None, None, str]:
    """Fold the text of a message as `fold` does, in steps if it is long."""
    passages = list(passages)
    plain = folded_at_once(passages)
    if plain is not None:
        return plain  # ten times as fast
    text = yield from in_pieces(_END.join(passages), searchable)
    words = yield from _words_of(text)
    return " ".join(words).replace(_END, "\n").replace("=", _EQUALS)


def _words_of(text: str) -> Generator[None, None, list[str]]:
    """Find the words of a text that went through `searchable`, in steps if it is long."""
    pattern, start = _pattern(text), 0
    words: list[str] = []
    while space := _GAP.search(text, start + _PIECE):
        words += pattern.findall(text, start, space.start())
        start = space.start()
        yield
    return words + pattern.findall(text, start)


def _has_lone_punctuation(data: bytes, text: str) -> bool:
    # Bytes are looked through six times as fast as with the pattern, which only some texts need.
    kinds = data.translate(_KINDS)
    if b"." not in kinds:
        return False
    return (kinds.startswith(b".") or b" ." in kinds) and _ALONE.search(text) is not None


def _pattern(text: str) -> re.Pattern[str]:
    if text.isascii():
        return _ASCII_WORD  # twice as fast
    # Two, since a class of characters is looked up in a table up to U+FFFF, and above in a list.
    return _words(0x20000 if _BEYOND_BASIC.search(text) else 0x10000)


def phrases(query: str) -> tuple[Phrase, ...]:
    """Return the phrases of `query`: quoted words together, all others on their own."""
    found: list[Phrase] = []
    for quoted, plain in _QUOTED_OR_WORD.findall(query):
        if quoted:
            found.append(tuple(split(quoted)))
        else:
            found.extend((word,) for word in split(plain))
    return tuple(dict.fromkeys(phrase for phrase in found if phrase))


def occurs(phrase: Phrase, folded: str) -> bool:
    """Tell whether `phrase` stands somewhere in text that went through `fold`."""
    for word in phrase:
        if word not in folded:
            return False
    if len(phrase) == 1:
        return True
    first, last = folded.find(phrase[0]), folded.rfind(phrase[-1])
    begun, end = _start_of_word(folded, first), last + len(phrase[-1])
    # The end of a passage becomes a word that no phrase has.
    return _side_by_side(phrase, folded[begun:end].replace("\n", f" {_END} ").split())


def _start_of_word(folded: str, at: int) -> int:
    return max(folded.rfind(" ", 0, at), folded.rfind("\n", 0, at)) + 1


def _side_by_side(phrase: Phrase, words: list[str]) -> bool:
    """Tell whether words in which those of `phrase` stand follow each other.

    The bits of `reached` tell how many words of `phrase` have been found up to here: all places at
    which it may have begun are followed at once, so that each word of the text is read once.
    """
    first, whole = phrase[0], 1 << len(phrase) - 1
    following = _following(phrase)
    start = here = _State(0)
    states = {0: start}
    for word in words:
        if here is start and first not in word:
            continue
        there = here.after.get(word)
        if there is None:
            reached = following.after(word, here.reached)
            if reached & whole:
                return True
            there = here.after[word] = states.setdefault(reached, _State(reached))
        here = there
    return False


class _State:
    """Places that are reached, and where each word of the text leads from there."""

    __slots__ = ("after", "reached")

    def __init__(self, reached: int) -> None:
        self.reached = reached
        self.after: dict[str, _State] = {}


@lru_cache(maxsize=4096)
def _is_punctuation(char: str) -> bool:
    return char != _END and _punctuation().match(char) is not None


_PLANS = 256
"""Sets of places in question that are kept for a phrase."""


class _Following:
    """The places of the words of a phrase, as bits, of which those in question are compared."""

    def __init__(self, phrase: Phrase) -> None:
        self._places: dict[str, int] = {}
        for place, part in enumerate(phrase):
            self._places[part] = self._places.get(part, 0) | 1 << place
        self._in_question: dict[int, list[tuple[str, int]]] = {}
        """Places in question → their parts, each with all its places."""

    def after(self, word: str, reached: int) -> int:
        """Return what is reached after one more word of the text."""
        found = reached if reached and _is_punctuation(word[0]) else 0  # to be passed over
        wanted = (reached << 1 | 1) & ~found
        parts = self._in_question.get(wanted)
        if parts is None:
            if len(self._in_question) == _PLANS:
                self._in_question.clear()
            parts = [one for one in self._places.items() if one[1] & wanted]
            self._in_question[wanted] = parts
        for part, at in parts:
            if part in word:
                found |= at & wanted
        return found


@lru_cache(maxsize=256)
def _following(phrase: Phrase) -> _Following:
    return _Following(phrase)


def may_occur(phrase: Phrase, json: bytes) -> bool:
    """Return False only if `phrase` does not stand in the text of this ASCII message.

    A search in its bytes takes a tenth of the time that decoding takes.
    """
    found = _in_json(phrase)
    if found is None:
        return False
    json = json.lower()
    for word in found.lone:
        if word not in json:
            return False
    return found.together is None or _may_follow(found.together, found.others, json)


class _InJson(NamedTuple):
    """A phrase as it stands in JSON."""

    lone: tuple[bytes, ...]
    """Words to be looked for one by one: punctuation, those that are not followed, the only one."""
    together: re.Pattern[bytes] | None
    """Finds words with the first one in them, and captures those behind; None if it is alone."""
    others: tuple[bytes, ...]
    """Words behind the first that follow each other."""


_BETWEEN = rb"(?>(?:[^0-9a-z_\\]+|\\(?:[^u]|u[0-9a-f]{4}))+)"
"""All that may stand between two words in JSON."""

_LOOKED_FOR = 4
"""Words of a phrase that are followed: an expression for 32 takes 20 ms to compile."""

_TRIED = 16
"""Words that are followed before the text has to be read: common ones may stand in each place."""

_FOLLOWED = 64 * 1024
"""Bytes that may be read for that, as the gap behind each of them may be nearly the whole text."""


@lru_cache(maxsize=1024)
def _in_json(phrase: Phrase) -> _InJson | None:
    """Return what finds `phrase` in ASCII messages; None when they cannot have it."""
    words = [word.replace(_EQUALS, "=") for word in phrase]
    if not all(map(str.isascii, words)):
        return None
    # Punctuation may be passed over, so that only the other words follow each other.
    letters = [word for word in words if not _is_punctuation(word[0])]
    punctuation = [word for word in words if word not in letters]
    lone = punctuation + letters[_LOOKED_FOR:] if len(letters) > 1 else words
    first, *others = [word.encode() for word in letters[:_LOOKED_FOR]] or [b""]
    following = rb"%b((?>\w*))" % _BETWEEN * len(others)
    # Matches at each first word, even if nothing follows: a search would begin again inside of it.
    together = re.compile(rb"%b(?>\w*)(?=%b|)" % (first, following)) if others else None
    escaped = [msgspec.json.encode(word)[1:-1] for word in lone]
    return _InJson(tuple(escaped), together, tuple(others))


def _may_follow(together: re.Pattern[bytes], others: tuple[bytes, ...], json: bytes) -> bool:
    most = max(1, min(_TRIED, _FOLLOWED // len(json)))
    for tried, found in enumerate(together.finditer(json), 1):
        behind = found[1]
        if behind and others[0] in behind and all(map(contains, found.groups(), others)):
            return True
        if tried == most:
            return True
    return False
