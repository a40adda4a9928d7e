"""The questions of `bench ask`: the kinds of them, how they are drawn, asked and answered."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from bench.corpus import CHANNELS
from bench.days import LEVELS, Days
from livelog.index.where.expression import Expression, Word, leaves
from livelog.index.where.parser import parse

SEED = 12
PAGE = 100
NOW = 1_764_028_800.0
"""The time as of which expressions are parsed; none is relative to it."""


@dataclass(frozen=True)
class Question:
    """A search for a page, or an analysis if it counts by a field or in intervals."""

    where: str
    group_by: str = ""
    limit: int = 0
    interval: int = 0
    """Seconds."""
    distinct: str = ""

    @property
    def is_analysis(self) -> bool:
        """Tell whether to count and not to fetch a page."""
        return bool(self.group_by or self.interval)

    @property
    def node(self) -> Expression:
        """The tree of the expression."""
        return parse(self.where, NOW)

    @property
    def words(self) -> list[str]:
        """The words that are looked for."""
        return [leaf.word for leaf in leaves(self.node) if isinstance(leaf, Word)]


class Answer(msgspec.Struct):
    """Number of matches, and of an analysis the counts: by start of the interval and value."""

    total: int
    counts: dict[tuple[int, str], int] = {}
    """Microseconds, 0 without intervals; the value is "" where different ones are counted."""

    def ranked(self) -> list[int]:
        """Return the counts alone, without the names, as the last places may be shared."""
        return sorted(self.counts.values())


def target(question: Question) -> str:
    """Return the request target that asks a question."""
    return f"/api/history?{urlencode({'where': question.where, 'limit': PAGE})}"


def answer(question: Question, body: bytes) -> Answer:
    """Return what the body of a response says."""
    return Answer(msgspec.json.decode(body)["total_count"])


def several_terms(days: Days, dice: random.Random) -> Question:
    """Draw two to five terms, words as common as in speech and values of fields."""
    one, two, three = _words(days, dice, 3)
    channel, severity = dice.choice(CHANNELS), dice.choice(("info", "warning", "error"))
    return Question(
        dice.choice(
            [
                f"{one} {two} -{three}",
                f"{one} ({two} OR {three}) channel:{channel}",
                f"{one} OR {two} OR severity:{severity} -{three}",
                f"({one} OR {two}) -channel:{channel} -type:dm -{three}",
                f"channel:{channel} -{one}",
                f"{one} -(channel:{channel} OR {two}) (type:user OR type:raid)",
                f"server:main {one} -({two} {three}) -channel:{channel}",
                f"severity:{severity} OR channel:{channel} {one}",
            ]
        )
    )


def range_of_numbers(days: Days, dice: random.Random) -> Question:
    one, two = _words(days, dice, 2)
    low = dice.randrange(1, LEVELS)
    levels = dice.choice((f">={low}", f"{low}..{min(low + 10, LEVELS)}"))
    other = dice.choice((one, f"channel:{dice.choice(CHANNELS)}"))
    return Question(f"metadata.level:{levels} {other} {dice.choice((two, f'-{two}'))}")


def _words(days: Days, dice: random.Random, count: int) -> list[str]:
    drawn = dice.choices(days.corpus.words, cum_weights=days.corpus.weights, k=100)
    return list(dict.fromkeys(drawn))[:count]


@dataclass(frozen=True)
class Kind:
    """A kind of question: `draw` makes one."""

    name: str
    draw: Callable[[Days, random.Random], Question]

    def questions(self, days: Days, count: int) -> list[Question]:
        """Return the same questions each time."""
        dice = random.Random(SEED)
        return [self.draw(days, dice) for _ in range(count)]


KINDS = (
    Kind("where: up to 5 terms", several_terms),
    Kind("where: metadata.level, two terms", range_of_numbers),
)
