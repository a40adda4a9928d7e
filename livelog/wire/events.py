"""Events the server sends, as structs; `encoder` writes them as JSON.

Every event that answers a command repeats its `request_id`. `seq` is always a position in the log.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from livelog.errors import CODES, Reason, RefusedError
from livelog.wire.commands import Filters, RequestId
from livelog.wire.messages import MessageType


class Event(Struct, kw_only=True, omit_defaults=True, tag_field="action"):
    """What all events share."""

    request_id: RequestId | UnsetType = UNSET


class Connected(Event, kw_only=True, tag="connected"):
    """The first event on every connection."""

    connection_id: str
    message: str


class Authenticated(Event, kw_only=True, tag="authenticated"):
    """The server knows who you are."""

    id: str
    """Whose messages are yours: `user_id` and `from_user_id` of what you publish."""
    scopes: list[str]
    """Those that mean something here."""
    expires: str | UnsetType = UNSET
    """Until when, if not for good."""


class TokenExpiring(Event, kw_only=True, tag="token_expiring"):
    """A minute ahead, at the most: without another `authenticate` the connection is closed then."""

    expires: str
    expires_in_seconds: float


class Subscribed(Event, kw_only=True, tag="subscribed"):
    """The whole set now in force.

    `seq`: all the connection asked for up to here has been sent, the set holds for what follows,
    and it is a safe `since`.
    """

    message_types: list[MessageType]
    filters: dict[MessageType, Filters] = {}
    """For each type that has them."""
    seq: int


class Unsubscribed(Subscribed, kw_only=True, tag="unsubscribed"):
    """The whole set now in force."""


class Published(Event, kw_only=True, tag="published"):
    """The message is in the log."""

    id: str
    seq: int


class Pong(Event, kw_only=True, tag="pong"):
    """`seq`: all the connection asked for up to here has been sent."""

    timestamp: str
    seq: int


class History(Event, kw_only=True, tag="history"):
    """A page of `get_history`."""

    messages: list[Raw]
    total_count: int
    """How many messages match, on all pages."""
    limit: int
    offset: int
    """Place of the first of `messages` among all that match, newest first."""


class SearchResults(Event, kw_only=True, tag="search_results"):
    """A page of `search`."""

    query: str
    results: list[Raw]
    count: int
    """How many messages match, on all pages."""
    limit: int
    offset: int


class Gap(Event, kw_only=True, tag="gap"):
    """Messages after `from` and up to `to` are no longer kept; what follows comes after them."""

    from_: int = msgspec.field(name="from")
    to: int


class RateLimit(Event, kw_only=True, tag="rate_limit"):
    """A warning: use has reached 95 % of a limit."""

    scope: str
    """`messages` or `commands`: which of the two limits it is."""
    current_requests: int
    limit: int
    window_seconds: float
    reset_in_seconds: float


class Error(Event, kw_only=True, tag="error"):
    """A command was refused; the connection goes on unless `disconnected` follows."""

    error_code: int
    error_message: str
    details: dict[str, Any] = {}


def error(refused: RefusedError, request_id: RequestId | UnsetType = UNSET) -> Error:
    """The event that tells a client why it was refused."""
    return Error(
        error_code=refused.code,
        error_message=CODES[refused.code].text,
        details={"field": refused.field, "issue": refused.issue, **refused.details},
        request_id=request_id,
    )


class Disconnected(Event, kw_only=True, tag="disconnected"):
    """The last event on a connection that the server closes."""

    reason: Reason
    reconnect_after_ms: int | UnsetType = UNSET
    """When to come back, where the server knows better than the client's own schedule."""


AnyEvent = (
    Connected
    | Authenticated
    | TokenExpiring
    | Subscribed
    | Unsubscribed
    | Published
    | Pong
    | History
    | SearchResults
    | Gap
    | RateLimit
    | Error
    | Disconnected
)

encoder = msgspec.json.Encoder()
