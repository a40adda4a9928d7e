"""Bad input of any shape is explained, never a crash: the field, what is wrong, what is allowed."""

from __future__ import annotations

import json
import re
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from livelog.errors import RefusedError
from livelog.wire import validation
from livelog.wire.commands import AnyCommand, command_decoder
from livelog.wire.messages import AnyMessage
from tests.support.wire import ACTIONS, EXAMPLES, TYPES

SHAPES = [AnyMessage, AnyCommand]
DOCUMENTS: list[dict[str, Any]] = [
    *EXAMPLES.values(),
    {"action": "subscribe", "message_types": ["user"], "filters": {"type": ["user"]}, "since": 4},
    {"action": "unsubscribe", "message_types": ["dm"]},
    {"action": "get_history", "limit": 100, "offset": 0, "filters": {"type": "user"}},
    {"action": "search", "query": "dragon", "filters": {"date_to": "2025-12-03T23:59:59Z"}},
    {"action": "ping", "request_id": 7},
    *({"action": "publish", "message": example} for example in EXAMPLES.values()),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("user"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[Any] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path] + [place for key, item in inner for place in places(item, (*path, key))]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid document in which something has been replaced, added, renamed or cut."""
    document = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(document)))
        if not place:
            continue
        parent = document
        for key in place[:-1]:
            parent = parent[key]
        value = draw(json_values)
        if isinstance(parent, dict) and draw(st.booleans()):
            parent[draw(st.text(max_size=5))] = parent.pop(place[-1])
        else:
            parent[place[-1]] = value
    data = json.dumps(document).encode()
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


def explained(shape: Any, data: bytes) -> RefusedError | None:
    try:
        msgspec.json.decode(data, type=shape)
    except (ValueError, RecursionError) as error:
        return validation.refusal(error, shape, data)
    return None


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_explained(shape: Any, data: bytes) -> None:
    refused = explained(shape, data)
    assert refused is None or refused.issue


@pytest.mark.parametrize("shape", SHAPES)
@given(data=mutated())
def test_a_broken_document_is_explained(shape: Any, data: bytes) -> None:
    refused = explained(shape, data)
    assert refused is None or refused.issue


@pytest.mark.parametrize("shape", SHAPES)
@given(
    document=st.sampled_from(DOCUMENTS),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_damaged_bytes_are_explained(
    shape: Any, document: dict[str, Any], damage: list[tuple[int, int]]
) -> None:
    data = bytearray(json.dumps(document, ensure_ascii=False).encode())
    for place, byte in damage:
        data[place % len(data)] = byte
    refused = explained(shape, bytes(data))
    assert refused is None or refused.issue


@pytest.mark.parametrize("shape", SHAPES)
@given(data=mutated())
def test_what_it_names_is_in_the_document_or_missing_there(shape: Any, data: bytes) -> None:
    refused = explained(shape, data)
    if refused is not None and refused.field and refused.issue != "required field is missing":
        last = re.split(r"[.\[]", refused.field)[-1].rstrip("]")
        assert last.isdigit() or json.dumps(last)[1:-1].encode() in data


def why(document: dict[str, Any]) -> tuple[str, str, Any]:
    data = json.dumps(document).encode()
    with pytest.raises(msgspec.ValidationError) as caught:
        command_decoder.decode(data)
    refused = validation.refusal(caught.value, AnyCommand, data)
    return refused.field, refused.issue, refused.details.get("allowed")


@pytest.mark.parametrize(
    ("document", "field", "issue", "allowed"),
    [
        ({"action": "serch"}, "action", "invalid value 'serch'", ACTIONS),
        ({}, "action", "required field is missing", ACTIONS),
        ({"action": 5}, "action", "expected 'str'", None),
        (
            {"action": "subscribe", "message_types": ["user", "usr"]},
            "message_types[1]",
            "invalid enum value 'usr'",
            TYPES,
        ),
        ({"action": "subscribe"}, "message_types", "required field is missing", TYPES),
        (
            {"action": "subscribe", "message_types": []},
            "message_types",
            "expected 'array' of length >= 1",
            None,
        ),
        ({"action": "ping", "x": 1}, "x", "unknown field", ["action", "request_id"]),
        (
            {"action": "search", "query": "a", "filters": {"type": "usr"}},
            "filters.type",
            "invalid enum value 'usr'",
            TYPES,
        ),
        (
            {"action": "publish", "message": {"type": "guild", "event": "party"}},
            "message.event",
            "invalid enum value 'party'",
            [
                "member_joined",
                "member_left",
                "conquest_started",
                "conquest_complete",
                "upgrade_complete",
                "war_declared",
                "treasury_deposit",
            ],
        ),
        (
            {"action": "publish", "message": {"type": "whisper"}},
            "message.type",
            "invalid value 'whisper'",
            TYPES,
        ),
        ({"action": "get_history", "limit": 0}, "limit", "expected 'int' >= 1", None),
        ({"action": "get_history", "limit": 1001}, "limit", "expected 'int' <= 1000", None),
        ({"action": "get_history", "offset": -1}, "offset", "expected 'int' >= 0", None),
    ],
)
def test_the_explanation_names_field_issue_and_choice(
    document: dict[str, Any], field: str, issue: str, allowed: Any
) -> None:
    assert why(document) == (field, issue, allowed)


def test_an_unknown_filter_lists_the_known_ones() -> None:
    field, issue, allowed = why({"action": "get_history", "filters": {"colour": "red"}})
    assert (field, issue) == ("filters.colour", "unknown field")
    assert allowed[:3] == ["type", "user_id", "username"]
    assert len(allowed) == 15


@pytest.mark.parametrize(
    ("data", "field", "issue"),
    [
        (b"", "", "not valid JSON: "),
        (b'{"action":"ping"', "", "not valid JSON: "),
        (b'{"action":"ping"} more', "", "not valid JSON: "),
        (b'{"action":"\xff"}', "", "not valid UTF-8"),
        (
            b'{"action":"publish","message":{"type":"user","metadata":{"x":' + b"[" * 10_000,
            "",
            "nested too deeply",
        ),
        (b'{"action":"search\\nline"}', "action", "invalid value 'search\nline'"),
        (b'{"action":"ping","a\\nb":1}', "a\nb", "unknown field"),
        # Decoding stops at the first fault; what follows it is broken, too.
        (b'{"action":"subscribe","message_types":5,"x":' + b"[" * 10_000, "message_types", ""),
        (b'{"action":"subscribe","message_types":["usr"],"x', "message_types[0]", "invalid enum"),
        (b'{"action":"search","query":"", "\xff', "query", "expected 'str' of length >= 1"),
        (rb'{"action":"search","query":"\ud83d"}', "query", "holds half a"),
        (rb'{"action":"ping","request_id":"\udc09"}', "request_id", "holds half a"),
        (rb'{"action":"ping","x":{"y":["\uD83D."]}}', "x", "unknown field"),
        (rb'{"message":{"\ud83d":1},"action":"ping"}', "message", "holds half a"),
        (
            rb'{"action":"search","filters":{"text":"\ud83d \ude00"}}',
            "filters.text",
            "holds half a",
        ),
        (rb'{"action":"search","query":"\ud83d",}', "", "not valid JSON: "),
        (b'{"action":"search",}', "", "not valid JSON: JSON is malformed"),
    ],
)
def test_what_is_broken_is_said_in_a_few_words(data: bytes, field: str, issue: str) -> None:
    refused = explained(AnyCommand, data)
    assert refused is not None
    assert refused.field == field
    assert refused.issue.startswith(issue)
    assert len(refused.issue) < 100
