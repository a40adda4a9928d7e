"""Messages published over HTTP: kinds of bodies, and all or none."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.errors import MESSAGE_TOO_BIG, PROTOCOL_ERROR, RefusedError
from livelog.net.http.body import messages, unpack
from livelog.net.http.message import Request
from tests.support.wire import (
    SAMPLES,
    assert_refused,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    soon,
    user,
)

NDJSON = "application/x-ndjson"


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
        ("[1,", "application/json", "", {"index": 0}),
        (json.dumps([user()])[:-1], "application/json", "body", {}),
        (json.dumps([user()])[:-2], "application/json", "body", {}),
        (json.dumps([user()])[:-1] + ",]", "application/json", "body", {}),
        (json.dumps([user()]) + "]", "application/json", "body", {}),
        ("[," + json.dumps(user()) + "]", "application/json", "body", {}),
        (json.dumps([user(), user()]).replace("}, {", "} {"), "application/json", "body", {}),
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


# Compressed bodies.

LINES = "\n".join(json.dumps(user(f"line {number}")) for number in range(50)).encode()


def gzipped(data: bytes, level: int = 9) -> bytes:
    """Always the same bytes: pytest takes them for the name of a test."""
    return gzip.compress(data, level, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(data) + machine.flush()


def in_members(data: bytes) -> bytes:
    return b"".join(gzipped(data[at : at + 100]) for at in range(0, len(data), 100))


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzipped),
    "capitals": (" GZip ,", gzipped),
    "its old name": ("x-gzip", gzipped),
    "members": ("gzip", in_members),
    "an empty member": ("gzip", lambda data: gzipped(b"") + gzipped(data)),
    "stored": ("gzip", lambda data: gzipped(data, 0)),
    "zlib": ("deflate", zlib.compress),
    "bare deflate": ("deflate", raw_deflate),
    "identity": ("identity", bytes),
    "nothing": ("", bytes),
    "named twice": ("identity, gzip", gzipped),
}


@pytest.mark.parametrize(("coding", "pack"), PACKED.values(), ids=PACKED.keys())
@on_uvloop
async def test_a_compressed_body_is_taken(coding: str, pack: Callable[[bytes], bytes]) -> None:
    async with serving() as house:
        http, headers = await house.http(), {"Content_Encoding": coding, "Content_Type": NDJSON}
        answer = await http.ask("POST", "/api/messages", pack(LINES), **headers)
        assert (answer.status, answer.json["count"]) == (201, 50)
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in pack(LINES)) + b"0\r\n\r\n"
        head = request("POST", "/api/messages", Transfer_Encoding="chunked", **headers)
        await http.send(head + chunks)
        assert ((await http.answer()).json["count"]) == 50


@pytest.mark.parametrize(
    ("coding", "body", "status", "field"),
    [
        ("br", LINES, 415, "content-encoding"),
        ("gzip, gzip", gzipped(gzipped(LINES)), 415, "content-encoding"),
        ("gzip;q=1", gzipped(LINES), 415, "content-encoding"),
        ("gzip", LINES, 400, "body"),
        ("gzip", b"", 400, "body"),
        ("gzip", gzipped(LINES)[:-1], 400, "body"),
        ("gzip", gzipped(LINES)[:20], 400, "body"),
        ("gzip", gzipped(LINES)[:-8] + bytes(8), 400, "body"),
        ("gzip", gzipped(LINES) + b"garbage", 400, "body"),
        ("gzip", gzipped(LINES) + b"\0", 400, "body"),
        ("gzip", gzipped(b"") * 1001 + gzipped(LINES), 400, "body"),
        ("deflate", zlib.compress(LINES) + b"x", 400, "body"),
        ("deflate", zlib.compress(LINES)[:-1], 400, "body"),
        ("deflate", LINES, 400, "body"),
        ("gzip", gzipped(LINES + b"\n" * (1 << 20)), 413, "body"),
        ("gzip", in_members(LINES + b"\n" * 40_000), 413, "body"),
        ("deflate", zlib.compress(bytes(1 << 20)), 413, "body"),
    ],
)
@on_uvloop
async def test_what_cannot_be_unpacked_is_refused(
    coding: str, body: bytes, status: int, field: str
) -> None:
    async with serving(max_body_bytes=32_000) as house:
        http, headers = await house.http(), {"Content_Encoding": coding, "Content_Type": NDJSON}
        answer = await http.ask("POST", "/api/messages", body, **headers)
        code = {400: 1002, 413: 1009, 415: 1003}[status]
        assert (answer.status, answer.json["error_code"]) == (status, code)
        assert answer.json["details"]["field"] == field
        if status == 415:
            assert answer.headers["accept-encoding"] == "gzip, x-gzip, deflate"
        assert (await http.ask("GET", "/api/history")).json["total_count"] == 0


def unpacked(data: bytes, coding: str, max_bytes: int) -> tuple[int, bytes]:
    """The number of steps, and the content."""
    asked = Request(headers=[("content-encoding", coding)], body=bytearray(data))
    return sum(1 for _ in unpack(asked, max_bytes)), bytes(asked.body)


@given(st.binary(max_size=3000), st.integers(1, 200), st.integers(0, 9))
def test_what_is_packed_is_unpacked(data: bytes, copies: int, level: int) -> None:
    content = data * copies
    for coding, packed in (
        ("gzip", gzipped(content, level)),
        ("deflate", zlib.compress(content, level)),
    ):
        assert unpacked(packed, coding, len(content))[1] == content
        if content:
            with pytest.raises(RefusedError, match="larger"):
                unpacked(packed, coding, len(content) - 1)
        with pytest.raises(RefusedError):
            unpacked(packed[:-1], coding, len(content))


def test_a_bomb_is_unpacked_in_small_steps_and_no_further_than_allowed() -> None:
    bomb = gzipped(bytes(64 << 20))
    assert len(bomb) < 100_000
    asked = Request(headers=[("content-encoding", "gzip")], body=bytearray(bomb))
    steps, spent = unpack(asked, 8 << 20), [0.0]
    while len(spent) <= (8 << 20) // (64 << 10):
        began = time.thread_time()
        next(steps)
        spent.append(time.thread_time() - began)
    with pytest.raises(RefusedError, match="larger"):
        next(steps)
    assert sorted(spent)[len(spent) // 2] < 0.005


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@on_uvloop
async def test_curl_can_send_what_gzip_has_packed() -> None:
    async with serving() as house:
        curl = await asyncio.create_subprocess_exec(
            *("curl", "-sS", "--data-binary", "@-", "-H", "Content-Encoding: gzip"),
            *("-H", f"Content-Type: {NDJSON}"),
            f"http://127.0.0.1:{house.server.port}/api/messages",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await soon(curl.communicate(gzipped(LINES)))
        assert json.loads(out)["count"] == 50


@pytest.mark.parametrize(
    ("body", "kind", "steps"),
    [
        (b"\n" * 1_000_000, NDJSON, 16),
        ("\ufeff\n".encode() * 10_000, NDJSON, 10_000),
        (b"[" + b" " * 1_000_000 + b"]", "application/json", 3),
        (b"[" + b"0," * 500_000 + b"0]", "application/json", 500_004),
    ],
)
def test_a_body_is_gone_through_in_steps(body: bytes, kind: str, steps: int) -> None:
    request = Request(headers=[("content-type", kind)], body=bytearray(body))
    assert sum(1 for _ in messages(request, 65_536)) == steps


@on_uvloop
async def test_a_message_too_long_to_be_decoded_is_refused_unread() -> None:
    async with serving() as house:
        http = await house.http()
        long = '{"type":"user","metadata":{"a":[' + "0," * 300_000 + "0]}}"
        for body, kind, code, status in (
            (long, "application/json", MESSAGE_TOO_BIG, 413),
            (long, NDJSON, MESSAGE_TOO_BIG, 413),
            (f"[{long}]", "application/json", PROTOCOL_ERROR, 400),
        ):
            answer = await http.ask("POST", "/api/messages", body, Content_Type=kind)
            assert (answer.status, answer.json["error_code"]) == (status, code)
        escaped = json.dumps(user("")).replace('""', '"' + "\\u0061" * 60_000 + '"')
        assert (await http.ask("POST", "/api/messages", escaped)).status == 201
