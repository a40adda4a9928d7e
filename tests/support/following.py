"""Help for tests of the client: a clock that hardly waits, and the next items of a subscription."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from livelog import Gap, UserMessage
from livelog.client.backoff import Clock
from livelog.client.reconnecting import HEARTBEAT
from livelog.wire.stubs import Received
from tests.support.wire import soon

Item = Received | Gap


async def impatient_sleep(seconds: float) -> None:
    """Hardly wait, except for the next heartbeat."""
    await (asyncio.Event().wait() if seconds == HEARTBEAT else asyncio.sleep(0.001))


IMPATIENT = Clock(sleep=impatient_sleep)


async def take(messages: AsyncIterator[Item], count: int) -> list[Item]:
    """Return the next `count` items."""
    return [await soon(anext(messages)) for _ in range(count)]


def contents(items: Sequence[Item]) -> list[str]:
    """Return the texts of the user messages."""
    return [item.content for item in items if isinstance(item, UserMessage)]
