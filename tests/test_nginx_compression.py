"""Compressed frames and batches behind a real nginx, with the configuration that comes with it.

Nothing is changed in it for their sake, so it needs nothing for them.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from livelog.fanout.compression import FEWEST
from tests.support.decoding import Decoder, messages
from tests.support.nginx import NGINX, Front, fronted
from tests.support.tls import Files, make_certificate
from tests.support.wire import (
    COMPRESSED,
    PING,
    PONG,
    TEXT,
    Client,
    Frame,
    frame,
    on_uvloop,
    upgrade,
)

pytestmark = pytest.mark.skipif(not Path(NGINX).exists(), reason="there is no nginx")

OFFER = "permessage-deflate; client_max_window_bits"
AGREED = "sec-websocket-extensions: permessage-deflate; client_no_context_takeover\r\n"
LAST = "the very last"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_certificate(tmp_path_factory.mktemp("tls"))


class Reader:
    """A client that takes what comes while the test goes on."""

    def __init__(self, client: Client, begins: int) -> None:
        self.begins = begins
        """Number of messages that had been published before."""
        self.frames: list[Frame] = []
        self.messages: list[bytes] = []
        self.decoder = Decoder()
        self.client = client
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while not self.messages or LAST.encode() not in self.messages[-1]:
            taken = await self.client.frame()
            if taken.opcode == PING:
                await self.client.send(frame(taken.payload, PONG))
                continue
            assert taken.opcode in (TEXT, COMPRESSED), taken
            self.frames.append(taken)
            payload = taken.payload
            if taken.opcode == COMPRESSED:
                payload = self.decoder.inflate(payload)
            items = messages(payload) if payload.startswith(b"[") else [payload]
            self.messages += [item for item in items if b'"type":"user"' in item]

    @property
    def compressed(self) -> list[bytes]:
        """The payloads of the compressed frames, as they were on the wire."""
        return [one.payload for one in self.frames if one.opcode == COMPRESSED]


class Party:
    """Readers through nginx and one beside it, and who publishes to them."""

    def __init__(self, front: Front, query: str) -> None:
        self.front, self.house = front, front.house
        self._target = f"/ws/live-log?message_types=user{query}"
        self.sent: list[str] = []
        self.readers: list[Reader] = []

    async def join(self, *, directly: bool = False, offer: str = OFFER) -> Reader:
        """Open a reader, through nginx unless it is to read `directly`."""
        if directly:
            client = await Client.connect(self.house.address)
        else:
            client = await self.front.connected()
        extensions = {"Sec_WebSocket_Extensions": offer} if offer else {}
        await client.send(upgrade(self._target, **extensions))
        head = (await client.upto(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 101 ")
        assert (AGREED in head) == bool(offer), head
        assert [(await client.event())["action"] for _ in range(2)] == ["connected", "subscribed"]
        reader = Reader(client, len(self.sent))
        self.readers.append(reader)
        return reader

    async def publish(self, content: str = "") -> None:
        """Publish one more message, and let it be delivered."""
        self.sent.append(content or f"message {len(self.sent)} of the red dragon")
        self.house.publish(self.sent[-1])
        await asyncio.sleep(0.005)

    async def all_compressed(self) -> None:
        """Publish until all readers read compressed, but for the one that has not offered it."""
        while self.house.inside.reading_compressed < len(self.readers) - 1:
            await self.publish()

    async def end(self) -> None:
        """Publish the last message, and wait until all have it."""
        await self.publish(LAST)
        await asyncio.gather(*(one.task for one in self.readers))
        for one in self.readers:
            one.client.close()


@pytest.mark.parametrize("query", ["", "&batch=10"], ids=["single", "batches"])
@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
@on_uvloop
async def test_compressed_frames_and_batches_come_through_unchanged(
    tls: bool, query: str, files: Files, tmp_path: Path
) -> None:
    async with fronted(tmp_path, files, tls=tls, limits=False) as front:
        party = Party(front, query)
        direct = await party.join(directly=True)
        plain = await party.join(offer="")
        first = [await party.join() for _ in range(FEWEST)]
        await party.all_compressed()
        late = [await party.join() for _ in range(2)]
        await party.all_compressed()
        for _ in range(20):
            await party.publish()
        await party.end()

        for one in party.readers:
            contents = [json.loads(message)["content"] for message in one.messages]
            assert contents == party.sent[one.begins :]
            assert one.messages == plain.messages[one.begins - plain.begins :]
            assert any(sent.payload.startswith(b"[") for sent in one.frames) or not query
        assert not plain.compressed
        for one in (*first, *late):
            assert len(one.compressed) > 1
            assert one.compressed == direct.compressed[-len(one.compressed) :]
        assert all(one.begins > 0 for one in late)
