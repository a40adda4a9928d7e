"""The inbox: frames become messages, at once or in a later turn."""

from __future__ import annotations

import json

import pytest

from livelog.net import scheduler
from tests.support.wire import (
    CONTINUATION,
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
        await busy.goodbye()
        busy.close()
        page = await other.ask("get_history", limit=100)
        assert [m["content"] for m in page["messages"]] == [str(n) for n in range(49, -1, -1)]
