"""Facts about the routes of HTTP that no other table holds, for the OpenAPI document.

The table has a row for each route, by path and method: the struct that its parameters are read
into, its answers, and the statuses with which it refuses. Rows of admin commands and of files are
made from their own tables. `tests/test_openapi.py` holds the rows against a running server.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import getdoc
from typing import Any, NamedTuple, get_args

from livelog.auth.principal import ADMIN, METRICS, READ, REPLICATE
from livelog.net.admin.table import COMMANDS
from livelog.net.http.assets import ASSETS, PACKAGE
from livelog.net.http.body import CODINGS, KINDS
from livelog.net.http.stream.request import Follow
from livelog.wire import WEBSOCKET_PATH, admin
from livelog.wire.asyncapi import SCHEMAS
from livelog.wire.commands import Analyze, Command, GetHistory, Presence, Search
from livelog.wire.events import AdminResult, Analysis, History, Online, SearchResults
from livelog.wire.messages import TYPES, AnyMessage

Json = dict[str, Any]
Content = Mapping[str, Json]
"""Media type → schema."""

JSON, TEXT = "application/json", "text/plain"
_OBJECT, _STRING, _INTEGER = {"type": "object"}, {"type": "string"}, {"type": "integer"}
_SEQ = {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**53}

PRIVATE = (400, 401, 403, 429, 500, 503)
"""Statuses with which every route refuses that takes a credential."""


class Operation(NamedTuple):
    """A route as a client sees it."""

    id: str
    tag: str
    summary: str
    answers: Mapping[int, tuple[str, Content]]
    """Status → its meaning and content; of refusals only those that are no `error`."""
    shape: type[Command] | None = None
    """The struct that the parameters are read into; without one they are passed over."""
    more: tuple[Json, ...] = ()
    """Parameters besides those of `shape`."""
    body: Json | None = None
    refuses: tuple[int, ...] = ()
    """Statuses of refusals, besides those that all routes have."""
    scopes: tuple[str, ...] = ()
    """The scopes of which one is needed on a server with authentication."""


def ref(kind: type) -> Json:
    """Return the reference to the schema of a struct."""
    return {"$ref": SCHEMAS + kind.__name__}


def parameter(name: str, schema: Json, description: str, place: str = "query") -> Json:
    """Return a parameter; those of a path are required, as OpenAPI has it."""
    needed = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, **needed, "description": description, "schema": schema}


def _found(description: str, schema: Json, status: int = 200) -> dict[int, tuple[str, Content]]:
    return {status: (description, {JSON: schema})}


_RECEIPT = {
    "type": "object",
    "properties": {"id": _STRING, "seq": _SEQ},
    "required": ["id", "seq"],
}
_PUBLISHED = {
    "type": "object",
    "properties": {
        "action": {"const": "published"},
        "count": _INTEGER,
        "messages": {"type": "array", "items": _RECEIPT},
    },
    "required": ["action", "count", "messages"],
}
_HEALTH = {
    "type": "object",
    "properties": {
        "status": {"enum": ["ok", "read-only", "degraded", "draining"]},
        "issue": _STRING,
        "version": _STRING,
        "worker": _INTEGER,
        "connections": _INTEGER,
        "head_seq": _SEQ,
        "lag": {"type": "number"},
        "uptime_seconds": {"type": "number"},
        "memory": {"type": "object", "additionalProperties": _INTEGER},
        "nodes": {"type": "array", "items": _OBJECT},
    },
    "required": ["status", "version", "connections", "uptime_seconds"],
    "additionalProperties": False,
}
_READINESS = {
    "type": "object",
    "properties": {"status": {"enum": ["ready", "draining", "not-ready"]}, "issue": _STRING},
    "required": ["status"],
    "additionalProperties": False,
}
_WHOLE = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("began", "trimmed_upto", "head_seq", "act_seq"), _SEQ),
        "page": ref(History),
    },
    "required": ["began", "trimmed_upto", "head_seq", "act_seq", "page"],
}
_ACT = {"type": "array", "prefixItems": [_SEQ, _OBJECT], "minItems": 2, "maxItems": 2}

_MESSAGE = {"oneOf": [ref(kind) for kind in get_args(AnyMessage)]}
_MESSAGES = {"oneOf": [*_MESSAGE["oneOf"], {"type": "array", "items": _MESSAGE, "minItems": 1}]}
_LINES = {"type": "string", "description": "A message in each line."}
_BODY = {
    "required": True,
    "content": {kind: {"schema": _MESSAGES if kind == JSON else _LINES} for kind in KINDS},
}
_CODING = parameter(
    "Content-Encoding", {"enum": [*CODINGS]}, "How the body is compressed, if it is.", "header"
)
_STREAM = {
    "type": "string",
    "description": "Messages, and the events gap, redacted, counts, token_expiring, error and"
    " disconnected: one object a line, or as Server-Sent Events.",
}
_OPENING = (
    {
        **parameter(
            "message_types",
            {"type": "array", "items": {"enum": [*TYPES]}, "minItems": 1},
            "Types to subscribe to at once.",
        ),
        "style": "form",
        "explode": False,
    },
    parameter("since", _SEQ, "Begin after this seq; needs message_types."),
    parameter(
        "batch",
        {"type": "integer", "minimum": 1, "maximum": 1000},
        "Get messages in arrays: the milliseconds for which they are gathered, 1 for the usual 25.",
    ),
)
_READS = (READ, *(f"{READ}:{name}" for name in TYPES))

OPERATIONS: dict[tuple[str, str], Operation] = {
    (WEBSOCKET_PATH, "GET"): Operation(
        "connect",
        "messages",
        "Open the WebSocket, whose protocol is described by `/asyncapi.json`.",
        {101: ("The connection is a WebSocket from now on.", {})},
        more=_OPENING,
        refuses=(400, 426, 429, 503),
    ),
    ("/api/messages", "POST"): Operation(
        "publish",
        "messages",
        "Append messages to the log; if one is wrong, none is published.",
        _found("All of them are on disk.", _PUBLISHED, 201),
        more=(_CODING,),
        body=_BODY,
        refuses=(*PRIVATE, 413, 415),
        scopes=("publish", *(f"publish:{name}" for name in TYPES), "publish:any", ADMIN),
    ),
    ("/api/history", "GET"): Operation(
        "history",
        "reading",
        "Read a page of past messages, newest first: from `offset` on, or next to a seq.",
        _found("The page.", ref(History)),
        GetHistory,
        refuses=PRIVATE,
        scopes=(*_READS, ADMIN),
    ),
    ("/api/search", "GET"): Operation(
        "search",
        "reading",
        "Read a page of past messages that contain words, or for which an expression holds.",
        _found("The page.", ref(SearchResults)),
        Search,
        refuses=PRIVATE,
        scopes=(*_READS, ADMIN),
    ),
    ("/api/analytics", "GET"): Operation(
        "analyze",
        "reading",
        "Count past messages: by the values of a field, over time, or both.",
        _found("The counts.", ref(Analysis)),
        Analyze,
        refuses=PRIVATE,
        scopes=(*_READS, ADMIN),
    ),
    ("/api/presence", "GET"): Operation(
        "presence",
        "reading",
        "Tell how many users are on line, and with the scope `presence` who.",
        _found("The users.", ref(Online)),
        Presence,
        refuses=PRIVATE,
        scopes=(*_READS, "presence", ADMIN),
    ),
    ("/api/stream", "GET"): Operation(
        "stream",
        "reading",
        "Follow live messages, or live counts of them, without an end.",
        {
            200: (
                "The stream. It has Server-Sent Events if `Accept` names them.",
                {"application/x-ndjson": _STREAM, "text/event-stream": _STREAM},
            )
        },
        Follow,
        (parameter("Last-Event-ID", _SEQ, "Go on after this seq; beats `since`.", "header"),),
        refuses=PRIVATE,
        scopes=(*_READS, ADMIN),
    ),
    ("/api/log", "GET"): Operation(
        "copyLog",
        "replication",
        "Read a page of everybody's messages as they are stored, for the store of another server.",
        _found("The page, and how far the log reaches.", _WHOLE),
        GetHistory,
        refuses=PRIVATE,
        scopes=(REPLICATE,),
    ),
    ("/api/log/acts", "GET"): Operation(
        "copyActs",
        "replication",
        "Read acts of moderators, the newest first, for the store of another server.",
        _found("Pairs of a seq and an act.", {"type": "array", "items": _ACT}),
        more=({**parameter("before", _SEQ, "Acts before this seq."), "required": True},),
        refuses=PRIVATE,
        scopes=(REPLICATE,),
    ),
    ("/api/sign-in", "GET"): Operation(
        "signIn",
        "operation",
        "Tell a page how its reader signs in at the issuer; an empty object if there is no way.",
        _found("Issuer, client id, scopes and endpoints.", _OBJECT),
    ),
    ("/healthz", "GET"): Operation(
        "health",
        "operation",
        "Tell how the server is; 200 as long as it answers.",
        _found("The health.", _HEALTH),
    ),
    ("/readyz", "GET"): Operation(
        "readiness",
        "operation",
        "Tell whether clients are to be sent to this server.",
        {
            **_found("They are.", _READINESS),
            **_found("They are not: it starts, drains or lags.", _READINESS, 503),
        },
    ),
    ("/metrics", "GET"): Operation(
        "metrics",
        "operation",
        "Return the figures of the server for Prometheus, or as OpenMetrics.",
        {200: ("The figures.", {TEXT: _STRING, "application/openmetrics-text": _STRING})},
        refuses=(*PRIVATE, 501),
        scopes=(METRICS, ADMIN),
    ),
    ("/asyncapi.json", "GET"): Operation(
        "asyncapi",
        "documents",
        "Return the protocol of the WebSocket as an AsyncAPI 3.0 document.",
        _found("The document.", _OBJECT),
    ),
    ("/openapi.json", "GET"): Operation(
        "openapi",
        "documents",
        "Return this document.",
        _found("The document.", _OBJECT),
    ),
}
"""Path and method → operation."""

_FILES = {
    "/": ("viewer", "Return the page of the viewer."),
    "/livelog.js": ("client", "Return the JavaScript client."),
    "/livelog.d.ts": ("types", "Return the types of the JavaScript client."),
    PACKAGE: ("package", "Return the JavaScript client as a package for `npm install`."),
}
_FOLDERS = {"/client/": "clientFile", "/viewer/": "viewerFile"}
"""Folder of files → id of the operation that stands for all of them."""


def shared_path(path: str) -> str:
    """Return the path under which a route stands in the document: files share that of a folder."""
    folder = path[: path.rfind("/") + 1]
    return f"{folder}{{file}}" if folder in _FOLDERS else path


def operation(path: str, method: str) -> Operation:
    """Return the operation of a route. Raises `KeyError` for one that has no row."""
    if path in ASSETS:
        return _file(path)
    prefix, _, command = path.rpartition("/")
    if prefix == "/api/admin":
        return _command(command)
    return OPERATIONS[path, method]


def _file(path: str) -> Operation:
    folder = path[: path.rfind("/") + 1]
    if folder not in _FOLDERS:
        name, summary = _FILES[path]
        kind = ASSETS[path].content_type
        return Operation(name, "files", summary, {200: ("The file.", {kind: _STRING})})
    files = [each for each in ASSETS if each.startswith(folder)]
    kinds = sorted({ASSETS[each].content_type for each in files})
    names = {"enum": [each.removeprefix(folder) for each in files]}
    return Operation(
        _FOLDERS[folder],
        "files",
        f"Return a file of {'the viewer' if folder == '/viewer/' else 'the JavaScript client'}.",
        {200: ("The file.", dict.fromkeys(kinds, _STRING))},
        more=(parameter("file", names, "Name of the file.", "path"),),
    )


def _command(command: str) -> Operation:
    shape = admin.ADMIN[command]
    summary = (getdoc(shape) or "").partition("\n")[0]
    scopes = {COMMANDS[command].scope, ADMIN}
    return Operation(
        f"admin_{command.replace('-', '_')}",
        "moderation",
        summary,
        _found("The result.", ref(AdminResult)),
        more=(_CODING,),
        body={"content": {JSON: {"schema": ref(shape)}}},
        refuses=(*PRIVATE, 404, 413, 415),
        scopes=tuple(sorted(scopes, reverse=True)),
    )
