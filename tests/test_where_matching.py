"""The meaning of an expression: a loop written from the words of the protocol, message by message.

It knows only JSON: of the expression, and of the message as it is delivered.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.auth.principal import ANYBODY
from livelog.index.query import compile_query
from livelog.index.where.document import from_json
from livelog.index.where.matching import Recorded, Stored, Subject, matcher, matches
from livelog.index.where.parser import parse
from livelog.wire import frames
from livelog.wire.commands import KEY_FILTERS, Filters
from tests.support.expressions import NOW, ORDINARY, findable, with_values
from tests.support.strategies import Json, any_text, decoded, messages, record
from tests.test_query import compared, complete, has_text, has_value, passages

EXAMPLES = json.loads(Path(__file__).with_name("where-meaning.json").read_text(encoding="utf-8"))
LISTS = with_values(messages)


def everywhere(value: Any, path: list[str]) -> list[Any]:
    """All at the end of a path, through lists."""
    if isinstance(value, list):
        return [found for element in value for found in everywhere(element, path)]
    if not path:
        return [value]
    if not isinstance(value, dict) or path[0] not in value:
        return []
    return everywhere(value[path[0]], path[1:])


def values(message: Json, name: str) -> list[Any]:
    if name == "author_id":
        return [message[field] for field in ("from_user_id", "user_id") if field in message]
    return everywhere(message, [segment(one) for one in SEGMENTS.findall(name)])


SEGMENTS = re.compile(r'"(?:[^"\\]|\\.)*"|[^.]+', re.DOTALL)


def segment(written: str) -> str:
    return re.sub(r"\\(.)", r"\1", written[1:-1], flags=re.DOTALL) if written[0] == '"' else written


def has(value: Any) -> bool:
    if isinstance(value, (dict, list)):
        return any(map(has, value.values() if isinstance(value, dict) else value))
    return value is not None


def moment(text: Any, end: bool = False) -> datetime | None:
    try:
        day = len(text) == 10
        found = datetime.fromisoformat(text if not day else f"{text}T00:00:00+00:00")
    except (TypeError, ValueError):
        return None
    return found + timedelta(days=day and end, microseconds=-(day and end))


def equal(name: str, value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        text = str(wanted).lower() if isinstance(wanted, bool) else str(wanted)
        return compared(name, value) == compared(name, text)
    return value is wanted if isinstance(wanted, bool) else is_number(value) and value == wanted


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def in_range(value: Any, leaf: Json) -> bool:
    tests = {
        "gt": lambda bound: value > bound,
        "gte": lambda bound: value >= bound,
        "lt": lambda bound: value < bound,
        "lte": lambda bound: value <= bound,
    }
    bounds = {name: leaf[name] for name in tests if name in leaf}
    if isinstance(next(iter(bounds.values())), str):
        value = moment(value)
        bounds = {name: moment(b, end=name in ("gt", "lte")) for name, b in bounds.items()}
    elif not is_number(value):
        return False
    return value is not None and all(tests[name](bound) for name, bound in bounds.items())


def field_matches(message: Json, leaf: Json) -> bool:
    name = leaf["field"]
    if "eq" in leaf and name in KEY_FILTERS and isinstance(leaf["eq"], str):
        return has_value(message, name, leaf["eq"])
    if name in KEY_FILTERS:
        found = [
            value
            for place in (
                message,
                *(message.get(f, {}) for f in ("metadata", "data", "event_data")),
            )
            for entry, value in place.items()
            if entry in ALSO.get(name, {name}) and not isinstance(value, (dict, list))
        ]
        found += [one[name] for one in message.get("participants", []) if name in one]
    else:
        found = values(message, name)
    if "eq" in leaf:
        return any(equal(name, value, leaf["eq"]) for value in found)
    if "prefix" in leaf:
        begins = compared(name, leaf["prefix"])
        return any(isinstance(v, str) and compared(name, v).startswith(begins) for v in found)
    if "exists" in leaf:
        return any(map(has, found))
    return any(in_range(value, leaf) for value in found)


FREE = ("metadata", "data", "event_data")
ALSO = {"username": {"username", "from_username", "leader_name", "member_name"}}


def plainly(message: Json, document: Json) -> bool:
    if "and" in document:
        return all(plainly(message, one) for one in document["and"])
    if "or" in document:
        return any(plainly(message, one) for one in document["or"])
    if "not" in document:
        return not plainly(message, document["not"])
    if "begins" in document:
        found = [word for passage in passages(message) for word in passage]
        return any(word.startswith(document["begins"]) for word in found)
    if "word" in document or "phrase" in document:
        return has_text(message, '"{}"'.format(document.get("word") or document.get("phrase")))
    return field_matches(message, document)


@given(LISTS, findable)
def test_an_expression_means_what_a_plain_loop_does(message: Json, document: Json) -> None:
    full = complete(message)
    assert matches(from_json(document, NOW), decoded(full)) == plainly(full, document)


@given(LISTS, findable)
def test_a_record_matches_as_its_message_does(message: Json, document: Json) -> None:
    full, node = complete(message), from_json(document, NOW)
    known, expected = record(full, 1), matcher(node)(Subject(decoded(full)))
    assert matcher(node)(Recorded(known)) == expected
    assert matcher(node)(Stored(known.payload)) == expected


def test_a_record_is_decoded_only_for_fields_that_are_not_in_it() -> None:
    full = complete({"type": "user", "user_id": "u", "username": "Ann", "content": "red dragon"})
    known = record({**full, "metadata": {"channel": "general", "level": 5}}, 1)
    unreadable = msgspec.structs.replace(known, frame=frames.text(b"{}"))
    where = 'type:user channel:GENERAL -user_id:x timestamp:>2020-01-01 red* "red dragon"'
    assert matcher(parse(where, NOW))(Recorded(unreadable))
    with pytest.raises(ValueError, match="not found"):
        matcher(parse("metadata.level:5", NOW))(Recorded(unreadable))


@given(LISTS, findable)
def test_every_message_is_on_one_side_of_not(message: Json, document: Json) -> None:
    full = decoded(complete(message))
    assert matches(from_json(document, NOW), full) != matches(
        from_json({"not": document}, NOW), full
    )


@given(messages, st.sampled_from(KEY_FILTERS), st.data())
def test_a_name_of_the_filters_means_what_the_filter_does(
    message: Json, name: str, data: st.DataObject
) -> None:
    full = complete(message)
    known = [value for value in everything_in(full) if 0 < len(value) <= 256]
    value = data.draw(st.sampled_from([*known, "no such value"]))
    query = compile_query(ANYBODY, Filters(**{name: value}))  # type: ignore[arg-type]  # a name
    node = from_json({"field": name, "eq": value}, NOW)
    assert matches(node, decoded(full)) == query.matches(record(full, 1))


def everything_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for one in inner for text in everything_in(one)]


@given(st.lists(st.sampled_from(ORDINARY), min_size=1, max_size=4), st.data())
def test_ordinary_text_means_what_it_means_in_a_search(
    tokens: list[str], data: st.DataObject
) -> None:
    tokens = [token for token in tokens if token != "(red"] or ["x"]
    content = data.draw(st.permutations([*tokens, "more"]).map(" ".join) | any_text)
    message = {"type": "user", "user_id": "u", "username": "", "content": content}
    query = compile_query(ANYBODY, Filters(), " ".join(tokens))
    full = complete(message)
    node = parse(" ".join(tokens), NOW)
    assert matches(node, decoded(full)) == query.matches(record(full, 1))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["message"]["type"])
def test_examples(example: Json) -> None:
    message = decoded(example["message"])
    asked = [*example["matching"], *example["others"]]
    found = [where for where in asked if matches(parse(where, NOW), message)]
    assert found == example["matching"]


def test_now_is_noon() -> None:
    assert datetime.fromtimestamp(NOW, UTC) == datetime(2025, 12, 3, 12, tzinfo=UTC)
