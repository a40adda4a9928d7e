"""Refusals of invalid input: the field, the fault, and the allowed values.

msgspec reports input that does not fit a struct in one line of English with a path. This module
turns that line into a `RefusedError` that names the field and lists the allowed values, if they are
a fixed set. The list is read from the structs, so it cannot disagree with them. Valid input costs
nothing here.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from livelog.errors import PROTOCOL_ERROR, RefusedError

_LINE = re.compile(r"^(?P<issue>.*?)(?: - at `(?:key` in `)?\$?(?P<path>.*)`)?$", re.DOTALL)
_ABOUT_A_FIELD = re.compile(
    r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL
)
_ISSUES = {"missing required": "required field is missing", "contains unknown": "unknown field"}
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile(r"\[\d+\]")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(?:\d+|\.\.\.)?\]")


def refusal(error: Exception, shape: Any, data: bytes | dict[str, Any]) -> RefusedError:
    """Turn the `error` of decoding `data` as `shape` into a `RefusedError`."""
    if isinstance(error, RecursionError):
        return RefusedError(PROTOCOL_ERROR, "", "nested too deeply")
    if isinstance(error, msgspec.ValidationError):
        return _misfit(str(error), shape, data)
    if not _is_utf8(data):
        return RefusedError(PROTOCOL_ERROR, "", "not valid UTF-8")
    halves = _with_half_a_pair(data)
    if halves is not None:
        return RefusedError(PROTOCOL_ERROR, halves, "holds half a surrogate pair, no character")
    return RefusedError(PROTOCOL_ERROR, "", f"not valid JSON: {_lower(str(error))}")


def refusal_of_parameters(error: Exception, shape: Any, data: dict[str, Any]) -> RefusedError:
    """Do the same for the parameters of a URL: they are named without a place in a list."""
    refused = refusal(error, shape, data)
    return refused.rename(_INDEX.sub("", refused.field))


def _is_utf8(data: Any) -> bool:
    try:
        return not isinstance(data, bytes) or data.decode() is not None
    except UnicodeDecodeError:
        return False


def _with_half_a_pair(data: Any) -> str | None:
    """Return the path of a string with half a surrogate pair, such as half an emoji; None without.

    msgspec reports it as a fault of the syntax; JSON allows it (RFC 8259 section 8.2), UTF-8 does
    not.
    """
    try:
        document = json.loads(data) if _HALF.search(data) else None
        return next((path for path, text in _strings(document) if _SURROGATE.search(text)), None)
    except (ValueError, TypeError, RecursionError):  # something else is wrong, too
        return None


def _strings(document: Any) -> Iterator[tuple[str, str]]:
    """Yield each string, names included, with the path of its place."""
    left = [("", document)]
    while left:
        path, value = left.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, list):
            left += ((path, item) for item in reversed(value))
        elif isinstance(value, dict):
            for name, item in reversed(value.items()):
                left += (f"{path}.{name}" if path else name, item), (path, name)


def _misfit(text: str, shape: Any, data: bytes | dict[str, Any]) -> RefusedError:
    match = _LINE.match(text)
    assert match is not None  # the pattern matches any text
    issue, path = match["issue"], (match["path"] or "").lstrip(".")
    document = _parse(data)
    about_field = _ABOUT_A_FIELD.match(issue)
    if about_field is None:
        allowed = _choices(_follow(shape, document, path))
        field = path.replace("[...]", "")
        return _refused(field, _lower(issue), allowed if issue.startswith("Invalid") else [])
    name = about_field["name"]
    field = f"{path}.{name}" if path else name
    parent = _follow(shape, document, path)
    allowed = _choices(_follow(shape, document, field))
    if about_field["what"] == "contains unknown":
        allowed = _field_names(parent, _value_at(document, path))
    return _refused(field, _ISSUES[about_field["what"]], allowed)


def _refused(field: str, issue: str, allowed: list[Any]) -> RefusedError:
    if allowed:
        return RefusedError(PROTOCOL_ERROR, field, issue, allowed=allowed)
    return RefusedError(PROTOCOL_ERROR, field, issue)


def _parse(data: Any) -> Any:
    if not isinstance(data, (bytes, bytearray)):
        return data
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError):  # invalid JSON after the field that msgspec reported
        return None


def _lower(text: str) -> str:
    first = text[:1] if text[1:2].isupper() else text[:1].lower()  # an acronym stays one
    return first + text[1:].replace("`", "'")


def _steps(path: str) -> list[str]:
    """Split `message.participants[...].class` into ['message', 'participants', '', 'class']."""
    return [step[1] or "" for step in _STEP.finditer(path)]


def _value_at(document: Any, path: str) -> Any:
    for name in _steps(path):
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _follow(shape: Any, document: Any, path: str) -> Any:
    """Return the type that the structs declare at `path`, None for an undeclared path."""
    for name in _steps(path):
        if not name:
            shape = next((get_args(part)[0] for part in _parts(shape) if _is_list(part)), None)
            document = None
            continue
        struct = _pick(shape, document)
        if struct is None:
            tags = [part for part in _structs(shape) if part.__struct_config__.tag_field == name]
            return Literal[tuple(part.__struct_config__.tag for part in tags)] if tags else None
        if name == struct.__struct_config__.tag_field:
            return Literal[tuple(part.__struct_config__.tag for part in _structs(shape))]
        hints = get_type_hints(struct, include_extras=True)
        encoded = dict(zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True))
        shape = hints.get(encoded.get(name, ""))
        document = document.get(name) if isinstance(document, dict) else None
    return shape


def _parts(shape: Any) -> Iterable[Any]:
    """Return the members of a union, without annotations."""
    origin = get_origin(shape)
    if origin is Annotated:
        return _parts(get_args(shape)[0])
    if origin in (Union, types.UnionType):
        return [part for member in get_args(shape) for part in _parts(member)]
    return [shape]


def _is_list(part: Any) -> bool:
    return get_origin(part) is list


def _structs(shape: Any) -> list[type[Struct]]:
    return [part for part in _parts(shape) if isinstance(part, type) and issubclass(part, Struct)]


def _pick(shape: Any, document: Any) -> type[Struct] | None:
    """Return the struct that `document` should fit: the only one, or the one its tag names."""
    structs = _structs(shape)
    if len(structs) == 1:
        return structs[0]
    for struct in structs:
        config = struct.__struct_config__
        if isinstance(document, dict) and document.get(config.tag_field) == config.tag:
            return struct
    return None


def _choices(shape: Any) -> list[Any]:
    """Return the values of a Literal, or of a list of Literals."""
    for part in _parts(shape):
        inner = get_args(part)[0] if _is_list(part) else part
        if get_origin(inner) is Literal:
            return list(get_args(inner))
    return []


def _field_names(shape: Any, document: Any) -> list[str]:
    struct = _pick(shape, document)
    if struct is None:
        return []
    tag = struct.__struct_config__.tag_field
    return [*([tag] if tag else []), *struct.__struct_encode_fields__]
