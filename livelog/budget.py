"""Time slices: how long one piece of work may hold the event loop.

Commands, searches and catch-up share one loop with the fan-out, so long work is cut into slices,
between which the fan-out runs. The slices of commands are bounded by time; their figures stand
here. Steps of other work are bounded by a number of items or bytes, which stands in its module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import NamedTuple, TypeVar

HOLD_SECONDS = 0.01
"""Seconds for which all commands together may hold the loop before the fan-out runs again."""

TURN_SECONDS = 0.001
"""Seconds of one connection's turn while several wait."""

Result = TypeVar("Result")


async def interleaved(steps: Generator[None, None, Result]) -> Result:
    """Run `steps` to their end; between two of them the loop runs everything else that is ready."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        await asyncio.sleep(0)


class Owner(NamedTuple):
    """The user and the address that a piece of work is done for; both share out its time.

    A user is empty while nobody has authenticated, an address for the program itself and for
    clients of a Unix socket.
    """

    user: str
    address: str


INTERNAL = Owner("", "")
"""The server itself."""
