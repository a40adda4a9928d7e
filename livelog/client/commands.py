"""Commands as plain objects, made of the arguments of a call.

The client sends them; a server answers them in process, so both check the same things. What is to
be sent is encoded in the call itself: an argument that cannot be written as JSON is refused there,
and what the caller changes afterwards changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.wire.commands import Filters

Command = Mapping[str, Any]
FilterArgument = Filters | Mapping[str, Any] | None
"""Filters as a caller may give them."""
_UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)


class Encoded(NamedTuple):
    """A command as it is sent, but for its `request_id`."""

    action: str
    text: bytes
    """A JSON object with at least the action."""

    def numbered(self, request_id: int) -> bytes:
        """Return the text with this `request_id`."""
        return b'%b,"request_id":%d}' % (self.text[:-1], request_id)


def encoded(command: Command) -> Encoded:
    """Encode a command. Raises `RefusedError` when it cannot be written as JSON."""
    try:
        return Encoded(command["action"], msgspec.json.encode(command))
    except _UNWRITABLE as error:
        field = "message" if command["action"] == "publish" else ""
        raise _unwritable(field, error) from None


def subscribe(types: Sequence[str], filters: dict[str, Any], since: int | None) -> Command:
    """Build a `subscribe` that holds from now on, or after the seq `since`."""
    command = {"action": "subscribe", "message_types": list(types), "filters": filters}
    return command if since is None else {**command, "since": since}


def get_history(
    filters: FilterArgument,
    limit: int,
    offset: int,
    **places: int | None,
) -> Command:
    """Build a `get_history`; of `places`, `before`, `after` and `around`, at most one is given."""
    given = {name: seq for name, seq in places.items() if seq is not None}
    page = {"limit": limit, "offset": offset, "filters": plain(filters)}
    return {"action": "get_history", **page, **given}


def search(query: str | None, filters: FilterArgument, limit: int, offset: int) -> Command:
    """Build a `search` for messages in which the words of `query` occur, if it is given."""
    words = {} if query is None else {"query": query}
    page = {"limit": limit, "offset": offset, "filters": plain(filters)}
    return {"action": "search", **words, **page}


def analyze(filters: FilterArgument, **question: str | int | None) -> Command:
    """Build an `analyze`; of `question`, the fields of the command, what is not None is given."""
    given = {name: value for name, value in question.items() if value is not None}
    return {"action": "analyze", "filters": plain(filters), **given}


def watch(id: str, group_by: str, interval: int, filters: dict[str, Any]) -> Command:
    """Build a `watch` for the counts of each interval, in seconds, by the values of a field."""
    asked = {"group_by": group_by, "interval_seconds": interval, "filters": filters}
    return {"action": "watch", "id": id, **asked}


def presence(limit: int, offset: int, *, follow: bool | None = None) -> Command:
    """Build a `presence` for a page of users, which may begin or end to tell of changes."""
    page = {"action": "presence", "limit": limit, "offset": offset}
    return page if follow is None else {**page, "follow": follow}


def names(types: Sequence[str] | str) -> Sequence[str]:
    """Return the message types as a sequence; one type may stand alone."""
    return [types] if isinstance(types, str) else types


def plain(filters: FilterArgument) -> dict[str, Any]:
    """Return the filters as JSON has them. Raises `RefusedError` when JSON has no such thing."""
    return {} if filters is None else builtins(filters, "filters")


def builtins(given: Mapping[str, Any] | msgspec.Struct, field: str) -> dict[str, Any]:
    """Return a copy of `given` as JSON has it. Raises `RefusedError` with this `field`."""
    try:
        return dict(msgspec.to_builtins(given))
    except _UNWRITABLE as error:
        raise _unwritable(field, error) from None


def _unwritable(field: str, error: Exception) -> RefusedError:
    return RefusedError(PROTOCOL_ERROR, field, f"cannot be written as JSON: {error}")
