"""Sample traffic for `--demo`: messages of a made-up game, at a given average rate.

`World` makes the messages, from its seed alone; `past` publishes those of the last hour at once,
and `run` goes on at that rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from livelog.cli.demo.cast import Message
from livelog.cli.demo.world import World
from livelog.wire.timestamps import timestamp

__all__ = ["World", "past", "run"]

MOST_LATE = 1.0
"""Seconds by which the traffic may lag before it skips ahead."""
MOST_AT_ONCE = 100
"""Messages published in one iteration of the loop, so that other work runs in between."""

PAST = 3600.0
"""Seconds that the past reaches back."""
MOST_PAST = 3600
"""Maximum messages of the past; at higher rates they are thinned out over the hour."""


async def past(world: World, publish: Callable[[Message], object], rate: float, now: float) -> None:
    """Publish the messages of the hour before the Unix time `now`, with their timestamps."""
    gaps = Random(world.seed)
    rate = min(rate, MOST_PAST / PAST)
    at, count = now - PAST + gaps.expovariate(rate), 0
    while at < now and count < MOST_PAST:
        publish({**next(world), "timestamp": timestamp(at)})
        at += gaps.expovariate(rate)
        count += 1
        if count % MOST_AT_ONCE == 0:
            await asyncio.sleep(0)


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
