"""Generated expressions of `where`, in JSON and as text, and messages with what they look for."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st

from livelog.index.text import MAX_WORD, split
from livelog.index.where.fields import NAMES, ROOTS
from livelog.wire.timestamps import format_moment, microseconds
from tests.support.strategies import (
    WORDS,
    Json,
    any_text,
    channels,
    groups,
    ids,
    moments,
    names,
)

Document = dict[str, Any]

NOW = 1_764_763_200.0
"""Noon of 2025-12-03, in UTC."""

has_words = st.sampled_from(WORDS) | any_text.filter(
    lambda text: 0 < len(split(text)) < 4 and max(map(len, split(text))) <= MAX_WORD
)
bare = st.sampled_from(["a", "B_c", "x-1", "größe"])
quoted = any_text.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
paths = st.builds(
    lambda root, path: ".".join([root, *path]),
    st.sampled_from(ROOTS),
    st.lists(bare | quoted.filter(lambda text: not set(text) & set("“”„")), max_size=2),
)
fields = st.sampled_from([name for name in NAMES if name != "timestamp"]) | paths
numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
instants = moments.map(lambda moment: format_moment(microseconds(moment)))
dates = st.sampled_from(["2025-12-02", "2025-12-03", "2025-12-04"])
values = any_text | st.sampled_from(["50", "true", "1e5", "-15m", "Red Dragon", "a..b", "Ärger"])


def _ranges(name: str, low: Any, high: Any) -> Document:
    return {"field": name, "gte": min(low, high), "lte": max(low, high)}


def _compared(field: st.SearchStrategy[str], bound: st.SearchStrategy[Any]) -> Any:
    return st.builds(
        lambda name, operator, value: {"field": name, operator: value},
        field,
        st.sampled_from(["gt", "gte", "lt", "lte"]),
        bound,
    ) | st.builds(_ranges, field, bound, bound)


def _field(name: st.SearchStrategy[str], key: str, value: st.SearchStrategy[Any]) -> Any:
    return st.builds(lambda field, one: {"field": field, key: one}, name, value)


leaves = (
    st.builds(lambda key, text: {key: text}, st.sampled_from(["word", "begins"]), has_words)
    | st.builds(lambda text: {"phrase": text}, has_words)
    | _field(fields, "eq", values | numbers | st.booleans())
    | _field(fields, "prefix", values)
    | _field(fields, "exists", st.booleans())
    | _compared(fields, numbers)
    | _compared(st.just("timestamp") | paths, instants | dates)
)


def trees(inner: st.SearchStrategy[Document]) -> st.SearchStrategy[Document]:
    several = st.lists(inner, max_size=3)
    return (
        several.map(lambda items: {"and": items})
        | several.filter(bool).map(lambda items: {"or": items})
        | inner.map(lambda item: {"not": item})
    )


documents = st.recursive(leaves, trees, max_leaves=8)
"""Any expression in JSON that is taken."""

# Of the pools that messages are made of, so that there is something to find.
_found = (
    st.builds(
        lambda key, text: {key: text},
        st.sampled_from(["word", "begins"]),
        st.sampled_from(["dragon", "drag", "go", "red", "ragon"]),
    )
    | st.builds(lambda text: {"phrase": text}, st.sampled_from(["red dragon", "d dra", "go x"]))
    | _field(st.sampled_from(["user_id", "leader_id", "author_id", "metadata.user_id"]), "eq", ids)
    | _field(st.sampled_from(["username", "leader_name", "participants.username"]), "eq", names)
    | _field(st.sampled_from(["channel", "metadata.channel"]), "eq", channels)
    | _field(st.sampled_from(["raid_id", "data.raid_id"]), "eq", groups)
    | _field(st.just("type"), "eq", st.sampled_from(["user", "dm", "raid"]))
    | _field(st.sampled_from(["metadata.n", "data.n"]), "eq", st.sampled_from([5, True, "5"]))
    | _field(st.sampled_from(["username", "metadata.n", "content"]), "prefix", st.just("r"))
    | _field(
        st.sampled_from(["metadata", "metadata.n", "user_badge", "channel", "participants"]),
        "exists",
        st.just(True),
    )
    | _compared(st.sampled_from(["metadata.n", "data.n", "guild_level"]), st.integers(0, 9))
    | _compared(st.sampled_from(["timestamp", "metadata.n"]), instants | dates)
)
findable = st.recursive(_found, trees, max_leaves=5)
"""Expressions that many of the messages below match."""

_n = st.sampled_from([5, 5.0, 7.5, True, "5", "Red", None, [3, 8], [[5]], {"n": 5}, [], {}])


def _with_n(message: Json, value: Any) -> Json:
    for free in ("metadata", "data"):
        if free in message:
            message = {**message, free: {**message[free], "n": value}}
    return message


def with_values(messages: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Return the messages with an entry `n` of any kind in some of their free objects."""
    dated = instants | dates
    return st.builds(_with_n, messages, _n | dated)


SYNTAX = ["AND", "OR", "NOT", "-", "(", ")", ":", "*", '"', "“", ",", "..", ">=", "\\", " ", "/"]
PIECES = ["a", "B", "50", "1e999", "channel", "metadata.x", "timestamp", "-15m", "2025-12-03", "é"]
texts = st.lists(st.sampled_from([*SYNTAX, *PIECES]), max_size=25).map("".join) | any_text
"""Any text at all, most of it nearly an expression."""

ORDINARY = [
    *(":)", "f(x)", "10:30", "http://x", "well-known", "foo.py:12", "std::x", "C:\\x"),
    *("dragon", "status:", "->", "--x", "-5", "a)", "🐉", "x=1", "(red", "don't"),
]
"""Tokens that are text, but for the parenthesis, which is one where the other is missing."""
