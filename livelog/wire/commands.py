"""Commands a client sends, as structs.

The classes are the protocol: fields, bounds and defaults are declared only here. Commands refuse
unknown fields. Every command may carry a `request_id`, which its reply or its `error` repeats. A
`seq` is always a place in the log.

To add a command: its struct here and in `AnyCommand`, its handler in the table of
`net/websocket/commands`, the event that answers it in `asyncapi`.
"""

import re
from contextlib import suppress
from itertools import islice
from typing import Annotated, Any, get_args

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
Where = str | dict[str, Any]
"""An expression as text or in JSON."""
Field = Annotated[str, Meta(min_length=1, max_length=256)]
"""Name of a field of a message, or a path into one: `channel`, `metadata.level`."""
Groups = Annotated[int, Meta(ge=1, le=1000)]
Interval = Annotated[int, Meta(ge=1, le=3_155_760_000)]
"""Seconds, a century at most."""
Zone = Annotated[str, Meta(min_length=1, max_length=64)]
Proof = Annotated[str, Meta(min_length=1)]
WatchId = Annotated[str, Meta(max_length=128)]
Tick = Annotated[int, Meta(ge=1, le=3600)]
"""Seconds, an hour at most."""


class Filters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Conditions on a message; a message matches when all given ones hold.

    >>> Filters(channel="general", date_from="2025-12-03T00:00:00Z").channel
    'general'
    """

    type: MessageType | Types | UnsetType = UNSET
    """One type or several."""
    user_id: Value | UnsetType = UNSET
    """A user the message involves: author, sender, recipient, participant, leader or member."""
    username: Value | UnsetType = UNSET
    """A user the message involves, by name."""
    channel: Value | UnsetType = UNSET
    server: Value | UnsetType = UNSET
    event: Value | UnsetType = UNSET
    severity: Value | UnsetType = UNSET
    status: Value | UnsetType = UNSET
    raid_id: Value | UnsetType = UNSET
    party_id: Value | UnsetType = UNSET
    guild_id: Value | UnsetType = UNSET
    date_from: Date | UnsetType = UNSET
    """Earliest `timestamp`, inclusive: RFC 3339 with a time zone."""
    date_to: Date | UnsetType = UNSET
    """Latest `timestamp`, inclusive."""
    text: Text | UnsetType = UNSET
    """Words that must all occur; words in double quotes must stand side by side."""
    where: Where | UnsetType = UNSET
    """An expression that must hold: `channel:general -dragon metadata.level:>=40`."""


KEY_FILTERS = tuple(
    name
    for name in Filters.__struct_fields__
    if name not in ("type", "date_from", "date_to", "text", "where")
)
"""The filters that compare one field with one value."""


class Command(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    """Base of all commands."""

    request_id: RequestId | UnsetType = UNSET


class Subscribe(Command, kw_only=True, tag="subscribe"):
    """Subscribe to these types, with these filters, from now on or from after `since`."""

    message_types: Types
    filters: Filters = Filters()
    since: Seq | UnsetType = UNSET
    batch: bool | UnsetType = UNSET
    """Whether messages come in arrays from now on, several in a frame; it holds for all types."""


class Unsubscribe(Command, kw_only=True, tag="unsubscribe"):
    """Unsubscribe from these types."""

    message_types: Types


class GetHistory(Command, kw_only=True, tag="get_history"):
    """Ask for a page of past messages, newest first: from `offset` on, or next to a seq."""

    limit: Limit = 100
    """Number of messages on the page."""
    offset: Offset = 0
    """Number of newer messages that match, before the first of the page."""
    before: Seq | UnsetType = UNSET
    """A seq: the page holds the newest messages older than it."""
    after: Seq | UnsetType = UNSET
    """A seq: the page holds the messages that directly follow it."""
    around: Seq | UnsetType = UNSET
    """A seq: the page holds the messages around it."""
    filters: Filters = Filters()


class Search(Command, kw_only=True, tag="search"):
    """Ask for a page of past messages that contain the words of `query`, newest first.

    With `filters.where` it may be left out.
    """

    query: Text | UnsetType = UNSET
    """Words that must all occur; words in double quotes must stand side by side."""
    limit: Limit = 100
    """Number of messages on the page."""
    offset: Offset = 0
    """Number of newer messages that match, before the first of the page."""
    filters: Filters = Filters()


class Analyze(Command, kw_only=True, tag="analyze"):
    """Ask for exact counts of past messages: by the values of a field, over time, or both."""

    filters: Filters = Filters()
    group_by: Field | UnsetType = UNSET
    """The field whose values are counted, as `where` names it."""
    limit: Groups = 20
    """Number of values that are listed, those in the most messages."""
    interval_seconds: Interval | UnsetType = UNSET
    """Length of the buckets of time that are counted, by `timestamp`."""
    timezone: Zone | UnsetType = UNSET
    """IANA name of the time zone in which buckets begin, such as `Europe/Berlin`; UTC without."""
    distinct: Field | UnsetType = UNSET
    """A field: the different values that it has are counted, in all and in each bucket."""


class Watch(Command, kw_only=True, tag="watch"):
    """Ask for `counts` in each interval: how many messages there were, by the values of a field.

    The messages themselves are not sent. Intervals are aligned to the epoch. The same `id` again
    replaces a watch; a connection may have 16.
    """

    id: WatchId
    group_by: Field = "type"
    interval_seconds: Tick = 1
    filters: Filters = Filters()


class Unwatch(Command, kw_only=True, tag="unwatch"):
    """End a watch."""

    id: WatchId


class Presence(Command, kw_only=True, tag="presence"):
    """Ask how many users are on line, and with the scope `presence` who; or for the changes."""

    limit: Limit = 100
    """Number of users that are listed, by their id."""
    offset: Offset = 0
    """Number of users to pass over."""
    follow: bool | UnsetType = UNSET
    """True: `online_changed` is sent from now on; false: no more."""


class Ping(Command, kw_only=True, tag="ping"):
    """Ask for a `pong`."""


class Publish(Command, kw_only=True, tag="publish"):
    """Append a message to the log."""

    message: AnyMessage


class Authenticate(Command, kw_only=True, tag="authenticate"):
    """Authenticate, or renew a token before it expires; takes one of the two fields."""

    token: Proof | UnsetType = UNSET
    """A JWT or an OAuth2 access token."""
    api_key: Proof | UnsetType = UNSET


class Admin(Command, kw_only=True, tag="admin", forbid_unknown_fields=False):
    """Carry out a command of an operator or a moderator; its own fields stand beside it."""

    command: Annotated[str, Meta(max_length=64)]


AnyCommand = (
    Subscribe
    | Unsubscribe
    | GetHistory
    | Search
    | Analyze
    | Watch
    | Unwatch
    | Presence
    | Ping
    | Publish
    | Authenticate
    | Admin
)

command_decoder = msgspec.json.Decoder(AnyCommand)


# Without backtracking, and a string that does not end goes to the end: so the time is linear.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[][{}]', re.DOTALL)
_ID = re.compile(rb'\s*+:\s*+("(?:[^"\\]|\\.){0,1024}+"|-?[0-9]{1,4300}+)\s*+[,}]', re.DOTALL)
_MAX_TOKENS = 20_000
"""Strings and brackets of an invalid command that are looked at: at most some milliseconds."""

_id_decoder = msgspec.json.Decoder(RequestId)


def request_id_of(data: bytes | bytearray | memoryview) -> RequestId | UnsetType:
    """Return the `request_id` of an invalid command, if it can be read.

    The command need not be JSON as a whole: it may hold half a surrogate pair, NaN or too many
    brackets, or be cut off. Otherwise its sender could not tell which request was refused.
    """
    found: RequestId | UnsetType = UNSET
    depth = 0
    for token in islice(_TOKEN.finditer(data), _MAX_TOKENS):
        depth += _DEPTH.get(token[0], 0)
        if depth == 1 and token[0] == b'"request_id"' and (value := _ID.match(data, token.end())):
            with suppress(ValueError):
                found = _id_decoder.decode(value[1])
    return found


class _Named(Struct):
    action: str


_named_decoder = msgspec.json.Decoder(_Named)
ACTIONS = frozenset(str(each.__struct_config__.tag) for each in get_args(AnyCommand))


def action_of(data: bytes | bytearray | memoryview) -> str:
    """Return the `action` of an invalid command, if it is one that there is."""
    with suppress(ValueError, RecursionError):
        action = _named_decoder.decode(data).action
        return action if action in ACTIONS else ""
    return ""


_DEPTH = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
