"""Terms of a message: the keys and the text by which filters and searches find it.

`terms` is the only place that knows which field of which type a filter or a search looks at: the
index in memory, the index on disk and live matching all use it.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from math import isfinite
from typing import Any, NamedTuple

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.folding import all_normalized, normalized
from livelog.index.text import Phrase, fold, may_occur, occurs
from livelog.wire.messages import AnyMessage, RaidMessage, decoder

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
    """Keys and text of a message."""

    keys: tuple[str, ...]
    """`field=value` for every filter field the message has a value for."""
    text: str
    """All text that is searched, folded by `fold`."""


def key(field: str, value: str) -> str:
    """Return the term for `value` in `field`; interned, since many messages share few values.

    Ids are compared byte for byte: two that look alike are two users. All other values are
    compared as `folding.normalized` makes them.
    """
    return _term(field, value if is_id(field) else normalized(value))


def _term(field: str, value: str) -> str:
    return sys.intern(f"{field}={value}")


def field_of(key: str) -> str:
    """Return the field of a term that `key` made."""
    return key.partition("=")[0]


def is_id(field: str) -> bool:
    """Tell whether the values of a field are ids, which are compared byte for byte."""
    return field == "id" or field.endswith("_id")


def terms(message: AnyMessage, max_values: int = MAX_VALUES) -> Terms:
    """Return keys and text of `message`.

    Raises `RefusedError` when a free object is nested deeper than `MAX_DEPTH` or has more than
    `max_values` values.
    """
    found = dict.fromkeys(_keys(message))
    return Terms(tuple(found), fold(_passages(message, max_values)))


def terms_of_stored(message: AnyMessage) -> Terms:
    """Return the same of a message that was taken once, perhaps when the bound was another."""
    return terms(message, sys.maxsize)


def _keys(message: AnyMessage) -> Iterator[str]:
    found = list(_values(message))
    names = iter(all_normalized([value for field, value in found if not is_id(field)]))
    for field, value in found:
        yield _term(field, value if is_id(field) else next(names))


def _values(message: AnyMessage) -> Iterator[tuple[str, str]]:
    """Iterate over the filter fields that `message` has a value for, and the values."""
    fields = _fields_of(type(message))
    for field, filter_field in fields.keys:
        yield filter_field, getattr(message, field)
    for name in fields.free:
        for entry, value in getattr(message, name).items():
            if isinstance(value, str) and entry in KEY_FIELDS:
                yield KEY_FIELDS[entry], value
    if isinstance(message, RaidMessage):
        for participant in message.participants:
            yield "user_id", participant.user_id
            yield "username", participant.username


def _passages(message: AnyMessage, max_values: int) -> Iterator[str]:
    fields = _fields_of(type(message))
    for field in fields.text:
        yield getattr(message, field)
    if isinstance(message, RaidMessage):
        for participant in message.participants:
            yield participant.username
    for name in fields.free:
        strings = _strings(getattr(message, name), name, max_values)  # also bounds depth and count
        if name in _SEARCHED_FREE_FIELDS:
            yield from strings


class _Fields(NamedTuple):
    """Fields of one message type that filters and searches look at."""

    keys: tuple[tuple[str, str], ...]
    text: tuple[str, ...]
    free: tuple[str, ...]


@cache
def _fields_of(message: type[AnyMessage]) -> _Fields:
    own = message.__struct_fields__
    return _Fields(
        keys=tuple((name, KEY_FIELDS[name]) for name in own if name in KEY_FIELDS),
        text=tuple(name for name in _TEXT_FIELDS if name in own),
        free=tuple(name for name in FREE_FIELDS if name in own),
    )


def _strings(free: Any, field: str, max_values: int) -> list[str]:
    """Return all strings inside `free`, in their order, found without recursion."""
    found: list[str] = []
    count, levels = 1, [iter((free,))]
    while levels:
        for value in levels[-1]:
            if isinstance(value, str):
                found.append(value)
            elif isinstance(value, (dict, list, tuple)):
                count += len(value)
                if len(levels) > MAX_DEPTH:
                    raise _refused(field, f"nested deeper than {MAX_DEPTH} levels")
                if count > max_values:
                    raise _refused(field, f"has more than {max_values} values")
                if value:
                    levels.append(iter(value.values() if isinstance(value, dict) else value))
                    break
            elif isinstance(value, float) and not isfinite(value):
                # JSON has no such number; only a program that embeds the server can hand it over.
                raise _refused(field, f"{value} is not a finite number")
        else:
            levels.pop()
    return found


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
    return fold(_passages(message, sys.maxsize))


def message_in(payload: bytes) -> AnyMessage:
    """Return the message in a record's payload, without its seq."""
    message: AnyMessage = decoder.decode(payload[: payload.rindex(b',"seq":')] + b"}")
    return message
