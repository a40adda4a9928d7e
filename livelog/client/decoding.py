"""What a client receives, from bytes: messages, events, pages of the past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from livelog.wire.events import AnyEvent, Gap
from livelog.wire.messages import Delivered

Item = Delivered | Gap
"""What iterating over a subscription yields."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the past, newest first."""

    messages: list[Delivered]
    total: int
    """How many messages match, on all pages."""
    offset: int
    """Place of the first of `messages` among all that match."""


class Unreadable(Exception):
    """What the server sent is not what this version of the protocol says it sends."""


class _Kind(msgspec.Struct):
    action: str | UnsetType = UNSET


_kind_decoder = msgspec.json.Decoder(_Kind)
_message_decoder: msgspec.json.Decoder[Delivered] = msgspec.json.Decoder(Delivered)
_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


_ACTIONS = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}


def decode(data: str | bytes) -> Delivered | AnyEvent | None:
    """A message or an event; None for an event that is not known (yet). Raises `Unreadable`."""
    try:
        action = _kind_decoder.decode(data).action
        if action is UNSET:
            return _message_decoder.decode(data)
        return _event_decoder.decode(data) if action in _ACTIONS else None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{error}, in {data[:200]!r}") from None


def page(messages: list[Raw], total: int, offset: int) -> Page:
    """A page from what `get_history` or `search` was answered with. Raises `Unreadable`."""
    try:
        return Page([_message_decoder.decode(data) for data in messages], total, offset)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from None
