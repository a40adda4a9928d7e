"""Messages, events and pages of history, decoded from what the server sends.

A server may be newer than the client. So what is unknown here, be it an event, a message type, a
reason or the form of a number, is read as far as it can be and passed over otherwise, with one
line in the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, get_args

import msgspec
from msgspec import UNSET, UnsetType

from livelog.errors import CODES, PROTOCOL_ERROR
from livelog.wire import events
from livelog.wire.events import (
    AnyEvent,
    Bucket,
    Counts,
    Disconnected,
    Error,
    Gap,
    Group,
    History,
    SearchResults,
    Subscribed,
    Unsubscribed,
)
from livelog.wire.messages import TYPES, Delivered, Message
from livelog.wire.stubs import AnyStub, Received

_log = logging.getLogger(__name__)

Item = Received | Gap
"""An item of a subscription: a message, the stub of one whose content was redacted, or a gap where
messages are gone."""


@dataclass(frozen=True, slots=True)
class Page:
    """Past messages, newest first, as `history` and `search` return them.

    >>> page = Page(messages=[], total=0, offset=0)
    >>> page.total
    0
    """

    messages: list[Received]
    total: int
    """Number of matching messages on all pages."""
    offset: int
    """Position of the first of `messages` among all matches."""
    truncated: bool = False
    """Fewer messages than asked for: the others would make the page too large (4 MiB).

    Those nearest to the place asked for are on it. Go on from `next_offset`, or with the seq of the
    last message as `before`; a page that was asked for with `after`, with the seq of the first.
    """
    next_offset: int | None = None
    """`offset` of the page with the older messages that follow; None unless `truncated`."""
    incomplete: bool = False
    """The server's store did not answer in time: `total` counts the newest messages only."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """Counts of messages, as `analyze` returns them.

    >>> counts = Analysis(total=3, missing=1)
    >>> counts.missing
    1
    """

    total: int
    """Number of matching messages."""
    groups: list[Group] = field(default_factory=list)
    """The values in the most messages, each a `value` and its `count`."""
    others: int = 0
    """Sum of the counts of all other values."""
    missing: int = 0
    """Number of messages without a value; one with several is counted for each of them."""
    distinct: int = 0
    """Number of different values of the field that `distinct` named."""
    buckets: list[Bucket] = field(default_factory=list)
    """The stretches of time with messages: `start`, `count`, `groups` and `distinct`."""
    incomplete: bool = False
    """The server's store did not answer in time: the newest messages alone are counted."""


class _Kind(msgspec.Struct):
    action: str | UnsetType = UNSET
    redacted: bool = False


_kind_decoder = msgspec.json.Decoder(_Kind)
_message_decoder: msgspec.json.Decoder[Delivered] = msgspec.json.Decoder(Delivered)
_stub_decoder: msgspec.json.Decoder[AnyStub] = msgspec.json.Decoder(AnyStub)
_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


_ACTIONS = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}
_REASONS = [code.reason for code in CODES.values()]
_UNREADABLE = (ValueError, RecursionError)
LAST_SEQ = 2**53 - 1


def decode(data: str | bytes) -> Received | AnyEvent | None:
    """Decode a message or an event; return None for what is to be passed over."""
    try:
        kind = _kind_decoder.decode(data)
        action = kind.action
        if action is UNSET:
            decoder = _stub_decoder if kind.redacted else _message_decoder
            message = decoder.decode(data)
            return message if 0 <= message.seq <= LAST_SEQ else None
        return _placed(_event_decoder.decode(data)) if action in _ACTIONS else None
    except _UNREADABLE as error:
        return _loosely(data, error)


def page(answer: History | SearchResults) -> Page:
    """Decode the page in the answer to `get_history` or `search`, without what is unknown."""
    if isinstance(answer, History):
        messages, total = answer.messages, answer.total_count
    else:
        messages, total = answer.results, answer.count
    decoded = [decode(bytes(data)) for data in messages]
    known = [one for one in decoded if isinstance(one, Message)]
    following = None if answer.next_offset is UNSET else answer.next_offset
    incomplete = answer.incomplete is True
    return Page(known, total, answer.offset, answer.truncated, following, incomplete)


def analysis(answer: events.Analysis) -> Analysis:
    """Return the counts in the answer to `analyze`."""
    return Analysis(
        answer.total_count,
        answer.groups or [],
        answer.others or 0,
        answer.missing or 0,
        answer.distinct or 0,
        answer.buckets or [],
        answer.incomplete is True,
    )


def _loosely(data: str | bytes, error: Exception) -> Received | AnyEvent | None:
    """Decode as much as possible of what does not follow this version of the protocol."""
    plain: Any = None
    with suppress(*_UNREADABLE):
        plain = json.loads(data, parse_constant=_refuse)  # takes numbers of any size
    if isinstance(plain, dict):
        action, seq, request_id = (plain.get(name) for name in ("action", "seq", "request_id"))
        with suppress(*_UNREADABLE):
            if action is not None and (seq is None or type(seq) is int):
                return _placed(msgspec.convert(plain, AnyEvent, strict=False))
            if type(seq) is int and 0 <= seq <= LAST_SEQ:
                message: Delivered = msgspec.convert(plain, Delivered, strict=False)
                return message
        with suppress(*_UNREADABLE):
            if isinstance(action, str) and action in _LOOSE:
                return _placed(_LOOSE[action](plain))
        if isinstance(action, str) and action in _ACTIONS and type(request_id) is int:
            return _unreadable_answer(request_id, error)  # without one the request waits for ever
    _pass_over(str(error))
    return None


def _refuse(constant: str) -> None:
    """Refuse `NaN` and `Infinity`, which are no JSON, though Python would read them."""
    raise ValueError(f"{constant} is invalid: must be JSON")


def _placed(event: AnyEvent) -> AnyEvent:
    """Return the event. Raises `ValueError` when it names a place that no log has.

    A subscription that moved there would pass over all that comes.
    """
    places: tuple[int | UnsetType, ...] = (getattr(event, "seq", UNSET),)
    if isinstance(event, Gap):
        places = event.from_, event.to
    elif isinstance(event, Counts):
        places = event.from_seq, event.to_seq
    if not all(place is UNSET or 0 <= place <= LAST_SEQ for place in places):
        raise ValueError(f"{places} is invalid: must be a place in the log")
    return event


def _disconnected(event: dict[str, Any]) -> Disconnected:
    reason, wait = event.get("reason"), event.get("reconnect_after_ms")
    return Disconnected(
        reason=reason if reason in _REASONS else "server_error",
        reconnect_after_ms=UNSET if wait is None else wait,
        reconnect=False if event.get("reconnect") is False else UNSET,
    )


def _subscribed(event: dict[str, Any]) -> Subscribed:
    named = event.get("message_types")
    known = [name for name in named if name in TYPES] if isinstance(named, list) else []
    kept = {name: value for name, value in event.items() if name in ("action", "seq", "request_id")}
    return msgspec.convert({**kept, "message_types": known}, Subscribed | Unsubscribed)


_LOOSE: dict[str, Callable[[dict[str, Any]], AnyEvent]] = {
    "disconnected": _disconnected,
    "subscribed": _subscribed,
    "unsubscribed": _subscribed,
}
"""Events that count even if a part of them is unknown."""


def _unreadable_answer(request_id: int, error: Exception) -> Error:
    return Error(
        error_code=PROTOCOL_ERROR,
        error_message=CODES[PROTOCOL_ERROR].text,
        details={"field": "", "issue": f"the answer cannot be read: {error}"},
        request_id=request_id,
    )


@lru_cache(maxsize=64)
def _pass_over(why: str) -> None:
    """Log what is passed over: once for each reason, since a server may send thousands."""
    _log.warning("passed over what this version of the client does not know: %s", why)
