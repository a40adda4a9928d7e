"""The canonical form of an expression, and its text, which is read as the same expression again.

AND in AND and OR in OR are one, their items are sorted and occur once, NOT NOT is dropped. Nothing
is distributed, so that an expression never grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from livelog.index.text import written
from livelog.index.where.bounds import Counts, check_depth, check_length
from livelog.index.where.expression import (
    And,
    Begins,
    Bound,
    Equals,
    Exists,
    Expression,
    Leaf,
    Not,
    Or,
    Phrase,
    Prefix,
    Range,
    Word,
    depth,
    level,
)
from livelog.index.where.leaves import LITERALS
from livelog.index.where.values import QUOTES, is_number, number_text, quote

NEGATES = re.compile(rf"-(?=[^\W\d]|[(_{QUOTES}]|[^\x00-\x7f])(?!\s)")
"""Pattern of a `-` that is a NOT; before anything else it is text."""

_BARE_WORD = re.compile(rf"[^\s{QUOTES}()*/\\:-]+")
_BARE_VALUE = re.compile(r"\w(?:[\w@-]|\.(?!\.))*")
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_DAYS = {
    "gt": "T23:59:59.999999Z",
    "gte": "T00:00:00Z",
    "lt": "T00:00:00Z",
    "lte": "T23:59:59.999999Z",
}
"""Time of day of the bound for which a date stands, in each comparison."""


def finished(node: Expression) -> Expression:
    """Return the canonical form of `node`. Raises `RefusedError` where it is out of bounds."""
    node = canonical(node)
    Counts().add(node)
    check_depth(depth(node))
    check_length(text(node))
    return node


def canonical(node: Expression) -> Expression:
    """Return the canonical form of a tree whose leaves are in theirs."""
    if isinstance(node, Not):
        item = canonical(node.item)
        return item.item if isinstance(item, Not) else Not(item)
    if isinstance(node, (And, Or)):
        kind = type(node)
        items = _flat(kind, map(canonical, node.items))
        unique = sorted(dict.fromkeys(items), key=text)
        return unique[0] if len(unique) == 1 else kind(tuple(unique))
    return node


def _flat(kind: type[And | Or], items: Iterable[Expression]) -> Iterable[Expression]:
    for item in items:
        if isinstance(item, kind):
            yield from item.items
        else:
            yield item


def text(node: Expression) -> str:
    """Return `node` as text."""
    if isinstance(node, And):
        return " ".join(_inside(item, And) for item in node.items) or "*"
    if isinstance(node, Or):
        return _listed(node) or " OR ".join(_inside(item, Or) for item in node.items)
    if isinstance(node, Not):
        item = _inside(node.item, Not)
        return f"-{item}" if NEGATES.match(f"-{item}") else f"NOT {item}"
    return _leaf(node)


def _inside(node: Expression, around: type[Expression]) -> str:
    inner = text(node)
    grouped = not isinstance(node, Not) and level(type(node), around)
    return f"({inner})" if grouped and not _is_one_token(node) else inner


def _is_one_token(node: Expression) -> bool:
    return bool(_listed(node)) if isinstance(node, Or) else node == And(())


def _listed(node: Or) -> str:
    """Return `field:a,b` if all are values of one field, else ""."""
    fields, values = set[str](), list[str]()
    for item in node.items:
        if not isinstance(item, (Equals, Prefix)):
            return ""
        fields.add(item.field)
        values.append(_value(item))
    return f"{fields.pop()}:{','.join(values)}" if len(fields) == 1 else ""


def _leaf(leaf: Leaf) -> str:
    match leaf:
        case Word(word):
            return _word(word)
        case Begins(word):
            return f"{_word(word)}*"
        case Phrase(words):
            return quote(written(words))
        case Equals(field) | Prefix(field):
            return f"{field}:{_value(leaf)}"
        case Exists(field):
            return f"{field}:*"
        case Range():
            return f"{leaf.field}:{_range(leaf)}"


def _word(word: str) -> str:
    plain = written((word,))
    return plain if _BARE_WORD.fullmatch(plain) else quote(plain)


def _value(leaf: Equals | Prefix) -> str:
    if isinstance(leaf, Prefix):
        return f"{_bare(leaf.prefix)}*"
    return leaf.value if leaf.literal else _bare(leaf.value)


def _bare(value: str) -> str:
    """Return `value`, in quotes unless it is plainly a string without them."""
    plain = _BARE_VALUE.fullmatch(value) and value.lower() not in LITERALS
    return value if plain and not is_number(value) else quote(value)


def _range(leaf: Range) -> str:
    bounds = {name: getattr(leaf, name) for name in _SIGNS}
    texts = {name: _bound(name, bound) for name, bound in bounds.items() if bound is not None}
    if len(texts) == 1:
        [(name, bound)] = texts.items()
        return f"{_SIGNS[name]}{bound}"
    if leaf.field == "timestamp" and leaf.gte == leaf.lte:
        return str(leaf.gte)
    first, last = texts["gte"], texts["lte"]
    is_day = leaf.field == "timestamp" and first == last
    return first if is_day else f"{first}..{last}"


def _bound(name: str, bound: Bound) -> str:
    if not isinstance(bound, str):
        return number_text(bound)
    return bound.removesuffix(_DAYS[name])
