"""Messages published over HTTP: kinds of bodies, and all or none."""

from __future__ import annotations

import json

import pytest

from tests.support.wire import (
    SAMPLES,
    Json,
    on_each_loop,
    on_uvloop,
    serving,
    user,
)

NDJSON = "application/x-ndjson"


def assert_refused(answer_json: Json, code: int, field: str) -> None:
    assert answer_json["action"] == "error"
    assert answer_json["error_code"] == code
    assert answer_json["error_message"]
    assert answer_json["details"]["field"] == field
    assert answer_json["details"]["issue"]


@on_each_loop
async def test_one_message_can_be_posted() -> None:
    async with serving() as house:
        client = await house.client("?message_types=user")
        subscribed = await client.event()
        http = await house.http()
        answer = await http.ask("POST", "/api/messages", json.dumps(user(id="m1")))
        assert answer.status == 201
        seq = answer.json["messages"][0]["seq"]
        assert seq > subscribed["seq"]
        assert answer.json == {
            "action": "published",
            "count": 1,
            "messages": [{"id": "m1", "seq": seq}],
        }
        event = await client.event()
        assert (event["id"], event["seq"], event["content"]) == ("m1", seq, "hello")


@pytest.mark.parametrize("kind", [NDJSON, "application/ndjson", "application/jsonl; charset=utf-8"])
@on_each_loop
async def test_many_messages_can_be_posted_line_by_line(kind: str) -> None:
    async with serving() as house:
        http = await house.http()
        body = "\n\r\n" + "\r\n".join(map(json.dumps, SAMPLES)) + "\n\n"
        answer = await http.ask("POST", "/api/messages", body, Content_Type=kind)
        assert answer.status == 201
        assert [m["id"] for m in answer.json["messages"]] == [m["id"] for m in SAMPLES]
        seqs = [m["seq"] for m in answer.json["messages"]]
        assert seqs == sorted(set(seqs))


@on_each_loop
async def test_many_messages_can_be_posted_as_an_array() -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("POST", "/api/messages", " " + json.dumps(SAMPLES * 50))
        assert (answer.status, answer.json["count"]) == (201, 300)
        history = await (await house.client()).ask("get_history")
        assert history["total_count"] == 6  # the repeated ids were taken once


@on_each_loop
async def test_messages_larger_than_a_head_may_be_come_in_one_piece() -> None:
    async with serving() as house:
        http = await house.http()
        body = json.dumps([user("x" * 1000) for _ in range(60)])
        for _ in range(3):
            assert (await http.ask("POST", "/api/messages", body)).status == 201
        assert (await http.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    ("body", "kind", "count"),
    [
        (json.dumps(user()), "application/json", 1),
        (json.dumps([user()]), "application/json", 1),
        (json.dumps(user()), NDJSON, 1),
        ("\r\n" + json.dumps(user()), NDJSON, 1),
        (json.dumps(user()) + "\n\ufeff\n\ufeff" + json.dumps(user()), NDJSON, 2),
    ],
)
@on_uvloop
async def test_a_byte_order_mark_is_skipped(body: str, kind: str, count: int) -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("POST", "/api/messages", "\ufeff" + body, Content_Type=kind)
        assert (answer.status, answer.json["count"]) == (201, count)
        receipt = await house.server.publish(b"\xef\xbb\xbf" + json.dumps(user()).encode())
        assert receipt.seq > answer.json["messages"][-1]["seq"]


@pytest.mark.parametrize(
    ("body", "kind", "field", "place"),
    [
        ("{", "application/json", "", {}),
        ("[1,", "application/json", "body", {}),
        ("null", "application/json", "", {}),
        ("[]", "application/json", "body", {}),
        (" ", "application/json", "", {}),
        ("\n\n", NDJSON, "body", {}),
        (json.dumps([user(), user(x=1)]), "application/json", "x", {"index": 1}),
        (json.dumps([user(), 5]), "application/json", "", {"index": 1}),
        (json.dumps([user(), {"type": "elf"}]), "application/json", "type", {"index": 1}),
        (json.dumps(user()) + "\n\n{}", NDJSON, "type", {"line": 3}),
        (json.dumps(user()) + "\nnonsense", NDJSON, "", {"line": 2}),
        (json.dumps([user(), user(timestamp="x")]), "application/json", "timestamp", {"index": 1}),
        ("[" * 100_000, "application/json", "body", {}),
    ],
)
@on_uvloop
async def test_if_one_message_is_wrong_none_is_taken(
    body: str, kind: str, field: str, place: dict[str, int]
) -> None:
    async with serving() as house:
        http = await house.http()
        head = (await http.ask("GET", "/healthz")).json["head_seq"]
        answer = await http.ask("POST", "/api/messages", body, Content_Type=kind)
        assert answer.status == 400
        assert_refused(answer.json, 1002, field)
        assert place.items() <= answer.json["details"].items()
        assert (await http.ask("GET", "/healthz")).json["head_seq"] == head


@on_uvloop
async def test_a_message_that_is_too_big_is_named() -> None:
    async with serving(max_frame_bytes=1024) as house:
        http = await house.http()
        body = json.dumps([user(), user("x" * 2000)])
        answer = await http.ask("POST", "/api/messages", body)
        assert (answer.status, answer.json["error_code"]) == (413, 1009)
        assert answer.json["details"]["index"] == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": ""},
        {"Content_Type": "application/json", "Content_Encoding": "gzip"},
    ],
)
@on_uvloop
async def test_a_body_of_another_kind_is_refused(headers: dict[str, str]) -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("POST", "/api/messages", json.dumps(user()), **headers)
        assert (answer.status, answer.json["error_code"]) == (415, 1003)
        assert "application/json" in answer.json["details"]["allowed"]
        assert (await http.ask("GET", "/healthz")).status == 200
