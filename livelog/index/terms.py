"""Terms of a message: the keys and the text by which filters and searches find it.

`terms` is the only place that knows which field of which type a filter or a search looks at: the
index in memory, the index on disk and live matching all use it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from itertools import repeat
from math import isfinite
from operator import add
from typing import Any, Final, NamedTuple, get_args

from livelog.auth.principal import AUTHORS
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.folding import MAX_EXPANDED, all_normalized, expanding, normalized
from livelog.index.paths import (
    MAX_NAME,
    MAX_VALUE,
    Place,
    below,
    boolean_key,
    cut,
    is_id,
    long_key,
    place,
)
from livelog.index.text import Phrase, fold, folded_at_once, folding, may_occur, occurs
from livelog.wire import stubs
from livelog.wire.messages import AnyMessage, MessageType, RaidMessage, decoder
from livelog.wire.stubs import Stub

MAX_DEPTH = 32
"""Maximum nesting of a free object."""

MAX_VALUES = 20_000
"""Maximum number of values in a free object, its lists and objects and all that is in them."""

KEY_FIELDS = {
    "user_id": "user_id",
    "from_user_id": "user_id",
    "to_user_id": "user_id",
    "leader_id": "user_id",
    "member_id": "user_id",
    "username": "username",
    "from_username": "username",
    "leader_name": "username",
    "member_name": "username",
    "channel": "channel",
    "server": "server",
    "event": "event",
    "severity": "severity",
    "status": "status",
    "raid_id": "raid_id",
    "party_id": "party_id",
    "guild_id": "guild_id",
}
"""Field of a message, or entry of a free object → the filter that finds it. `user_id` finds
everyone a message involves."""

FREE_FIELDS = ("metadata", "data", "event_data")
"""Fields that hold free objects."""

UNINDEXED = ("id", "timestamp", "content", "user_avatar")
"""Fields without keys: nearly every value is another one."""

_ONLY_FIELDS: dict[tuple[MessageType, str], str] = {
    ("dm", "from_user_id"): "author_id",
    ("dm", "from_username"): "username",
    ("raid", "participants.user_id"): "user_id",
    ("raid", "participants.username"): "username",
}
"""Type and field → the other name under which no other field of that type is found."""

MAX_KEYS = 128
"""Values of a free object that have keys: more would be more than one message may cost."""

_ONLY_ENTRIES = frozenset(KEY_FIELDS.values()) - {"user_id", "username"}
"""Entries of free objects, none of which is found under the name of another; see `found_as`."""

REDACTED = "redacted="
"""First key of a stub. No field has this name, so no filter finds it."""

_ID_KEYS = frozenset(
    f"{name}="
    for name in (*KEY_FIELDS.values(), "author_id", "reader")
    if is_id(name) or name == "reader"
)
_READER = "reader="
_ROOTS = {name: place(name, name) for name in FREE_FIELDS}
_ROLE, _CLASS = place("participants.role", "role"), place("participants.class", "class")
_ELEMENT: Final = object()
"""Stands for the name of an element of a list."""

_MAX_FOLDED = 1024
"""Characters of the longest string that is folded to be a key."""

_SEARCHED_FREE_FIELDS = ("data", "event_data")
_TEXT_FIELDS = (
    "content",
    "username",
    "from_username",
    "raid_name",
    "boss_name",
    "leader_name",
    "guild_name",
    "event",
)


class Terms(NamedTuple):
    """Keys, text and numbers of a message."""

    keys: tuple[str, ...]
    """`field=value` for every filter field the message has a value for, and keys for all other
    fields and paths: see `paths`."""
    text: str
    """All text that is searched, folded by `fold`."""
    numbers: tuple[tuple[str, float], ...] = ()
    """Path and value of every number; of integers beyond 2**53 the nearest float."""


class _Found:
    """Terms of a message, as far as they have been found."""

    __slots__ = ("keys", "named", "names", "numbers")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.numbers: list[tuple[str, float]] = []
        # Names beyond ASCII, which are normalized together.
        self.named: list[str] = []
        """Beginnings of the keys of the names."""
        self.names: list[str] = []

    def note_filter(self, start: str, value: str) -> None:
        """Note a value that a filter finds, whatever its length; `start` begins its key."""
        if start in _ID_KEYS:
            self.keys.append(start + value)
        else:
            self.note_name(start, value)

    def note_name(self, start: str, value: str) -> None:
        """Note such a value that is no id."""
        if value.isascii():
            self.keys.append(start + value.lower())
        else:
            self.named.append(start)
            self.names.append(value)

    def note(self, place: Place, value: Any) -> bool:
        """Note a value that is no object and no list; False if it has no key."""
        kind = type(value)
        if kind is str:
            if value.isascii():
                compared = value if place.is_id else value.lower()
            elif len(value) > _MAX_FOLDED:
                return False
            else:
                compared = value if place.is_id else normalized(value)
            known = len(compared) <= MAX_VALUE
            self.keys.append(place.string + compared if known else place.long)
        elif kind is int or kind is float:
            self.numbers.append((place.path, as_float(value)))
        elif kind is bool:
            self.keys.append(boolean_key(place.path, value))
        else:
            return False
        return True

    def normalizing(self) -> Generator[None, None, None]:
        """Note the keys of the names, in steps if these are long."""
        self.keys += map(add, self.named, (yield from all_normalized(self.names)))
        if expanding("".join(self.names)) > MAX_EXPANDED:
            # Each name alone would have been expanded further.
            self.keys += [long_key(start[:-1]) for start in self.named]


def key(field: str, value: str) -> str:
    """Return the term for `value` in `field`.

    Ids are compared byte for byte: two that look alike are two users. All other values are
    compared as `folding.normalized` makes them.
    """
    return f"{field}={value if is_id(field) else normalized(value)}"


def reader(user_id: str) -> str:
    """Return the term of the direct messages that a user may read: those from and to this id.

    No field has this name, so nothing that a message says makes it.
    """
    return f"{_READER}{user_id}"


def is_redacted(keys: Sequence[str]) -> bool:
    """Tell whether keys are those of a stub."""
    return keys[:1] == (REDACTED,)


def names_readers_only(keys: Sequence[str]) -> bool:
    """Tell whether keys ask for nothing but who may read."""
    return all(key.startswith(_READER) for key in keys)


def readers_in(keys: Sequence[str]) -> list[str]:
    """Return the terms among `keys` that `reader` has made."""
    return [key for key in keys if key.startswith(_READER)]


def as_float(value: float) -> float:
    """Return the nearest finite float."""
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max if value > 0 else -sys.float_info.max


def terms(message: AnyMessage, max_values: int = MAX_VALUES) -> Terms:
    """Return the terms of `message`. Raises what `finding_terms` raises."""
    steps = finding_terms(message, max_values)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found: Terms = stop.value
            return found


def finding_terms(
    message: AnyMessage, max_values: int = MAX_VALUES
) -> Generator[None, None, Terms]:
    """Return the terms of `message`, in steps if it has long texts.

    Raises `RefusedError` when a free object is nested deeper than `MAX_DEPTH` or has more than
    `max_values` values.
    """
    fields, found = _fields_of(type(message)), _Found()
    if isinstance(message, Stub):
        found.keys.append(REDACTED)
    passages = _passages(message, max_values, found)
    text = folded_at_once(passages)  # nearly always
    if text is None:
        text = yield from folding(passages)
    found.keys += [start + getattr(message, field) for start, field in fields.ids]
    for start, field in fields.names:
        found.note_name(start, getattr(message, field))
    for field, own in fields.others:
        value = getattr(message, field)
        if value is not None:
            found.note(own, value)
    if isinstance(message, RaidMessage):
        _note_participants(message, found)
    if found.names:
        yield from found.normalizing()
    return Terms(tuple(dict.fromkeys(found.keys)), text, tuple(found.numbers))


def terms_of_stored(message: AnyMessage) -> Terms:
    """Return the same of a message that was taken once, perhaps when the bound was another."""
    return terms(message, sys.maxsize)


def _note_participants(message: RaidMessage, found: _Found) -> None:
    if message.participants:
        found.keys.append(long_key("participants"))
    for participant in message.participants:
        found.note_filter("user_id=", participant.user_id)
        found.note_filter("username=", participant.username)
        if participant.role is not None:
            found.note(_ROLE, participant.role)
        if participant.class_ is not None:
            found.note(_CLASS, participant.class_)


def _passages(message: AnyMessage, max_values: int, found: _Found | None) -> list[str]:
    """Return the passages of the text; note on the way what else is in the free objects."""
    fields = _fields_of(type(message))
    passages: list[str] = [getattr(message, field) for field in fields.text]
    if isinstance(message, RaidMessage):
        passages += [participant.username for participant in message.participants]
    for name, known in fields.free:
        free = getattr(message, name)
        if found is not None:
            _note_filters(free, found)
        strings = _walk(free, name, max_values, known, found)
        if name in _SEARCHED_FREE_FIELDS:
            passages += strings
    return passages


class _Fields(NamedTuple):
    """Fields of one message type that filters and searches look at."""

    ids: tuple[tuple[str, str], ...]
    names: tuple[tuple[str, str], ...]
    """Beginnings of keys of any length, and the fields with the values."""
    others: tuple[tuple[str, Place], ...]
    """Fields that are found under their own name alone."""
    text: tuple[str, ...]
    free: tuple[tuple[str, frozenset[str]], ...]
    """Free objects, and their entries whose strings are found under a filter's name alone."""


@cache
def _fields_of(message: type[AnyMessage]) -> _Fields:
    own, tag = message.__struct_fields__, message.__struct_config__.tag
    if issubclass(message, Stub):
        return _Fields(ids=_readers(tag), names=(), others=(), text=(), free=())
    filters = [(f"{KEY_FIELDS[name]}=", name) for name in own if name in KEY_FIELDS]
    authors = [("author_id=", AUTHORS[tag])] if tag in AUTHORS else []
    apart = {*UNINDEXED, *FREE_FIELDS, *KEY_FIELDS.values(), "participants"}
    apart |= {name for kind, name in _ONLY_FIELDS if kind == tag}
    return _Fields(
        ids=(*(one for one in filters if one[0] in _ID_KEYS), *authors, *_readers(tag)),
        names=tuple(one for one in filters if one[0] not in _ID_KEYS),
        others=tuple((name, place(name, name)) for name in own if name not in apart),
        text=tuple(name for name in _TEXT_FIELDS if name in own),
        free=tuple((name, _ONLY_ENTRIES.difference(own)) for name in FREE_FIELDS if name in own),
    )


def _readers(tag: object) -> tuple[tuple[str, str], ...]:
    return ((_READER, "from_user_id"), (_READER, "to_user_id")) if tag == "dm" else ()


@cache
def found_as() -> dict[str, tuple[str, frozenset[MessageType]]]:
    """Return fields and paths whose strings are found under another name, by their own.

    With the types in which that is so: they have no other field with that name.
    """
    found: defaultdict[tuple[str, str], set[MessageType]] = defaultdict(set)
    for (tag, field), name in _ONLY_FIELDS.items():
        found[field, name].add(tag)
    for kind in get_args(AnyMessage):
        for root, entries in _fields_of(kind).free:
            for entry in entries:
                found[f"{root}.{entry}", entry].add(kind.__struct_config__.tag)
    return {field: (name, frozenset(types)) for (field, name), types in found.items()}


def _note_filters(free: dict[str, Any], found: _Found) -> None:
    """Note the entries that a filter finds, under the filter's name."""
    for entry in free:
        if entry in KEY_FIELDS:
            field, value = KEY_FIELDS[entry], free[entry]
            if isinstance(value, str):
                found.note_filter(f"{field}=", value)
            elif value is not None and not isinstance(value, (dict, list, tuple)):
                found.note(place(field, field), value)


def _walk(
    free: dict[str, Any], root: str, max_values: int, known: frozenset[str], found: _Found | None
) -> list[str]:
    """Note keys and numbers inside `free`; return all strings, in their order.

    Without recursion. Strings of the `known` entries have been noted. Of very many values the first
    are noted, and that there are more.
    """
    strings: list[str] = []
    count, left, is_cut, top = 1 + len(free), MAX_KEYS, False, _ROOTS[root]
    if count > max_values:
        raise _refused(root, f"has more than {max_values} values")
    levels: list[_Level] = [(top, iter(free.items()))]
    while levels:
        here, entries = levels[-1]
        for name, value in entries:
            if value is None:
                continue
            if isinstance(value, str):
                strings.append(value)
                if here is top and name in known:
                    continue
            elif isinstance(value, (dict, list, tuple)):
                count += len(value)
                if len(levels) >= MAX_DEPTH:
                    raise _refused(root, f"nested deeper than {MAX_DEPTH} levels")
                if count > max_values:
                    raise _refused(root, f"has more than {max_values} values")
                if value:
                    levels.append((_place_of(here, name), _entries(value)))
                    break
                continue
            elif isinstance(value, float) and not isfinite(value):
                # JSON has no such number; only a program that embeds the server can hand it over.
                raise _refused(root, f"{value} is not a finite number")
            if found is not None:
                own = _place_of(here, name) if left else None
                left -= left > 0
                is_cut |= own is None or not found.note(own, value)
        else:
            levels.pop()
    if found is not None and is_cut:
        found.keys.append(cut(root))
    return strings


_Level = tuple[Place | None, Iterator[tuple[object, Any]]]


def _entries(value: Any) -> Iterator[tuple[object, Any]]:
    return iter(value.items() if isinstance(value, dict) else zip(repeat(_ELEMENT), value))


def _place_of(here: Place | None, name: object) -> Place | None:
    """Return the place of an entry, None for one without; elements of a list stand at its place."""
    if here is None or name is _ELEMENT:
        return here
    return below(here.path, name) if type(name) is str and len(name) <= MAX_NAME else None


def _refused(field: str, issue: str) -> RefusedError:
    return RefusedError(PROTOCOL_ERROR, field, issue)


def mentions(payload: bytes, phrases: Sequence[Phrase]) -> Generator[None, None, bool]:
    """Tell whether `phrases` occur in the text of the message in a record's payload, in steps.

    To read a long text takes as long as to look for a phrase in it, so it is read once.
    """
    if payload.isascii() and not all(may_occur(phrase, payload) for phrase in phrases):
        return False
    text = text_of_stored(message_in(payload))
    for phrase in phrases:
        yield
        if not occurs(phrase, text):
            return False
    return True


def text_of_stored(message: AnyMessage) -> str:
    """Return the text alone of a message that was taken once."""
    return fold(_passages(message, sys.maxsize, None))


def message_in(payload: bytes) -> AnyMessage:
    """Return the message in a record's payload, without its seq; a stub is one without fields."""
    if stubs.is_stub(payload):
        stub: AnyMessage = stubs.decoder.decode(payload)
        return stub
    message: AnyMessage = decoder.decode(payload[: payload.rindex(b',"seq":')] + b"}")
    return message
