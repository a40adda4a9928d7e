"""Lookups: how the keys and numbers of a message tell whether a condition holds, or may hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import inf, nextafter
from typing import Any, NamedTuple, get_args

import msgspec

from livelog.auth.principal import AUTHORS
from livelog.index.paths import MAX_VALUE, boolean_key, cut, long_key
from livelog.index.terms import FREE_FIELDS, UNINDEXED, as_float, found_as, key
from livelog.index.where.expression import (
    And,
    Equals,
    Exists,
    Expression,
    Leaf,
    Not,
    Or,
    Prefix,
    Range,
    Word,
    leaves,
)
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.messages import TYPES, AnyMessage, MessageType
from livelog.wire.timestamps import parse_moment

_EVER = (-(2**63), 2**63)
EXACT = 2**53
"""Below it, every integer is a float."""

_HAS_OWN_RULE = ("type", *UNINDEXED)

Terms = frozenset[str]


def is_quick(node: Expression) -> bool:
    """Tell whether type, keys and time of a message decide, which a record has."""
    return all(_is_in_record(leaf) for leaf in leaves(node))


def is_indexed(node: Expression) -> bool:
    """Tell whether posting lists decide."""
    return all(isinstance(leaf, Word) or _is_in_record(leaf) for leaf in leaves(node))


def _is_in_record(leaf: Leaf) -> bool:
    if isinstance(leaf, Equals):
        return not leaf.literal and (leaf.field == "type" or leaf.field in KEY_FILTERS)
    return isinstance(leaf, Range) and leaf.field == "timestamp"


def term_of(leaf: Leaf) -> str | None:
    """Return the term that decides whether a message has this string, where one does."""
    if isinstance(leaf, Equals) and not leaf.literal and leaf.field in KEY_FILTERS:
        return key(leaf.field, leaf.value)
    return None


def required(
    node: Expression, of_leaf: Callable[[Leaf], Terms | None], rank: Callable[[Terms], Any] = len
) -> Terms | None:
    """Return terms of which every message with this condition has one; None without such terms.

    Of several such sets it is that with the lowest rank.
    """
    match node:
        case And(items):
            each = (terms for item in items if (terms := required(item, of_leaf, rank)) is not None)
            return min(each, key=rank, default=None)
        case Or(items):
            known = [required(item, of_leaf, rank) for item in items]
            return None if None in known else Terms().union(*filter(None, known))
        case Not():
            return None
        case _:
            return of_leaf(node)


def required_terms(leaf: Leaf) -> Terms | None:
    """Return keys, and `number_term`s, of which every message with this condition has one, so that
    it need not be asked for the others; None without.
    """
    if not isinstance(leaf, (Equals, Range)) or leaf.field in _HAS_OWN_RULE:
        return None
    if (term := term_of(leaf)) is not None:
        return Terms([term])
    is_of_numbers = spans_of(leaf) is not None
    if isinstance(leaf, Range) and not is_of_numbers:
        return None
    found = Terms(cuts(leaf.field))
    for name, _ in names_of(leaf):
        if is_of_numbers:
            found |= {number_term(name)}
        if isinstance(leaf, Equals):
            found |= {*equal_keys(leaf, name), *doubts(leaf, name)}
    return found


def number_term(path: str) -> str:
    """Return the term of the messages with a number at a path; no key has this form."""
    return f"{path}>"


class Name(NamedTuple):
    """A name under which the values of a field are found, in messages of some types."""

    name: str
    types: frozenset[MessageType] | None


def names_of(leaf: Equals | Prefix | Exists | Range) -> list[Name]:
    """Return the names under which the values of a field are found.

    For a condition on its existence also those of the paths in it.
    """
    own, inside = leaf.field, f"{leaf.field}."
    others = [
        Name(*other)
        for field, other in found_as().items()
        if field == own or (isinstance(leaf, Exists) and field.startswith(inside))
    ]
    return [Name(own, None), *others]


def equal_keys(leaf: Equals, name: str) -> list[str]:
    """Return the keys of messages with this value."""
    found = [f"{name}={leaf.value}"]
    if leaf.literal and number_of(leaf) is None:
        found.append(boolean_key(name, leaf.value == "true"))
    return found


def doubts(leaf: Equals | Prefix | Exists | Range, name: str) -> list[str]:
    """Return the keys of messages for which other keys do not decide."""
    if isinstance(leaf, Exists) or (
        isinstance(leaf, Equals) and name not in KEY_FILTERS and len(leaf.value) <= MAX_VALUE
    ):
        return []
    return [long_key(name)]


def cuts(field: str) -> list[str]:
    """Return the keys of messages in which the field may have values without keys."""
    root = field.partition(".")[0]
    return [cut(name) for name in FREE_FIELDS if name == root or field in KEY_FILTERS]


class Spans(NamedTuple):
    """First and last of the numbers for which a condition holds, and of those for which it may."""

    sure: tuple[float, float]
    maybe: tuple[float, float]


def number_of(leaf: Equals) -> int | float | None:
    """Return the number that a literal stands for; None for a boolean."""
    value: int | float | bool = msgspec.json.decode(leaf.value)
    return None if isinstance(value, bool) else value


def spans_of(leaf: Range | Equals) -> Spans | None:
    """Return where the numbers lie; None if a condition is not about numbers.

    Of integers beyond 2**53 only the nearest float is known.
    """
    if isinstance(leaf, Equals):
        value = number_of(leaf) if leaf.literal else None
        leaf = Range(leaf.field, gte=value, lte=value)
    if has_moments(leaf) or leaf == Range(leaf.field):
        return None
    low_sure, low = _bound(leaf.gte, leaf.gt, inf)
    high_sure, high = _bound(leaf.lte, leaf.lt, -inf)
    return Spans((low_sure, high_sure), (low, high))


def _bound(included: Any, excluded: Any, inside: float) -> tuple[float, float]:
    """Return the bounds of what holds for sure and of what may, which lie towards `inside`."""
    if included is None and excluded is None:
        return -inside, -inside
    given = as_float(excluded if included is None else included)
    behind = nextafter(given, inside)
    if abs(given) >= EXACT:
        return behind, given
    return (given, given) if excluded is None else (behind, behind)


def has_moments(leaf: Range) -> bool:
    """Tell whether a range is one of moments."""
    return any(isinstance(bound, str) for bound in (leaf.gt, leaf.gte, leaf.lt, leaf.lte))


def times_of(leaf: Range) -> tuple[int, int]:
    """Return the first and the last microsecond of a range of timestamps."""
    first, last = _EVER
    for bound, distance in ((leaf.gte, 0), (leaf.gt, 1)):
        first = first if bound is None else parse_moment(str(bound), "") + distance
    for bound, distance in ((leaf.lte, 0), (leaf.lt, 1)):
        last = last if bound is None else parse_moment(str(bound), "") - distance
    return first, last


def types_named(leaf: Equals | Prefix | Exists | Range) -> list[MessageType]:
    """Return the types for which a condition on the type holds."""
    match leaf:
        case Equals(_, value):
            return [name for name in TYPES if name == value]
        case Prefix(_, prefix):
            return [name for name in TYPES if name.startswith(prefix)]
        case Exists():
            return list(TYPES)
        case Range():
            return []


@cache
def types_with(root: str) -> frozenset[MessageType]:
    """Return the types of which a message may have a value in a field or a path from it."""
    if root == "type" or root in KEY_FILTERS:
        return frozenset(TYPES)
    if root == "author_id":
        return frozenset(name for name in TYPES if name in AUTHORS)
    kinds = (kind for kind in get_args(AnyMessage) if root in kind.__struct_fields__)
    return frozenset(kind.__struct_config__.tag for kind in kinds)


@cache
def is_always_there(field: str) -> bool:
    """Tell whether all messages of the types that have a field have a value in it."""
    if field in ("author_id", "id", "timestamp"):
        return True
    kinds = [msgspec.structs.fields(kind) for kind in get_args(AnyMessage)]
    found = [one.default for fields in kinds for one in fields if one.name == field]
    is_scalar = field not in (*KEY_FILTERS, *FREE_FIELDS, "participants")
    return is_scalar and bool(found) and None not in found
