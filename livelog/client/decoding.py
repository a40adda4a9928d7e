"""Messages, events and pages of history, decoded from what the server sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from livelog.wire.events import AnyEvent, Gap
from livelog.wire.messages import Delivered

Item = Delivered | Gap
"""An item of a subscription: a message, or a gap where messages are gone."""


@dataclass(frozen=True, slots=True)
class Page:
    """Past messages, newest first, as `history` and `search` return them.

    >>> page = Page(messages=[], total=0, offset=0)
    >>> page.total
    0
    """

    messages: list[Delivered]
    total: int
    """Number of matching messages on all pages."""
    offset: int
    """Position of the first of `messages` among all matches."""


class Unreadable(Exception):
    """Data from the server that does not follow this version of the protocol."""


class _Kind(msgspec.Struct):
    action: str | UnsetType = UNSET


_kind_decoder = msgspec.json.Decoder(_Kind)
_message_decoder: msgspec.json.Decoder[Delivered] = msgspec.json.Decoder(Delivered)
_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


_ACTIONS = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}


def decode(data: str | bytes) -> Delivered | AnyEvent | None:
    """Decode a message or an event; None for an unknown event. Raises `Unreadable`."""
    try:
        action = _kind_decoder.decode(data).action
        if action is UNSET:
            return _message_decoder.decode(data)
        return _event_decoder.decode(data) if action in _ACTIONS else None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{error}, in {data[:200]!r}") from None


def page(messages: list[Raw], total: int, offset: int) -> Page:
    """Decode the page in the answer to `get_history` or `search`. Raises `Unreadable`."""
    try:
        return Page([_message_decoder.decode(data) for data in messages], total, offset)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from None
