"""What strangers try at the door: false addresses, smuggled requests, paths, slowness, floods."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.smuggling import FAILED_UPGRADE, SMUGGLED, TOLERATED
from tests.support.wire import (
    PING,
    House,
    Json,
    frame,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    soon,
    until,
    upgrade,
    user,
)

HERE, THERE, FAR = "127.0.0.1", "127.0.0.9", "203.0.113.9"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


@contextmanager
def told() -> Iterator[list[str]]:
    """What is said at the door meanwhile."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    door, listener = logging.getLogger("livelog.audit"), Listener()
    before, level = door.level, logging.INFO
    door.addHandler(listener)
    door.setLevel(level)
    try:
        yield lines
    finally:
        door.removeHandler(listener)
        door.setLevel(before)


def addresses(house: House) -> list[str]:
    return sorted(house.inside.websockets)


# Behind a proxy.


@on_each_loop
async def test_a_trusted_proxy_says_whose_connection_it_is() -> None:
    async with serving(trusted_proxies="127.0.0.1") as house:
        for forwarded in (f"6.6.6.6, {FAR}", "2001:db8::7", ""):
            await (await house.http()).send(upgrade(X_Forwarded_For=forwarded))
        await until(lambda: house.inside.websockets.total() == 3, "three connections")
        assert addresses(house) == [HERE, "2001:db8::/64", FAR]


@on_uvloop
async def test_nobody_else_is_believed() -> None:
    async with serving(trusted_proxies="127.0.0.1") as house:
        await (await house.http(THERE)).send(upgrade(X_Forwarded_For=FAR))
        await until(lambda: house.inside.websockets, "a connection")
        assert addresses(house) == [THERE]


@on_uvloop
async def test_a_unix_socket_is_a_proxy_by_its_name(tmp_path: object) -> None:
    for proxies, seen in (("unix", [FAR]), ("", [""])):
        async with serving(uds=f"{tmp_path}/s", trusted_proxies=proxies) as house:
            await (await house.http()).send(upgrade(X_Forwarded_For=FAR))
            await until(lambda: house.inside.websockets, "a connection")
            assert addresses(house) == seen


@on_uvloop
async def test_an_address_that_is_none_is_refused_and_told() -> None:
    async with serving(trusted_proxies="127.0.0.1") as house:
        with told() as lines:
            http = await house.http()
            answer = await http.ask("GET", "/healthz?token=secret", X_Forwarded_For="a b")
            assert (answer.status, answer.json["details"]["field"]) == (400, "x-forwarded-for")
            await http.ended()
        assert len(lines) == 1
        assert "127.0.0.1 was refused: 1002 x-forwarded-for" in lines[0]
        assert "secret" not in lines[0]


@on_uvloop
async def test_requests_on_one_connection_may_be_of_many_clients() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "address_command_limit": 1}
    async with serving(**settings) as house:
        http = await house.http()
        statuses = []
        for client in ("203.0.113.1", "203.0.113.2", "203.0.113.1"):
            answer = await http.ask("GET", "/api/history", X_Forwarded_For=client)
            statuses.append(answer.status)
        assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    "preface",
    [
        f"PROXY TCP4 {FAR} 10.0.0.1 4711 443\r\n".encode(),
        SIGNATURE
        + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12, bytes([203, 0, 113, 9]), b"abcd", 1, 2),
    ],
    ids=["version 1", "version 2"],
)
@on_each_loop
async def test_the_proxy_protocol_says_whose_connection_it_is(preface: bytes) -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "proxy_header": "proxy-protocol"}
    async with serving(**settings) as house:
        whole, cut = await house.wire(), await house.wire()
        data = preface + upgrade(X_Forwarded_For="6.6.6.6")
        await whole.send(data)
        for byte in data:
            await cut.send(bytes([byte]))
        await until(lambda: house.inside.websockets[FAR] == 2, "two connections")


@on_uvloop
async def test_a_proxy_that_speaks_for_itself_has_its_own_address() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "proxy_header": "proxy-protocol"}
    async with serving(**settings) as house:
        await (await house.wire()).send(b"PROXY UNKNOWN\r\n", upgrade())
        await until(lambda: house.inside.websockets, "a connection")
        assert addresses(house) == [HERE]


@on_each_loop
async def test_without_its_preface_a_proxy_is_refused() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "proxy_header": "proxy-protocol"}
    async with serving(**settings) as house:
        http = await house.http()
        answer = await http.ask("GET", "/healthz")
        assert (answer.status, answer.json["details"]["field"]) == (400, "proxy header")
        await http.ended()


@on_uvloop
async def test_from_a_stranger_a_preface_is_no_http() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "proxy_header": "proxy-protocol"}
    async with serving(**settings) as house:
        stranger = await house.http(THERE)
        await stranger.send(b"PROXY TCP4 6.6.6.6 10.0.0.1 1 2\r\n", request("GET", "/healthz"))
        assert (await stranger.answer()).status == 400
        assert (await (await house.http(THERE)).ask("GET", "/healthz")).status == 200


# Pages of other sites.


@pytest.mark.parametrize("target", ["/api/history", "/healthz", "/api/search?query=x"])
@on_uvloop
async def test_pages_of_other_sites_may_not_read(target: str) -> None:
    async with serving() as house:
        answer = await (await house.http()).ask("GET", target, Origin="https://evil.org")
        assert (answer.status, answer.json["details"]["field"]) == (403, "origin")
        assert "access-control-allow-origin" not in answer.headers
        assert (await (await house.http()).ask("GET", target, Origin="http://here")).status == 200


@on_uvloop
async def test_pages_of_other_sites_may_not_write_nor_connect() -> None:
    async with serving() as house:
        body = json.dumps(user("forged"))
        answer = await (await house.http()).ask(
            "POST", "/api/messages", body, Origin="https://evil.org"
        )
        assert answer.status == 403
        http = await house.http()
        await http.send(upgrade(Origin="https://evil.org"))
        assert (await http.answer()).status == 403
        kept = await (await house.http()).ask("GET", "/api/history")
        assert kept.json["total_count"] == 0
        await (await house.http()).send(upgrade(Origin="http://here"))
        await until(lambda: house.inside.websockets, "a connection from the own page")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
@on_uvloop
async def test_what_a_form_can_send_is_not_taken(kind: str) -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("POST", "/api/messages", json.dumps(user()), Content_Type=kind)
        assert answer.status == 415


@on_uvloop
async def test_pages_of_a_listed_origin_may_do_everything() -> None:
    page = "https://example.org"
    async with serving(allowed_origins=page) as house:
        http = await house.http()
        asked = {"Origin": page, "Access_Control_Request_Method": "POST"}
        first = await http.ask("OPTIONS", "/api/messages", **asked)
        assert first.status == 200
        assert "content-type" in first.headers["access-control-allow-headers"]
        done = await http.ask("POST", "/api/messages", json.dumps(user()), Origin=page)
        refused = await http.ask("GET", "/api/history?limit=x", Origin=page)
        assert (done.status, refused.status) == (201, 400)
        for answer in (first, done, refused):
            assert answer.headers["access-control-allow-origin"] == page
        await http.send(upgrade(Origin=page))
        await until(lambda: house.inside.websockets, "a connection from that page")
        other = await (await house.http()).ask(
            "OPTIONS", "/api/messages", **{**asked, "Origin": "https://evil.org"}
        )
        assert other.status == 403
        assert "access-control-allow-methods" not in other.headers


@on_uvloop
async def test_the_client_may_be_imported_from_anywhere() -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("GET", "/livelog.js", Origin="https://example.org")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")


# Smuggling and paths.


@pytest.mark.parametrize("data", [*SMUGGLED.values(), *TOLERATED.values(), FAILED_UPGRADE])
@on_each_loop
async def test_a_request_that_can_be_read_in_two_ways_is_refused(data: bytes) -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(data)
        assert (await http.answer()).status in (400, 501)
        await http.ended()
        assert (await (await house.http()).ask("GET", "/api/history")).json["total_count"] == 0


@on_uvloop
async def test_a_trailer_is_no_header() -> None:
    async with serving(trusted_proxies="127.0.0.1") as house:
        http = await house.http()
        body = json.dumps(user()).encode()
        chunks = b"%x\r\n%s\r\n0\r\nOrigin: https://evil.org\r\nX-Forwarded-For: x\r\n\r\n"
        head = {"Transfer_Encoding": "chunked", "Content_Type": "application/json"}
        await http.send(request("POST", "/api/messages", **head), chunks % (len(body), body))
        assert (await http.answer()).status == 201


PATHS = [
    "/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/config.py", "/livelog.js/../viewer.js",
    "//livelog.js", "/./livelog.js", "/livelog.js/", "/livelog.js%00.html", "/livelog%2ejs",
    "/LIVELOG.JS", "/api//history", "/api/history/", "/api/history;x=y", "/api%2fhistory",
    "/client/../livelog.js", "/viewer/..%2f..%2f__init__.py", "/deploy/nginx.conf",
    "/web/livelog.js", "/__init__.py", "\\..\\config.py", "/api/history%3Flimit=1", "/%00",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@on_uvloop
async def test_a_path_is_what_it_is_and_nothing_is_looked_up(path: str) -> None:
    async with serving() as house:
        answer = await (await house.http()).ask("GET", path)
        assert answer.status in (400, 404)
        assert b"import " not in answer.body


# Slow clients and floods.


@on_each_loop
async def test_slow_heads_and_bodies_are_cut_off_wherever_they_come_from() -> None:
    async with serving(head_timeout=0.6, body_timeout=0.6, close_timeout=0.2) as house:
        sources = [f"127.0.0.{number}" for number in range(2, 12)]
        started = request("POST", "/api/messages", Content_Length="1000")
        with told() as lines:
            slow = [await house.http(source) for source in sources for _ in range(3)]
            for number, http in enumerate(slow):
                await http.send([b"", b"GET /healthz HTTP/1.1\r\nX", started][number % 3])
            client = await house.client("?message_types=user")  # others are served meanwhile
            await client.event()
            house.publish("meanwhile")
            assert await client.contents(1) == ["meanwhile"]
            for number, http in enumerate(slow):
                if number % 3:
                    assert (await http.answer()).status == 408
                await http.ended()
        await until(lambda: not house.inside.waiting, "all slow ones gone")
        assert not house.inside.waiting
        for source in sources:
            assert sum(line.startswith(f"{source} ") for line in lines) == 3, "one of each kind"


@on_each_loop
async def test_an_address_may_have_so_many_connections_waiting_and_others_are_not_hindered() -> (
    None
):
    async with serving(waiting_per_ip=5) as house:
        held = [await house.wire() for _ in range(5)]
        await until(lambda: house.inside.waiting.total() == 5, "five that wait")
        for _ in range(20):
            flood = await house.http()
            answer = await flood.answer()
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
            assert answer.json["error_code"] == 4003
            await flood.ended()
        assert len(house.inside.connections) == 5, "who is refused costs nothing any more"
        assert (await (await house.http(THERE)).ask("GET", "/healthz")).status == 200
        held[0].close()
        await until(lambda: house.inside.waiting[HERE] == 4, "a free place")
        await house.client()
        await house.client()


@on_each_loop
async def test_a_refusal_reaches_who_asks_at_once() -> None:
    async with serving(waiting_per_ip=1) as house:
        await house.wire()
        await until(lambda: house.inside.waiting, "one that waits")
        hasty = await house.http()
        await hasty.send(request("GET", "/healthz"))
        assert (await hasty.answer()).status == 429


@on_each_loop
async def test_when_too_many_wait_the_longest_silent_makes_room() -> None:
    async with serving(waiting_connections=10) as house:
        silent = [await house.http(f"127.0.0.{number}") for number in range(2, 12)]
        await until(lambda: house.inside.waiting.total() == 10, "ten that wait")
        assert (await silent[0].ask("GET", "/healthz")).status == 200
        newcomer = await house.http()
        assert (await newcomer.ask("GET", "/healthz")).status == 200
        await silent[1].ended()
        assert (await silent[0].ask("GET", "/healthz")).status == 200
        assert house.inside.waiting.total() == 10


@on_uvloop
async def test_an_address_that_keeps_failing_is_blocked_and_nobody_else() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "block_after": 5, "block_seconds": 60}
    async with serving(**settings) as house:
        with told() as lines:
            for _ in range(5):
                await _ask(house, FAR, Origin="https://evil.org")
            status, details = await _ask(house, FAR)
            assert status == 429
            assert "blocked" in details["issue"]
            assert 0 < details["retry_after_seconds"] <= 60
        assert (await _ask(house, "203.0.113.10"))[0] == 200
        assert [line for line in lines if "is blocked for 60 seconds" in line]
        assert len(lines) == 3, "each kind is told once"


@on_uvloop
async def test_websockets_that_end_by_their_own_fault_are_held_against_their_address() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "block_after": 3, "message_limit": 1}
    async with serving(**settings) as house:
        for _ in range(3):
            client = await house.wire()
            await client.send(upgrade(X_Forwarded_For=FAR), *[frame("x")] * 5)
            await client.upto(b'"disconnected"')
        assert (await _ask(house, FAR))[0] == 429
        assert (await _ask(house, ""))[0] == 200


@on_uvloop
async def test_neither_this_machine_nor_a_proxy_is_ever_blocked() -> None:
    async with serving(trusted_proxies="127.0.0.1, 10.0.0.0/8", block_after=1) as house:
        for address in ("", "127.0.0.5", "10.1.1.1", "::1"):
            for _ in range(5):
                assert (await _ask(house, address, Origin="https://evil.org"))[0] == 403
            assert (await _ask(house, address))[0] == 200


async def _ask(house: House, client: str, **headers: str) -> tuple[int, Json]:
    http = await house.http()
    answer = await http.ask("GET", "/healthz", X_Forwarded_For=client, **headers)
    http.close()
    return answer.status, answer.json.get("details", {})


@on_uvloop
async def test_what_is_repeated_is_told_once() -> None:
    async with serving() as house:
        with told() as lines:
            for _ in range(50):
                http = await house.http()
                await http.send(b"garbage \x1b[31m\r\n\r\n")
                await http.answer()
                http.close()
        assert len(lines) == 1
        assert lines[0].isprintable()


@on_uvloop
async def test_whoever_is_disconnected_is_told_of_with_the_reason() -> None:
    with told() as lines:
        async with serving(ping_interval=0.3, ping_timeout=0.3) as house:
            silent = await house.client(source="127.0.0.2")
            assert (await silent.frame()).opcode == PING
            await silent.goodbye()
        async with serving(message_limit=1) as house:
            broken = await house.client(source="127.0.0.3")
            await broken.send(b"\xff\xff")
            await broken.goodbye()
            flood = await house.client(source="127.0.0.4")
            for _ in range(5):
                await flood.tell("ping")
            await flood.goodbye()
    said = "\n".join(lines)
    assert "127.0.0.2 is disconnected: 1008 did not answer a ping" in said
    assert "127.0.0.3 is disconnected: 1002" in said
    assert "127.0.0.4 is disconnected: 4003 went on over the limit of messages" in said


# Limits of an address, over all its connections and both doors.


@on_each_loop
async def test_all_connections_of_an_address_share_its_limit() -> None:
    async with serving(address_command_limit=4) as house:
        one, other, stranger = (
            await house.client(), await house.client(), await house.client(source=THERE),
        )  # fmt: skip
        for client in (one, other, one, other):
            assert (await client.ask("get_history"))["action"] == "history"
        refused = await one.ask("get_history", request_id="r")
        assert (refused["error_code"], refused["request_id"]) == (4003, "r")
        assert refused["details"]["retry_after_seconds"] > 0
        assert "address" in refused["details"]["issue"]
        answer = await (await house.http()).ask("GET", "/api/search?query=x")
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert (await stranger.ask("get_history"))["action"] == "history"


@on_uvloop
async def test_messages_published_over_http_count_one_by_one() -> None:
    async with serving(address_message_limit=10) as house:
        http, lines = await house.http(), "\n".join([json.dumps(user())] * 25)
        kind = {"Content_Type": "application/x-ndjson"}
        first = await http.ask("POST", "/api/messages", lines, **kind)
        assert (first.status, first.json["count"]) == (201, 25)
        second = await http.ask("POST", "/api/messages", json.dumps(user()))
        assert second.status == 429
        assert 90 < int(second.headers["retry-after"]) <= 97  # 16 that are owed, 6 s each
        assert (
            await (await house.http(THERE)).ask("POST", "/api/messages", lines, **kind)
        ).status == 201


@on_uvloop
async def test_who_goes_on_over_a_shared_limit_is_disconnected() -> None:
    async with serving(address_message_limit=1, message_limit=3) as house:
        client = await house.client()
        for _ in range(10):
            await client.tell("ping")
        assert await soon(client.goodbye()) == ("protocol_error", 4003)


@on_uvloop
async def test_without_limits_there_are_none() -> None:
    settings: Json = {
        "address_command_limit": 1,
        "block_after": 1,
        "waiting_per_ip": 1,
        "limits": False,
    }
    async with serving(trusted_proxies="127.0.0.1", **settings) as house:
        https = [await house.http() for _ in range(3)]
        for http in https:
            for _ in range(3):
                assert (await http.ask("GET", "/api/history", X_Forwarded_For=FAR)).status == 200
        await asyncio.gather(*(_ask(house, FAR, Origin="https://evil.org") for _ in range(3)))
        assert (await _ask(house, FAR))[0] == 200
