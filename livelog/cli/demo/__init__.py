"""Sample traffic for `--demo`: messages of a made-up game, at a given average rate.

`World` makes the messages, from its seed alone; `run` publishes them at that rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from livelog.cli.demo.cast import Message
from livelog.cli.demo.world import World

__all__ = ["World", "run"]

MOST_LATE = 1.0
"""Seconds by which the traffic may lag before it skips ahead."""
MOST_AT_ONCE = 100
"""Messages published in one iteration of the loop, so that other work runs in between."""


async def run(world: World, publish: Callable[[Message], object], rate: float) -> None:
    """Publish `rate` messages per second on average, with natural gaps, until cancelled."""
    clock = asyncio.get_running_loop().time
    gaps = Random(world.seed)
    due = clock()
    while True:
        now = clock()
        if now - due > MOST_LATE:
            due = now
        for _ in range(MOST_AT_ONCE):
            if due > now:
                break
            publish(next(world))
            due += gaps.expovariate(rate)
        await asyncio.sleep(due - clock())
