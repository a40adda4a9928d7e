"""Fields that an expression can name: their names, suggestions, and the values a message has there.

The names are those of the schema, of the other filters, which keep their meaning, `author_id`, and
paths into the free objects and the participants of a raid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple, get_args

from msgspec import UNSET

from livelog.auth.principal import AUTHORS
from livelog.index.paths import SEGMENT, is_id, written
from livelog.index.terms import FREE_FIELDS, KEY_FIELDS
from livelog.index.where.values import QUOTED, QUOTES, unquote
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.messages import AnyMessage, Participant, RaidMessage

Read = Callable[[AnyMessage], Iterable[Any]]
"""Return the values that a message has in a field; objects are values, too, lists are not."""

ROOTS = (*FREE_FIELDS, "participants")
"""The fields that paths go into."""


def _names() -> Iterator[str]:
    yield "type"
    for message in get_args(AnyMessage):
        yield from message.__struct_encode_fields__
    yield from KEY_FILTERS
    yield "author_id"


NAMES = tuple(dict.fromkeys(_names()))
"""All names but paths."""
_KNOWN = frozenset(NAMES)

NAME = rf"{SEGMENT}(?:\.(?:{SEGMENT}|{QUOTED}))*+"
"""Pattern of a name, for `re.DOTALL`."""

_SEGMENTS = re.compile(rf"{SEGMENT}|{QUOTED}", re.DOTALL)
_NAME = re.compile(NAME, re.DOTALL)

_SUGGESTED_FROM = 6
"""Letters of a known name from which it is suggested for one that differs in one."""
_TWO_FROM = 8
"""The same for two."""


class _Suggested(NamedTuple):
    """A name that is suggested, with its letters and the number of edits it is suggested for."""

    name: str
    letters: frozenset[str]
    edits: int


def _suggested(names: Iterable[str]) -> list[_Suggested]:
    long = [name for name in names if len(name) >= _SUGGESTED_FROM]
    return [_Suggested(name, frozenset(name), 1 + (len(name) >= _TWO_FROM)) for name in long]


_SUGGESTED, _PATHS_TO = _suggested(NAMES), _suggested(ROOTS)


def resolve(name: str) -> str | None:
    """Return the name of a field in its only form; None for an unknown one.

    Upper and lower case are equal in the first part, as it is a name of the schema.
    """
    if not _NAME.fullmatch(name):
        return None
    root, *path = _segments(name)
    root = root.lower()
    if not path:
        return root if root in _KNOWN else None
    return ".".join([root, *map(written, path)]) if root in ROOTS else None


def _segments(name: str) -> list[str]:
    found = _SEGMENTS.findall(name)
    return [unquote(segment) if segment[0] in QUOTES else segment for segment in found]


def compared_as_id(name: str) -> bool:
    """Tell whether the values of a field are compared byte for byte."""
    return is_id(_segments(name)[-1] if name[-1] in QUOTES else name.rpartition(".")[2])


def suggestion(name: str) -> str | None:
    """Return the known name that an unknown one is probably meant to be; None without one.

    Of a path, the first part is looked at. It comes from the schema, never from messages.
    """
    root, dot, rest = name.partition(".")
    near = None if is_path(name) else _near(root.lower(), _PATHS_TO if dot else _SUGGESTED)
    return near + dot + rest if near else None


def is_path(name: str) -> bool:
    """Tell whether a name begins as a path does; if it is unknown, something behind is wrong."""
    root, dot, _ = name.partition(".")
    return bool(dot) and root.lower() in ROOTS


def _near(name: str, known: Iterable[_Suggested]) -> str | None:
    best, fewest = None, 3
    for other, letters, most in known:
        # Each edit changes the length by one at most, and the set of letters by two.
        if abs(len(name) - len(other)) <= most and len(letters.symmetric_difference(name)) <= 4:
            edits = _edits(name, other, most)
            if edits <= most and edits < fewest:
                best, fewest = other, edits
    return best


def _edits(one: str, other: str, most: int) -> int:
    """Return how many letters to insert, drop, change or swap with the next make one the other.

    More than `most` are not counted to the end.
    """
    before, row = list[int](), list(range(len(other) + 1))
    for at, letter in enumerate(one):
        last, before, row = before, row, [at + 1]
        for place, wanted in enumerate(other):
            least = min(row[place] + 1, before[place + 1] + 1, before[place] + (letter != wanted))
            if at and place and letter == other[place - 1] and one[at - 1] == wanted:
                least = min(least, last[place - 1] + 1)
            row.append(least)
        if min(row) > most:
            break
    return min(row) if min(row) > most else row[-1]


def reader(name: str) -> Read:
    """Return what reads the values of a field, whose name `resolve` returned."""
    root, *path = _segments(name)
    if path:
        return lambda message: _reach(getattr(message, root, UNSET), path)
    if name == "type":
        return lambda message: (message.__struct_config__.tag,)
    if name == "author_id":
        return lambda message: _reach_first(message, AUTHORS.values())
    if name in KEY_FILTERS:
        return lambda message: _found_by(name, message)
    return lambda message: _reach(getattr(message, name, UNSET), ())


def _reach_first(message: AnyMessage, names: Iterable[str]) -> Iterator[Any]:
    return (getattr(message, name) for name in names if hasattr(message, name))


def _found_by(name: str, message: AnyMessage) -> Iterator[Any]:
    """Iterate over the values by which a filter of this name finds a message; see `terms`.

    Of a free object it looks at the entries, not into lists and objects in it.
    """
    for entry in _entries(name):
        value = getattr(message, entry, UNSET)
        if value is not UNSET:
            yield value
        for free in FREE_FIELDS:
            value = getattr(message, free, {}).get(entry)
            if not isinstance(value, (dict, list, tuple)):
                yield value
    if isinstance(message, RaidMessage) and name in Participant.__struct_fields__:
        for participant in message.participants:
            yield getattr(participant, name)


@cache
def _entries(name: str) -> tuple[str, ...]:
    return tuple(entry for entry, found_by in KEY_FIELDS.items() if found_by == name)


def _reach(value: Any, path: Iterable[str]) -> Iterator[Any]:
    """Iterate over what stands at the end of `path` from `value` on, in each element of a list."""
    reached = [value]
    for name in path:
        reached = [inner for one in _elements(reached) if (inner := _entry(one, name)) is not UNSET]
    return _elements(reached)


def _elements(values: Iterable[Any]) -> Iterator[Any]:
    """Iterate over values and, instead of a list, over all that is in it."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _elements(value)
        elif value is not UNSET:
            yield value


_IN_PARTICIPANTS = dict(
    zip(Participant.__struct_encode_fields__, Participant.__struct_fields__, strict=True)
)


def _entry(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name, UNSET)
    if isinstance(value, Participant) and name in _IN_PARTICIPANTS:
        return getattr(value, _IN_PARTICIPANTS[name])
    return UNSET
