"""Clients that do not read: fill the buffers between them and the server."""

from __future__ import annotations

import asyncio

from tests.support.wire import (
    Client,
    House,
)


async def fill(client: Client, data: bytes, at_most: int) -> int:
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


async def publish_until_blocked(house: House, readers: list[Client], beyond: int = 50) -> list[str]:
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
