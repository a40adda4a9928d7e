"""Slow clients, floods of connections, and blocked addresses."""

from __future__ import annotations

from contextlib import suppress
from unittest.mock import patch

from tests.support.auditlog import audit_log
from tests.support.identity import SECRET, token
from tests.support.wire import (
    PING,
    House,
    Json,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    until,
    upgrade,
)

HISTORY = "/api/history"
HERE, THERE, FAR = "127.0.0.1", "127.0.0.9", "203.0.113.9"


@on_each_loop
async def test_slow_heads_and_bodies_are_cut_off_wherever_they_come_from() -> None:
    async with serving(head_timeout=1.5, body_timeout=1.5, close_timeout=0.2) as house:
        sources = [f"127.0.0.{number}" for number in range(2, 12)]
        started = request("POST", "/api/messages", Content_Length="1000")
        with audit_log() as lines:
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
async def test_when_too_many_wait_the_least_recently_active_is_evicted() -> None:
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
    async with serving(jwt_secret=SECRET, **settings) as house:
        with audit_log() as lines:
            for _ in range(5):
                assert (await _ask(house, FAR, HISTORY, Authorization="Bearer x"))[0] == 401
            status, details = await _ask(house, FAR)
            assert status == 429
            assert "blocked" in details["issue"]
            assert 0 < details["retry_after_seconds"] <= 60
        assert (await _ask(house, "203.0.113.10"))[0] == 200
        assert [line for line in lines if "is blocked for 60 seconds" in line]
        assert len(lines) == 3, "each kind is told once"


@on_uvloop
async def test_who_means_no_harm_takes_nobody_down_who_shares_the_address() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "block_after": 3, "head_timeout": 0.3}
    past = f"Bearer {token(lasts=-60)}"
    good = f"Bearer {token()}"
    async with serving(jwt_secret=SECRET, max_frame_bytes=1024, **settings) as house:
        harmless: list[tuple[str, Json, int]] = [
            (HISTORY, {"Authorization": past}, 401),
            (HISTORY, {"Authorization": f"Bearer {token(scope='')}"}, 403),
            (HISTORY, {"Authorization": good, "Origin": "https://foreign.example"}, 403),
            ("/ws/live-log", {"Origin": "https://foreign.example"}, 403),
            ("/nothing", {}, 404),
            ("/ws/live-log", {}, 426),
            ("/api/messages", {}, 405),
            ("/api/history?limit=x", {"Authorization": good}, 400),
        ]
        for target, headers, expected in harmless:
            for _ in range(4):
                assert (await _ask(house, FAR, target, **headers))[0] == expected
        for sent in (
            command("authenticate", token=past.removeprefix("Bearer ")),
            frame("x" * 2000),
        ):
            for _ in range(4):
                wire = await house.wire()
                await wire.send(upgrade(X_Forwarded_For=FAR), sent)
                await wire.upto(b'"disconnected"')
        for _ in range(4):
            wire = await house.wire()
            await wire.send(b"POST /api/messages HTTP/1.1\r\nHost: localhost\r\n")
            await wire.send(f"X-Forwarded-For: {FAR}\r\nContent-Length: 9\r\n".encode())
            await wire.upto(b" 408 ")
        assert (await _ask(house, FAR, HISTORY, Authorization=good))[0] == 200
        for _ in range(3):  # and what is an attack still is one
            await _ask(house, FAR, HISTORY, Authorization="Bearer guess")
        assert (await _ask(house, FAR, HISTORY, Authorization=good))[0] == 429


@on_uvloop
async def test_bytes_that_are_not_http_or_no_frames_are_held_against_their_address() -> None:
    async with serving(block_after=2) as house:
        inside = house.context.limiter
        for wrong in (b"garbage\r\n\r\n", upgrade() + b"\xff\xff"):
            # Loopback is never blocked, so the failures are looked at where they are counted.
            failures: list[str] = []
            with patch.object(inside, "failed", failures.append):
                wire = await house.wire(source="127.0.0.7")
                await wire.send(wrong)
                await wire.rest()
            assert failures == ["127.0.0.7"]


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
    settings: Json = {"trusted_proxies": "127.0.0.1, 10.0.0.0/8", "block_after": 1}
    async with serving(jwt_secret=SECRET, **settings) as house:
        for address in ("", "127.0.0.5", "10.1.1.1", "::1"):
            for _ in range(5):
                assert (await _ask(house, address, HISTORY, Authorization="Bearer x"))[0] == 401
            assert (await _ask(house, address))[0] == 200


async def _ask(
    house: House, client: str, target: str = "/healthz", **headers: str
) -> tuple[int, Json]:
    http = await house.http()
    answer = await http.ask("GET", target, X_Forwarded_For=client, **headers)
    http.close()
    return answer.status, answer.json.get("details", {})


@on_uvloop
async def test_what_is_repeated_is_told_once() -> None:
    async with serving() as house:
        with audit_log() as lines:
            for _ in range(50):
                http = await house.http()
                await http.send(b"garbage \x1b[31m\r\n\r\n")
                await http.answer()
                http.close()
        assert len(lines) == 1
        assert lines[0].isprintable()


@on_uvloop
async def test_whoever_is_disconnected_is_told_of_with_the_reason() -> None:
    with audit_log() as lines:
        async with serving(ping_interval=0.3, ping_timeout=0.3) as house:
            silent = await house.client(source="127.0.0.2")
            assert (await silent.frame()).opcode == PING
            await silent.closed()
        async with serving(message_limit=1) as house:
            broken = await house.client(source="127.0.0.3")
            await broken.send(b"\xff\xff")
            await broken.closed()
            flood = await house.client(source="127.0.0.4")
            for _ in range(5):
                await flood.tell("ping")
            await flood.closed()
    said = "\n".join(lines)
    assert "127.0.0.2 is disconnected: 1008 did not answer a ping" in said
    assert "127.0.0.3 is disconnected: 1002" in said
    assert "127.0.0.4 is disconnected: 4003 went on over the limit of messages" in said


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
        for _ in range(3):
            wire = await house.wire()
            await wire.send(upgrade(X_Forwarded_For=FAR), b"\xff\xff")
            await wire.upto(b'"disconnected"')
        assert (await _ask(house, FAR))[0] == 200


@on_each_loop
async def test_a_flood_of_empty_frames_is_dropped_before_it_is_parsed() -> None:
    async with serving(close_timeout=60) as house:
        client = await house.client()
        with suppress(ConnectionError):
            await client.send(b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 200_000)
        await until(lambda: not house.inside.connections, "its end")
