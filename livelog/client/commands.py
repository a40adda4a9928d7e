"""Commands as plain objects, made of the arguments of a call.

The client sends them; a server answers them in process, so both check the same things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from livelog.wire.commands import Filters

Command = Mapping[str, Any]
FilterArgument = Filters | Mapping[str, Any] | None
"""Filters as a caller may give them."""


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


def search(query: str, filters: FilterArgument, limit: int, offset: int) -> Command:
    """Build a `search` for messages in which the words of `query` occur."""
    page = {"limit": limit, "offset": offset, "filters": plain(filters)}
    return {"action": "search", "query": query, **page}


def names(types: Sequence[str] | str) -> Sequence[str]:
    """Return the message types as a sequence; one type may stand alone."""
    return [types] if isinstance(types, str) else types


def plain(filters: FilterArgument) -> dict[str, Any]:
    """Return the filters as JSON has them."""
    return {} if filters is None else dict(msgspec.to_builtins(filters))
