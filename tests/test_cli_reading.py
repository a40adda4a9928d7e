"""Readings of what is stored, from the beginning to the end, while it changes."""

from __future__ import annotations

import asyncio

from livelog import Gap, connect
from livelog.cli.reading import Selection, stored
from livelog.wire.acts import Group
from tests.support.wire import PATIENCE, on_uvloop, serving, user
from tests.test_redacted_readers import published, redact


@on_uvloop
async def test_it_ends_when_its_last_message_is_redacted_meanwhile() -> None:
    async with serving(limits=False) as house, connect(house.server.url) as log:
        seqs = []
        for first in range(0, 3000, 100):
            sent = [user(f"dragon {n} {'x' * 9000}") for n in range(first, first + 100)]
            seqs += await published(house, *sent)
        items = stored(log, Selection(["user"], {"text": "dragon"}))
        begun = await anext(items)  # the others fill the buffers on the way
        assert not isinstance(begun, Gap)
        assert begun.seq == seqs[0]
        await redact(house, Group("user", (seqs[-1],)))
        async with asyncio.timeout(PATIENCE):
            rest = [item.seq async for item in items if not isinstance(item, Gap)]
        assert rest == seqs[1:-1]
