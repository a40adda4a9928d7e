"""Signs of life: pings, pongs, and connections that are closed for silence."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from livelog import Config
from livelog.net.websocket.keepalive import Due, Keepalive
from tests.support.wire import (
    PATIENCE,
    PING,
    PONG,
    frame,
    on_each_loop,
    on_uvloop,
    serving,
)

# By itself, without a connection.

CONFIG = Config(ping_interval=20, ping_timeout=10, stall_seconds=30)


def test_silence_is_pinged_and_then_the_end() -> None:
    alive = Keepalive(CONFIG, 100)
    assert alive.due(119, blocked=False) is Due.NOTHING
    assert alive.deadline(119, blocked=False) == 120
    assert alive.due(120, blocked=False) is Due.PING
    alive.pinged = 120
    assert alive.due(129, blocked=False) is Due.NOTHING
    assert alive.deadline(120, blocked=False) == 130
    assert alive.due(130, blocked=False) is Due.END_SILENT


def test_whatever_is_heard_begins_a_new_interval() -> None:
    alive = Keepalive(CONFIG, 100)
    alive.pinged = 120
    alive.heard = 121
    assert alive.due(140, blocked=False) is Due.NOTHING
    assert alive.deadline(121, blocked=False) == 141
    assert alive.due(141, blocked=False) is Due.PING


def test_a_full_send_buffer_counts_from_when_it_was_full() -> None:
    alive = Keepalive(CONFIG, 100)
    alive.blocked_since = 110
    assert alive.due(139, blocked=True) is Due.NOTHING
    assert alive.deadline(139, blocked=True) == 140
    assert alive.due(140, blocked=True) is Due.END_STALLED


def test_silence_means_nothing_while_the_server_does_not_read() -> None:
    alive = Keepalive(CONFIG, 100)
    alive.pinged = 120
    assert alive.due(200, blocked=False, held=True) is Due.NOTHING
    assert alive.deadline(200, blocked=False, held=True) == 210
    assert alive.due(200, blocked=False, held=False) is Due.END_SILENT


def test_a_ping_with_a_long_timeout_is_looked_after_once_an_interval() -> None:
    alive = Keepalive(Config(ping_interval=10, ping_timeout=25), 100)
    alive.pinged = 110
    assert alive.deadline(110, blocked=False) == 120
    assert alive.due(120, blocked=False) is Due.NOTHING
    assert alive.deadline(120, blocked=False) == 135
    assert alive.due(135, blocked=False) is Due.END_SILENT


@given(st.lists(st.sampled_from(["hear", "nothing"]), max_size=40))
def test_looking_at_each_deadline_ends_silence_in_time_and_nothing_else(steps: list[str]) -> None:
    """The connection looks when `deadline` says so, and never misses what is due."""
    alive, now, heard = Keepalive(CONFIG, 0), 0.0, 0.0
    for step in steps:
        if step == "hear":
            alive.heard = heard = now
        now = alive.deadline(now, blocked=False)
        due = alive.due(now, blocked=False)
        if due is Due.PING:
            alive.pinged = now
        elif due is Due.END_SILENT:
            assert now - heard >= 30
            return
        assert now - heard <= 30


# On the wire.


@on_uvloop
async def test_a_ping_is_answered_with_its_payload_and_a_pong_is_taken() -> None:
    async with serving() as house:
        client = await house.client()
        for payload in (b"", b"x", bytes(125)):
            await client.send(frame(payload, PONG), frame(payload, PING))
            assert await client.frame() == (PONG, payload, True)


@on_uvloop
async def test_a_silent_peer_is_pinged_and_lives_on_if_it_answers() -> None:
    async with serving(ping_interval=0.3, ping_timeout=PATIENCE) as house:
        client = await house.client()
        for _ in range(2):
            assert await client.frame() == (PING, b"", True)
            await client.send(frame(b"", PONG))
        assert (await client.ask("ping"))["action"] == "pong"


@on_uvloop
async def test_any_sign_of_life_will_do() -> None:
    async with serving(ping_interval=0.3, ping_timeout=PATIENCE) as house:
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
        assert await client.closed() == ("connection_timeout", 1008)
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


@on_uvloop
async def test_a_ping_that_is_due_when_tcp_has_ended_harms_nobody() -> None:
    """The transport tells its end in a later turn of the loop, and timers come first."""
    async with serving(ping_interval=0.3, ping_timeout=PATIENCE) as house:
        await house.client()
        house.inside.connection.eof_received()
        client = await house.client()
        for _ in range(2):
            assert await client.frame() == (PING, b"", True)
            await client.send(frame(b"", PONG))


class Broken:
    """A connection with an internal error."""

    def __init__(self) -> None:
        self.ended = False

    def on_deadline(self, now: float) -> None:
        """Fail."""
        raise ZeroDivisionError

    def abort(self) -> None:
        """Note that it was dropped."""
        self.ended = True


@on_uvloop
async def test_an_internal_error_at_a_deadline_ends_one_connection_only() -> None:
    async with serving(ping_interval=0.3, faults=["what was due for a connection failed"]) as house:
        client, broken = await house.client(), [Broken() for _ in range(3)]
        due = house.context.loop.time() + 0.3
        for peer in (broken[0], house.inside.connection, *broken[1:]):
            house.context.timers.set(peer, due)
        assert await client.frame() == (PING, b"", True)
        assert all(peer.ended for peer in broken)
