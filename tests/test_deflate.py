"""`permessage-deflate`: offers, what comes in compressed, and what clients of others make of it."""

from __future__ import annotations

import asyncio
import json
import zlib

import pytest
from websockets.asyncio.client import connect

from tests.support.decoding import Decoder
from tests.support.wire import (
    COMPRESSED,
    TEXT,
    Client,
    House,
    close_frame,
    command,
    frame,
    on_each_loop,
    on_uvloop,
    serving,
    until,
    upgrade,
)

OFFER = "permessage-deflate"


async def handshake(house: House, offer: str, target: str = "") -> tuple[Client, str]:
    """A connection, and the extensions that the server has agreed to."""
    client = house.kept(await Client.connect(house.address))
    await client.send(upgrade(f"/ws/live-log{target}", Sec_WebSocket_Extensions=offer))
    head = (await client.upto(b"\r\n\r\n")).decode()
    assert head.startswith("HTTP/1.1 101 ")
    found = [line for line in head.split("\r\n") if line.lower().startswith("sec-websocket-ext")]
    return client, "".join(line.partition(": ")[2] for line in found)


async def opened(house: House, offer: str = OFFER, target: str = "") -> Client:
    return (await handshake(house, offer, target))[0]


IMPOSED = f"{OFFER}; client_no_context_takeover"


@on_uvloop
@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (OFFER, IMPOSED),
        (f"{OFFER}; client_max_window_bits", IMPOSED),
        (f"{OFFER}; client_max_window_bits=10; client_no_context_takeover", IMPOSED),
        (f'{OFFER}; server_max_window_bits="15"', f"{IMPOSED}; server_max_window_bits=15"),
        (f"{OFFER}; server_max_window_bits=15", f"{IMPOSED}; server_max_window_bits=15"),
        (f"{OFFER}; server_max_window_bits=14", ""),
        (f"{OFFER}; server_max_window_bits=14, {OFFER}", IMPOSED),
        (f"{OFFER}; server_no_context_takeover", ""),
        (f"{OFFER}; server_no_context_takeover, {OFFER}; client_max_window_bits=8", IMPOSED),
        (f"{OFFER}, {OFFER}; server_max_window_bits=15", IMPOSED),
        (f"x-other, {OFFER}", IMPOSED),
        # Not as RFC 7692 section 7.1 has them.
        (f"{OFFER}; server_max_window_bits", ""),
        (f"{OFFER}; server_max_window_bits=015", ""),
        (f"{OFFER}; client_max_window_bits=7", ""),
        (f"{OFFER}; client_max_window_bits=16", ""),
        (f"{OFFER}; client_no_context_takeover=1", ""),
        (f"{OFFER}; client_no_context_takeover; client_no_context_takeover", ""),
        (f"{OFFER}; unknown", ""),
        ("x-webkit-deflate-frame", ""),
    ],
)
async def test_an_offer_is_taken_as_it_is_or_declined(offer: str, answer: str) -> None:
    async with serving() as house:
        assert (await handshake(house, offer))[1] == answer


def deflated(data: bytes, level: int = 6) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def compressed_frame(data: bytes, *, opcode: int = 1, fin: bool = True, rsv1: bool = True) -> bytes:
    return frame(data, opcode, fin=fin, reserved=4 if rsv1 else 0)


PING = json.dumps({"action": "ping", "request_id": "x" * 100}).encode()


@on_each_loop
async def test_a_compressed_command_is_carried_out_also_in_fragments() -> None:
    async with serving() as house:
        client = await opened(house)
        assert (await client.event())["action"] == "connected"
        body = deflated(PING)
        await client.send(compressed_frame(body))
        assert (await client.event())["request_id"] == "x" * 100
        pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
        for place, piece in enumerate(pieces):
            last = place == len(pieces) - 1
            opcode = 0 if place else 1
            await client.send(compressed_frame(piece, opcode=opcode, fin=last, rsv1=not place))
            if not last:
                await client.send(frame(b"between", opcode=9))
                assert (await client.frame()).payload == b"between"
        assert (await client.event())["request_id"] == "x" * 100
        final = zlib.compressobj(6, zlib.DEFLATED, -15)
        ended = final.compress(PING) + final.flush()  # RFC 7692 section 7.2.3.4
        await client.send(compressed_frame(ended + b"\x00"), command("ping"))
        assert (await client.event())["request_id"] == "x" * 100
        assert (await client.event())["action"] == "pong"


@on_uvloop
@pytest.mark.parametrize(
    ("sent", "offer"),
    [
        (compressed_frame(deflated(PING)), ""),
        (compressed_frame(b"", opcode=9), ""),
        (compressed_frame(b"", opcode=9), OFFER),
        (compressed_frame(b"\x03\xe8", opcode=8), OFFER),
        (frame(b"x", fin=False) + compressed_frame(b"x", opcode=0), OFFER),
        (compressed_frame(b"x", fin=False) + compressed_frame(b"x", opcode=0), OFFER),
        (compressed_frame(b"\xff\xff\xff\xff"), OFFER),
        (compressed_frame(b"\x03\x00\x01\x02\x03\x04\x05"), OFFER),
        (frame(b"x", reserved=2), OFFER),
    ],
)
async def test_a_reserved_bit_out_of_place_and_damage_end_the_connection(
    sent: bytes, offer: str
) -> None:
    async with serving() as house:
        client = await opened(house, offer or "x-none")
        await client.event()
        await client.send(sent)
        while (item := await client.frame()).opcode == 1:
            pass
        assert int.from_bytes(item.payload[:2]) == 1002


@on_uvloop
@pytest.mark.parametrize("piece", [10**6, 1000, 40])
async def test_a_bomb_ends_the_connection_however_it_is_cut(piece: int) -> None:
    """Also where fragments have filled the message to the last byte, when nothing more may come."""
    async with serving(max_frame_bytes=65536, limits=False) as house:
        client = await opened(house)
        await client.event()
        exact = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = exact.compress(b" " * 65536) + exact.flush(zlib.Z_SYNC_FLUSH)
        body += exact.compress(b" " * 50_000_000) + exact.flush(zlib.Z_SYNC_FLUSH)
        pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
        parts = [
            compressed_frame(part, opcode=0 if place else 1, fin=False, rsv1=not place)
            for place, part in enumerate(pieces)
        ]
        await client.send(b"".join(parts[:2000]), close_frame())
        while (item := await client.frame()).opcode == 1:
            pass
        assert int.from_bytes(item.payload[:2]) == 1009


@on_uvloop
async def test_an_unfinished_compressed_message_is_counted() -> None:
    async with serving() as house:
        client = await opened(house)
        await client.event()
        await client.send(compressed_frame(deflated(PING), fin=False))
        bodies = house.context.memory.bodies
        await until(lambda: bodies.total >= 48 * 1024, "the inflater to be counted")
        await client.send(compressed_frame(b"", opcode=0, rsv1=False))
        assert (await client.event())["action"] == "pong"
        await until(lambda: not bodies.total, "it to be forgotten")


async def all_reading(house: House, count: int, sent: list[str]) -> None:
    """Publish until so many connections have joined a stream."""
    async with asyncio.timeout(10):
        while house.inside.reading_compressed < count:
            publish(house, sent)
            await asyncio.sleep(0.01)


def publish(house: House, sent: list[str]) -> None:
    sent.append(f"message {len(sent)} of the dragon")
    house.publish(sent[-1])


def told(payload: bytes) -> list[str]:
    """The contents of messages, one or an array; none of an event."""
    item = json.loads(payload)
    return [one["content"] for one in (item if isinstance(item, list) else [item]) if "type" in one]


@on_uvloop
@pytest.mark.parametrize("batch", ["", "&batch=20"])
async def test_clients_decode_what_they_share_byte_for_byte(batch: str) -> None:
    """Connections that are looked at frame by frame, and those of the library `websockets`."""
    async with serving(limits=False) as house:
        target = f"?message_types=user{batch}"
        raw = [await opened(house, target=target) for _ in range(6)]
        url = house.server.url.partition("?")[0] + target
        others = [await connect(url, max_size=None, ping_interval=None) for _ in range(6)]
        sent: list[str] = []
        await all_reading(house, 12, sent)
        for _ in range(50):
            publish(house, sent)
        for client in raw:
            decoder, got = Decoder(), list[str]()
            while len(got) < len(sent):
                item = await client.frame()
                got += told(
                    decoder.inflate(item.payload) if item.opcode == COMPRESSED else item.payload
                )
            assert got == sent
            assert decoder.compressed
        for other in others:
            got = []
            while len(got) < len(sent):
                got += told(await other.recv(decode=False))
            assert got == sent
            await other.close()


@on_uvloop
async def test_too_few_readers_and_those_who_did_not_offer_it_read_plain() -> None:
    async with serving(limits=False) as house:
        few = [await opened(house, target="?message_types=user") for _ in range(7)]
        plain = [await opened(house, "x-none", "?message_types=user") for _ in range(9)]
        sent: list[str] = []
        for _ in range(3):
            publish(house, sent)
            await asyncio.sleep(1.1)
        assert house.inside.reading_compressed == 0
        for client in few + plain:
            got: list[str] = []
            while len(got) < len(sent):
                item = await client.frame()
                assert item.opcode == TEXT
                got += told(item.payload)
            assert got == sent


@on_uvloop
@pytest.mark.parametrize("batch", ["", "&batch=5"])
async def test_direct_messages_leave_no_trace_in_the_stream(batch: str) -> None:
    """The length of a message behind one is the same, whether that is alike or not."""
    secret = "the treasure lies beneath the old oak behind the mill"
    sizes = []
    for content in (secret, "Q" * len(secret)):
        async with serving(limits=False) as house:
            each = [await opened(house, target=f"?message_types=user,dm{batch}") for _ in range(8)]
            sent: list[str] = []
            await all_reading(house, 8, sent)
            dm = {"type": "dm", "from_user_id": "u1", "from_username": "A", "to_user_id": "u2"}
            house.append({**dm, "content": content})
            fields = {"id": "msg_1", "timestamp": "2025-12-03T12:00:00Z"}
            house.publish(secret, **fields)
            decoder, frames = Decoder(), list[tuple[bool, bytes, int]]()
            while not (frames and b'"msg_1"' in frames[-1][1]):
                item = await each[0].frame()
                squeezed = item.opcode == COMPRESSED
                payload = decoder.inflate(item.payload) if squeezed else item.payload
                frames.append((squeezed, payload, len(item.payload)))
            [told_dm] = [one for one in frames if b'"type":"dm"' in one[1]]
            assert not told_dm[0]
            assert b'"type":"user"' not in told_dm[1]
            assert frames[-1][0]
            sizes.append(frames[-1][2])
    # The seqs differ, which are some digits in each.
    assert abs(sizes[0] - sizes[1]) < 12
    assert min(sizes) > len(secret) * 0.7
