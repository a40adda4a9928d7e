"""How much of the loop's time one piece of work may take before everything else has its turn.

Commands, searches and catch-up share one loop with the fan-out. Work that may be long is cut into
slices by time; the figures stand here, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

HOLD_SECONDS = 0.01
"""Time that all commands together may hold the loop before the fan-out has its turn."""

TURN_SECONDS = 0.001
"""Time of one connection's turn, while several wait."""

Result = TypeVar("Result")


async def interleaved(steps: Generator[None, None, Result]) -> Result:
    """Run `steps` to their end, with a turn of the loop for everything else between two of them."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        await asyncio.sleep(0)
