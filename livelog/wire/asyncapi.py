"""The WebSocket protocol as an AsyncAPI 3.0 document, made from the structs.

Names, fields, bounds and descriptions come from `messages`, `commands` and `events`, so the
document cannot disagree with the code. The tables here add what the structs do not hold, such as
which event answers which command. Operations are described from the server's side, as AsyncAPI
requires: the server receives commands and sends messages and events.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from inspect import getdoc
from typing import Any, get_args

import msgspec

from livelog.wire.commands import (
    Admin,
    Analyze,
    AnyCommand,
    Authenticate,
    GetHistory,
    Ping,
    Presence,
    Publish,
    Search,
    Subscribe,
    Unsubscribe,
    Unwatch,
    Watch,
)
from livelog.wire.events import (
    AdminResult,
    Analysis,
    AnyEvent,
    Authenticated,
    Connected,
    Counts,
    Disconnected,
    Error,
    Gap,
    History,
    Online,
    OnlineChanged,
    Pong,
    Published,
    RateLimit,
    Redacted,
    SearchResults,
    Subscribed,
    TokenExpiring,
    Unsubscribed,
    Unwatched,
    Watching,
)
from livelog.wire.messages import TYPES, Delivered

Json = dict[str, Any]

_ANSWERS: dict[type, type] = {
    Subscribe: Subscribed,
    Unsubscribe: Unsubscribed,
    GetHistory: History,
    Search: SearchResults,
    Analyze: Analysis,
    Watch: Watching,
    Unwatch: Unwatched,
    Presence: Online,
    Ping: Pong,
    Publish: Published,
    Authenticate: Authenticated,
    Admin: AdminResult,
}
"""Command → event of its success; a refused command is answered with `error`."""
_UNSOLICITED = (
    *(Connected, TokenExpiring, Counts, OnlineChanged),
    *(Gap, Redacted, RateLimit, Disconnected),
)
"""Events that answer no command."""
_PAGES = {History: "messages", SearchResults: "results"}
"""Event → its field of messages, which the struct declares as raw bytes."""

_STUB: dict[str, Any] = {
    "title": "Stub",
    "description": "A message without its content, which was redacted.",
    "type": "object",
    "properties": {
        "redacted": {"enum": [True]},
        "type": {"enum": list(TYPES)},
        **{name: {"type": "string"} for name in ("id", "timestamp", "reason")},
        **{name: {"type": "string"} for name in ("from_user_id", "to_user_id")},
        "seq": {"type": "integer"},
    },
    "required": ["redacted", "type", "id", "timestamp", "seq"],
}
"""Schema of a stub: it is delivered in the place of a message of any type."""

_CHANNEL = "liveLog"
SCHEMAS = "#/components/schemas/"


@cache
def document(path: str, version: str) -> bytes:
    """Return the document as JSON.

    `path` is the path of the WebSocket, `version` the version of livelog.
    """
    structs = (*get_args(AnyCommand), *get_args(AnyEvent), *get_args(Delivered))
    return msgspec.json.encode(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "livelog",
                "version": version,
                "description": "Typed messages to WebSocket subscribers.",
                "license": {"name": "MIT"},
            },
            "defaultContentType": "application/json",
            "servers": {"local": {"host": "localhost:8000", "protocol": "ws"}},
            "channels": {
                _CHANNEL: {
                    "address": path,
                    "messages": {
                        _name(kind): {"$ref": f"#/components/messages/{_name(kind)}"}
                        for kind in structs
                    },
                }
            },
            "operations": _operations(),
            "components": {
                "messages": {_name(kind): _message(kind) for kind in structs},
                "schemas": schemas_of(structs),
            },
        }
    )


def _operations() -> Json:
    commands = {_name(command): _command(command) for command in get_args(AnyCommand)}
    return {
        **commands,
        "deliver": _operation("send", *get_args(Delivered)),
        "tell": _operation("send", *_UNSOLICITED),
    }


def _command(command: type) -> Json:
    answers = _operation("", _ANSWERS[command], Error)
    reply = {"channel": answers["channel"], "messages": answers["messages"]}
    return {**_operation("receive", command), "reply": reply}


def _operation(action: str, *kinds: type) -> Json:
    channel = f"#/channels/{_CHANNEL}"
    messages = [{"$ref": f"{channel}/messages/{_name(kind)}"} for kind in kinds]
    return {"action": action, "channel": {"$ref": channel}, "messages": messages}


def _message(kind: type) -> Json:
    return {
        "name": _name(kind),
        "title": kind.__name__,
        "summary": (getdoc(kind) or "").partition("\n")[0],
        "payload": {"$ref": SCHEMAS + kind.__name__},
    }


def _name(kind: Any) -> str:
    """Return the tag of a struct: its `action` or `type`."""
    return str(kind.__struct_config__.tag)


def schemas_of(structs: Sequence[Any]) -> Json:
    """Return the schemas of structs, and of those in them, by name.

    The structs must be those of pages and of delivered messages at least.
    """
    _, schemas = msgspec.json.schema_components(structs, ref_template=SCHEMAS + "{name}")
    for schema in schemas.values():
        if "description" in schema:  # the docstring, which ends with an example in Python
            schema["description"] = schema["description"].partition(">>> ")[0].rstrip()
    schemas["Stub"] = _STUB
    delivered = [{"$ref": SCHEMAS + kind.__name__} for kind in get_args(Delivered)]
    delivered.append({"$ref": SCHEMAS + "Stub"})
    for page, field in _PAGES.items():
        schemas[page.__name__]["properties"][field]["items"] = {"oneOf": delivered}
    for kind in get_args(Delivered):  # the server fills in every field before it delivers
        schemas[kind.__name__]["required"] = list(schemas[kind.__name__]["properties"])
    plain: Json = _without_discriminators(schemas)
    return plain


def _without_discriminators(part: Any) -> Any:
    """Remove `discriminator` objects: valid in OpenAPI, an error in AsyncAPI, and not needed.

    The schemas differ in the constant of their tag field.
    """
    if isinstance(part, list):
        return [_without_discriminators(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        key: _without_discriminators(value) for key, value in part.items() if key != "discriminator"
    }
