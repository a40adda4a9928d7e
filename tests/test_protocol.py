"""Commands and events: the specification's examples word for word, defaults, bounds, refusals."""

from __future__ import annotations

import json
import time
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from msgspec import UNSET, Raw

from livelog.errors import CODES, PROTOCOL_ERROR, RefusedError
from livelog.wire import validation
from livelog.wire.commands import (
    KEY_FILTERS,
    AnyCommand,
    Filters,
    GetHistory,
    Ping,
    Search,
    Subscribe,
    Unsubscribe,
    command_decoder,
    request_id_of,
)
from livelog.wire.events import (
    Connected,
    Disconnected,
    Error,
    Event,
    Gap,
    History,
    Pong,
    Published,
    RateLimit,
    SearchResults,
    Subscribed,
    encoder,
)
from livelog.wire.messages import TYPES
from tests.support.strategies import any_text, json_values

# "Client Commands" and "Performance Considerations" of the specification.
COMMANDS = [
    """{
      "action": "subscribe",
      "message_types": ["user", "raid"]
    }""",
    """{
      "action": "unsubscribe",
      "message_types": ["dm"]
    }""",
    """{
      "action": "get_history",
      "limit": 100,
      "offset": 0,
      "filters": {
        "type": "user",
        "user_id": "user_12345",
        "channel": "general"
      }
    }""",
    """{
      "action": "ping"
    }""",
    """{
      "action": "search",
      "query": "dragon",
      "filters": {
        "type": "user",
        "user_id": "user_12345",
        "date_from": "2025-12-01T00:00:00Z",
        "date_to": "2025-12-03T23:59:59Z"
      }
    }""",
    """{
      "action": "get_history",
      "limit": 50,
      "offset": 0
    }""",
    """{
      "action": "get_history",
      "filters": {
        "type": "raid",
        "date_from": "2025-12-03T00:00:00Z"
      }
    }""",
]

# The responses and "Server Events" of the specification, and what livelog adds to each.
EVENTS: list[tuple[str, Event, dict[str, Any]]] = [
    (
        """{
          "action": "history",
          "messages": [],
          "total_count": 5000,
          "limit": 100,
          "offset": 0
        }""",
        History(messages=[], total_count=5000, limit=100, offset=0),
        {},
    ),
    (
        """{
          "action": "pong",
          "timestamp": "2025-12-03T12:00:00.000Z"
        }""",
        Pong(timestamp="2025-12-03T12:00:00.000Z", seq=7),
        {"seq": 7},
    ),
    (
        """{
          "action": "search_results",
          "query": "dragon",
          "results": [],
          "count": 42
        }""",
        SearchResults(query="dragon", results=[], count=42, limit=100, offset=0),
        {"limit": 100, "offset": 0},
    ),
    (
        """{
          "action": "connected",
          "connection_id": "conn_uuid_1234",
          "message": "Successfully connected to live log"
        }""",
        Connected(connection_id="conn_uuid_1234", message="Successfully connected to live log"),
        {},
    ),
    *(
        (f'{{"action": "disconnected", "reason": "{reason}"}}', Disconnected(reason=reason), {})
        for reason in sorted({code.reason for code in CODES.values()})
    ),
    (
        """{
          "action": "error",
          "error_code": 1002,
          "error_message": "Protocol Error",
          "details": {
            "field": "message_type",
            "issue": "Invalid message type"
          }
        }""",
        Error(
            error_code=PROTOCOL_ERROR,
            error_message=CODES[PROTOCOL_ERROR].text,
            details={"field": "message_type", "issue": "Invalid message type"},
        ),
        {},
    ),
    (
        """{
          "action": "rate_limit",
          "current_requests": 95,
          "limit": 100,
          "window_seconds": 60,
          "reset_in_seconds": 35
        }""",
        RateLimit(
            scope="messages",
            current_requests=95,
            limit=100,
            window_seconds=60.0,
            reset_in_seconds=35.0,
        ),
        {"scope": "messages"},
    ),
]


def decode(command: Any) -> AnyCommand:
    decoded: AnyCommand = command_decoder.decode(json.dumps(command).encode())
    return decoded


def refusal(command: Any) -> RefusedError:
    data = json.dumps(command).encode()
    with pytest.raises((ValueError, RecursionError)) as caught:
        command_decoder.decode(data)
    return validation.refusal(caught.value, AnyCommand, data)


@pytest.mark.parametrize("example", COMMANDS)
def test_a_command_of_the_specification_is_understood_word_for_word(example: str) -> None:
    command = command_decoder.decode(example)
    encoded = json.loads(encoder.encode(command))
    written = json.loads(example)
    # What the client left out stands there with its default, the rest as it was written.
    defaults = {"limit": 100, "offset": 0, "filters": {}}
    assert {**encoded, **written} == encoded
    assert {name: defaults[name] for name in encoded.keys() - written.keys()} == {
        name: value for name, value in encoded.items() if name not in written
    }


def test_each_action_is_its_own_command() -> None:
    kinds = [type(command_decoder.decode(example)) for example in COMMANDS]
    assert kinds == [Subscribe, Unsubscribe, GetHistory, Ping, Search, GetHistory, GetHistory]


@pytest.mark.parametrize(("example", "event", "added"), EVENTS)
def test_an_event_has_the_fields_and_values_of_the_specification(
    example: str, event: Event, added: dict[str, Any]
) -> None:
    assert json.loads(encoder.encode(event)) == json.loads(example) | added


def test_the_reasons_of_the_specification_are_all_tried_above() -> None:
    reasons = {event.reason for _, event, _ in EVENTS if isinstance(event, Disconnected)}
    assert reasons == {"normal_closure", "connection_timeout", "protocol_error", "server_error"}


def test_messages_go_into_a_page_as_the_bytes_they_are() -> None:
    message = b'{"type":"user",  "seq":1}'
    page = History(messages=[Raw(message)], total_count=1, limit=1, offset=0)
    assert message in encoder.encode(page)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Published(id="a", seq=1), {"action": "published", "id": "a", "seq": 1}),
        (Gap(from_=1, to=2), {"action": "gap", "from": 1, "to": 2}),
        (
            Subscribed(message_types=["user"], seq=3),
            {"action": "subscribed", "message_types": ["user"], "seq": 3},
        ),
        (
            Subscribed(message_types=["user"], filters={"user": Filters(text="a")}, seq=3),
            {
                "action": "subscribed",
                "message_types": ["user"],
                "filters": {"user": {"text": "a"}},
                "seq": 3,
            },
        ),
    ],
)
def test_events_beyond_the_specification(event: Event, expected: dict[str, Any]) -> None:
    assert json.loads(encoder.encode(event)) == expected


request_ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=128) | st.integers(
    -(2**63), 2**64 - 1
)


@given(request_ids, st.sampled_from(COMMANDS), st.sampled_from([event for _, event, _ in EVENTS]))
def test_any_command_may_carry_a_request_id_and_any_event_repeat_it(
    request_id: str | int, command: str, event: Event
) -> None:
    decoded = decode({**json.loads(command), "request_id": request_id})
    assert decoded.request_id == request_id
    reply = msgspec.structs.replace(event, request_id=decoded.request_id)
    assert json.loads(encoder.encode(reply))["request_id"] == request_id


@given(request_ids, st.dictionaries(any_text, json_values, max_size=4))
def test_the_request_id_of_a_wrong_command_is_found(
    request_id: str | int, rest: dict[str, Any]
) -> None:
    assert request_id_of(json.dumps({**rest, "request_id": request_id}).encode()) == request_id


@pytest.mark.parametrize(
    "data",
    [
        rb'{"request_id": "r1", "action": "search", "query": "\ud83d"}',
        rb'{"query": "\ud83d\"", "x": NaN, "request_id" : "r1" }',
        b'\xef\xbb\xbf{"request_id":"r1","x":' + b"[" * 100_000,
        b'{"request_id":"r1","x":"cut o',
        rb'{"\"request_id\":0":"\\","x":[{"request_id":2}],"request_id":"r\u0031"}',
        b'{"request_id":[1],"x":{"request_id":2},"request_id":"r1"}',
        b'{"message":' + b'{"a":' * 4000 + b"1" + b"}" * 4000 + b',"request_id":"r1"}',
    ],
)
def test_the_request_id_is_found_in_what_is_not_even_json(data: bytes) -> None:
    assert request_id_of(data) == "r1"


@pytest.mark.parametrize(
    "data",
    [
        b'"' + rb"\"" * 32_000,
        rb'{"request_id":"' + b"x" * 65_000,
        b"{" + b'"request_id":' + b" " * 65_000,
        b'{"request_id":' * 4000,
        b"{" + b'"request_id": ' * 4000,
    ],
)
def test_looking_for_a_request_id_takes_linear_time(data: bytes) -> None:
    began = time.thread_time()
    assert request_id_of(data) is UNSET
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b'{"request_id":', b'{"request_id":{}}', b"\xff", b"[" * 100_000, b"{}"),
        rb'{"request_id":"\ud83d"}',
        b'{"request_id":1.5}',
        b'{"request_id":"r',
        b'[{"request_id":1}]',
    ],
)
def test_where_no_request_id_can_be_read_there_is_none(data: bytes) -> None:
    assert request_id_of(data) is UNSET


@given(st.binary(max_size=100))
def test_looking_for_a_request_id_never_fails(data: bytes) -> None:
    assert isinstance(request_id_of(data), (str, int, type(UNSET)))


@pytest.mark.parametrize(
    ("command", "field"),
    [
        ({"action": "subscribe", "message_types": "user"}, "message_types"),
        ({"action": "subscribe", "message_types": []}, "message_types"),
        ({"action": "subscribe", "message_types": ["user"] * 65}, "message_types"),
        ({"action": "subscribe", "message_types": ["user", "chat"]}, "message_types[1]"),
        ({"action": "subscribe", "message_types": ["user"], "since": -1}, "since"),
        ({"action": "subscribe", "message_types": ["user"], "since": 2**53}, "since"),
        ({"action": "subscribe", "message_types": ["user"], "since": 10**400}, "since"),
        ({"action": "subscribe", "message_types": ["user"], "since": "5"}, "since"),
        ({"action": "unsubscribe"}, "message_types"),
        ({"action": "unsubscribe", "message_types": ["dm"], "filters": {}}, "filters"),
        ({"action": "get_history", "limit": 0}, "limit"),
        ({"action": "get_history", "limit": 1001}, "limit"),
        ({"action": "get_history", "limit": 1.5}, "limit"),
        ({"action": "get_history", "limit": None}, "limit"),
        ({"action": "get_history", "offset": -1}, "offset"),
        ({"action": "get_history", "filters": []}, "filters"),
        ({"action": "get_history", "filters": {"type": []}}, "filters.type"),
        ({"action": "get_history", "filters": {"channel": ""}}, "filters.channel"),
        ({"action": "get_history", "filters": {"channel": "x" * 257}}, "filters.channel"),
        ({"action": "get_history", "filters": {"user_id": 5}}, "filters.user_id"),
        ({"action": "get_history", "filters": {"text": "x" * 1001}}, "filters.text"),
        ({"action": "search", "query": ""}, "query"),
        ({"action": "search", "query": "x" * 1001}, "query"),
        ({"action": "ping", "request_id": "x" * 129}, "request_id"),
        ({"action": "ping", "request_id": 1.5}, "request_id"),
        ({"action": "publish"}, "message"),
        ({"action": "publish", "message": []}, "message"),
        ({"action": "publish", "message": {"type": "user", "user_id": 5}}, "message.user_id"),
        ({"action": "pong"}, "action"),
        ({"action": ["ping"]}, "action"),
        ({"message_types": ["user"]}, "action"),
        ([], ""),
        ("ping", ""),
        (None, ""),
    ],
)
def test_a_wrong_command_is_refused_in_the_name_of_its_field(command: Any, field: str) -> None:
    refused = refusal(command)
    assert (refused.code, refused.field) == (PROTOCOL_ERROR, field)
    assert refused.issue


def test_a_filter_names_one_type_or_a_list() -> None:
    for name in TYPES:
        one = decode({"action": "get_history", "filters": {"type": name}})
        several = decode({"action": "get_history", "filters": {"type": [name, "user"]}})
        assert isinstance(one, GetHistory)
        assert isinstance(several, GetHistory)
        assert (one.filters.type, several.filters.type) == (name, [name, "user"])


def test_the_filters_are_those_of_the_design() -> None:
    assert KEY_FILTERS == (
        "user_id",
        "username",
        "channel",
        "server",
        "event",
        "severity",
        "status",
        "raid_id",
        "party_id",
        "guild_id",
    )
    others = set(Filters.__struct_fields__) - set(KEY_FILTERS)
    assert others == {"type", "date_from", "date_to", "text", "where"}


@given(st.integers(0, 2**53 - 1), st.integers(1, 1000))
def test_every_place_and_page_size_within_bounds_is_taken(place: int, limit: int) -> None:
    history = decode({"action": "get_history", "limit": limit, "offset": place})
    subscribe = decode({"action": "subscribe", "message_types": ["user"], "since": place})
    assert isinstance(history, GetHistory)
    assert isinstance(subscribe, Subscribe)
    assert (history.limit, history.offset, subscribe.since) == (limit, place, place)
