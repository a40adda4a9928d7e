"""Generated expressions of `where`, in JSON and as text, and messages with what they look for."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st

from livelog.index.paths import written
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

LARGE = [2**53 - 1, 2**53, 2**53 + 1, 2**63, -(2**53) - 1, 10**30, 1e300]
"""Numbers beyond those that a float has exactly, and next to them."""
LONG = ["r" * 64, "R" * 65, "\u00ad" * 65 + "Red", "é" * 1100]
"""Strings that are too long to be keys, and nearly so, before or after they are folded."""
ODD = ["n", "a=b", "x:true", 'q"u', "a.n", "\0\1", "", "my_id", "channel", "n" * 70]
"""Names of entries, with the signs that stand in keys."""

_own = st.sampled_from([5, 5.0, 7.5, -0.0, 0, True, False, "5", "true", "Red", "", *LARGE, *LONG])
_wanted = st.sampled_from([5, 7.5, 0, True, False, "5", "true", "Red", "RED", *LARGE, *LONG[:3]])
_beginnings = st.sampled_from(["r", "re", "5", "t", "r" * 64, "r" * 65])
_bounds = st.integers(-1, 9) | st.sampled_from([*LARGE, 7.5, -0.5])
_places = st.builds(
    lambda root, path: ".".join([root, *map(written, path)]),
    st.sampled_from(["metadata", "data", "event_data"]),
    st.sampled_from([["n"], ["n"], ["n", "n"]]) | st.sampled_from(ODD).map(lambda name: [name]),
)
_EXISTING = [
    *("metadata", "data", "metadata.n", "user_badge", "user_avatar", "channel", "participants"),
    *("participants.role", "participants.user_id", "status", "id", "content", "read", "author_id"),
]

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
    | _field(_places, "eq", _wanted)
    | _field(_places | st.sampled_from(["username", "content"]), "prefix", _beginnings)
    | _field(_places | st.sampled_from(_EXISTING), "exists", st.just(True))
    | _compared(_places | st.sampled_from(["guild_level", "status"]), _bounds)
    | _compared(st.sampled_from(["timestamp", "metadata.n"]), instants | dates)
)
findable = st.recursive(_found, trees, max_leaves=5)
"""Expressions that many of the messages below match."""

_lists = st.lists(_own | st.none(), max_size=3)
_n = (
    _own
    | st.sampled_from([None, [3, 8], [[5]], {"n": 5}, [], {}, [{"n": "Red"}, {"n": 2**53 + 1}]])
    | _lists
    | _lists.map(lambda values: {"n": [{"n": values}, values]})
)


def _with_n(message: Json, name: str, value: Any) -> Json:
    for free in ("metadata", "data", "event_data"):
        if free in message:
            message = {**message, free: {**message[free], name: value, "n": value}}
    return message


def with_values(messages: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Return the messages with an entry `n` of any kind in their free objects, and another."""
    dated = instants | dates
    return st.builds(_with_n, messages, st.sampled_from([*ODD, "status"]), _n | dated)


SYNTAX = ["AND", "OR", "NOT", "-", "(", ")", ":", "*", '"', "“", ",", "..", ">=", "\\", " ", "/"]
PIECES = ["a", "B", "50", "1e999", "channel", "metadata.x", "timestamp", "-15m", "2025-12-03", "é"]
texts = st.lists(st.sampled_from([*SYNTAX, *PIECES]), max_size=25).map("".join) | any_text
"""Any text at all, most of it nearly an expression."""

ORDINARY = [
    *(":)", "f(x)", "10:30", "http://x", "well-known", "foo.py:12", "std::x", "C:\\x"),
    *("dragon", "status:", "->", "--x", "-5", "a)", "🐉", "x=1", "(red", "don't"),
]
"""Tokens that are text, but for the parenthesis, which is one where the other is missing."""
