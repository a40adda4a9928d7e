"""TypeScript declarations of the protocol, made from the AsyncAPI document.

A pure function from the document to the text of `web/client/protocol.d.ts`. Each command, event and
message becomes an interface, and each kind a union that TypeScript narrows by `action` or `type`.
The classes of the client are declared by hand, in `web/client/livelog.d.ts`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from inspect import cleandoc
from itertools import starmap
from typing import Any

Json = dict[str, Any]

_HEAD = "/* Commands, events and messages as they are on the wire. Generated, do not edit. */"
_WIDTH = 100
_SUFFIXES = {"Command": "Command", "ServerEvent": "Event", "Message": ""}
"""Union → suffix of its members' names: `Error` alone would hide JavaScript's own."""
_TYPE = "MessageType"
_PLAIN = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "object": "Record<string, unknown>",
}
"""JSON type → TypeScript, where a schema says no more."""


def declarations(document: Json) -> str:
    """Return the text of the module for an AsyncAPI document."""
    unions = _unions(document)
    names = {member: member + _SUFFIXES[union] for union in unions for member in unions[union]}
    members = {union: [names[member] for member in unions[union]] for union in unions}
    members[_TYPE] = list(map(json.dumps, _tags(document["operations"]["deliver"])))
    schemas = _Schemas(names, {frozenset(parts): union for union, parts in members.items()})
    interfaces = map(schemas.interface, document["components"]["schemas"].values())
    return "\n\n".join([_HEAD, *starmap(_union, members.items()), *interfaces]) + "\n"


def _unions(document: Json) -> dict[str, list[str]]:
    """Return the names of the schemas of commands, events and messages."""
    payloads = {
        tag: _last(message["payload"]["$ref"])
        for tag, message in document["components"]["messages"].items()
    }
    operations = document["operations"]
    received = (each for each in operations.values() if each["action"] == "receive")
    commands = [tag for each in received for tag in _tags(each)]
    messages = _tags(operations["deliver"])
    events = [tag for tag in payloads if tag not in commands and tag not in messages]
    tags = {"Command": commands, "ServerEvent": events, "Message": messages}
    return {union: [payloads[tag] for tag in members] for union, members in tags.items()}


def _tags(operation: Json) -> list[str]:
    """Return the tags of the messages of an operation: their `action` or `type`."""
    return [_last(message["$ref"]) for message in operation["messages"]]


class _Schemas:
    """JSON schemas written as TypeScript."""

    def __init__(self, names: dict[str, str], unions: dict[frozenset[str], str]) -> None:
        self._names = names
        """Schema → interface, where the two differ."""
        self._unions = unions
        """Members → the name of their union."""
        self._keywords: dict[str, Callable[[Any], str]] = {
            "$ref": self._reference,
            "enum": self._enum,
            "anyOf": self._any_of,
            "oneOf": self._any_of,
            "items": self._array,
            "additionalProperties": self._record,
        }
        """Keyword → how its value is written; the first that a schema has decides."""

    def interface(self, schema: Json) -> str:
        """Return the declaration of an object."""
        required = schema.get("required", ())
        fields = (
            self._field(key if key in required else f"{key}?", value)
            for key, value in schema["properties"].items()
        )
        name = self._reference(schema["title"])
        lines = [_comment(schema["description"]), f"export interface {name} {{", *fields, "}"]
        return "\n".join(lines)

    def _field(self, key: str, schema: Json) -> str:
        written = self._type(schema)
        line = f"  {key}: {written};"
        if len(line) <= _WIDTH:
            return line
        return f"  {key}:\n    | " + written.replace(" | ", "\n    | ") + ";"

    def _type(self, schema: Json) -> str:
        for keyword, write in self._keywords.items():
            if keyword in schema:
                return write(schema[keyword])
        return _PLAIN[schema["type"]]

    def _reference(self, reference: str) -> str:
        name = _last(reference)
        return self._names.get(name, name)

    def _enum(self, values: list[str]) -> str:
        return self._one_of(map(json.dumps, values))

    def _any_of(self, schemas: list[Json]) -> str:
        return self._one_of(map(self._type, schemas))

    def _one_of(self, members: Iterable[str]) -> str:
        each = dict.fromkeys(members)  # once, in their order
        for parts, union in self._unions.items():
            if parts <= each.keys():
                each = dict.fromkeys([union, *(one for one in each if one not in parts)])
        return " | ".join(each)

    def _array(self, items: Json) -> str:
        item = self._type(items)
        return f"({item})[]" if " | " in item else f"{item}[]"

    def _record(self, values: Json) -> str:
        return f"Record<string, {self._type(values)}>"


def _union(name: str, members: Iterable[str]) -> str:
    return "\n  | ".join([f"export type {name} =", *members]) + ";"


def _comment(text: str) -> str:
    lines = cleandoc(text).splitlines()
    if len(lines) == 1:
        return f"/** {lines[0]} */"
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in lines), " */"])


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]
