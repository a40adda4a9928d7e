"""The HTTP door, in bytes: every route and every way in which a request can be wrong."""

from __future__ import annotations

import asyncio
import json

import pytest

from livelog import __version__
from livelog.net.http.state import State
from tests.support.wire import (
    SAMPLES,
    Json,
    command,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    soon,
    until,
    upgrade,
    user,
)

NDJSON = "application/x-ndjson"


def assert_refused(answer_json: Json, code: int, field: str) -> None:
    assert answer_json["action"] == "error"
    assert answer_json["error_code"] == code
    assert answer_json["error_message"]
    assert answer_json["details"]["field"] == field
    assert answer_json["details"]["issue"]


# Routes.


@on_each_loop
async def test_healthz_tells_how_the_server_is() -> None:
    async with serving() as house:
        http = await house.http()
        [seq] = house.publish("one")
        await house.client()
        answer = await http.ask("GET", "/healthz?x=1")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["date"]
        health = answer.json
        assert health.pop("uptime_seconds") >= 0
        assert health == {
            "status": "ok",
            "version": __version__,
            "connections": 1,
            "head_seq": seq,
        }


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


@on_each_loop
async def test_an_unknown_path_is_not_found_and_the_known_ones_are_named() -> None:
    async with serving() as house:
        http = await house.http()
        for target in ("/nowhere", "/healthz/", "//healthz", "/%00", "/api/messages/1"):
            answer = await http.ask("GET", target)
            assert answer.status == 404
            assert_refused(answer.json, 1002, "path")
            assert "/api/messages" in answer.json["details"]["issue"]


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/healthz", "get"),
        ("DELETE", "/healthz", "get"),
        ("OPTIONS", "/healthz", "get"),
        ("GET", "/api/messages", "post"),
        ("HEAD", "/api/messages", "post"),
        ("PUT", "/api/messages", "post"),
        ("POST", "/ws/live-log", "get"),
    ],
)
@on_each_loop
async def test_another_method_is_refused_with_those_allowed(
    method: str, target: str, allowed: str
) -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask(method, target)
        assert answer.status == 405
        assert allowed in answer.headers["allow"].split(", ")
        assert (await http.ask("GET", "/healthz")).status == 200


@on_each_loop
async def test_a_plain_request_to_the_websocket_is_told_to_upgrade() -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("GET", "/ws/live-log")
        assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
        assert_refused(answer.json, 1002, "upgrade")
        await http.send(upgrade())
        assert (await http.upto(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


# One request after the other.


@on_each_loop
async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with serving() as house:
        http = await house.http()
        for _ in range(10):
            answer = await http.ask("GET", "/healthz")
            assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
            answer = await http.ask("POST", "/api/messages", json.dumps(user()))
            assert answer.status == 201
        assert len(house.inside.connections) == 1


@on_each_loop
async def test_requests_sent_at_once_are_answered_in_order() -> None:
    async with serving() as house:
        http = await house.http()
        posts = [
            request("POST", "/api/messages", json.dumps([user(id=f"{n}.{m}") for m in range(n)]))
            for n in range(1, 21)
        ]
        await http.send(*[post + request("GET", "/nowhere") for post in posts])
        for count in range(1, 21):
            answer = await http.answer()
            assert (answer.status, answer.json["count"]) == (201, count)
            assert (await http.answer()).status == 404


@on_each_loop
async def test_the_bytes_of_a_request_may_come_one_by_one() -> None:
    async with serving() as house:
        http = await house.http()
        for byte in request("POST", "/api/messages", json.dumps(user(id="m1"))):
            await http.send(bytes([byte]))
        assert (await http.answer()).json["messages"][0]["id"] == "m1"


@pytest.mark.parametrize(
    ("version", "headers"), [("1.1", {"Connection": "close"}), ("1.0", {}), ("1.1", None)]
)
@on_each_loop
async def test_a_connection_ends_when_the_client_wants_it(
    version: str, headers: dict[str, str] | None
) -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(request("GET", "/healthz", version=version, **(headers or {})))
        if headers is None:
            http.finish()
        assert (await http.answer()).status == 200
        await http.ended()
        http.close()
        await house.emptied()


@on_each_loop
async def test_a_response_to_head_has_everything_but_the_body() -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("HEAD", "/healthz")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 0
        assert (await http.ask("HEAD", "/nowhere")).status == 404
        assert (await http.ask("GET", "/healthz")).status == 200


@on_each_loop
async def test_who_expects_it_is_told_to_continue() -> None:
    async with serving() as house:
        http = await house.http()
        body = json.dumps(user()).encode()
        whole = request("POST", "/api/messages", body, Expect="100-continue")
        await http.send(whole[: -len(body)])
        assert (await http.answer()).status == 100
        await http.send(body)
        assert (await http.answer()).status == 201


@on_each_loop
async def test_who_expects_it_is_not_told_to_continue_with_too_much() -> None:
    async with serving(max_body_bytes=1024) as house:
        http = await house.http()
        await http.send(
            request("POST", "/api/messages", Expect="100-continue", Content_Length="1025")
        )
        assert (await http.answer()).status == 413
        await http.ended()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = {"Transfer_Encoding": "chunked", "Content_Type": "application/json"}


@on_each_loop
async def test_a_body_may_come_in_chunks() -> None:
    async with serving() as house:
        http = await house.http()
        body = json.dumps(user("→" * 100)).encode()
        pieces = [chunk(body[n : n + 7]) for n in range(0, len(body), 7)]
        head = request("POST", "/api/messages", **CHUNKED)
        await http.send(head, *pieces, chunk(b""), request("GET", "/healthz"))
        assert (await http.answer()).status == 201
        assert (await http.answer()).status == 200


# Too much, too slow, not HTTP.


@on_each_loop
async def test_a_body_that_is_announced_as_too_big_is_refused_and_may_be_sent_nevertheless() -> (
    None
):
    async with serving(max_body_bytes=1024) as house:
        http = await house.http()
        sending = asyncio.create_task(http.send(request("POST", "/api/messages", b" " * (8 << 20))))
        answer = await http.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert_refused(answer.json, 1009, "body")
        await http.ended()
        await sending  # was not broken by a reset


@on_each_loop
async def test_chunks_that_get_too_big_are_refused() -> None:
    async with serving(max_body_bytes=1024) as house:
        http = await house.http()
        await http.send(request("POST", "/api/messages", **CHUNKED), chunk(b" " * 1000))
        await http.send(chunk(b" " * 1000) * 100)
        answer = await http.answer()
        assert (answer.status, answer.json["error_code"]) == (413, 1009)
        await http.ended()


@on_uvloop
async def test_a_body_of_exactly_the_largest_size_is_taken() -> None:
    async with serving(max_body_bytes=1024) as house:
        http = await house.http()
        body = json.dumps(user()).ljust(1024)
        assert (await http.ask("POST", "/api/messages", body)).status == 201


TOO_LARGE = {
    "one long header": request("GET", "/healthz", X="x" * 20_000),
    "many headers": request("GET", "/healthz", **{f"X{n}": "x" for n in range(3000)}),
    "a long target": request("GET", "/healthz?" + "x" * 20_000),
    "before a body": request("POST", "/api/messages", json.dumps(user()), X="x" * 20_000),
    "an upgrade": upgrade(X="x" * 20_000),
}


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE.keys())
@on_each_loop
async def test_a_head_that_is_too_large_is_refused(data: bytes) -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(data)
        answer = await http.answer()
        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert_refused(answer.json, 1002, "head")
        await http.ended()


@pytest.mark.parametrize("drip", [b"x", b"x: y\r\n"])
@on_each_loop
async def test_a_head_that_never_ends_is_refused(drip: bytes) -> None:
    async with serving(close_timeout=0.3) as house:
        http = await house.http()
        await http.send(b"GET /healthz HTTP/1.1\r\n")
        while not any(
            getattr(peer, "state", None) is State.LINGERING for peer in house.inside.connections
        ):
            await http.send(drip * 100)
            await asyncio.sleep(0)
        assert (await http.answer()).status == 431
        await http.ended()


GARBAGE = {
    "binary": bytes(range(256)),
    "no request line": b"hello\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a version unheard of": b"GET / HTTP/9.9\r\n\r\n",
    "space in a header's name": b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n",
    "length that is none": b"POST /api/messages HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk of no size": request("POST", "/api/messages", **CHUNKED) + b"zz\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
@on_each_loop
async def test_what_is_not_http_is_refused(data: bytes) -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(data)
        answer = await http.answer()
        assert answer.status == 400
        assert_refused(answer.json, 1002, "request")
        await http.ended()


@on_each_loop
async def test_what_came_before_the_garbage_is_answered_first() -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(request("GET", "/healthz"), b"garbage\r\n\r\n")
        assert (await http.answer()).status == 200
        assert (await http.answer()).status == 400
        await http.ended()


@on_each_loop
async def test_a_head_that_comes_too_slowly_is_refused() -> None:
    async with serving(head_timeout=0.3) as house:
        http = await house.http()
        await http.send(b"GET /healthz HTTP/1.1\r\nHos")
        answer = await http.answer()
        assert answer.status == 408
        assert_refused(answer.json, 1002, "head")
        await http.ended()


@on_uvloop
async def test_a_second_head_that_comes_too_slowly_is_refused_as_soon_as_a_first_one() -> None:
    async with serving(head_timeout=0.3) as house:
        http = await house.http()
        assert (await http.ask("GET", "/healthz")).status == 200
        await http.send(b"GET /healthz HTTP/1.1\r\nHos")
        assert (await http.answer()).status == 408
        await http.ended()


@pytest.mark.parametrize(
    "start",
    [
        request("POST", "/api/messages", Content_Length="100") + b"[",
        request("POST", "/api/messages", **CHUNKED) + chunk(b"["),
    ],
)
@on_uvloop
async def test_a_body_that_comes_too_slowly_is_refused(start: bytes) -> None:
    async with serving(body_timeout=0.3) as house:
        http = await house.http()
        await http.send(start)
        answer = await http.answer()
        assert answer.status == 408
        assert_refused(answer.json, 1002, "body")
        await http.ended()


@on_uvloop
async def test_who_connects_and_says_nothing_is_dropped() -> None:
    async with serving(head_timeout=0.3) as house:
        http = await house.http()
        await http.ended()
        await house.emptied()


@on_uvloop
async def test_who_has_been_answered_and_asks_no_more_is_dropped_without_a_word() -> None:
    async with serving(idle_timeout=0.3) as house:
        http = await house.http()
        assert (await http.ask("GET", "/healthz")).status == 200
        await http.ended()
        await house.emptied()


@on_uvloop
async def test_who_is_refused_and_does_not_close_is_dropped() -> None:
    async with serving(close_timeout=0.3) as house:
        http = await house.http()
        await http.send(b"garbage\r\n\r\n")
        assert (await http.answer()).status == 400
        await house.emptied()


@on_each_loop
async def test_who_asks_and_never_reads_is_read_no_further() -> None:
    async with serving() as house:
        http = await house.http()
        data, sent, tries = request("GET", "/healthz", X="x" * 1000) * 100, 0, 0
        while tries < 50:
            try:
                sent += http.sock.send(data[sent % len(data) :])
                tries = 0
            except BlockingIOError:
                tries += 1
                await asyncio.sleep(0.01)
            assert sent < 64 << 20, "the server takes whatever comes"
            await asyncio.sleep(0)
        peer = house.inside.connection
        assert peer.transport.get_write_buffer_size() < 1 << 20
        for _ in range(1000):
            assert (await http.answer()).status == 200


@on_each_loop
async def test_who_asks_and_never_reads_is_dropped_in_the_end() -> None:
    async with serving(stall_seconds=0.3) as house:
        http = await house.http()
        sending = asyncio.create_task(http.send(request("GET", "/healthz") * 200_000))
        await house.emptied()
        with pytest.raises(ConnectionError):
            await sending


# The upgrade.


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (upgrade("/"), 404),
        (upgrade("/ws/live-log/"), 404),
        (upgrade("/healthz"), 404),
        (upgrade(Upgrade="h2c"), 501),
        (upgrade("/healthz", Upgrade="TLS/1.0"), 501),
        (upgrade(method="POST"), 405),
        (upgrade(Sec_WebSocket_Version="12"), 400),
        (upgrade(Sec_WebSocket_Version=""), 400),
        (upgrade(Sec_WebSocket_Key=""), 400),
        (upgrade(Sec_WebSocket_Key="short"), 400),
        (upgrade(Sec_WebSocket_Key="\xe9" * 24), 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: here\r\n\r\n", 501),
    ],
)
@on_each_loop
async def test_an_upgrade_that_cannot_be_is_refused(data: bytes, status: int) -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(data, b"and more")
        answer = await http.answer()
        assert answer.status == status
        if "sec-websocket-version" in answer.headers:
            assert answer.headers["sec-websocket-version"] == "13"
        await http.ended()
        http.close()
        await house.emptied()


@on_uvloop
async def test_the_version_that_is_spoken_is_told_to_who_speaks_another() -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(upgrade(Sec_WebSocket_Version="12"))
        assert (await http.answer()).headers["sec-websocket-version"] == "13"
        await http.ended()


@on_each_loop
async def test_no_extension_and_no_subprotocol_is_agreed_to() -> None:
    async with serving() as house:
        http = await house.http()
        offers = {
            "Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits",
            "Sec_WebSocket_Protocol": "chat",
        }
        await http.send(upgrade(**offers))
        head = await http.upto(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in head.lower()
        assert b"protocol:" not in head.lower()


@on_each_loop
async def test_an_upgrade_right_behind_another_request_does_not_overtake_it() -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(request("GET", "/healthz"), upgrade(), command("ping"))
        assert (await http.answer()).status == 200
        assert (await http.answer()).status == 400
        await http.ended()


# When the server stops.


@on_each_loop
async def test_connections_that_wait_for_a_request_are_closed_when_the_server_stops() -> None:
    async with serving(close_timeout=60) as house:
        silent, asked, dripping = [await house.http() for _ in range(3)]
        await asked.ask("GET", "/healthz")
        await dripping.send(b"GET /healthz HTTP/1.1\r\n")
        await until(lambda: len(house.inside.connections) == 3, "all connected")
        await soon(house.server.close(), "the server to stop")
        house.inside.check_empty()
        for http in (silent, asked):
            await http.ended()


@on_each_loop
async def test_a_request_that_is_being_answered_is_finished_when_the_server_stops() -> None:
    async with serving(close_timeout=30) as house:
        http = await house.http()
        body = json.dumps([user() for _ in range(5000)])
        await http.send(request("POST", "/api/messages", body))
        await until(lambda: house.inside.busy, "work")
        closing = asyncio.create_task(house.server.close())
        answer = await http.answer()
        assert (answer.status, answer.json["count"]) == (201, 5000)
        await http.ended()
        http.close()
        await soon(closing, "the server to stop")


@on_each_loop
async def test_who_vanishes_while_being_answered_is_forgotten_and_its_messages_are_whole() -> None:
    async with serving() as house:
        http = await house.http()
        body = json.dumps([user() for _ in range(5000)])
        await http.send(request("POST", "/api/messages", body))
        await until(lambda: house.inside.busy, "work")
        http.reset()
        await until(lambda: not house.inside.busy, "an end")
        await house.emptied()
        history = await (await house.client()).ask("get_history", limit=1)
        assert history["total_count"] in (0, 5000)


@pytest.mark.parametrize("target", ["http://example.com/healthz", "HTTPS://x:80/healthz?a=b"])
@on_uvloop
async def test_an_absolute_target_is_taken_by_its_path(target: str) -> None:
    async with serving() as house:
        http = await house.http()
        assert (await http.ask("GET", target)).json["status"] == "ok"


@pytest.mark.parametrize("target", ["//healthz", "http://example.com/nowhere", "healthz/", "*"])
@on_uvloop
async def test_any_other_target_is_not_found(target: str) -> None:
    async with serving() as house:
        http = await house.http()
        assert (await http.ask("GET", target)).status in (400, 404)
