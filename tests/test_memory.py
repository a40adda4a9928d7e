"""Memory through the doors: what is counted, what is refused when it is short, and what goes on.

The shortage is made: a holding as large as the limit, as if slow subscribers had it.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from livelog.budget.memory import PAGE_BYTES, SMALL_BYTES
from tests.support.identity import token
from tests.support.wire import (
    Client,
    House,
    Http,
    Json,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    until,
    user,
)
from tests.test_authentication import AUTH

MIB = 2**20
THERE = "127.0.0.9"
LARGE = "x" * 60_000
BUFFERS = bytes, bytearray, memoryview
NDJSON = "application/x-ndjson"


@contextmanager
def shortage(house: House) -> Iterator[None]:
    """Leave no room for anything."""
    memory, slow = house.context.memory, object()
    memory.deliveries.hold(slow, memory.limit)
    yield
    memory.deliveries.drop(slow)


@on_uvloop
async def test_when_memory_is_short_queries_and_messages_are_refused_and_pings_are_not() -> None:
    async with serving(limits=False, block_after=1) as house:
        reading = await house.client("?message_types=user", source=THERE)
        await reading.reply("subscribed")
        client, http = await house.client(source=THERE), await house.http(THERE)
        with shortage(house):
            asked: list[tuple[str, Json]] = [
                ("get_history", {}),
                ("search", {"query": "x"}),
                ("publish", {"message": user("x")}),
            ]
            for action, fields in asked:
                refused = await client.ask(action, request_id="r", **fields)
                assert (refused["error_code"], refused["request_id"]) == (1011, "r")
                assert refused["details"]["retry_after_seconds"] == 1
                assert "memory" in refused["details"]["issue"]
            assert (await client.ask("ping"))["action"] == "pong"
            body = json.dumps(user("x")).encode()
            for method, path, data in [
                ("GET", "/api/history", b""),
                ("GET", "/api/search?query=x", b""),
                ("POST", "/api/messages", body),
                ("GET", "/", b""),
            ]:
                http = await house.http(THERE)  # a body that is refused ends its connection
                answer = await http.ask(method, path, data, Content_Type="application/json")
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert answer.json["error_code"] == 1011
            http = await house.http(THERE)
            health = (await http.ask("GET", "/healthz")).json
            assert health["status"] == "read-only"
            assert "memory" in health["issue"]
        assert (await client.ask("publish", message=user("y")))["action"] == "published"
        assert await reading.contents(1) == ["y"]
        assert (await client.ask("get_history"))["total_count"] == 1
        assert (await (await house.http(THERE)).ask("GET", "/api/history")).status == 200


@on_uvloop
async def test_what_was_published_before_is_delivered_while_memory_is_short() -> None:
    async with serving() as house:
        reading = await house.client("?message_types=user")
        await reading.reply("subscribed")
        house.publish("one")
        with shortage(house):
            assert await reading.contents(1) == ["one"]


@on_uvloop
async def test_the_window_gives_way_to_what_else_takes_memory() -> None:
    async with serving(memory_limit=64 * MIB, window_bytes=16 * MIB, limits=False) as house:
        client = await house.client()

        async def publish() -> None:
            for _ in range(30):
                house.publish(*[LARGE] * 10)
                await client.ask("search", query="x", limit=1)  # by then they are indexed

        await publish()
        before = len(house.inside.window)
        memory, slow = house.context.memory, object()
        memory.deliveries.hold(slow, 38 * MIB)
        pressed = len(house.inside.window)
        assert 0 < pressed < before
        memory.deliveries.drop(slow)
        await publish()
        assert len(house.inside.window) > pressed


@pytest.mark.parametrize("door", ["http", "websocket"])
@on_each_loop
async def test_answers_that_are_not_read_are_bounded_and_small_ones_go_on(door: str) -> None:
    async with serving(memory_limit=64 * MIB, limits=False) as house:
        house.publish(*[LARGE] * 150, "little")
        asked = [await (house.http if door == "http" else house.client)() for _ in range(12)]
        for each in asked:
            if isinstance(each, Http):
                await each.send(request("GET", "/api/history?limit=1000") * 3)
            else:
                await each.send(command("get_history", limit=1000) * 3)
        answers = house.context.memory.answers
        await until(lambda: answers.total > 7 * MIB, "answers to wait for their clients")
        assert answers.total <= 8 * MIB + 12 * SMALL_BYTES
        held = sum(each.transport.get_write_buffer_size() for each in house.inside.connections)
        assert held < 12 * MIB
        other = await house.client()
        page = await other.ask("get_history", limit=1)
        assert page["messages"][0]["content"] == "little"
        for each in asked:  # those that read get all that they have asked for
            for _ in range(3):
                page = (await each.answer()).json if isinstance(each, Http) else await each.event()
                assert page["truncated"]
                assert len(json.dumps(page)) < PAGE_BYTES + 10_000
        await until(lambda: not answers.total, "nothing to wait any more")
        house.inside.check()


@on_uvloop
async def test_an_answer_that_is_not_read_is_held_once() -> None:
    async with serving(memory_limit=256 * MIB, limits=False) as house:
        house.publish(*[LARGE] * 100)
        asking = await house.http()
        answers = house.context.memory.answers
        tracemalloc.start()
        try:
            await asking.send(request("GET", "/api/history?limit=1000"))
            await until(lambda: house.inside.connections, "the connection")
            await until(lambda: any(each.slow for each in house.inside.connections), "it to wait")
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert PAGE_BYTES // 2 < answers.total < taken < 1.5 * answers.total


@on_uvloop
async def test_subscribers_that_do_not_read_keep_nobody_from_publishing() -> None:
    """Each has the start of the log sent at once; all of them share what may be left unread."""
    async with serving(memory_limit=64 * MIB, window_bytes=8 * MIB, limits=False) as house:
        house.publish(*["x" * 10_000] * 600)
        slow = [
            await house.client("?message_types=user&since=0", receive_buffer=4096)
            for _ in range(80)
        ]
        await until(lambda: len(house.inside.blocked) == len(slow), "all to be behind")
        deliveries = house.context.memory.deliveries
        held = sum(each.transport.get_write_buffer_size() for each in house.inside.connections)
        assert 0 < held <= deliveries.total <= 8 * MIB + len(slow) * 32 * 1024
        assert (await (await house.client()).ask("publish", message=user("y")))["seq"]
        for each in slow:
            each.close()
        await until(lambda: not deliveries.total, "their buffers to be forgotten")


@on_uvloop
async def test_bodies_that_arrive_slowly_are_bounded_all_together() -> None:
    async with serving(memory_limit=64 * MIB, limits=False) as house:
        slow = [await house.http() for _ in range(8)]
        head = request("POST", "/api/messages", Content_Length="4000000", Expect="")
        for each in slow:
            await each.send(head.replace(b"Content-Length: 0\r\n", b""), b"x" * 3_000_000)
        answers = [asyncio.create_task(each.answer()) for each in slow]
        await until(lambda: sum(task.done() for task in answers) == 6, "most to be refused")
        assert house.context.memory.bodies.total <= 8 * MIB + 8 * SMALL_BYTES
        for task in answers:
            if task.done():
                assert (task.result().status, task.result().headers["retry-after"]) == (503, "1")
            else:
                task.cancel()
        http = await house.http()
        body = json.dumps(user("small")).encode()
        assert (await http.ask("POST", "/api/messages", body)).status == 201
        for each in slow:
            each.close()
        await until(lambda: not house.context.memory.bodies.total, "the bodies to be forgotten")


@on_uvloop
async def test_a_body_larger_than_a_share_is_taken_where_there_is_room() -> None:
    async with serving(
        memory_limit=256 * MIB, max_body_bytes=16 * MIB, limits=False, window_bytes=32 * MIB
    ) as house:
        body = b"\n".join([json.dumps(user(LARGE)).encode()] * 200)
        http = await house.http()
        answer = await http.ask("POST", "/api/messages", body, Content_Type="application/x-ndjson")
        assert (answer.status, answer.json["count"]) == (201, 200)
        assert not house.context.memory.bodies.total


async def told_of(client: Client) -> list[Json]:
    """The next two events."""
    return [await client.event() for _ in range(2)]


@on_uvloop
async def test_the_largest_body_that_is_allowed_has_room() -> None:
    async with serving(memory_limit=64 * MIB, max_body_bytes=8 * MIB, limits=False) as house:
        line = json.dumps(user(LARGE)).encode() + b"\n"
        count, rest = divmod(8 * MIB, len(line))
        http = await house.http()
        answer = await http.ask(
            "POST", "/api/messages", line * count + b"\n" * rest, Content_Type=NDJSON
        )
        assert (answer.status, answer.json["count"]) == (201, count)


@on_uvloop
async def test_a_compressed_body_is_counted_as_it_grows() -> None:
    async with serving(memory_limit=64 * MIB, limits=False) as house:
        deliveries = house.context.memory.deliveries
        deliveries.hold(house, 8 * MIB)
        packed = gzip.compress(b" " * (8 * MIB))
        answer = await (await house.http()).ask(
            "POST", "/api/messages", packed, Content_Encoding="gzip", Content_Type=NDJSON
        )
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        deliveries.drop(house)
        body = gzip.compress(json.dumps(user("x")).encode())
        answer = await (await house.http()).ask(
            "POST", "/api/messages", body, Content_Encoding="gzip", Content_Type=NDJSON
        )
        assert answer.status == 201
        assert not house.context.memory.bodies.total


@pytest.mark.parametrize("whole", [False, True], ids=["a frame", "fragments"])
@on_uvloop
async def test_messages_that_arrive_in_pieces_are_bounded_all_together(whole: bool) -> None:
    """Those that find no room are closed with 1011, and asked to come back."""
    async with serving(
        memory_limit=64 * MIB, max_frame_bytes=4 * MIB, limits=False, block_after=1
    ) as house:
        clients = [await house.client(source=THERE) for _ in range(8)]
        piece = frame(b"x" * 3 * MIB, opcode=1, fin=not whole)
        for client in clients:
            await client.send(piece if whole else piece[:-10])
        bodies, connections = house.context.memory.bodies, house.inside.connections
        await until(
            lambda: all(each.closing or bodies.size_of(each) > 2.9 * MIB for each in connections),
            "all to have arrived, or to be closed",
        )
        # Two find room, or one, if others had a part of theirs when they were closed.
        left = sum(not each.closing for each in connections)
        assert 1 <= left <= 2
        assert bodies.total <= 8 * MIB + 8 * SMALL_BYTES
        told = [asyncio.create_task(told_of(client)) for client in clients]
        await until(lambda: sum(task.done() for task in told) == 8 - left, "these to be told")
        for task in told:
            if task.done():
                refused, ended = task.result()
                assert refused["error_code"] == 1011
                assert (ended["reason"], ended["reconnect_after_ms"]) == ("server_error", 1000)
            else:
                task.cancel()
        other = await house.client(source=THERE)
        assert (await other.ask("ping"))["action"] == "pong"


@on_uvloop
async def test_the_figures_of_the_memory_are_for_admins() -> None:
    async with serving(**AUTH) as house:
        http = await house.http()
        for scope, shown in [("", False), ("read publish:any", False), ("admin", True)]:
            headers = {"Authorization": f"Bearer {token(scope=scope)}"} if scope else {}
            answer = await http.ask("GET", "/healthz", **headers)
            assert answer.status == 200
            assert ("memory" in answer.json) == shown
        answer = await http.ask("GET", "/healthz", Authorization="Bearer nonsense")
        assert (answer.status, "memory" in answer.json) == (200, False)


@on_uvloop
async def test_an_invalid_credential_for_the_figures_counts_as_a_failure() -> None:
    async with serving(**AUTH, block_after=3, trusted_proxies="127.0.0.1") as house:
        headers = {"Authorization": "Bearer x", "X_Forwarded_For": "203.0.113.5"}
        statuses = [
            (await (await house.http()).ask("GET", "/healthz", **headers)).status for _ in range(5)
        ]
        assert (statuses[0], statuses[-1]) == (200, 429)


@on_uvloop
async def test_what_a_lost_connection_has_sent_is_freed_at_once() -> None:
    """Whatever still refers to the connection: the garbage collector may not come for long."""
    async with serving() as house:
        client = await house.client()
        [connection] = house.inside.connections
        await client.send(frame(b"x" * 40_000, opcode=1, fin=False), frame(b"x" * 20_000)[:-10])
        await until(lambda: len(connection.websocket.reader.buffer) > 10_000, "all to arrive")
        assert connection.inbox is not None
        client.close()
        await until(lambda: not house.inside.connections, "the connection to be lost")
        assert connection.inbox is None
        assert not connection.websocket.reader.buffer


@pytest.mark.parametrize("door", ["http", "websocket"])
@on_each_loop
async def test_an_answer_that_is_not_read_is_freed_with_its_connection(door: str) -> None:
    """At once, though the garbage collector does not come: it counts objects and not bytes."""
    async with serving() as house:
        house.publish(*[LARGE] * 100)
        gc.collect()
        gc.disable()
        before = _large_objects()
        try:
            wire = await _without_reading(house, door)
            await until(lambda: _large_objects() - before, "an answer")
            wire.close()
            await until(lambda: not house.inside.connections, "the connection to be lost")
            await until(lambda: not _large_objects() - before, "the answer to be freed")
        finally:
            gc.enable()


def _large_objects() -> set[int]:
    """Return the identities of all bytes as large as a page that anything refers to."""
    found = gc.get_referents(*gc.get_objects())
    buffers = [each for each in found if isinstance(each, BUFFERS)]
    sizes = [each.nbytes if isinstance(each, memoryview) else len(each) for each in buffers]
    return {id(one) for one, size in zip(buffers, sizes, strict=True) if size > PAGE_BYTES // 2}


async def _without_reading(house: House, door: str) -> Http | Client:
    if door == "http":
        http = await Http.connect(house.address, receive_buffer=4096)
        await http.send(request("GET", "/api/history?limit=100"))
        return http
    client = await house.client(receive_buffer=4096)
    await client.tell("get_history", limit=100)
    return client
