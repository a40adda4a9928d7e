"""livelog: a live-log server and its client. Typed messages to thousands of WebSocket subscribers.

async with Server(Config(port=0)) as server:
    await server.publish({"type": "user", "user_id": "u1", "username": "Ann", "content": "hello"})

async with connect("ws://localhost:8000/ws/live-log") as log:
    async for message in log.subscribe(["user"]):
        print(message)

Names are loaded on first use: a client does not load the server, nor the server the client's
connections.

Glossary, in the order in which a message meets the parts:

    message        one of the six types of the API, as a producer sends it
    principal      an identity and its scopes, which decide what it may read and publish
    limiter        rates, bans and the registry of connections, counted by address and user
    draft          a checked and encoded message without a seq
    engine         the part that orders drafts, gives each its seq, and recognizes repeated ids
    sink           the interface through which an engine appends records to the log
    seq            place in the order of the log: an integer that only grows, with gaps between
    record         a message with its seq
    frame          a record's bytes on the wire, made once and shared by all its readers
    log            all records in order of seq; the only part that appends to window and store
    head           seq of the newest record
    window         the newest records, in memory, bounded by number and bytes
    store          the records on disk, for everything older than the window
    position       number of a record in the window or the store, without gaps: good for counting
    segment        a sealed part of the search index on disk, for a run of positions
    term           `field=value`, `type=name` or a word of a record, by which the index finds it
    posting list   the positions of all records that contain a term or an n-gram, as a bitmap
    subscription   the types a client listens to, with filters for each
    reader         a connection as the fan-out sees it: a subscription and a cursor
    cursor         the seq up to which a reader has been sent what it subscribed to
    live           at the head, so that new records are written to the reader directly
    catch-up       the way of a reader behind the head: chunks of the log until it is live
    gap            records a reader asked for that are no longer stored; a `gap` event names them
    audience       the live readers that share a subscription, and the frames they still lack
    round          one pass over all audiences with frames; each member is written to once
    pacing         the rest between two rounds, which makes batches grow with the load
    command        a client's request over the WebSocket; its message there is a *WebSocket message*
    turn           the time one busy connection gets before the next one is served
    backpressure   a full send buffer makes a reader leave its audience, and catch up later
    drain          the end of a server: it disconnects clients gradually and spreads their return
    door           code that accepts connections or requests: WebSocket, HTTP, TLS, embedding
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from livelog.client.blocking import SyncClient, sync_connect
    from livelog.client.client import Client, connect
    from livelog.client.decoding import Analysis, Page
    from livelog.client.livecounts import LiveCounts
    from livelog.client.loghandler import LogHandler
    from livelog.client.presencechanges import PresenceChanges
    from livelog.client.reconnecting import Status
    from livelog.client.subscription import Subscription
    from livelog.config import Config
    from livelog.errors import (
        ConfigError,
        ConnectionEndedError,
        LivelogError,
        NotRunningError,
        RefusedError,
        UnreachableError,
    )
    from livelog.server import Server
    from livelog.wire.commands import Filters
    from livelog.wire.events import AdminResult, Counts, Gap, Online, OnlineChanged
    from livelog.wire.messages import (
        Delivered,
        DirectMessage,
        GuildMessage,
        Participant,
        PartyMessage,
        RaidMessage,
        SystemMessage,
        UserMessage,
    )
    from livelog.wire.record import Receipt

_HOMES = {
    "AdminResult": "livelog.wire.events",
    "Analysis": "livelog.client.decoding",
    "Client": "livelog.client.client",
    "Config": "livelog.config",
    "ConfigError": "livelog.errors",
    "ConnectionEndedError": "livelog.errors",
    "Counts": "livelog.wire.events",
    "Delivered": "livelog.wire.messages",
    "DirectMessage": "livelog.wire.messages",
    "Filters": "livelog.wire.commands",
    "Gap": "livelog.wire.events",
    "GuildMessage": "livelog.wire.messages",
    "LiveCounts": "livelog.client.livecounts",
    "LivelogError": "livelog.errors",
    "LogHandler": "livelog.client.loghandler",
    "NotRunningError": "livelog.errors",
    "Online": "livelog.wire.events",
    "OnlineChanged": "livelog.wire.events",
    "Page": "livelog.client.decoding",
    "Participant": "livelog.wire.messages",
    "PartyMessage": "livelog.wire.messages",
    "PresenceChanges": "livelog.client.presencechanges",
    "RaidMessage": "livelog.wire.messages",
    "Receipt": "livelog.wire.record",
    "RefusedError": "livelog.errors",
    "Server": "livelog.server",
    "Status": "livelog.client.reconnecting",
    "Subscription": "livelog.client.subscription",
    "SyncClient": "livelog.client.blocking",
    "SystemMessage": "livelog.wire.messages",
    "UnreachableError": "livelog.errors",
    "UserMessage": "livelog.wire.messages",
    "connect": "livelog.client.client",
    "sync_connect": "livelog.client.blocking",
}
"""Public name → module that it is loaded from."""

__all__ = [
    "AdminResult",
    "Analysis",
    "Client",
    "Config",
    "ConfigError",
    "ConnectionEndedError",
    "Counts",
    "Delivered",
    "DirectMessage",
    "Filters",
    "Gap",
    "GuildMessage",
    "LiveCounts",
    "LivelogError",
    "LogHandler",
    "NotRunningError",
    "Online",
    "OnlineChanged",
    "Page",
    "Participant",
    "PartyMessage",
    "PresenceChanges",
    "RaidMessage",
    "Receipt",
    "RefusedError",
    "Server",
    "Status",
    "Subscription",
    "SyncClient",
    "SystemMessage",
    "UnreachableError",
    "UserMessage",
    "__version__",
    "connect",
    "sync_connect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
