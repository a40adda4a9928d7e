"""The questions of `bench ask`: the kinds of them, how they are drawn, asked and answered."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import msgspec

from bench.corpus import CHANNELS
from bench.days import BEGIN, LEVELS, Days
from livelog.index.where.expression import Expression, Word, leaves
from livelog.index.where.parser import parse
from livelog.wire.timestamps import parse_moment, timestamp

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

    def over_two_days(self) -> Question:
        """Return the same in intervals so long that there are not too many of them."""
        return replace(self, interval=2 * self.interval)

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

    def agrees(self, other: Answer, question: Question) -> bool:
        """Tell whether both say the same; of a list that ends early, the last may share a place."""
        if question.limit:
            same = sorted(self.counts.values()) == sorted(other.counts.values())
        else:
            same = self.counts == other.counts
        return same and self.total == other.total

    def twice(self) -> Answer:
        """Return the answer where each message is there twice."""
        return Answer(2 * self.total, {place: 2 * n for place, n in self.counts.items()})


def target(question: Question, offset: int = 0) -> str:
    """Return the request target that asks a question; a page begins at `offset`."""
    if not question.is_analysis:
        page = {"where": question.where, "limit": PAGE, "offset": offset}
        return f"/api/history?{urlencode(page)}"
    asked = {
        "where": question.where,
        "group_by": question.group_by,
        "limit": question.limit,
        "interval_seconds": question.interval,
        "distinct": question.distinct,
    }
    return f"/api/analytics?{urlencode({name: value for name, value in asked.items() if value})}"


def answer(question: Question, body: bytes) -> Answer:
    """Return what the body of a response says."""
    found = msgspec.json.decode(body)
    total, counts = found["total_count"], dict[tuple[int, str], int]()
    if question.interval:
        for bucket in found["buckets"]:
            start = parse_moment(bucket["start"], "start")
            groups = bucket["groups"] if question.group_by else {"": bucket["distinct"]}
            counts |= {(start, value): count for value, count in groups.items()}
    elif question.group_by:
        counts = {(0, group["value"]): group["count"] for group in found["groups"]}
    return Answer(total, counts)


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


def types_per_minute(days: Days, dice: random.Random) -> Question:
    """Draw the end of the night from which on the whole day is counted."""
    begun = timestamp(BEGIN / 1000 + dice.randrange(60))
    return Question(f"timestamp:>={begun}", group_by="type", interval=60)


def most_active_users(days: Days, dice: random.Random) -> Question:
    [word] = _words(days, dice, 1)
    filters = f"channel:{dice.choice(CHANNELS)}", word, f"metadata.level:>={dice.randrange(30)}"
    return Question(f"type:user {dice.choice(filters)}", group_by="user_id", limit=20)


def users_per_hour(days: Days, dice: random.Random) -> Question:
    begun = timestamp(BEGIN / 1000 + dice.randrange(60))
    return Question(f"type:user timestamp:>={begun}", interval=3600, distinct="user_id")


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
    Kind("analyze: types per minute", types_per_minute),
    Kind("analyze: top 20 of 20,000 users", most_active_users),
    Kind("analyze: distinct users per hour", users_per_hour),
)
