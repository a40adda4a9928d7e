"""Slow clients: a full send buffer stops reading, and delivery goes on where it stopped."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.slow import fill, publish_until_blocked
from tests.support.wire import (
    PING,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    serving,
    until,
)

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
        await fill(client, data, at_most=64 << 20)
        peer = house.inside.connection
        held = peer.transport.get_write_buffer_size()
        assert 0 < held < 8 << 20


@on_each_loop
async def test_who_sends_without_reading_gets_all_answers_once_it_reads() -> None:
    async with serving(limits=False) as house:
        client = await house.client(receive_buffer=4096)
        long_command = command("subscribe", message_types=["user"] * 1000)
        sent = await fill(client, long_command, at_most=64 << 20)
        for _ in range(sent // len(long_command)):
            assert (await client.event())["action"] == "error"


@on_each_loop
async def test_a_stalled_reader_costs_the_others_nothing_and_later_gets_it_all() -> None:
    async with serving() as house:
        stalled = await house.client("?message_types=user", receive_buffer=4096)
        reading = await house.client("?message_types=user")
        await stalled.event()
        await reading.event()
        contents = await publish_until_blocked(house, readers=[reading])
        assert house.inside.audiences  # the other one is live
        house.publish("the end")
        assert await reading.contents(1) == ["the end"]
        assert await stalled.contents(len(contents) + 1) == [*contents, "the end"]
        await until(lambda: house.context.catch_up.idle, "all caught up")
        house.publish("live again")
        assert await stalled.contents(1) == ["live again"]


@on_each_loop
async def test_who_sends_no_more_and_reads_nothing_is_dropped_as_any_stalled_reader() -> None:
    async with serving(stall_seconds=0.6, close_timeout=0.3) as house:
        client = await house.client("?message_types=user", receive_buffer=4096)
        await publish_until_blocked(house, readers=[])
        client.sock.shutdown(socket.SHUT_WR)
        await house.emptied()


@on_each_loop
async def test_a_reader_that_stalls_for_too_long_is_told_so_in_its_last_frames() -> None:
    async with serving(stall_seconds=0.6) as house:
        stalled = await house.client("?message_types=user", receive_buffer=4096)
        peer = house.inside.connection
        await publish_until_blocked(house, readers=[])
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
        await publish_until_blocked(house, readers=[])
        await house.emptied()


@on_each_loop
async def test_a_stalled_reader_cannot_fill_the_memory_while_it_is_being_closed() -> None:
    async with serving(stall_seconds=1, limits=False) as house:
        stalled = await house.client("?message_types=user", receive_buffer=4096)
        peer = house.inside.connection
        await publish_until_blocked(house, readers=[])
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
