"""The six message types: the specification's examples, round trips, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.terms import MAX_DEPTH, terms
from livelog.log.ingest import convert, decode
from livelog.wire.messages import TYPES, AnyMessage, encoder
from tests.support.strategies import Json, messages
from tests.support.wire import EXAMPLES

# The values that the specification lists, field by field.
LISTED = {
    ("system", "event"): [
        "user_joined",
        "user_left",
        "user_leveled_up",
        "raid_started",
        "server_maintenance",
        "error",
    ],
    ("system", "severity"): ["info", "warning", "error", "critical"],
    ("raid", "status"): ["preparing", "in_progress", "wipe", "victory"],
    ("party", "event"): [
        "member_joined",
        "member_left",
        "member_promoted",
        "disbanded",
        "level_bonus",
    ],
    ("guild", "event"): [
        "member_joined",
        "member_left",
        "conquest_started",
        "conquest_complete",
        "upgrade_complete",
        "war_declared",
        "treasury_deposit",
    ],
}


def refusal(message: object) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        decode(json.dumps(message).encode())
    assert caught.value.code == PROTOCOL_ERROR
    return caught.value


@pytest.mark.parametrize("name", TYPES)
def test_the_example_of_the_specification_is_kept_field_by_field(name: str) -> None:
    example = EXAMPLES[name]
    encoded = encoder.encode(decode(json.dumps(example).encode()))
    assert json.loads(encoded) == example
    assert list(json.loads(encoded)) == list(example), "in the order of the specification"
    assert encoder.encode(convert(example)) == encoded


@pytest.mark.parametrize(("name", "field"), LISTED)
def test_every_listed_value_is_taken_and_no_other(name: str, field: str) -> None:
    for value in LISTED[name, field]:
        decode(json.dumps({**EXAMPLES[name], field: value}).encode())
    refused = refusal({**EXAMPLES[name], field: "something_else"})
    assert refused.field == field
    assert refused.details["allowed"] == LISTED[name, field]


@pytest.mark.parametrize("name", TYPES)
def test_an_unknown_field_is_refused_by_name(name: str) -> None:
    refused = refusal({**EXAMPLES[name], "colour": "red"})
    assert refused.field == "colour"
    assert refused.details["allowed"] == list(EXAMPLES[name])


@pytest.mark.parametrize("name", TYPES)
def test_a_field_of_the_wrong_type_is_refused_by_name(name: str) -> None:
    for field in EXAMPLES[name]:
        refused = refusal({**EXAMPLES[name], field: [1]})
        assert refused.field.startswith(field)


def test_the_server_alone_gives_seqs() -> None:
    assert refusal({**EXAMPLES["user"], "seq": 5}).field == "seq"


def test_a_wrong_or_missing_type_is_refused_with_the_list() -> None:
    assert refusal({"type": "whisper"}).details["allowed"] == list(TYPES)
    missing = refusal({"content": "x"})
    assert missing.field == "type"
    assert missing.details["allowed"] == list(TYPES)


MADE_OR_DEFAULT = {
    "user": {"id", "timestamp", "user_avatar", "user_badge", "metadata"},
    "system": {"id", "timestamp", "data", "severity"},
    "dm": {"id", "timestamp", "read"},
    "raid": {"id", "timestamp", "participants", "health_percentage", "duration_seconds"},
    "party": {"id", "timestamp", "event_data"},
    "guild": {"id", "timestamp", "event_data"},
}


@pytest.mark.parametrize("name", TYPES)
def test_what_is_missing_is_named_unless_it_may_be(name: str) -> None:
    for field in EXAMPLES[name]:
        message = {key: value for key, value in EXAMPLES[name].items() if key != field}
        if field in MADE_OR_DEFAULT[name]:
            decode(json.dumps(message).encode())
        else:
            assert refusal(message).field == field
            assert refusal(message).issue == "required field is missing"


def test_what_is_wrong_inside_a_participant_is_named() -> None:
    raid = EXAMPLES["raid"]
    inner = {**raid["participants"][0], "klass": "x"}
    refused = refusal({**raid, "participants": [raid["participants"][0], inner]})
    assert refused.field == "participants[1].klass"
    assert refused.details["allowed"] == ["user_id", "username", "role", "class"]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("raid", "health_percentage", 101),
        ("raid", "health_percentage", -0.5),
        ("raid", "duration_seconds", -1),
        ("party", "member_count", -1),
        ("guild", "guild_level", 2**60),
        ("user", "user_id", ""),
        ("user", "id", "x" * 129),
        ("user", "username", "x" * 257),
        ("user", "user_avatar", "x" * 3000),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, field: str, value: object) -> None:
    refused = refusal({**EXAMPLES[name], field: value})
    assert refused.field == field


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"type":"user"} extra',
        b'{"type":"user","content":"\xff"}',
        b'{"type":"user","content":"\\ud800"}',
        b'{"type":"user","metadata":' + b"[" * 100_000,
        b'{"type":"user","metadata":{"x":NaN}}',
        b'{"type":"user","metadata":{"x":1e999}}',
        b"null",
        b"[]",
    ],
)
def test_what_is_not_a_message_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        decode(data)


def test_free_objects_may_be_deep_but_not_too_deep() -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {
            **EXAMPLES["user"],
            "metadata": {"x": 1} if depth == 1 else {"x": _lists(depth - 1)},
        }

    terms(convert(nested(MAX_DEPTH)))
    with pytest.raises(RefusedError) as caught:
        terms(convert(nested(MAX_DEPTH + 1)))
    assert caught.value.field == "metadata"


def _lists(depth: int) -> Any:
    return [] if depth == 1 else [_lists(depth - 1)]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(messages)
def test_what_a_producer_sends_is_kept_and_what_it_leaves_out_gets_a_default(message: Json) -> None:
    known = decode(json.dumps(message).encode())
    encoded = json.loads(encoder.encode(known))
    absent = encoded.keys() - message.keys()
    assert absent <= MADE_OR_DEFAULT[message["type"]] - {"id", "timestamp"}
    assert all(encoded[name] in (None, {}, [], False, "info") for name in absent)
    for one in message.get("participants", []):
        one.update({"role": None, "class": None} | one)
    assert {**encoded, **message} == encoded
    assert decode(encoder.encode(known)) == known
    assert convert(message) == known


@given(st.sampled_from(TYPES), st.data())
def test_any_message_survives_the_round_trip(name: str, data: st.DataObject) -> None:
    message = dict(EXAMPLES[name])
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
    for field in ("content", "username", "boss_name", "guild_name", "leader_name"):
        if field in message:
            message[field] = data.draw(text)
    for field in ("metadata", "data", "event_data"):
        if field in message:
            message[field] = data.draw(st.dictionaries(text, values, max_size=4))
    known = decode(json.dumps(message).encode())
    assert json.loads(encoder.encode(known)) == message
    assert msgspec.json.decode(encoder.encode(known), type=AnyMessage) == known
