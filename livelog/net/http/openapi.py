"""The HTTP interface as an OpenAPI 3.1 document, made from the tables that the server works with.

Paths come from the routes, parameters from the structs that a URL is read into, bodies and answers
from those on the wire, statuses and codes from the table of errors, so the document cannot disagree
with the code. `operations` has the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any, get_args

import msgspec

from livelog.errors import CODES
from livelog.net import queries
from livelog.net.http.errors import STATUSES
from livelog.net.http.notes import notes
from livelog.net.http.operations import Content, Json, Operation, operation, parameter, shared_path
from livelog.wire.admin import ADMIN
from livelog.wire.asyncapi import SCHEMAS, schemas_of
from livelog.wire.commands import Command, Filters
from livelog.wire.events import (
    AdminResult,
    Analysis,
    Counts,
    Disconnected,
    Error,
    Gap,
    History,
    Online,
    Redacted,
    SearchResults,
    TokenExpiring,
)
from livelog.wire.messages import AnyMessage, Delivered

Route = tuple[str, str, bool]
"""Path, method, and whether it is open to anybody."""

_ANSWERS = (History, SearchResults, Analysis, Online, AdminResult, Error)
_STREAMED = (Gap, Redacted, Counts, TokenExpiring, Disconnected)
_STRUCTS = (*get_args(Delivered), *get_args(AnyMessage), *_ANSWERS, *_STREAMED, *ADMIN.values())

_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token, or an API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "tokenInUrl": {"type": "apiKey", "in": "query", "name": "token"},
    "apiKeyInUrl": {"type": "apiKey", "in": "query", "name": "api_key"},
}
"""The ways to send a credential; an open server needs none."""

_OPTIONAL: list[Json] = [*({name: []} for name in _SECURITY), {}]

_HEADERS = {
    401: ("WWW-Authenticate", "The challenge of RFC 6750.", {"type": "string"}),
    403: ("WWW-Authenticate", "Names a scope that is missing.", {"type": "string"}),
    426: ("Upgrade", "The protocol to upgrade to.", {"type": "string"}),
    429: ("Retry-After", "Seconds to wait.", {"type": "integer"}),
    503: ("Retry-After", "Seconds to wait.", {"type": "integer"}),
}
"""Status of a refusal → a header of it."""

_EXAMPLES: dict[str, Any] = {
    "type": ["user", "raid"],
    "where": "channel:general -dragon",
    "query": "dragon",
    "text": "dragon",
    "date_from": "2025-12-01T00:00:00Z",
    "date_to": "2025-12-31T23:59:59Z",
    "group_by": "channel",
    "distinct": "user_id",
    "watch": "type",
    "interval_seconds": 3600,
    "timezone": "Europe/Berlin",
    "severity": "error",
    "status": "wipe",
    "event": "raid_started",
}
"""Parameter → a value that shows its form."""

_NEEDS = "On a server with authentication it takes one of the scopes {}."


@cache
def document(version: str, routes: tuple[Route, ...]) -> bytes:
    """Return the document as JSON, for the version of livelog and the routes of the server."""
    paths: dict[str, Json] = {}
    for path, method, anybody in routes:
        there = paths.setdefault(shared_path(path), {})
        if method.lower() not in there:
            there[method.lower()] = _operation(operation(path, method), anybody=anybody)
    statuses = {status for path, method, _ in routes for status in operation(path, method).refuses}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "livelog",
                "version": version,
                "description": "Typed messages over plain HTTP, beside the WebSocket. HEAD is"
                " answered where GET is.",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "."}],
            "paths": paths,
            "components": {
                "schemas": _schemas(),
                "responses": {
                    "Refused": _refusal(None),
                    **{f"Refused{status}": _refusal(status) for status in sorted(statuses)},
                },
                "securitySchemes": _SECURITY,
            },
        }
    )


def _operation(made: Operation, *, anybody: bool) -> Json:
    parameters = [*(_parameters(made.shape) if made.shape else ()), *made.more]
    return {
        "operationId": made.id,
        "tags": [made.tag],
        "summary": made.summary,
        **({"description": _NEEDS.format(_listed(made.scopes))} if made.scopes else {}),
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": made.body} if made.body else {}),
        "responses": {
            **{str(status): _answer(*answer) for status, answer in made.answers.items()},
            **{
                str(status): {"$ref": f"#/components/responses/Refused{status}"}
                for status in sorted(made.refuses)
            },
            "default": {"$ref": "#/components/responses/Refused"},
        },
        "security": [] if anybody else _OPTIONAL,
    }


def _listed(scopes: Iterable[str]) -> str:
    return ", ".join(f"`{scope}`" for scope in scopes)


def _answer(description: str, content: Content) -> Json:
    shown = {kind: {"schema": schema} for kind, schema in content.items()}
    return {"description": description, **({"content": shown} if shown else {})}


def _refusal(status: int | None) -> Json:
    """Return the response of a refusal; without a status, of any that breaks a rule of HTTP."""
    if status is None:
        meaning = "A request that is not HTTP, not for this server, or not allowed from its origin."
    else:
        codes = [code for code, usual in STATUSES.items() if usual == status and code != 1006]
        named = "; ".join(f"{code} {CODES[code].text}" for code in codes)
        meaning = f"{HTTPStatus(status).phrase}{f': {named}' if named else ''}."
    answer = _answer(meaning, {"application/json": {"$ref": f"{SCHEMAS}Error"}})
    if status in _HEADERS:
        name, description, schema = _HEADERS[status]
        answer["headers"] = {name: {"description": description, "schema": schema}}
    return answer


def _parameters(shape: type[Command]) -> list[Json]:
    """Return the parameters of a URL that stands for a command."""
    _, schemas = msgspec.json.schema_components([shape], ref_template=f"{SCHEMAS}{{name}}")
    own, known = queries.parameters_of(shape)
    named = [(name, shape) for name in own] + [(name, Filters) for name in known]
    return [
        _parameter(name, schemas[kind.__name__]["properties"][name], notes(kind).get(name, ""))
        for name, kind in named
    ]


def _parameter(name: str, schema: Json, description: str) -> Json:
    made = parameter(name, _in_url(schema), description or f"Messages with this `{name}`.")
    if made["schema"].get("type") == "array":
        made |= {"style": "form", "explode": False}
    return made | ({"example": _EXAMPLES[name]} if name in _EXAMPLES else {})


def _in_url(schema: Json) -> Json:
    """Return the one of several forms of a value that a URL has: a list, or text."""
    forms: list[Json] = schema.get("anyOf", [schema])
    return next((form for form in forms if form.get("type") in ("array", "string")), forms[0])


def _schemas() -> Json:
    schemas = schemas_of(_STRUCTS)
    for kind in _STRUCTS:
        properties = schemas[kind.__name__]["properties"]
        encoded = dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
        for field, note in notes(kind).items():
            if field in encoded:
                properties[encoded[field]].setdefault("description", note)
    code = schemas["Error"]["properties"]["error_code"]
    code["enum"] = [*CODES]
    code["description"] = "; ".join(f"{number}: {code.text}" for number, code in CODES.items())
    return dict(sorted(schemas.items()))
