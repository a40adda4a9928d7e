"""Events the server sends, as structs; `encoder` writes them as JSON.

Every event that answers a command repeats its `request_id`. A `seq` is always a position in the
log.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from livelog.errors import CODES, Reason, RefusedError
from livelog.wire.commands import Filters, RequestId
from livelog.wire.messages import MessageType


class Event(Struct, kw_only=True, omit_defaults=True, tag_field="action"):
    """Base of all events."""

    request_id: RequestId | UnsetType = UNSET


class Connected(Event, kw_only=True, tag="connected"):
    """The first event on every connection."""

    connection_id: str
    message: str
    max_message_bytes: int | UnsetType = UNSET
    """Bytes of the largest WebSocket message that the server takes; a larger one ends the
    connection (close code 1009)."""
    batch_ms: int | UnsetType = UNSET
    """Milliseconds for which messages are gathered into an array where `batch` is true; a server
    without this field has no batches, and refuses a `subscribe` that asks for them."""


class Authenticated(Event, kw_only=True, tag="authenticated"):
    """The connection is authenticated."""

    id: str
    """Your user id: the `user_id` or `from_user_id` of what you publish; "" on an open server."""
    scopes: list[str]
    """Your scopes, without those that livelog does not know."""
    expires: str | UnsetType = UNSET
    """Time at which the credential expires, if it does."""


class TokenExpiring(Event, kw_only=True, tag="token_expiring"):
    """The token expires within a minute; without a new `authenticate` the connection is closed."""

    expires: str
    expires_in_seconds: float


class Subscribed(Event, kw_only=True, tag="subscribed"):
    """The whole subscription now in force.

    `seq`: all subscribed messages up to here have been sent, the subscription holds for those after
    it, and it is a safe `since`.
    """

    message_types: list[MessageType]
    filters: dict[MessageType, Filters] = {}
    """Type → its filters, `where` as canonical text; types without filters are left out."""
    where_ast: dict[MessageType, dict[str, Any]] = {}
    """Type → the expression of `where` in JSON; types without one are left out."""
    batch_ms: int | UnsetType = UNSET
    """Milliseconds for which messages are gathered into an array; left out where each comes alone.
    """
    seq: int


class Unsubscribed(Subscribed, kw_only=True, tag="unsubscribed"):
    """The whole subscription now in force."""


class Published(Event, kw_only=True, tag="published"):
    """The message has been appended to the log."""

    id: str
    seq: int


class Pong(Event, kw_only=True, tag="pong"):
    """The answer to `ping`; `seq`: all subscribed messages up to here have been sent.

    With authentication it is that of a message which the client may read, as in `subscribed`; a
    client that has not authenticated yet is told none.
    """

    timestamp: str
    seq: int | UnsetType = UNSET


class History(Event, kw_only=True, tag="history"):
    """A page of `get_history`."""

    messages: list[Raw]
    total_count: int
    """Number of messages that match, on all pages."""
    limit: int
    offset: int
    """Number of newer messages that match, before the first of `messages`."""
    truncated: bool = False
    """The page has fewer messages than it was asked for, because their bytes are too many."""
    next_offset: int | UnsetType = UNSET
    """On a truncated page: the `offset` of the page that follows, with older messages."""
    incomplete: bool | UnsetType = UNSET
    """True if the store did not answer in time: `total_count` counts the newest messages only."""
    where: str | UnsetType = UNSET
    """Canonical text of the expression in `filters.where`, if there is one."""
    where_ast: dict[str, Any] | UnsetType = UNSET
    """The same in JSON."""


class SearchResults(Event, kw_only=True, tag="search_results"):
    """A page of `search`."""

    query: str | UnsetType = UNSET
    results: list[Raw]
    count: int
    """Number of messages that match, on all pages."""
    limit: int
    offset: int
    truncated: bool = False
    """As in `history`."""
    next_offset: int | UnsetType = UNSET
    incomplete: bool | UnsetType = UNSET
    """True if the store did not answer in time: `count` counts the newest messages only."""
    where: str | UnsetType = UNSET
    """As in `history`."""
    where_ast: dict[str, Any] | UnsetType = UNSET


class Group(Struct, kw_only=True):
    """A value of a field, and the number of messages that have it."""

    value: str
    """As the newest of the messages has it."""
    count: int


class Bucket(Struct, kw_only=True, omit_defaults=True):
    """A stretch of time with messages, and their number."""

    start: str
    count: int
    groups: dict[str, int] | UnsetType = UNSET
    """Value → number of messages, of the values in `groups` of the answer that occur."""
    distinct: int | UnsetType = UNSET


class Analysis(Event, kw_only=True, tag="analysis"):
    """The counts that `analyze` asked for."""

    total_count: int
    """Number of messages that match."""
    groups: list[Group] | UnsetType = UNSET
    """The values of `group_by` in the most messages, those in most first."""
    others: int | UnsetType = UNSET
    """Sum of the counts of all other values."""
    missing: int | UnsetType = UNSET
    """Number of messages without a value. One with several is counted for each of them."""
    distinct: int | UnsetType = UNSET
    """Number of different values of the field in `distinct`."""
    buckets: list[Bucket] | UnsetType = UNSET
    """The stretches of time with messages, oldest first; all others have none."""
    incomplete: bool | UnsetType = UNSET
    """True if the store did not answer in time: the newest messages alone are counted."""
    where: str | UnsetType = UNSET
    """As in `history`."""
    where_ast: dict[str, Any] | UnsetType = UNSET


class Watching(Event, kw_only=True, tag="watching"):
    """The watch is in force; messages after `seq` are counted."""

    id: str
    seq: int


class Unwatched(Event, kw_only=True, tag="unwatched"):
    """The watch has ended: as `unwatch` asked, or because a new token does not allow it."""

    id: str


class Counts(Event, kw_only=True, tag="counts"):
    """The messages after `from_seq` and up to `to_seq`, counted by the values of a field.

    They are sent in each interval, also when there was no message. A client that reads slowly gets
    fewer of them, each over a longer time. Each begins where the one before has ended.

    >>> counts = Counts(id="w1", from_seq=7, to_seq=9, total_count=2, counts={"raid": 2})
    >>> counts.counts["raid"]
    2
    """

    id: str
    from_seq: int
    to_seq: int
    """With authentication this is the seq of a message which the client may read, as in `pong`."""
    total_count: int
    """Number of messages; one with several values of the field counts once."""
    counts: dict[str, int]
    """Value → number of messages with it, of the 100 values in the most messages.

    A value is written as the newest of the messages has it, and has at most 256 characters.
    """
    others: int = 0
    """Sum of the counts of all other values."""
    missing: int = 0
    """Number of messages without a value. One with several is counted for each of them."""
    incomplete: bool = False
    """Messages that were evicted from memory before they were counted are missing."""


class OnlineUser(Struct, kw_only=True):
    """A user that is on line."""

    id: str
    connections: int
    """WebSockets and streams, at all servers of the log."""
    since: str
    """Time from which on there was always one."""


class Online(Event, kw_only=True, tag="online"):
    """The answer to `presence`: users with a connection, at all servers of the log.

    >>> Online(count=245).count
    245
    """

    count: int
    users: list[OnlineUser] | UnsetType = UNSET
    """Users by id, from `offset` on; only for those with the scope `presence`."""
    offset: int | UnsetType = UNSET
    age_seconds: float | UnsetType = UNSET
    """Age of what the other servers of the log have said, if there are some."""


class OnlineChanged(Event, kw_only=True, tag="online_changed"):
    """Users have come or gone; at most once a second.

    >>> OnlineChanged(count=244, left=["user_1"]).left
    ['user_1']
    """

    count: int
    """Number of users that are on line now."""
    joined: list[OnlineUser] | UnsetType = UNSET
    """Users that have come; only for those with the scope `presence`."""
    left: list[str] | UnsetType = UNSET
    """Ids of users that have gone."""
    incomplete: bool | UnsetType = UNSET
    """True if not all are named, as more than 1000 changed or you did not read: ask again."""


class Gap(Event, kw_only=True, tag="gap"):
    """Messages after `from` and up to `to` are no longer stored; later ones follow.

    >>> gap = Gap(from_=1764763200000000, to=1764763260000000)
    >>> gap.to - gap.from_
    60000000
    """

    from_: int = msgspec.field(name="from")
    to: int


class Redacted(Event, kw_only=True, tag="redacted"):
    """The content of messages was taken away; forget it. Stubs stand in their place.

    It names all messages of the types that you subscribed to, also those that you never got, and up
    to 1000 at once. A connection that resumes behind a redaction is told of it again.

    >>> event = Redacted(seqs=[1764763200000000], reason="spam", at=1764763260000000)
    >>> event.reason
    'spam'
    """

    seqs: list[int]
    """Seqs of the messages, rising."""
    reason: str = ""
    """The reason that was given."""
    at: int
    """Place of the redaction in the log. It never moves your own place backwards."""


class RateLimit(Event, kw_only=True, tag="rate_limit"):
    """A warning: use has reached 95 % of a limit."""

    scope: str
    """The limit: `messages` or `commands`."""
    current_requests: int
    limit: int
    window_seconds: float
    reset_in_seconds: float


class Error(Event, kw_only=True, tag="error"):
    """A command was refused; the connection stays open unless `disconnected` follows."""

    error_code: int
    error_message: str
    details: dict[str, Any] = {}


def error(refused: RefusedError, request_id: RequestId | UnsetType = UNSET) -> Error:
    """Make the `error` event of a refused command."""
    return Error(
        error_code=refused.code,
        error_message=CODES[refused.code].text,
        details={"field": refused.field, "issue": refused.issue, **refused.details},
        request_id=request_id,
    )


class AdminResult(Event, kw_only=True, tag="admin_result"):
    """The answer to `admin`.

    >>> AdminResult(command="disconnect", result={"disconnected": 1}).result["disconnected"]
    1
    """

    command: str
    result: dict[str, Any]
    nodes: dict[str, str] = {}
    """Server that shares the log → `ok`, or `no answer`."""


class Disconnected(Event, kw_only=True, tag="disconnected"):
    """The last event on a connection that the server closes."""

    reason: Reason
    reconnect_after_ms: int | UnsetType = UNSET
    """Milliseconds to wait before reconnecting, instead of the client's own back-off."""
    reconnect: bool | UnsetType = UNSET
    """False if the client may not come back."""


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
    | Analysis
    | Watching
    | Unwatched
    | Counts
    | Online
    | OnlineChanged
    | Gap
    | Redacted
    | RateLimit
    | AdminResult
    | Error
    | Disconnected
)

encoder = msgspec.json.Encoder()
