"""One WebSocket connection as its client sees it: frames in, frames out, and how it ends."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from livelog.net import scheduler
from tests.support.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    SAMPLES,
    TEXT,
    TYPES,
    Client,
    Frame,
    House,
    Json,
    close_frame,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    serving,
    soon,
    until,
    upgrade,
    user,
)


def text(content: Json) -> str:
    return json.dumps(content)


# The greeting, and what the URL asks for.


@on_each_loop
async def test_connected_comes_first_and_exactly_as_the_api_says() -> None:
    async with serving() as house:
        clients = [Client(w.sock) for w in [await house.wire() for _ in range(2)]]
        greetings = []
        for client in clients:
            await client.open()
            greetings.append(await client.event())
        for greeting in greetings:
            assert greeting.pop("connection_id").startswith("conn_")
            assert greeting == {
                "action": "connected",
                "message": "Successfully connected to live log",
            }


@on_uvloop
async def test_no_two_connections_have_the_same_id() -> None:
    async with serving() as house:
        ids = set()
        for _ in range(20):
            client = Client((await house.wire()).sock)
            await client.open()
            ids.add((await client.event())["connection_id"])
        assert len(ids) == 20


@on_each_loop
async def test_a_new_connection_listens_to_nothing() -> None:
    async with serving() as house:
        client = await house.client()
        house.publish("unheard")
        assert await client.everything() == []


@on_each_loop
async def test_the_url_subscribes_at_once() -> None:
    async with serving() as house:
        first, second = house.publish("one", "two")
        client = await house.client(f"?message_types=user,raid&since={first}")
        assert await client.event() == {
            "action": "subscribed",
            "message_types": ["user", "raid"],
            "seq": first,
        }
        event = await client.event()
        assert (event["content"], event["seq"]) == ("two", second)
        house.publish("three")
        assert await client.contents(1) == ["three"]


@on_uvloop
async def test_parameters_that_mean_nothing_here_are_passed_over() -> None:
    async with serving() as house:
        client = await house.client("?token=YOUR_TOKEN&message_types=&since=")
        assert await client.everything() == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?message_types=user,nonsense", "message_types"),
        ("?message_types=,", "message_types"),
        ("?since=0", "message_types"),
        ("?message_types=user&since=soon", "since"),
        ("?message_types=user&since=-1", "since"),
        ("?message_types=user&since=9007199254740992", "since"),
        ("?message_types=user&since=99999999999999999999999", "since"),
        ("?message_types=user&since=9007199254740991", "since"),
        ("?message_types=%ff%00", "message_types"),
    ],
)
@on_uvloop
async def test_a_wrong_parameter_is_told_and_the_connection_lives(query: str, field: str) -> None:
    async with serving() as house:
        client = await house.client(query)
        error = await client.event()
        assert (error["action"], error["error_code"]) == ("error", 1002)
        assert error["details"]["field"].startswith(field)
        assert (await client.ask("ping"))["action"] == "pong"


# Text messages and what is wrong with some.


@pytest.mark.parametrize(
    ("payload", "field", "issue"),
    [
        (b"", "", "not valid JSON"),
        (b"{", "", "not valid JSON"),
        (b'{"action": "ping"', "", "not valid JSON"),
        (b'{"action": "ping"} {}', "", "not valid JSON"),
        (b"\xff\xfe", "", ""),
        (b'{"action": "ping", "request_id": "\xff"}', "", "UTF-8"),
        (b"[]", "", "expected 'object', got 'array'"),
        (b"1", "", "expected 'object', got 'int'"),
        (b"null", "", "expected 'object', got 'null'"),
        (b"{}", "action", "required field is missing"),
        (b'{"action": 1}', "action", ""),
        (b'{"action": "fly"}', "action", ""),
        (b'{"action": "ping", "x": 1}', "x", "unknown field"),
        (b'{"action": "ping", "request_id": []}', "request_id", ""),
        (b'{"action": "subscribe"}', "message_types", "required field is missing"),
        (b'{"action": "subscribe", "message_types": "user"}', "message_types", ""),
        (b'{"action": "subscribe", "message_types": []}', "message_types", ""),
        (b'{"action": "subscribe", "message_types": ["elf"]}', "message_types[0]", ""),
        (b'{"action": "get_history", "limit": 0}', "limit", ""),
        (b'{"action": "get_history", "limit": 1001}', "limit", ""),
        (b'{"action": "get_history", "limit": "10"}', "limit", ""),
        (b'{"action": "get_history", "offset": -1}', "offset", ""),
        (b'{"action": "get_history", "filters": {"colour": "red"}}', "filters.colour", "unknown"),
        (b'{"action": "get_history", "filters": {"user_id": 5}}', "filters.user_id", ""),
        (b'{"action": "get_history", "filters": {"date_from": "x"}}', "filters.date_from", ""),
        (b'{"action": "search"}', "query", "required field is missing"),
        (b'{"action": "search", "query": ""}', "query", ""),
        (b'{"action": "search", "query": "?!"}', "query", ""),
        (b'{"action": "publish"}', "message", "required field is missing"),
        (b'{"action": "publish", "message": {"type": "elf"}}', "message.type", ""),
        (b'{"action": "publish", "message": {"type": "user"}}', "message.user_id", "required"),
        (b"[" * 50_000, "", ""),
        (
            b'{"action": "publish", "message": {"type": "system", "data": {"a": ' + b"[" * 9000,
            "",
            "",
        ),
    ],
)
@on_uvloop
async def test_a_wrong_command_is_told_and_the_connection_lives(
    payload: bytes, field: str, issue: str
) -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(payload))
        error = await client.event()
        assert error["action"] == "error"
        assert error["error_code"] == 1002
        assert error["error_message"] == "Protocol Error"
        assert error["details"]["field"] == field
        assert issue in error["details"]["issue"]
        assert (await client.ask("ping"))["action"] == "pong"


@on_uvloop
async def test_an_error_names_what_would_have_been_allowed() -> None:
    async with serving() as house:
        client = await house.client()
        assert (await client.ask("fly"))["details"]["allowed"] == [
            "subscribe",
            "unsubscribe",
            "get_history",
            "search",
            "ping",
            "publish",
            "authenticate",
        ]
        wrong_type = await client.ask("subscribe", message_types=["elf"])
        assert wrong_type["details"]["allowed"] == TYPES
        wrong_filter = await client.ask("get_history", filters={"colour": "red"})
        assert {"user_id", "channel", "date_from"} <= set(wrong_filter["details"]["allowed"])


@on_uvloop
async def test_errors_repeat_the_request_id_as_far_as_it_can_be_read() -> None:
    async with serving() as house:
        client = await house.client()
        assert (await client.ask("fly", request_id="r1"))["request_id"] == "r1"
        assert (await client.ask("ping", x=1, request_id=7))["request_id"] == 7
        unreadable = frame('{"action": "fly", "request_id": "r')
        await client.send(unreadable)
        assert "request_id" not in await client.event()


@on_each_loop
async def test_a_binary_frame_is_unsupported_data_and_the_connection_lives() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame('{"action": "ping"}', BINARY))
        error = await client.event()
        assert (error["error_code"], error["error_message"]) == (1003, "Unsupported Data")
        await client.send(frame(b"\x00", BINARY, fin=False), frame(b"\x01", CONTINUATION))
        assert (await client.event())["error_code"] == 1003
        assert (await client.ask("ping"))["action"] == "pong"


# Frames.


@on_each_loop
async def test_a_message_may_come_in_fragments_with_pings_between_them() -> None:
    async with serving() as house:
        client = await house.client()
        whole = b'{"action": "ping", "request_id": "\xe2\x86\x92"}'
        middle = whole.index(b"\xe2") + 1  # of a character
        await client.send(
            frame(whole[:middle], fin=False),
            frame(b"are you there", PING),
            frame(b"", CONTINUATION, fin=False),
            frame(whole[middle:], CONTINUATION),
        )
        answers = [await client.frame(), await client.frame()]
        assert Frame(PONG, b"are you there") in answers
        [reply] = [json.loads(data) for opcode, data, _ in answers if opcode == TEXT]
        assert (reply["action"], reply["request_id"]) == ("pong", "→")


@on_each_loop
async def test_the_bytes_of_a_frame_may_come_one_by_one() -> None:
    async with serving() as house:
        client = await house.client()
        for byte in command("ping", request_id=1):
            await client.send(bytes([byte]))
        assert (await client.event())["request_id"] == 1


@on_uvloop
async def test_frames_that_come_with_the_handshake_are_not_lost() -> None:
    async with serving() as house:
        client = Client((await house.wire()).sock)
        await client.send(upgrade(), command("ping", request_id=1), frame(b"x", PING))
        await client.upto(b"\r\n\r\n")
        assert (await client.event())["action"] == "connected"
        assert (await client.event())["request_id"] == 1
        assert await client.frame() == (PONG, b"x", True)


@on_uvloop
async def test_a_ping_is_answered_with_its_payload_and_a_pong_is_taken() -> None:
    async with serving() as house:
        client = await house.client()
        for payload in (b"", b"x", bytes(125)):
            await client.send(frame(payload, PONG), frame(payload, PING))
            assert await client.frame() == (PONG, payload, True)


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
    "close within a message": frame(b"{", fin=False) + close_frame(),
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
        assert await client.goodbye() == ("protocol_error", 1002)
        await client.ended()
        client.close()
        await house.emptied()


@on_uvloop
async def test_a_goodbye_that_is_not_utf8_is_answered_with_1007_as_the_rfc_has_it() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(b"\x03\xe8\xff", CLOSE))
        assert (await client.event())["error_code"] == 1002
        assert await client.goodbye() == ("protocol_error", 1007)
        await client.ended()


@on_each_loop
async def test_what_came_before_the_breach_is_still_answered() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(command("ping", request_id=1), BROKEN["unmasked"], command("ping"))
        assert (await client.event())["request_id"] == 1
        assert (await client.event())["error_code"] == 1002
        assert await client.goodbye() == ("protocol_error", 1002)
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
        assert await client.goodbye() == ("protocol_error", 1009)
        await client.ended()


@on_each_loop
async def test_the_goodbye_is_not_lost_although_the_client_is_still_sending() -> None:
    async with serving(max_frame_bytes=1024) as house:
        client = await house.client()
        await client.send(frame(b" " * (4 << 20)))
        assert (await client.event())["error_code"] == 1009
        assert await client.goodbye() == ("protocol_error", 1009)
        await client.ended()


@on_uvloop
async def test_a_message_of_exactly_the_largest_size_is_taken() -> None:
    async with serving(max_frame_bytes=1024) as house:
        client = await house.client()
        padded = b'{"action": "ping", "request_id": 1}'.ljust(1024)
        await client.send(frame(padded))
        assert (await client.event())["request_id"] == 1
        await client.send(frame(padded[:1000], fin=False), frame(padded[1000:], CONTINUATION))
        assert (await client.event())["request_id"] == 1


# How a connection ends.


@pytest.mark.parametrize(
    "farewell", [close_frame(1000, "bye"), close_frame(4321), frame(b"", CLOSE)]
)
@on_each_loop
async def test_a_goodbye_is_answered_with_disconnected_and_the_same_close(farewell: bytes) -> None:
    async with serving() as house:
        client = await house.client("?message_types=user")
        await client.event()
        await client.send(command("ping"), farewell, command("ping"))
        assert (await client.event())["action"] == "pong"
        assert await client.event() == {"action": "disconnected", "reason": "normal_closure"}
        opcode, payload, _ = await client.frame()
        unmasked = bytes(b ^ farewell[2 + i % 4] for i, b in enumerate(farewell[6:]))
        assert (opcode, payload) == (CLOSE, unmasked)
        await client.ended()
        client.close()
        await house.emptied()


# Words side by side have to be looked up message by message: that takes a while.
SEARCHING: dict[str, Json] = {
    "get_history": {"filters": {"text": '"red dragon"'}},
    "search": {"query": '"red dragon"'},
}


@pytest.mark.parametrize("action", ["get_history", "search"])
@on_each_loop
async def test_who_asks_and_leaves_in_one_breath_leaves_no_trace(action: str) -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(command(action, **SEARCHING[action]), close_frame())
        assert await client.goodbye() == ("normal_closure", 1000)
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


# Delivery.


@on_each_loop
async def test_a_message_arrives_as_it_was_published_with_its_seq() -> None:
    async with serving() as house:
        client = await house.client("?message_types=" + ",".join(TYPES))
        await client.event()
        seqs = [house.append(sample).seq for sample in SAMPLES]
        assert seqs == sorted(set(seqs))
        for sample, seq in zip(SAMPLES, seqs, strict=True):
            assert await client.event() == {**sample, "seq": seq}


@on_each_loop
async def test_everyone_gets_what_it_asked_for_and_nothing_else() -> None:
    async with serving() as house:
        clients = {name: await house.client(f"?message_types={name}") for name in TYPES}
        for _ in range(3):
            for sample in SAMPLES:
                house.append({**sample, "id": f"{sample['id']}_{_}"})
        for name, client in clients.items():
            subscribed, *events = await client.everything()
            assert subscribed["message_types"] == [name]
            assert [event["type"] for event in events] == [name] * 3


@on_uvloop
async def test_a_long_message_is_framed_right() -> None:
    async with serving() as house:
        client = await house.client("?message_types=user")
        await client.event()
        contents = ["x" * size for size in (1, 20, 30, 200, 40_000, 65_000)]
        house.publish(*contents)
        assert await client.contents(len(contents)) == contents


# Commands that take time, and clients that do not read.


@on_each_loop
async def test_commands_are_answered_in_the_order_they_came_though_one_takes_time() -> None:
    async with serving(limits=False) as house:
        house.publish(*["red dragon"] * 10_000)
        client = await house.client()
        await client.send(
            command("search", query='"red dragon"', limit=1, request_id=1),
            command("ping", request_id=2),
            frame('{"action": "publish",', fin=False),
            frame(b"", PING),
            frame('"message": ' + text(user()) + ', "request_id": 3}', CONTINUATION),
            frame("nonsense", BINARY),
            command("get_history", limit=1, request_id=4),
            command("ping", request_id=5),
        )
        answers = [json.loads(f.payload) for f in [await client.frame() for _ in range(7)] if f[1]]
        assert [(a["action"], a.get("request_id")) for a in answers] == [
            ("search_results", 1),
            ("pong", 2),
            ("published", 3),
            ("error", None),
            ("history", 4),
            ("pong", 5),
        ]


async def _fill(client: Client, data: bytes, at_most: int) -> int:
    """Send `data` again and again until the server takes no more; returns how many bytes went."""
    sent, stuck_since = 0, asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - stuck_since < 0.5:
        try:
            count = client.sock.send(data[sent % len(data) :])
        except BlockingIOError:
            await asyncio.sleep(0.01)
            continue
        sent += count
        stuck_since = asyncio.get_running_loop().time()
        assert sent < at_most, "the server takes whatever comes"
        await asyncio.sleep(0)
    return sent


SENT_WITHOUT_READING = {
    "pings": frame(b"x" * 100, PING) * 100,
    "commands": command("ping") * 100,
    "history": command("get_history", limit=1000) * 10,
}


@pytest.mark.parametrize("data", SENT_WITHOUT_READING.values(), ids=SENT_WITHOUT_READING.keys())
@on_each_loop
async def test_who_sends_without_reading_is_read_no_further(data: bytes) -> None:
    async with serving(limits=False) as house:
        house.publish(*["x" * 100] * 1000)
        client = await house.client(receive_buffer=4096)
        await _fill(client, data, at_most=64 << 20)
        peer = house.inside.connection
        held = peer.transport.get_write_buffer_size()
        assert 0 < held < 8 << 20


@on_each_loop
async def test_who_sends_without_reading_gets_all_answers_once_it_reads() -> None:
    async with serving(limits=False) as house:
        client = await house.client(receive_buffer=4096)
        long_command = command("subscribe", message_types=["user"] * 1000)
        sent = await _fill(client, long_command, at_most=64 << 20)
        for _ in range(sent // len(long_command)):
            assert (await client.event())["action"] == "error"


@on_each_loop
async def test_a_stalled_reader_costs_the_others_nothing_and_later_gets_it_all() -> None:
    async with serving() as house:
        stalled = await house.client("?message_types=user", receive_buffer=4096)
        reading = await house.client("?message_types=user")
        await stalled.event()
        await reading.event()
        contents = await _publish_until_blocked(house, readers=[reading])
        assert house.inside.audiences  # the other one is live
        house.publish("the end")
        assert await reading.contents(1) == ["the end"]
        assert await stalled.contents(len(contents) + 1) == [*contents, "the end"]
        await until(lambda: house.context.catch_up.idle, "all caught up")
        house.publish("live again")
        assert await stalled.contents(1) == ["live again"]


async def _publish_until_blocked(
    house: House, readers: list[Client], beyond: int = 50
) -> list[str]:
    """Publish until a client's buffers are full, and some more; returns the contents."""
    contents: list[str] = []
    enough = 10**9
    while len(contents) < enough:
        content = f"{len(contents)} " + "x" * 20_000
        contents.append(content)
        house.publish(content)
        for reader in readers:
            assert await reader.contents(1) == [content]
        await asyncio.sleep(0)
        if enough == 10**9 and house.inside.blocked:
            enough = len(contents) + beyond
        assert len(contents) < 5000, "nobody was ever blocked"
    return contents


@on_each_loop
async def test_a_reader_that_stalls_for_too_long_is_told_so_in_its_last_frames() -> None:
    async with serving(stall_seconds=0.6) as house:
        stalled = await house.client("?message_types=user", receive_buffer=4096)
        peer = house.inside.connection
        await _publish_until_blocked(house, readers=[])
        await until(lambda: peer.closing, "the server losing patience")
        house.publish("too late")
        seqs = []
        while "seq" in (event := await stalled.event()) or event["action"] == "subscribed":
            seqs.append(event["seq"])
        assert seqs == sorted(set(seqs))
        assert event == {"action": "disconnected", "reason": "connection_timeout"}
        assert await stalled.close_code() == 1008


@on_uvloop
async def test_a_reader_that_stays_stalled_is_dropped() -> None:
    async with serving(stall_seconds=0.3) as house:
        await house.client("?message_types=user", receive_buffer=4096)
        await _publish_until_blocked(house, readers=[])
        await house.emptied()


@on_each_loop
async def test_a_stalled_reader_cannot_fill_the_memory_while_it_is_being_closed() -> None:
    async with serving(stall_seconds=1, limits=False) as house:
        stalled = await house.client("?message_types=user", receive_buffer=4096)
        peer = house.inside.connection
        await _publish_until_blocked(house, readers=[])
        await until(lambda: peer.closing, "the server losing patience")
        transport = peer.transport
        before = transport.get_write_buffer_size()
        sent, pings = 0, frame(b"x" * 100, PING) * 100
        while sent < 4 << 20 and house.inside.connections:
            try:
                sent += stalled.sock.send(pings[sent % len(pings) :])
            except (BlockingIOError, ConnectionError):
                await asyncio.sleep(0.005)
            assert transport.get_write_buffer_size() <= before


# Signs of life.


@on_uvloop
async def test_a_silent_peer_is_pinged_and_lives_on_if_it_answers() -> None:
    async with serving(ping_interval=0.3, ping_timeout=0.6) as house:
        client = await house.client()
        for _ in range(2):
            assert await client.frame() == (PING, b"", True)
            await client.send(frame(b"", PONG))
        assert (await client.ask("ping"))["action"] == "pong"


@on_uvloop
async def test_any_sign_of_life_will_do() -> None:
    async with serving(ping_interval=0.3, ping_timeout=0.6) as house:
        client = await house.client()
        for number in range(2):
            assert await client.frame() == (PING, b"", True)
            assert (await client.ask("ping", request_id=number))["request_id"] == number


@on_each_loop
async def test_a_peer_that_does_not_answer_a_ping_is_disconnected() -> None:
    async with serving(ping_interval=0.3, ping_timeout=0.3, close_timeout=0.3) as house:
        client = await house.client("?message_types=user")
        await client.event()
        assert await client.frame() == (PING, b"", True)
        assert await client.goodbye() == ("connection_timeout", 1008)
        await house.emptied()


@on_uvloop
async def test_messages_sent_to_it_are_no_sign_that_a_peer_lives() -> None:
    async with serving(ping_interval=0.3, ping_timeout=0.3) as house:
        client = await house.client("?message_types=user")
        await client.event()
        peer = house.inside.connection
        while not peer.closing:
            house.publish("hello")
            await client.more()
        assert b"connection_timeout" in await client.upto(b"}\x88")


# The limits.


@on_each_loop
async def test_near_the_limit_comes_one_warning_and_over_it_errors() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(command("ping") * 103)
        events = [await client.event() for _ in range(104)]
        assert [event["action"] for event in events] == [
            *["pong"] * 94,
            "rate_limit",
            *["pong"] * 6,
            *["error"] * 3,
        ]
        warning = events[94]
        reset = warning.pop("reset_in_seconds")
        assert 0 < reset <= 60
        assert warning == {
            "action": "rate_limit",
            "scope": "messages",
            "current_requests": 95,
            "limit": 100,
            "window_seconds": 60,
        }
        for error in events[101:]:
            assert (error["error_code"], error["error_message"]) == (4003, "Rate Limit Exceeded")
            assert error["details"]["field"] == "messages"
            assert 0 < error["details"]["retry_after_seconds"] <= 60


@on_each_loop
async def test_who_goes_on_over_the_limit_is_disconnected() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(command("ping") * 300)
        events = [await client.event() for _ in range(201)]
        assert [event["action"] for event in events[101:]] == ["error"] * 100
        assert await client.goodbye() == ("protocol_error", 4003)
        await client.send(close_frame(4003))
        await client.ended()
        client.close()
        await house.emptied()


@on_uvloop
async def test_every_kind_of_frame_counts_as_a_message() -> None:
    async with serving(message_limit=6) as house:
        client = await house.client()
        await client.send(
            frame(b"", PONG),
            frame(b"1", PING),
            frame(b"", BINARY),
            frame(b'{"action": ', fin=False),
            frame(b'"ping"}', CONTINUATION),
            command("ping"),
            command("ping", request_id="one too many"),
        )
        assert (await client.reply("rate_limit"))["current_requests"] == 6
        assert (await client.reply("pong"))["action"] == "pong"
        error = await client.event()
        assert (error["error_code"], error["request_id"]) == (4003, "one too many")


@on_each_loop
async def test_ten_commands_may_be_sent_and_ping_and_publish_are_none() -> None:
    async with serving() as house:
        client = await house.client()
        for _ in range(5):
            assert (await client.ask("ping"))["action"] == "pong"
            assert (await client.ask("publish", message=user()))["action"] == "published"
        for number in range(9):
            assert (await client.ask("get_history", limit=1))["action"] == "history", number
        warning = await client.ask("unsubscribe", message_types=["dm"])
        assert (warning["action"], warning["scope"]) == ("rate_limit", "commands")
        assert (warning["current_requests"], warning["limit"]) == (10, 10)
        assert (await client.event())["action"] == "unsubscribed"
        error = await client.ask("search", query="x", request_id="eleventh")
        assert (error["error_code"], error["request_id"]) == (4003, "eleventh")
        assert error["details"]["field"] == "commands"
        assert 0 < error["details"]["retry_after_seconds"] <= 6
        assert (await client.ask("ping"))["action"] == "pong"


@on_uvloop
async def test_what_is_refused_may_be_sent_again_after_the_time_it_says() -> None:
    async with serving(command_limit=1, limit_window=0.4) as house:
        client = await house.client()
        await client.ask("get_history")
        await client.reply("history")
        error = await client.ask("get_history")
        assert error["error_code"] == 4003
        await asyncio.sleep(error["details"]["retry_after_seconds"] + 0.002)
        assert (await client.ask("get_history"))["action"] in ("history", "rate_limit")


@on_uvloop
async def test_the_rest_of_a_refused_message_is_not_taken_for_another() -> None:
    async with serving(message_limit=2, limit_window=0.4) as house:
        client = await house.client()
        await client.send(command("ping"), frame('{"action":', fin=False))
        await client.send(frame('"ping"', CONTINUATION, fin=False))
        error = await client.reply("error")
        assert error["error_code"] == 4003
        await asyncio.sleep(error["details"]["retry_after_seconds"] + 0.01)
        await client.send(frame("}", CONTINUATION))
        await asyncio.sleep(0.41)  # until there is no refusal that could be taken for an answer
        assert (await client.ask("ping"))["action"] == "pong"


@on_each_loop
async def test_without_limits_nothing_is_refused() -> None:
    async with serving(limits=False, connections_per_ip=1) as house:
        await house.client()
        client = await house.client()
        await client.send(command("ping") * 500, command("get_history") * 50)
        events = [await client.event() for _ in range(550)]
        assert [event["action"] for event in events] == ["pong"] * 500 + ["history"] * 50


@on_each_loop
async def test_an_address_may_open_so_many_connections_and_a_freed_place_can_be_taken() -> None:
    async with serving(connections_per_ip=2) as house:
        first, _ = await house.client(), await house.client()
        http = await house.http()
        await http.send(upgrade())
        answer = await http.answer()
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json["error_code"] == 4003
        await http.ended()
        assert (await (await house.http()).ask("GET", "/healthz")).status == 200
        await first.send(close_frame())
        await first.goodbye()
        first.close()
        await until(lambda: house.inside.websockets.total() == 1, "a place being freed")
        await house.client()


@on_uvloop
async def test_who_sends_a_lot_at_once_has_turns_and_everything_is_done_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # After every turn the loop does something else.
    monkeypatch.setattr(scheduler, "HOLD_SECONDS", 1e-9)
    async with serving(limits=False) as house:
        busy, other = await house.client(), await house.client()
        many = [command("ping", request_id=number) for number in range(300)]
        await busy.send(b"".join(many))
        assert (await other.ask("ping"))["action"] == "pong"
        assert [(await busy.event())["request_id"] for _ in many] == [*range(300)]
        said = [command("publish", message=user(str(number))) for number in range(50)]
        await busy.send(b"".join(said), close_frame())  # what it said before it went counts
        await busy.goodbye()
        busy.close()
        page = await other.ask("get_history", limit=100)
        assert [m["content"] for m in page["messages"]] == [str(n) for n in range(49, -1, -1)]


# When the server stops.


@on_each_loop
async def test_a_server_that_stops_says_all_it_has_to_say_and_then_goodbye() -> None:
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
            goodbye = await client.event()
            assert goodbye.pop("reconnect_after_ms") >= 0
            assert goodbye == {"action": "disconnected", "reason": "normal_closure"}
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
        await client.goodbye()
        with pytest.raises(OSError, match=r"refused|111"):
            await Client.connect(address)
        client.close()
        await soon(closing, "the server to stop")


@on_each_loop
async def test_a_server_that_stops_does_not_wait_for_the_dead() -> None:
    async with serving(close_timeout=0.3) as house:
        silent = await house.client()
        stalled = await house.client("?message_types=user", receive_buffer=4096)
        await _publish_until_blocked(house, readers=[])
        await soon(house.server.close(), "the server to stop")
        house.inside.check_empty()
        assert await silent.goodbye() == ("normal_closure", 1001)
        assert stalled.sock.fileno() >= 0


@on_each_loop
async def test_a_client_may_shut_its_half_of_the_connection() -> None:
    async with serving() as house:
        client = await house.client()
        client.sock.shutdown(socket.SHUT_WR)
        await client.rest()
        await house.emptied()
