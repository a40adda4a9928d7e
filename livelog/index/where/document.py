"""The JSON form of an expression, for programs that build one.

    {"and": […]}  {"or": […]}  {"not": …}  {"word": …}  {"begins": …}  {"phrase": …}
    {"field": NAME, "eq" | "prefix" | "gt" | "gte" | "lt" | "lte" | "exists": …}

A range has `gte` and `lte` in one object, so that one element of a list must be between them. `eq`
with a number, true or false is the text without quotes, with a string the text in quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from livelog.index.text import written
from livelog.index.where import leaves
from livelog.index.where.bounds import (
    MAX_LEAVES,
    MAX_LENGTH,
    Placed,
    check_depth,
    check_length,
    refused,
)
from livelog.index.where.canonical import finished
from livelog.index.where.expression import (
    And,
    Begins,
    Equals,
    Exists,
    Expression,
    Not,
    Or,
    Phrase,
    Prefix,
    Range,
    Word,
    level,
)
from livelog.index.where.values import ONE_BOUND, Number, Span, whole

_KINDS: dict[str, type[Expression]] = {"and": And, "or": Or, "not": Not}
_TEXTS: dict[str, Callable[[str], Expression]] = {
    "word": leaves.words,
    "begins": leaves.begins,
    "phrase": leaves.phrase,
}
_COMPARISONS = ("gt", "gte", "lt", "lte")
_FORMS = [
    *(f'{{"{name}": [...]}}' for name in ("and", "or")),
    '{"not": ...}',
    *(f'{{"{name}": "..."}}' for name in _TEXTS),
    *(f'{{"field": "...", "{name}": ...}}' for name in ("eq", "prefix", *_COMPARISONS, "exists")),
]


def from_json(document: Any, now: float) -> Expression:
    """Return the canonical form of an expression in JSON, already decoded, that arrived at `now`.

    Raises `RefusedError` that says what is wrong, what is allowed, and at which path.
    """
    with Placed(path=""):
        _check_bounds(document)
        return finished(_node(document, "", now))


def _check_bounds(document: Any) -> None:
    """Check length and depth without recursion, and in the time that an allowed one takes."""
    found, strings = 0, ""
    left: list[tuple[Any, int, type[Expression] | None]] = [(document, 0, None)]
    while left:
        node, depth, around = left.pop()
        name, inner = _only(node)
        kind = _KINDS.get(name)
        if kind is None:
            found += 1
            strings += "".join(_strings(node))
        else:
            depth += level(kind, around)
            items = inner if isinstance(inner, list) else [inner]
            left += [(item, depth, kind) for item in items[: MAX_LEAVES + 1]]
            found += not items
        check_depth(depth)
        if len(strings) > MAX_LENGTH:
            break
        if found > MAX_LEAVES:
            raise refused("has too many conditions", f"at most {MAX_LEAVES} conditions")
    check_length(strings)


def _only(node: Any) -> tuple[str, Any]:
    """Return name and value of the only entry of `node`; "" and None if it has not just one."""
    if isinstance(node, dict) and len(node) == 1:
        [(name, value)] = node.items()
        return name, value
    return "", None


def _strings(node: Any) -> Iterator[str]:
    values = node.values() if isinstance(node, dict) else [node]
    return (value for value in values if isinstance(value, str))


def _node(node: Any, path: str, now: float) -> Expression:
    with Placed(path=path):
        name, value = _only(node)
        if name in ("and", "or"):
            if not isinstance(value, list) or (name == "or" and not value):
                raise refused(f'"{name}" takes a list of expressions', _FORMS)
            items = [
                _node(item, _below(path, f"{name}[{at}]"), now) for at, item in enumerate(value)
            ]
            return And(tuple(items)) if name == "and" else Or(tuple(items))
        if name == "not":
            return Not(_node(value, _below(path, "not"), now))
        if name in _TEXTS:
            return _TEXTS[name](_string(value, name))
        return _field(node, now)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _string(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise refused(f'"{name}" takes a string', f'{{"{name}": "..."}}')
    return value


def _field(node: Any, now: float) -> Expression:
    if not isinstance(node, dict) or "field" not in node:
        raise refused("is no expression", _FORMS)
    field = leaves.named(_string(node["field"], "field"))
    match [(name, value) for name, value in node.items() if name != "field"]:
        case [("eq", value)]:
            return _equals(field, value, now)
        case [("prefix", value)]:
            return leaves.prefix(field, _string(value, "prefix"))
        case [("exists", bool(value))]:
            return leaves.exists(field, value)
        case [(name, value)] if name in _COMPARISONS:
            return leaves.compare(field, name, _bound(value, now))
        case [_, _] if "gte" in node and "lte" in node:
            return leaves.between(field, _bound(node["gte"], now), _bound(node["lte"], now))
    raise refused(f"'{field}' has no comparison, or several, or an unknown one", _FORMS)


def _equals(field: str, value: Any, now: float) -> Expression:
    if isinstance(value, str):
        return leaves.equals(field, value, now)
    if isinstance(value, bool):
        return leaves.equals_literal(field, value)
    if _is_number(value):
        return leaves.equals_literal(field, whole(value))
    raise refused('"eq" takes a string, a number, true or false', '{"field": "...", "eq": 50}')


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _bound(value: Any, now: float) -> Number | Span:
    if _is_number(value):
        return whole(value)
    bound = leaves.bound_in(value, now) if isinstance(value, str) else None
    if not isinstance(bound, Span):  # a number in a string is a string
        raise refused(f"{value!r:.40} is no number and no moment", ONE_BOUND)
    return bound


def to_json(node: Expression) -> dict[str, Any]:
    """Return an expression in its JSON form, to be encoded."""
    match node:
        case And(items):
            return {"and": [to_json(item) for item in items]}
        case Or(items):
            return {"or": [to_json(item) for item in items]}
        case Not(item):
            return {"not": to_json(item)}
        case Word(word):
            return {"word": written((word,))}
        case Begins(word):
            return {"begins": written((word,))}
        case Phrase(words):
            return {"phrase": written(words)}
        case Equals(field, value, literal):
            return {"field": field, "eq": msgspec.json.decode(value) if literal else value}
        case Prefix(field, prefix):
            return {"field": field, "prefix": prefix}
        case Exists(field):
            return {"field": field, "exists": True}
        case Range(field):
            bounds = {name: getattr(node, name) for name in _COMPARISONS}
            given = {name: bound for name, bound in bounds.items() if bound is not None}
            return {"field": field, **given}
