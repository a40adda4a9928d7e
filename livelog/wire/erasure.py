"""Erasure: the pseudonym that takes the place of a user's id and names, in messages and in acts.

`FIELDS` and `LISTS` are the only tables of what names a user. They are read once, where the command
is given: the act names the places themselves (RFC 6901), so that every server, whatever its
version, changes the same, and none needs to be told the id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from livelog.wire import acts
from livelog.wire.acts import Act, Enacted, Erase, Redact
from livelog.wire.stubs import is_stub, stub_of

Json = dict[str, Any]

FIELDS: dict[str, tuple[str, ...]] = {
    "user_id": ("username", "display_name", "user_avatar"),
    "from_user_id": ("from_username",),
    "to_user_id": ("to_username",),
    "leader_id": ("leader_name",),
    "member_id": ("member_name",),
}
"""Field with the id of a user → the fields beside it that have their names, or their picture."""

LISTS = ("participants", "members")
"""Lists of users: of their ids, or of objects with these fields."""

ROOTS = ("metadata", "data", "event_data")
"""Free objects in which there may be such fields and lists."""

_PICTURES = ("user_avatar",)
"""Fields that become null: a pseudonym is no URL."""

_PSEUDONYM = re.compile(r"erased_[a-z2-7]{8}")

Change = Callable[[bytes], bytes]
"""Makes of a message, given with its seq, what an act leaves of it; a second time it does nothing.
"""


def is_pseudonym(id: str) -> bool:
    """Tell whether an id has the form of those that erased users have; nobody else may have it."""
    return _PSEUDONYM.fullmatch(id) is not None


def changes(act: Act) -> dict[int, Change]:
    """Return what an act does to messages, by their seqs; nothing unless it redacts or erases."""
    if isinstance(act, Redact):
        return dict.fromkeys(act.seqs, partial(_redacted, act.reason))
    if isinstance(act, Erase):
        found = ((group, partial(erased, group.places, act.pseudonym)) for group in act.groups)
        return {seq: change for group, change in found for seq in group.seqs}
    return {}


def note_changes(known: dict[int, tuple[Change, ...]], fresh: Mapping[int, Change]) -> None:
    """Note changes behind those that are known of the same messages, by seq or by position."""
    again = {at: (*known[at], fresh[at]) for at in known.keys() & fresh.keys()}
    known.update({at: (change,) for at, change in fresh.items()})
    known.update(again)


def _redacted(reason: str, payload: bytes) -> bytes:
    return payload if is_stub(payload) else stub_of(payload, reason)


# What stands where.


def places_in(payload: bytes, user_id: str) -> tuple[str, ...]:
    """Return the places of a message, or of its stub, that name a user."""
    message: Json = msgspec.json.decode(payload)
    return tuple(_in_message(message, user_id))


def places_in_act(act: Act, user_id: str) -> tuple[str, ...]:
    """Return the places of an act that name a user: as its author, its target or a reader."""
    fields: Json = msgspec.to_builtins(act)
    found = [f"/{name}" for name in ("by", "user_id") if fields.get(name) == user_id]
    if isinstance(act, Redact):
        for at, group in enumerate(act.groups):
            readers = enumerate(group.readers)
            found += [f"/groups/{at}/2/{n}" for n, one in readers if one == user_id]
    return tuple(found)


def _in_message(message: Json, user_id: str) -> Iterator[str]:
    yield from _in_object(message, "", user_id)
    yield from _in_lists(message, "", user_id)
    for root in ROOTS:
        free = message.get(root)
        if isinstance(free, dict):
            yield from _in_object(free, f"/{root}", user_id)
            yield from _in_lists(free, f"/{root}", user_id)
    metadata = message.get("metadata")
    # Of a message that a user has written it tells more about them, unless it names somebody.
    is_own = message.get("user_id") == user_id
    if is_own and isinstance(metadata, dict) and "user_id" not in metadata:
        yield from _names(metadata, "/metadata", "user_id")


def _in_object(fields: Json, path: str, user_id: str) -> Iterator[str]:
    for name in FIELDS:
        if fields.get(name) == user_id:
            yield f"{path}/{name}"
            yield from _names(fields, path, name)


def _names(fields: Json, path: str, id_field: str) -> Iterator[str]:
    """Yield the places of the names beside an id."""
    for name in FIELDS[id_field]:
        if isinstance(fields.get(name), str):
            yield f"{path}/{name}"


def _in_lists(fields: Json, path: str, user_id: str) -> Iterator[str]:
    for name in LISTS:
        several = fields.get(name)
        for at, one in enumerate(several if isinstance(several, list) else ()):
            if one == user_id:
                yield f"{path}/{name}/{at}"
            elif isinstance(one, dict):
                yield from _in_object(one, f"{path}/{name}/{at}", user_id)


# What is done there.


def erased(places: tuple[str, ...], pseudonym: str, payload: bytes) -> bytes:
    """Return a message, given with its seq, with the pseudonym at these places.

    A stub has few of them; what is not there is passed over.
    """
    message: Json = msgspec.json.decode(payload)
    if not _write(message, places, pseudonym):
        return payload
    return msgspec.json.encode(message)


def erased_act(act: Act, places: tuple[str, ...], pseudonym: str) -> Act:
    """Return an act with the pseudonym at these places."""
    fields: Json = msgspec.json.decode(acts.encode(act))
    _write(fields, places, pseudonym)
    return acts.decode(msgspec.json.encode(fields))


def erased_acts(act: Erase, found: list[Enacted]) -> list[Enacted]:
    """Return those of some acts that an erasure changes, as they are then."""
    places = {seq: group.places for group in act.records for seq in group.seqs}
    return [
        Enacted(one.seq, erased_act(one.act, places[one.first_seq], act.pseudonym))
        for one in found
        if one.first_seq in places
    ]


def _write(document: Json, places: tuple[str, ...], pseudonym: str) -> bool:
    """Write the pseudonym at some places; return whether there was any of them."""
    written = False
    for place in places:
        *way, last = place.split("/")[1:]
        holder: Any = document
        for step in way:
            holder = _at(holder, step)
        if isinstance(_at(holder, last), str):
            key = int(last) if isinstance(holder, list) else last
            holder[key] = None if last in _PICTURES else pseudonym
            written = True
    return written


def _at(holder: Any, step: str) -> Any:
    """Return what stands at a step of a path; None if nothing does."""
    if isinstance(holder, list):
        return holder[int(step)] if step.isdecimal() and int(step) < len(holder) else None
    return holder.get(step) if isinstance(holder, dict) else None
