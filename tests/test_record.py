"""Records: their bytes are the message with its seq, their terms are what it can be found by."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index import text
from livelog.index.folding import normalized
from livelog.index.plan import finish
from livelog.index.terms import (
    MAX_DEPTH,
    MAX_KEYS,
    MAX_VALUES,
    Terms,
    mentions,
    reader,
    terms,
    terms_of_stored,
)
from livelog.index.where.fields import NAMES
from livelog.log.ingest import convert
from livelog.wire import frames
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.messages import encoder
from livelog.wire.record import Draft, Record, place
from livelog.wire.timestamps import microseconds
from tests.support.strategies import Json, decoded, messages, record

seqs = st.integers(0, 2**53 - 1)


@given(messages, seqs)
def test_the_payload_is_the_message_with_its_seq_as_the_last_field(message: Json, seq: int) -> None:
    known = decoded(message)
    encoded = encoder.encode(known)
    record = place(Draft("x", message["type"], 7, *terms(known), encoded), seq)
    assert json.loads(record.payload) == {**json.loads(encoded), "seq": seq}
    assert list(json.loads(record.payload)) == [*json.loads(encoded), "seq"]
    assert record.frame == frames.text(record.payload)
    assert (record.seq, record.id, record.type, record.time) == (seq, "x", message["type"], 7)
    assert Record(seq, "x", message["type"], 7, *terms(known), record.frame) == record


# What each type can be found by, field by field.
_IDS = {"user_id", "from_user_id", "to_user_id", "leader_id", "member_id"}
_NAMES = {"username", "from_username", "leader_name", "member_name"}
_OTHERS = {
    "channel",
    "server",
    "event",
    "severity",
    "status",
    "raid_id",
    "party_id",
    "guild_id",
}


def found_by(message: Json) -> set[str]:
    encoded = json.loads(encoder.encode(decoded(message)))
    objects = [encoded, *encoded.get("participants", [])]
    objects += [encoded.get(name, {}) for name in ("metadata", "data", "event_data")]
    found = set()
    for name, value in ((name, value) for one in objects for name, value in one.items()):
        if isinstance(value, str):
            found |= {f"user_id={value}"} if name in _IDS else set()
            found |= {f"username={normalized(value)}"} if name in _NAMES else set()
            is_id = name.endswith("_id")
            other = f"{name}={value if is_id else normalized(value)}"
            found |= {other} if name in _OTHERS else set()
    return found


@given(messages)
def test_a_message_is_found_by_all_its_fields_and_entries_once_each(message: Json) -> None:
    keys = terms(decoded(message)).keys
    assert {term for term in keys if term.partition("=")[0] in KEY_FILTERS} == found_by(message)
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("message", "keys", "text"),
    [
        (
            {
                "type": "user",
                "user_id": "u1",
                "username": "Ann",
                "content": "Red  Dragon!",
                "user_badge": "badge",
                "metadata": {"channel": "trade", "server": "eu", "note": "not searched"},
            },
            [
                *("user_id=u1", "username=ann", "channel=trade", "server=eu"),
                *("author_id=u1", "user_badge=badge", "metadata.note=not searched"),
            ],
            ["red dragon", "ann"],
        ),
        (
            {
                "type": "dm",
                "from_user_id": "u1",
                "from_username": "Ann",
                "to_user_id": "u2",
                "content": "psst",
            },
            [
                *("user_id=u1", "username=ann", "user_id=u2", "author_id=u1", "to_user_id=u2"),
                *("reader=u1", "reader=u2", "read:false"),
            ],
            ["psst", "ann"],
        ),
        (
            {
                "type": "raid",
                "raid_id": "r1",
                "raid_name": "Lair",
                "boss_name": "Dragon",
                "difficulty": "mythic",
                "status": "wipe",
                "participants": [{"user_id": "u1", "username": "Ann", "role": "tank"}],
            },
            [
                *("raid_id=r1", "status=wipe", "user_id=u1", "username=ann", "raid_name=lair"),
                *("boss_name=dragon", "difficulty=mythic", "participants<"),
                "participants.role=tank",
            ],
            ["lair", "dragon", "ann"],
        ),
        (
            {
                "type": "system",
                "event": "error",
                "data": {"user_id": "u1", "deep": [{"er": "Inner text"}, 5], "level": 3},
            },
            [
                *("event=error", "severity=info", "user_id=u1", "data.user_id=u1"),
                "data.deep.er=inner text",
            ],
            ["error", "u1", "inner text"],
        ),
        (
            {
                "type": "party",
                "party_id": "p1",
                "leader_id": "u1",
                "leader_name": "Ann",
                "member_count": 2,
                "event": "member_joined",
                "event_data": {"member_id": "u2", "member_name": "Bob"},
            },
            [
                "party_id=p1",
                "user_id=u1",
                "username=ann",
                "event=member_joined",
                "user_id=u2",
                "username=bob",
                "leader_id=u1",
                "leader_name=ann",
                "event_data.member_id=u2",
                "event_data.member_name=bob",
            ],
            ["ann", "member_joined", "u2", "bob"],
        ),
        (
            {
                "type": "guild",
                "guild_id": "g1",
                "guild_name": "The Slayers",
                "guild_level": 2,
                "event": "war_declared",
                "event_data": {"channel": 7},
            },
            ["guild_id=g1", "event=war_declared", "guild_name=the slayers"],
            ["the slayers", "war_declared"],
        ),
    ],
)
def test_what_each_type_is_found_by(message: Json, keys: list[str], text: list[str]) -> None:
    found = terms(decoded(message))
    assert sorted(found.keys) == sorted(keys)
    assert [" ".join(passage.split()) for passage in found.text.split("\n")] == text


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_becomes_microseconds_exactly(moment: datetime) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert epoch + timedelta(microseconds=microseconds(moment)) == moment


def in_metadata(metadata: Any) -> Terms:
    message = {"type": "user", "user_id": "u", "username": "", "content": ""}
    return terms(convert({**message, "metadata": metadata}))


def keys_of(metadata: Any) -> list[str]:
    return [found for found in in_metadata(metadata).keys if found.startswith("metadata")]


@pytest.mark.parametrize(
    ("metadata", "keys"),
    [
        ({"Class": "Mage", "guild_id": "G1", "own_id": "G1"}, ["Class=mage", "own_id=G1"]),
        ({"a": {"b": ["x", ["y", {"c": True}]]}}, ["a.b=x", "a.b=y", "a.b.c:true"]),
        ({"a b": "x", "c=d": "y", 'e"': {"f.g": "z"}}, None),
        ({"x": "", "y": [], "z": {}, "n": None}, ["x="]),
        ({"x": "A" * 64, "y": "A" * 65}, ["x=" + "a" * 64, "y<"]),
        ({"x": "\u00ad" * 65 + "Straße", "y": "ﷺ" * 64}, ["x=strasse", "y<"]),
        ({"x": "true", "y": True, "z": "1"}, ["x=true", "y:true", "z=1"]),
        ({"channel": ["general"]}, ["channel=general"]),
        ({"n" * 65: "x", "y": "z"}, ["y=z", "*"]),
        ({"x": "é" * 2000}, ["*"]),
        ({"x": list(map(str, range(MAX_KEYS + 1)))}, None),
    ],
)
def test_what_stands_in_a_free_object_has_keys(metadata: Any, keys: list[str] | None) -> None:
    found = keys_of(metadata)
    if keys is not None:
        assert found == [f"metadata.{one}" if one != "*" else "metadata*" for one in keys]
    elif "x" in metadata:
        assert (found[-1], len(found)) == ("metadata*", MAX_KEYS + 1)
    else:
        assert found == [
            'metadata."a b"=x',
            'metadata."c=d"=y',
            'metadata."e\\"".f.g=z'.replace("f.g", '"f.g"'),
        ]


def test_numbers_are_found_by_their_paths() -> None:
    found = in_metadata({"a": [1, -0.0, {"b": 2**53 + 1}], "c": True, "status": 7, "d": 10**400})
    assert found.numbers == (
        ("status", 7.0),
        ("metadata.a", 1.0),
        ("metadata.a", 0.0),
        ("metadata.a.b", 2.0**53),
        ("metadata.status", 7.0),
        ("metadata.d", sys.float_info.max),
    )


def test_different_names_and_values_never_make_one_key() -> None:
    metadata: list[Any] = [{"a": "b=c"}, {"a=b": "c"}, {"a": "true"}, {"a": True}, {"a:true": ""}]
    metadata += [{"a": {"b": "c"}}, {"a.b": "c"}, {"a": '"=c'}, {'a"=c': ""}, {"a<": ""}]
    metadata += [{"a": "x" * 65}, {'a"."b': "c"}, {"a\0": "b"}, {"a": "\0b"}, {"*": ""}]
    found = [key for one in metadata for key in keys_of(one)]
    assert len(set(found)) == len(found) == len(metadata)


def test_nothing_in_a_message_makes_the_term_of_a_reader() -> None:
    said = "reader=alice"
    metadata = {"user_id": "alice", "reader": "alice", said: said, "x": said, "author_id": "alice"}
    for one in (metadata, {"x": metadata}, {"x": [metadata]}):
        keys = in_metadata(one).keys
        assert reader("alice") not in keys
        assert "author_id=alice" not in keys
    assert "reader" not in NAMES


def nested(depth: int, wrap: Any) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"x": inner}])
@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"type": "user", "user_id": "u", "username": "A", "content": ""}, "metadata"),
        ({"type": "system", "event": "error"}, "data"),
        (
            {"type": "guild", "guild_id": "g", "guild_name": "", "guild_level": 1}
            | {"event": "war_declared"},
            "event_data",
        ),
    ],
)
def test_a_free_object_may_be_nested_so_deep_and_no_deeper(
    message: Json, field: str, wrap: Any
) -> None:
    terms(convert({**message, field: {"x": nested(MAX_DEPTH - 1, wrap)}}))
    with pytest.raises(RefusedError) as caught:
        terms(convert({**message, field: {"x": nested(MAX_DEPTH, wrap)}}))
    assert (caught.value.code, caught.value.field) == (PROTOCOL_ERROR, field)
    assert str(MAX_DEPTH) in caught.value.issue


def test_a_free_object_may_have_so_many_values_and_no_more() -> None:
    values: list[Any] = [0, "", [], {}, None]
    for value in values:
        data = {"x": [value] * (MAX_VALUES - 2)}
        message = {"type": "system", "event": "error", "data": data}
        terms(convert(message))
        data["y"] = [value]
        with pytest.raises(RefusedError) as caught:
            terms(convert(message))
        assert (caught.value.code, caught.value.field) == (PROTOCOL_ERROR, "data")
        assert str(MAX_VALUES) in caught.value.issue
        keys = terms_of_stored(convert(message)).keys
        assert [one for one in keys if "data" not in one] == ["event=error", "severity=info"]


def test_many_strings_in_a_free_object_are_searched_in_their_order() -> None:
    data = {"a": ["one", {"b": "two"}], "c": "three", "d": [["four"], "five"]}
    message = convert({"type": "system", "event": "error", "data": data})
    assert terms(message).text.split("\n") == ["error", "one", "two", "three", "four", "five"]


def test_records_are_no_work_for_the_garbage_collector() -> None:
    message = decoded({"type": "system", "event": "error"})
    record = place(Draft("x", "system", 0, *terms(message), encoder.encode(message)), 1)
    assert not gc.is_tracked(record)


phrases = st.lists(
    st.sampled_from(["red", "dragon", "drag", "s", "tier_1", "ß", "n", ":)", "\\", '"', "\uff1d"]),
    max_size=3,
)
escaped = st.lists(
    st.sampled_from(["red", "n", "u0041", "\\", '"', "\n", " ", "/", "\x01", "b", ":)", "="])
)


@given(escaped.map("".join), phrases.filter(bool))
def test_escapes_of_json_hide_nothing(content: str, phrase: list[str]) -> None:
    known = record({"type": "user", "user_id": "u", "username": "n", "content": content}, 1)
    assert finish(mentions(known.payload, [tuple(phrase)])) == text.occurs(
        tuple(phrase), known.text
    )


@given(messages, phrases.filter(bool))
def test_a_message_mentions_what_its_text_says(message: Json, phrase: list[str]) -> None:
    known = record(message, 1)
    assert finish(mentions(known.payload, [tuple(phrase)])) == text.occurs(
        tuple(phrase), known.text
    )


@pytest.mark.parametrize(
    ("content", "phrase", "expected"),
    [
        ("Red\nDragon", ("red", "dragon"), True),
        ("a\tred\u0001dragons!", ("red", "dragon"), True),
        ('"red" "dragon"', ("ed", "drag"), True),
        ("red big dragon", ("red", "dragon"), False),
        ("reddragon", ("red", "dragon"), False),
        ("red\\ndragon", ("red", "dragon"), True),
        ("C:\\new folder", ("c", "new"), True),
        ("x\\u0041bcd", ("x", "u0041bcd"), True),
        ("red \\ dragon", ("red", "dragon"), True),
        ("ünder red dragon", ("red", "dragon"), True),
    ],
)
def test_words_stand_side_by_side_whatever_json_writes_between_them(
    content: str, phrase: tuple[str, ...], expected: bool
) -> None:
    message = {"type": "user", "user_id": "u", "username": "n", "content": content}
    assert finish(mentions(record(message, 1).payload, [phrase])) == expected


def test_a_message_is_read_once_for_all_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    known = record({"type": "user", "user_id": "u", "username": "n", "content": "é a b c"}, 1)
    read: list[str] = []

    def fold(passages: Iterable[str]) -> str:
        read.append(text.fold(passages))
        return read[-1]

    monkeypatch.setattr("livelog.index.terms.fold", fold)
    assert finish(mentions(known.payload, [("a",), ("b",), ("b", "c"), ("é",)]))
    assert read == [known.text]


def test_a_long_run_of_letters_is_looked_through_in_no_time() -> None:
    message = {"type": "user", "user_id": "u", "username": "n", "content": "a" * 60_000}
    assert not finish(mentions(record(message, 1).payload, [("a", "a", "a")]))
    message["content"] = "x " + "a" * 60_000
    assert not finish(mentions(record(message, 1).payload, [("x", "a" * 255 + "b")]))
    assert finish(mentions(record(message, 1).payload, [("x", "a" * 256)]))
