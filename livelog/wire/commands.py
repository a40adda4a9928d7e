"""Commands a client sends, as structs.

The classes are the protocol: fields, bounds and defaults stand here and nowhere else. Commands
refuse unknown fields. Every command may carry a `request_id`, which its reply or its `error`
repeats. `seq` is always a position in the log.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from livelog.wire.messages import AnyMessage, MessageType

RequestId = Annotated[str, Meta(max_length=128)] | int
Value = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Date = Annotated[str, Meta(max_length=64)]
Types = Annotated[list[MessageType], Meta(min_length=1, max_length=64)]
Seq = Annotated[int, Meta(ge=0, lt=2**53)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Offset = Annotated[int, Meta(ge=0, lt=2**53)]
Proof = Annotated[str, Meta(min_length=1)]


class Filters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Conditions on a message; all that are given must hold."""

    type: MessageType | Types | UnsetType = UNSET
    user_id: Value | UnsetType = UNSET
    """Anyone the message involves: author, sender, recipient, participant, leader, member."""
    username: Value | UnsetType = UNSET
    channel: Value | UnsetType = UNSET
    server: Value | UnsetType = UNSET
    event: Value | UnsetType = UNSET
    severity: Value | UnsetType = UNSET
    status: Value | UnsetType = UNSET
    raid_id: Value | UnsetType = UNSET
    party_id: Value | UnsetType = UNSET
    guild_id: Value | UnsetType = UNSET
    date_from: Date | UnsetType = UNSET
    """RFC 3339 with a time zone, inclusive, as is `date_to`; compared with `timestamp`."""
    date_to: Date | UnsetType = UNSET
    text: Text | UnsetType = UNSET
    """Words that must all occur, words in double quotes side by side."""


KEY_FILTERS = tuple(
    name
    for name in Filters.__struct_fields__
    if name not in ("type", "date_from", "date_to", "text")
)
"""The filters that compare one field with one value."""


class Command(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    """What all commands share."""

    request_id: RequestId | UnsetType = UNSET


class Subscribe(Command, kw_only=True, tag="subscribe"):
    """Listen to these types, with these filters, from now or from `since` on."""

    message_types: Types
    filters: Filters = Filters()
    since: Seq | UnsetType = UNSET


class Unsubscribe(Command, kw_only=True, tag="unsubscribe"):
    """Stop listening to these types."""

    message_types: Types


class GetHistory(Command, kw_only=True, tag="get_history"):
    """A page of past messages, newest first: from `offset` on, or beside the message of a seq."""

    limit: Limit = 100
    offset: Offset = 0
    before: Seq | UnsetType = UNSET
    """The newest ones that are older."""
    after: Seq | UnsetType = UNSET
    """Those that follow it directly."""
    around: Seq | UnsetType = UNSET
    """Those with it in their middle."""
    filters: Filters = Filters()


class Search(Command, kw_only=True, tag="search"):
    """A page of the past messages in which words occur, newest first."""

    query: Text
    limit: Limit = 100
    offset: Offset = 0
    filters: Filters = Filters()


class Ping(Command, kw_only=True, tag="ping"):
    """Ask for a `pong`."""


class Publish(Command, kw_only=True, tag="publish"):
    """Append a message to the log."""

    message: AnyMessage


class Authenticate(Command, kw_only=True, tag="authenticate"):
    """Say who you are, or show a new token before the old one expires; takes one of the two."""

    token: Proof | UnsetType = UNSET
    """A JWT or an OAuth2 access token."""
    api_key: Proof | UnsetType = UNSET


AnyCommand = Subscribe | Unsubscribe | GetHistory | Search | Ping | Publish | Authenticate

command_decoder = msgspec.json.Decoder(AnyCommand)


class _Envelope(Struct):
    request_id: RequestId | UnsetType = UNSET


_envelope_decoder = msgspec.json.Decoder(_Envelope)


def request_id_of(data: bytes | bytearray | memoryview) -> RequestId | UnsetType:
    """The `request_id` of a command that is otherwise wrong, as far as it can be read."""
    try:
        return _envelope_decoder.decode(data).request_id
    except (ValueError, RecursionError):
        return UNSET
