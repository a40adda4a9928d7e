"""The inbox: frames become messages, at once or in a later turn."""

from __future__ import annotations

import asyncio
import json
import math
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given
from websockets.frames import Frame as ProtocolFrame
from websockets.frames import Opcode

from livelog.net import scheduler
from livelog.net.websocket import inbox
from livelog.net.websocket.inbox import Inbox
from tests.support.loopback import Loopback
from tests.support.wire import (
    CONTINUATION,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Client,
    Frame,
    close_frame,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    serving,
    upgrade,
    user,
)

# By itself, without a transport.


@pytest.fixture(autouse=True)
def plenty_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let turns be as long as they have to, so that a busy machine does not end one early."""
    monkeypatch.setattr(scheduler, "HOLD_SECONDS", PATIENCE)
    monkeypatch.setattr(scheduler, "TURN_SECONDS", PATIENCE)


def whole(text: str) -> ProtocolFrame:
    return ProtocolFrame(Opcode.TEXT, text.encode())


def ping(number: int) -> str:
    return json.dumps({"action": "ping", "request_id": number})


@on_uvloop
async def test_a_whole_message_is_carried_out_at_once_and_needs_no_inbox() -> None:
    connection = Loopback()
    inbox.receive(connection, whole(ping(1)))
    assert connection.answers == [1]
    assert connection.inbox is None
    assert connection.reading


@on_uvloop
async def test_fragments_make_an_inbox_that_is_given_up_with_the_last() -> None:
    connection, text = Loopback(), ping(1).encode()
    inbox.receive(connection, ProtocolFrame(Opcode.TEXT, text[:5], fin=False))
    assert connection.inbox is not None
    inbox.receive(connection, ProtocolFrame(Opcode.PING, b"between them"))
    inbox.receive(connection, ProtocolFrame(Opcode.CONT, text[5:9], fin=False))
    inbox.receive(connection, ProtocolFrame(Opcode.CONT, text[9:]))
    assert connection.answers == [1]
    assert connection.inbox is None


@given(cuts=st.lists(st.integers(0, 30), max_size=5), binary=st.booleans())
def test_a_message_is_what_its_fragments_are_together(cuts: list[int], binary: bool) -> None:
    data, box = bytes(range(30)), Inbox()
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[begin:end] for begin, end in pairwise(places)]
    for number, piece in enumerate(pieces):
        opcode = Opcode.CONT if number else (Opcode.BINARY if binary else Opcode.TEXT)
        last = number == len(pieces) - 1
        found = box.add(ProtocolFrame(opcode, piece, fin=last))
        assert found == (data if last else None)
    assert box.binary is binary


@on_uvloop
async def test_frames_are_held_while_a_command_takes_time_and_reading_stops() -> None:
    connection = Loopback()
    connection.task = asyncio.ensure_future(asyncio.sleep(0))
    for number in range(3):
        inbox.receive(connection, whole(ping(number)))
    assert not connection.reading
    assert connection.answers == []
    await connection.task
    connection.answered()
    await asyncio.sleep(0)
    assert connection.answers == [0, 1, 2]
    assert connection.reading
    assert connection.inbox is None


@on_uvloop
async def test_frames_are_held_while_other_connections_are_queued() -> None:
    first, second = Loopback(), Loopback()
    second.context.scheduler = first.context.scheduler
    first.reader.blocked = True  # so that it does not go on
    first.context.scheduler.wait(first)
    inbox.receive(second, whole(ping(1)))
    assert second.answers == []
    await asyncio.sleep(0)
    assert second.answers == [1]


@on_uvloop
async def test_a_connection_that_does_not_read_is_not_gone_on_with() -> None:
    connection = Loopback()
    connection.task = asyncio.ensure_future(asyncio.sleep(0))
    inbox.receive(connection, whole(ping(1)))
    await connection.task
    connection.task, connection.reader.blocked = None, True
    assert not connection.go_on(math.inf)
    assert connection.answers == []
    connection.reader.blocked = False
    assert not connection.go_on(math.inf)
    assert connection.answers == [1]


@on_uvloop
async def test_what_came_before_a_close_frame_is_carried_out_whatever_the_time() -> None:
    connection = Loopback()
    connection.task = asyncio.ensure_future(asyncio.sleep(0))
    for number in range(3):
        inbox.receive(connection, whole(ping(number)))
    await connection.task
    connection.task = None
    inbox.finish(connection)
    assert connection.answers == [0, 1, 2]


@on_uvloop
async def test_while_it_closes_frames_are_dropped_and_reading_goes_on() -> None:
    """A command under way once held them, and the peer's close frame behind them was never read."""
    connection = Loopback()
    connection.task = asyncio.ensure_future(asyncio.sleep(0))
    connection.closing = True
    inbox.receive(connection, whole(ping(1)))
    assert connection.reading
    assert connection.inbox is None
    await connection.task


@on_uvloop
async def test_of_a_message_that_is_refused_the_rest_is_ignored() -> None:
    connection = Loopback(message_limit=1)
    inbox.receive(connection, ProtocolFrame(Opcode.TEXT, b'{"action":', fin=False))
    inbox.receive(connection, ProtocolFrame(Opcode.CONT, b'"pi', fin=False))
    [(refused, _)] = connection.refusals
    assert refused.code == 4003
    assert connection.inbox is None
    connection.quota = None
    connection.events.clear()  # a warning of the limit
    inbox.receive(connection, ProtocolFrame(Opcode.CONT, b'ng"}'))
    assert connection.answers == []
    assert connection.inbox is None
    inbox.receive(connection, whole(ping(2)))
    assert connection.answers == [2]


# On the wire.


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
async def test_a_message_of_exactly_the_largest_size_is_taken() -> None:
    async with serving(max_frame_bytes=1024) as house:
        client = await house.client()
        padded = b'{"action": "ping", "request_id": 1}'.ljust(1024)
        await client.send(frame(padded))
        assert (await client.event())["request_id"] == 1
        await client.send(frame(padded[:1000], fin=False), frame(padded[1000:], CONTINUATION))
        assert (await client.event())["request_id"] == 1


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
        await busy.closed()
        busy.close()
        page = await other.ask("get_history", limit=100)
        assert [m["content"] for m in page["messages"]] == [str(n) for n in range(49, -1, -1)]
