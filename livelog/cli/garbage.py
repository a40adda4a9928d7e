"""Times of the garbage collector's full passes in a process that does nothing but serve.

A full pass walks through every object that may be part of a cycle and holds the loop meanwhile:
most of them, about 35,000, are modules, functions and classes, which takes ten milliseconds. Those
that there are at the start stay until the end, so they are frozen once and no pass walks through
them again. What is kept for long afterwards, the messages and their index, is made of objects that
the collector does not track; a full pass walks through the connections, and is made when there is
little else to do. Passes are triggered by numbers of objects, a few of which may hold very much
memory: so young ones are also looked at when the process has grown.

All this holds for a whole process, so only the command does it: a program that embeds the server
decides about its own collector.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import time

_YOUNG = 1000
"""New objects, less those that have gone, after which the youngest are looked at.

One may be a tuple of dozens of messages, each of which is visited once: with 10,000 of them a pass
held the loop for 58 milliseconds.
"""

_MIDDLE = 20
_FULL = 1_000_000
"""Passes of one generation after which the next older one is looked at: for the oldest, never."""

_LOOK_SECONDS = 1.0
_FULL_SECONDS = 60.0
"""Seconds between two full passes at least."""

_LATEST_SECONDS = 3600.0
"""Seconds after which a full pass is made even if the server is busy."""

_GROWN_BYTES = 64 * 2**20
"""Bytes by which the process grows before young objects are looked at."""

_IDLE = 0.1
"""Part of a core up to which the process counts as idle."""


def begin() -> None:
    """Leave what there is now out of all passes, and make no full pass by itself."""
    gc.set_threshold(_YOUNG, _MIDDLE, _FULL)
    gc.collect(1)  # what stood through the imports is no garbage, and takes long to walk through
    gc.freeze()


async def collect_when_idle() -> None:
    """Make full passes when the process is idle, until cancelled."""
    begin()
    collected, resident = time.monotonic(), _resident()
    while True:
        began, used = time.monotonic(), time.process_time()
        await asyncio.sleep(_LOOK_SECONDS)
        if _resident() > resident + _GROWN_BYTES:
            gc.collect(1)
            resident = _resident()
        resident = min(resident, _resident())
        now = time.monotonic()
        idle = time.process_time() - used < _IDLE * (now - began)
        if now - collected > (_FULL_SECONDS if idle else _LATEST_SECONDS):
            gc.collect()
            collected = now


def _resident() -> int:
    """Return the memory of this process in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
