"""The test of one message: what an expression means.

`matcher` makes a function of an expression once; it is then asked for each message. It is the rule
that live matching and the searches in memory and on disk must agree with.

Hundreds of expressions may be asked for each message that is published, so a message is decoded,
and each field is read, once for all of them, and conditions that cost little come first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, reduce
from operator import ge, gt, le, lt
from typing import Any, Generic, TypeVar

import msgspec

from livelog.index.folding import normalized
from livelog.index.terms import key, message_in, text_of_stored
from livelog.index.text import Phrase as Words
from livelog.index.text import may_occur, occurs
from livelog.index.where.expression import (
    And,
    Begins,
    Bound,
    Equals,
    Exists,
    Expression,
    Not,
    Or,
    Phrase,
    Prefix,
    Range,
    Word,
)
from livelog.index.where.fields import Read, compared_as_id, reader
from livelog.index.where.values import moment_of
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.messages import AnyMessage
from livelog.wire.record import Record
from livelog.wire.stubs import Stub
from livelog.wire.timestamps import parse_moment

Check = Callable[[Any], bool]
Bounded = Callable[[int | float], bool]
Asked = TypeVar("Asked")
Made = TypeVar("Made")

KEPT_FIELDS = ("type", "id", "timestamp")
"""Fields of a stub that conditions see."""

_COMPARE = {"gt": gt, "gte": ge, "lt": lt, "lte": le}


class _once(Generic[Made]):
    """Attribute that is made when it is first read.

    It is `functools.cached_property` without its lock, which takes longer than most attributes.
    """

    def __init__(self, make: Callable[[Any], Made]) -> None:
        self._make = make

    def __get__(self, subject: object, owner: type) -> Made:
        made = subject.__dict__[self._make.__name__] = self._make(subject)
        return made


class Subject:
    """A message as it is tested; what takes long is made once, when it is first needed."""

    keys: tuple[str, ...] | None = None
    """The terms by which filters find it, see `terms`; None where a field is read sooner."""

    def __init__(self, message: AnyMessage) -> None:
        self.message = message

    def may_have(self, words: Words) -> bool:
        """Tell whether words may stand side by side in the text, where that takes little time."""
        return True

    @_once
    def type(self) -> str:
        """The type of the message."""
        return str(self.message.__struct_config__.tag)

    @_once
    def _values(self) -> dict[str, tuple[Any, ...]]:
        return {}

    def values(self, field: str, read: Read) -> tuple[Any, ...]:
        """Return the values in a field, of which `read` is the reader."""
        found = self._values.get(field)
        if found is None:
            hidden = isinstance(self.message, Stub) and field not in KEPT_FIELDS
            found = self._values[field] = () if hidden else tuple(read(self.message))
        return found

    @_once
    def text(self) -> str:
        """All text that is searched, as `text.fold` makes it."""
        return text_of_stored(self.message)

    @_once
    def spaced(self) -> str:
        """The same with a space before each word."""
        return f" {self.text}".replace("\n", " ")

    @_once
    def time(self) -> int:
        """The timestamp in microseconds since 1970."""
        return parse_moment(self.message.timestamp or "", "timestamp")


class Recorded(Subject):
    """A record, whose message is decoded only for the fields that have no place in the record."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.type = record.type
        self.keys = record.keys
        self.text = record.text
        self.time = record.time

    @_once
    def message(self) -> AnyMessage:
        return message_in(self._record.payload)


class Stored(Subject):
    """A message as JSON, with its seq, which is decoded only where that is needed."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._is_ascii = payload.isascii()

    @_once
    def message(self) -> AnyMessage:
        return message_in(self._payload)

    def may_have(self, words: Words) -> bool:
        """Tell it by the bytes."""
        return not self._is_ascii or may_occur(words, self._payload)


Test = Callable[[Subject], bool]

_TESTS = 64
"""Tests that are kept to be shared; each of them may take 20 KB."""


def matches(node: Expression, message: AnyMessage) -> bool:
    """Tell whether `message`, which has a timestamp, is one that the expression asks for."""
    return matcher(node)(Subject(message))


@lru_cache(_TESTS)
def matcher(node: Expression) -> Test:
    """Compile an expression to the test of a message; equal ones soon after share it."""
    return _matcher(node)


def _matcher(node: Expression) -> Test:
    match node:
        case And(items):
            tests = map(_matcher, sorted(items, key=_cost))
            return reduce(_both, tests) if items else _always
        case Or(items):
            return reduce(_either, map(_matcher, sorted(items, key=_cost)))
        case Not(item):
            test = _matcher(item)
            return lambda subject: not test(subject)
        case Word(word):
            alone = (word,)
            return lambda subject: subject.may_have(alone) and word in subject.text
        case Begins(begins):
            alone, spaced = (begins,), f" {begins}"
            return lambda subject: subject.may_have(alone) and spaced in subject.spaced
        case Phrase(words):
            return lambda subject: subject.may_have(words) and occurs(words, subject.text)
        case Equals("type", value, False):
            return lambda subject: subject.type == value
        case Equals(field, value, False) if field in KEY_FILTERS:
            term, is_read = key(field, value), _any_value(node)
            return lambda subject: (
                is_read(subject) if subject.keys is None else term in subject.keys
            )
        case Range("timestamp"):
            between = _in_range(node)
            return lambda subject: between(subject.time)
        case Equals() | Prefix() | Exists() | Range():
            return _any_value(node)


_COSTS: dict[type[Expression], int] = {
    Word: 1,
    Begins: 2,
    Prefix: 3,
    Exists: 3,
    Range: 3,
    Phrase: 4,
}
"""Cost of a condition, compared with that of a term of a record."""


def _cost(node: Expression) -> int:
    match node:
        case And(items) | Or(items):
            return max(map(_cost, items), default=0)
        case Not(item):
            return _cost(item)
        case Equals(field, _, literal):
            return _COSTS[Prefix] * (literal or (field != "type" and field not in KEY_FILTERS))
        case Range("timestamp"):
            return 0
    return _COSTS[type(node)]


def _both(one: Callable[[Asked], bool], other: Callable[[Asked], bool]) -> Callable[[Asked], bool]:
    return lambda asked: one(asked) and other(asked)


def _either(one: Test, other: Test) -> Test:
    return lambda subject: one(subject) or other(subject)


def _always(subject: Subject) -> bool:
    return True


def _any_value(leaf: Equals | Prefix | Exists | Range) -> Test:
    """Return the test whether one of the values of a field passes the test of a value."""
    field, read, check = leaf.field, reader(leaf.field), _check(leaf)
    return lambda subject: any(map(check, subject.values(field, read)))


def _check(leaf: Equals | Prefix | Exists | Range) -> Check:
    """Return the test of one value of a field."""
    match leaf:
        case Equals():
            return _equals(leaf)
        case Prefix(field, prefix):
            compared = _compared(field)
            return lambda value: isinstance(value, str) and compared(value).startswith(prefix)
        case Exists():
            return _holds
        case Range():
            return _is_in_range(leaf)


def _compared(field: str) -> Callable[[str], str]:
    return str if compared_as_id(field) else normalized


def _equals(leaf: Equals) -> Check:
    compared, text = _compared(leaf.field), leaf.value
    if not leaf.literal:
        return lambda value: isinstance(value, str) and compared(value) == text
    wanted = msgspec.json.decode(text)
    # In Python 1 is True, in JSON it is not.
    return lambda value: (
        compared(value) == text
        if isinstance(value, str)
        else value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
    )


def _holds(value: Any) -> bool:
    """Tell whether a value is there: not null, and no object or list without any."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, (list, tuple)):
            left += one
        elif one is not None:
            return True
    return False


def _is_in_range(leaf: Range) -> Check:
    holds = _in_range(leaf)
    if _is_of_moments(leaf):
        return lambda value: (
            isinstance(value, str) and (moment := moment_of(value)) is not None and holds(moment)
        )
    return lambda value: (
        isinstance(value, (int, float)) and not isinstance(value, bool) and holds(value)
    )


def _is_of_moments(leaf: Range) -> bool:
    return any(isinstance(bound, str) for bound in (leaf.gt, leaf.gte, leaf.lt, leaf.lte))


def _in_range(leaf: Range) -> Bounded:
    """Return the test of a number, or of a moment in microseconds."""
    bounds = [
        _bounded(compare, _comparable(bound))
        for name, compare in _COMPARE.items()
        if (bound := getattr(leaf, name)) is not None
    ]
    return reduce(_both, bounds)


def _bounded(compare: Callable[[Any, Any], bool], bound: int | float) -> Bounded:
    return lambda value: compare(value, bound)


def _comparable(bound: Bound) -> int | float:
    return parse_moment(bound, "") if isinstance(bound, str) else bound
