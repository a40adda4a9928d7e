"""The close handshake: breaches of RFC 6455, clients that leave or vanish, a server that stops."""

from __future__ import annotations

import asyncio
import socket

import pytest

from livelog.net import queries
from livelog.wire.events import SearchResults
from tests.support.slow import publish_until_blocked
from tests.support.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    Client,
    Json,
    close_frame,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    serving,
    soon,
    until,
    user,
)

# Breaches of RFC 6455, and messages that are too big.

BROKEN = {
    "unmasked": frame(b"{}", mask=None),
    "reserved bit 1": frame(b"{}", reserved=4),
    "reserved bit 2": frame(b"{}", reserved=2),
    "reserved bit 3": frame(b"{}", reserved=1),
    "unknown data frame": frame(b"{}", 3),
    "unknown control frame": frame(b"", 11),
    "fragmented control frame": frame(b"", PING, fin=False),
    "long control frame": frame(bytes(126), PING),
    "continuation of nothing": frame(b"{}", CONTINUATION),
    "message within a message": frame(b"{", fin=False) + frame(b"{}"),
    "close frame of one byte": frame(b"\x03", CLOSE),
    "close code that may not be sent": close_frame(1005),
    "close code that does not exist": close_frame(999),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
@on_each_loop
async def test_who_breaks_the_protocol_is_told_and_disconnected(broken: bytes) -> None:
    async with serving() as house:
        client = await house.client("?message_types=user")
        await client.event()
        await client.send(broken)
        error = await client.event()
        assert (error["action"], error["error_code"]) == ("error", 1002)
        assert error["details"]["issue"]
        assert await client.closed() == ("protocol_error", 1002)
        await client.ended()
        client.close()
        await house.emptied()


NOT_UTF8 = {
    "alone": [frame(b"\xff")],
    "in a string": [frame(b'{"action": "ping", "request_id": "\xff"}')],
    "in a message that is refused anyway": [frame(b'{"action": "fly", "x": "\xc3"}')],
    "overlong": [frame(b'{"action": "fly", "x": "\xc0\xaf"}')],
    "a surrogate": [frame(b'{"action": "fly", "x": "\xed\xa0\x80"}')],
    "beyond the last character": [frame(b'{"action": "fly", "x": "\xf4\x90\x80\x80"}')],
    "cut off": [frame("\u00e9".encode()[:1])],
    "in a fragment": [frame(b'{"x": "\xff', fin=False)],
    "in the last fragment": [frame(b"{", fin=False), frame(b"\xff", CONTINUATION)],
    "cut off by the end": [frame(b'{"\xf0\x9f', fin=False), frame(b"", CONTINUATION)],
    "split wrongly": [frame(b'{"\xf0\x9f', fin=False), frame(b'"', CONTINUATION, fin=False)],
}

ENDING = {name: NOT_UTF8[name] for name in ("alone", "in a fragment", "cut off by the end")}


@pytest.mark.parametrize("frames", NOT_UTF8.values(), ids=NOT_UTF8.keys())
@on_each_loop
async def test_text_that_is_not_utf8_ends_the_connection_with_1007(frames: list[bytes]) -> None:
    async with serving() as house:
        client = await house.client("?message_types=user")
        await client.event()
        await client.send(*frames)
        error = await client.event()
        assert (error["action"], error["error_code"]) == ("error", 1002)
        assert "UTF-8" in error["details"]["issue"]
        assert await client.closed() == ("protocol_error", 1007)
        await client.ended()
        client.close()
        await house.emptied()


@pytest.mark.parametrize("frames", ENDING.values(), ids=ENDING.keys())
@on_each_loop
async def test_a_close_frame_behind_text_that_is_not_utf8_changes_nothing(
    frames: list[bytes],
) -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(b"".join(frames) + close_frame(1000))
        assert (await client.event())["error_code"] == 1002
        assert await client.closed() == ("protocol_error", 1007)
        await client.ended()
        client.close()
        await house.emptied()


@on_uvloop
async def test_a_character_may_be_split_over_fragments_and_binary_need_not_be_text() -> None:
    async with serving() as house:
        client = await house.client()
        data = '{"action": "ping", "request_id": "\U0001f409"}'.encode()
        pieces = [data[at : at + 1] for at in range(len(data))]
        await client.send(frame(pieces[0], fin=False))
        for piece in pieces[1:-1]:
            await client.send(frame(piece, CONTINUATION, fin=False))
        await client.send(frame(pieces[-1], CONTINUATION))
        assert (await client.event())["request_id"] == "\U0001f409"
        await client.send(frame(b"\xff", BINARY, fin=False), frame(b"\xff", CONTINUATION))
        assert (await client.event())["error_code"] == 1003
        await client.send(frame(b"\xed\xa0\x80", PING))
        assert (await client.frame()).payload == b"\xed\xa0\x80"


@on_each_loop
async def test_a_close_frame_within_a_message_is_answered_like_any() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(b"{", fin=False), close_frame(1000, "b\u00e9"))
        await client.send(frame(b"}", CONTINUATION))
        assert await client.event() == {"action": "disconnected", "reason": "normal_closure"}
        assert (await client.frame())[:2] == (CLOSE, b"\x03\xe8b\xc3\xa9")
        await client.ended()


@on_uvloop
async def test_a_close_frame_that_is_not_utf8_is_answered_with_1007_as_the_rfc_has_it() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(b"\x03\xe8\xff", CLOSE))
        assert (await client.event())["error_code"] == 1002
        assert await client.closed() == ("protocol_error", 1007)
        await client.ended()


@on_each_loop
async def test_what_came_before_the_breach_is_still_answered() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(command("ping", request_id=1), BROKEN["unmasked"], command("ping"))
        assert (await client.event())["request_id"] == 1
        assert (await client.event())["error_code"] == 1002
        assert await client.closed() == ("protocol_error", 1002)
        await client.ended()


TOO_BIG = {
    "one frame": [frame(b" " * 1025)],
    "the head of a frame": [frame(b" " * 1025)[:8]],
    "a length of 64 bits": [b"\x81\xff" + (1 << 62).to_bytes(8, "big")],
    "fragments together": [
        frame(b" " * 500, fin=False),
        frame(b" " * 500, CONTINUATION, fin=False),
        frame(b" " * 25, CONTINUATION),
    ],
}


@pytest.mark.parametrize("frames", TOO_BIG.values(), ids=TOO_BIG.keys())
@on_each_loop
async def test_a_message_that_is_too_big_ends_the_connection(frames: list[bytes]) -> None:
    async with serving(max_frame_bytes=1024) as house:
        client = await house.client()
        await client.send(*frames)
        error = await client.event()
        assert (error["error_code"], error["error_message"]) == (1009, "Message Too Big")
        assert await client.closed() == ("protocol_error", 1009)
        await client.ended()


@on_each_loop
async def test_the_close_frame_is_not_lost_although_the_client_is_still_sending() -> None:
    async with serving(max_frame_bytes=1024) as house:
        client = await house.client()
        await client.send(frame(b" " * (4 << 20)))
        assert (await client.event())["error_code"] == 1009
        assert await client.closed() == ("protocol_error", 1009)
        await client.ended()


# Clients that leave or vanish.


@pytest.mark.parametrize("close", [close_frame(1000, "bye"), close_frame(4321), frame(b"", CLOSE)])
@on_each_loop
async def test_a_close_frame_is_answered_with_disconnected_and_the_same_code(close: bytes) -> None:
    async with serving() as house:
        client = await house.client("?message_types=user")
        await client.event()
        await client.send(command("ping"), close, command("ping"))
        assert (await client.event())["action"] == "pong"
        assert await client.event() == {"action": "disconnected", "reason": "normal_closure"}
        opcode, payload, _ = await client.frame()
        unmasked = bytes(b ^ close[2 + i % 4] for i, b in enumerate(close[6:]))
        assert (opcode, payload) == (CLOSE, unmasked)
        await client.ended()
        client.close()
        await house.emptied()


# Words side by side have to be looked up message by message: that takes a while.
SEARCHING: dict[str, Json] = {
    "get_history": {"filters": {"text": '"red dragon"'}},
    "search": {"query": '"red dragon"'},
}


@on_each_loop
async def test_what_came_before_a_close_frame_is_carried_out_though_it_takes_time() -> None:
    async with serving() as house:
        client = await house.client()
        publish = command("publish", message=user("last words"))
        searches = [command("search", query="last", request_id=n) for n in (1, 2)]
        await client.send(searches[0], publish, searches[1], close_frame(1000, "bye"))
        actions = [(await client.event())["action"] for _ in range(4)]
        assert sorted(actions[:3]) == ["published", "search_results", "search_results"]
        assert actions[3] == "disconnected"
        assert (await client.frame()).payload == b"\x03\xe8bye"
        await client.ended()
        assert (await (await house.client()).ask("get_history"))["total_count"] == 1


@pytest.mark.parametrize("how", ["waits", "vanishes", "the server stops"])
@on_each_loop
async def test_a_command_that_does_not_end_holds_up_a_close_for_a_while_only(how: str) -> None:
    async def endless(*_: object) -> SearchResults:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "search", endless)
        async with serving(close_timeout=0.3 if how == "waits" else 60) as house:
            client = await house.client()
            search, publish = command("search", query="x"), command("publish", message=user("y"))
            await client.send(search, publish, search, publish, close_frame())
            await until(lambda: house.inside.connection.leaving, "a close frame")
            if how == "vanishes":
                client.reset()
                await house.emptied()
            elif how == "waits":
                assert await client.closed() == ("normal_closure", 1000)
            else:
                stopping = asyncio.create_task(house.server.close())
                assert await client.closed() == ("normal_closure", 1000)
                client.close()
                await stopping
            assert len(house.inside.window) == 2


@pytest.mark.parametrize("action", ["get_history", "search"])
@on_each_loop
async def test_who_asks_and_leaves_in_one_breath_leaves_no_trace(action: str) -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(command(action, **SEARCHING[action]), close_frame())
        assert await client.closed() == ("normal_closure", 1000)
        await client.ended()


@pytest.mark.parametrize("action", ["get_history", "search"])
@on_each_loop
async def test_who_asks_and_vanishes_leaves_no_trace(action: str) -> None:
    async with serving(window_messages=20_000) as house:
        house.publish(*["red dragon"] * 10_000)
        client = await house.client()
        await client.tell(action, **SEARCHING[action])
        await until(lambda: house.inside.busy, "a search under way")
        client.reset()
        await house.emptied()


@pytest.mark.parametrize("cut", [1, 3, 8, 20])
@pytest.mark.parametrize("how", ["close", "finish", "reset"])
@on_each_loop
async def test_who_vanishes_within_a_frame_is_forgotten(how: str, cut: int) -> None:
    async with serving() as house:
        client = await house.client("?message_types=user")
        stays = await house.client("?message_types=user")
        await client.event()
        await client.send(command("ping", request_id="never whole")[:cut])
        await until(lambda: house.inside.websockets["127.0.0.1"] == 2, "both connected")
        getattr(client, how)()
        await until(lambda: len(house.inside.connections) == 1, "one connection gone")
        assert house.inside.websockets == {"127.0.0.1": 1}
        house.publish("for who stays")
        await stays.event()
        assert await stays.contents(1) == ["for who stays"]
        stays.close()
        await house.emptied()


@on_each_loop
async def test_who_sends_a_lot_and_vanishes_before_it_is_answered_causes_no_stir() -> None:
    async with serving(limits=False) as house:
        for _ in range(5):
            client = await house.client()
            client.sock.send(command("ping") * 1000)
            client.reset()
        await house.emptied()


@on_each_loop
async def test_who_vanishes_while_messages_are_on_their_way_is_forgotten() -> None:
    async with serving() as house:
        clients = [await house.client("?message_types=user") for _ in range(5)]
        for number, client in enumerate(clients):
            house.publish(*["x" * 10_000] * 20)
            (client.reset if number % 2 else client.close)()
            house.publish("x")
        await house.emptied()


# When the server stops.


@on_each_loop
async def test_a_server_that_stops_delivers_all_it_has_and_then_closes() -> None:
    async with serving() as house:
        clients = [await house.client("?message_types=user") for _ in range(3)]
        for client in clients:
            await client.event()

        async def speak_and_stop() -> None:
            house.publish("first words", "last words")
            await house.server.close()

        closing = asyncio.create_task(speak_and_stop())
        for client in clients:
            assert await client.contents(2) == ["first words", "last words"]
            last = await client.event()
            assert last.pop("reconnect_after_ms") >= 0
            assert last == {"action": "disconnected", "reason": "normal_closure"}
            assert await client.close_code() == 1001
            assert not closing.done()
            await client.send(close_frame(1001))
            await client.ended()
            client.close()
        await soon(closing, "the server to stop")
        house.inside.check_empty()


@on_each_loop
async def test_a_server_that_stops_takes_no_new_connections() -> None:
    async with serving() as house:
        client = await house.client()
        address = house.address
        closing = asyncio.create_task(house.server.close())
        await client.closed()
        with pytest.raises(OSError, match=r"refused|111"):
            await Client.connect(address)
        client.close()
        await soon(closing, "the server to stop")


@on_each_loop
async def test_a_server_that_stops_does_not_wait_for_the_dead() -> None:
    async with serving(close_timeout=0.3) as house:
        silent = await house.client()
        stalled = await house.client("?message_types=user", receive_buffer=4096)
        await publish_until_blocked(house, readers=[])
        await soon(house.server.close(), "the server to stop")
        house.inside.check_empty()
        assert await silent.closed() == ("normal_closure", 1001)
        assert stalled.sock.fileno() >= 0


@on_each_loop
async def test_a_client_may_shut_its_half_of_the_connection() -> None:
    async with serving() as house:
        client = await house.client()
        client.sock.shutdown(socket.SHUT_WR)
        await client.rest()
        await house.emptied()
