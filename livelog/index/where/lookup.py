"""Lookups: the parts of an expression that are answered without a message being read."""

from __future__ import annotations

from functools import cache
from typing import get_args

from livelog.auth.principal import AUTHORS
from livelog.index.terms import KEY_FIELDS, key
from livelog.index.where.expression import And, Equals, Expression, Leaf, Or, Range, Word, leaves
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.messages import TYPES, AnyMessage, MessageType
from livelog.wire.timestamps import parse_moment

_EVER = (-(2**63), 2**63)
_FOUND_BY = {
    **{field: name for field, name in KEY_FIELDS.items() if field not in KEY_FILTERS},
    "author_id": "user_id",
    "participants.user_id": "user_id",
    "participants.username": "username",
}
"""Field that is more than one of the filters → the filter that finds it."""


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


def term_of(leaf: Expression) -> str | None:
    """Return the term of the messages with this string in a field of the filters, else None.

    A literal is true of messages with a number, too.
    """
    if isinstance(leaf, Equals) and leaf.field in KEY_FILTERS:
        return key(leaf.field, leaf.value)
    return None


def required_term(leaf: Expression) -> str | None:
    """Return a term that every message with this condition has, and perhaps others; None without.

    Of the fields that are strings in every message that is also true of a literal.
    """
    if isinstance(leaf, Equals) and leaf.field in _FOUND_BY:
        return key(_FOUND_BY[leaf.field], leaf.value)
    return None if isinstance(leaf, Equals) and leaf.literal else term_of(leaf)


def requires_term(node: Expression) -> bool:
    """Tell whether every message has a term of the expression."""
    if isinstance(node, (And, Or)):
        every = all if isinstance(node, Or) else any
        return every(map(requires_term, node.items))
    return isinstance(node, Equals) and not node.literal and node.field in KEY_FILTERS


def times_of(leaf: Range) -> tuple[int, int]:
    """Return the first and the last microsecond of a range of timestamps."""
    first, last = _EVER
    for bound, distance in ((leaf.gte, 0), (leaf.gt, 1)):
        first = first if bound is None else parse_moment(str(bound), "") + distance
    for bound, distance in ((leaf.lte, 0), (leaf.lt, 1)):
        last = last if bound is None else parse_moment(str(bound), "") - distance
    return first, last


@cache
def types_with(root: str) -> frozenset[MessageType]:
    """Return the types of which a message may have a value in a field or a path from it."""
    if root == "type" or root in KEY_FILTERS:
        return frozenset(TYPES)
    if root == "author_id":
        return frozenset(name for name in TYPES if name in AUTHORS)
    kinds = (kind for kind in get_args(AnyMessage) if root in kind.__struct_fields__)
    return frozenset(kind.__struct_config__.tag for kind in kinds)
