"""Times of the garbage collector's full passes in a process that does nothing but serve.

A full pass walks through every object that may be part of a cycle and holds the loop meanwhile: 10
milliseconds for a small server, more with many connections. What is kept for long, the messages and
their index, is made of objects that the collector does not track. Of the rest, what there is at the
start is frozen, young objects are looked at as ever, and the full pass is made when there is little
else to do.

All this holds for a whole process, so only the command does it: a program that embeds the server
decides about its own collector.
"""

from __future__ import annotations

import asyncio
import gc
import time

_YOUNG = 10_000
"""New objects, less those that have gone, after which the youngest are looked at."""

_MIDDLE = 20
_FULL = 1_000_000
"""Passes of one generation after which the next older one is looked at: for the oldest, never."""

_LOOK_SECONDS = 1.0
_FULL_SECONDS = 60.0
"""Seconds between two full passes at least."""

_LATEST_SECONDS = 3600.0
"""Seconds after which a full pass is made even if the server is busy."""

_IDLE = 0.1
"""Part of a core up to which the process counts as idle."""


async def collect_when_idle() -> None:
    """Make full passes when the process is idle, until cancelled."""
    gc.set_threshold(_YOUNG, _MIDDLE, _FULL)
    collect()
    collected = time.monotonic()
    while True:
        began, used = time.monotonic(), time.process_time()
        await asyncio.sleep(_LOOK_SECONDS)
        now = time.monotonic()
        idle = time.process_time() - used < _IDLE * (now - began)
        if now - collected > (_FULL_SECONDS if idle else _LATEST_SECONDS):
            collect()
            collected = now


def collect() -> None:
    """Collect everything, and leave what is alive out of the smaller passes until the next time."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
