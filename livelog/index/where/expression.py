"""The tree of an expression: conditions, and AND, OR and NOT over them.

The nodes are values: equal ones are one condition. A name of a field is in the form that
`fields.resolve` returns, a word in that of `text.split`, a value in the form in which the values of
its field are compared. The tags are for the way to the reading process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from msgspec import Struct

Bound: TypeAlias = int | float | str
"""A number, or a moment in the form that `format_moment` makes."""


class And(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """All of these; without any it is true of every message."""

    items: tuple[Expression, ...]


class Or(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Any of these."""

    items: tuple[Expression, ...]


class Not(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """All messages but those with this."""

    item: Expression


class Word(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A word that stands in the text, also inside a longer one."""

    word: str


class Begins(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Letters with which a word of the text begins."""

    begins: str


class Phrase(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Words that stand side by side in the text."""

    words: tuple[str, ...]


class Equals(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A field with this value."""

    field: str
    value: str
    literal: bool = False
    """True for a number, `true` or `false`: it stands for itself and for the string of its text."""


class Prefix(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A field with a string that begins so."""

    field: str
    prefix: str


class Exists(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A field that has a value."""

    field: str


class Range(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A field with a number, or a moment, on this side of a bound or between two."""

    field: str
    gt: Bound | None = None
    gte: Bound | None = None
    lt: Bound | None = None
    lte: Bound | None = None


Leaf: TypeAlias = Word | Begins | Phrase | Equals | Prefix | Exists | Range
Expression: TypeAlias = And | Or | Not | Leaf

ALL = And(())
"""The expression without a condition."""


def leaves(node: Expression) -> Iterator[Leaf]:
    """Iterate over the conditions in `node`."""
    if isinstance(node, Not):
        yield from leaves(node.item)
    elif isinstance(node, (And, Or)):
        for item in node.items:
            yield from leaves(item)
    else:
        yield node


def words_in(leaf: Leaf) -> int:
    """Return the number of words of the text that `leaf` asks for."""
    if isinstance(leaf, Phrase):
        return len(leaf.words)
    return isinstance(leaf, (Word, Begins))


def depth(node: Expression) -> int:
    """Return the greatest number of NOTs and parentheses around a condition of `node`."""
    return max(_depths(node, None), default=0)


def _depths(node: Expression, around: type[Expression] | None) -> Iterator[int]:
    own = level(type(node), around)
    if isinstance(node, Not):
        yield from (own + inner for inner in _depths(node.item, Not))
    elif isinstance(node, (And, Or)):
        yield own
        for item in node.items:
            yield from (own + inner for inner in _depths(item, type(node)))
    else:
        yield 0


def level(kind: type[Expression], around: type[Expression] | None) -> int:
    """Return 1 if a node of this kind is a NOT, or needs parentheses inside of one `around` it.

    AND binds closer than OR and needs none there.
    """
    if kind is Not:
        return 1
    return int(kind in (And, Or) and around is not None and (kind, around) != (And, Or))
