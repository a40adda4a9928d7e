"""HTTP requests that are too much, too slow, or not HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest

from livelog.net.http.state import State
from tests.support.wire import (
    Http,
    assert_refused,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    upgrade,
    user,
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = {"Transfer_Encoding": "chunked", "Content_Type": "application/json"}


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
    async with serving(head_timeout=1) as house:
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


@pytest.mark.parametrize("keep_alive", ["keep-alive", "close"])
@on_each_loop
async def test_who_reads_an_answer_slowly_gets_all_of_it(keep_alive: str) -> None:
    async with serving(close_timeout=0.1, stall_seconds=1.5, limits=False) as house:
        for _ in range(150):
            house.publish("x" * 20_000)
        http = await Http.connect(house.address, receive_buffer=1 << 16)
        await http.send(request("GET", "/api/history?limit=150", Connection=keep_alive))
        began = asyncio.get_running_loop().time()
        while len(http.unread) < 3_000_000:
            assert await http.more()
            await asyncio.sleep(0.06)
        assert asyncio.get_running_loop().time() > began + 1.6  # longer than either would be given
        assert len((await http.answer()).json["messages"]) == 150
        http.close()


@on_each_loop
async def test_who_stops_reading_its_last_answer_is_dropped() -> None:
    async with serving(close_timeout=60, stall_seconds=0.3, limits=False) as house:
        for _ in range(190):
            house.publish("x" * 20_000)
        http = await Http.connect(house.address, receive_buffer=1 << 13)
        await http.send(request("GET", "/api/history?limit=190", Connection="close"))
        await http.more()
        await house.emptied()
        http.close()
