"""The garbage collector beside a full window: its passes, and memory that should stay the same.

The window is filled in this process, with the collector set as `livelog serve` sets it. Then as
many messages evict others as were asked for. Passes are timed by CPU time, which is what they hold
the event loop for.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterable
from itertools import islice

from bench.corpus import Corpus
from bench.memorysearch import records
from bench.report import Figures
from bench.server import Server
from livelog.cli import garbage
from livelog.log.window import Window
from livelog.wire.record import Record

FURTHER = 5
"""The further messages are a part of those in the window, one in so many."""

_FULL_PASSES = 5
_WARM = 1000
"""Messages after which code and pools are in memory."""


class Passes:
    """Time of each pass of the collector, in milliseconds, while it is entered."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self._began = 0.0

    def __enter__(self) -> Passes:
        gc.callbacks.append(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, _: object) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self.taken.append((time.thread_time() - self._began) * 1000)


def collected(count: int) -> Figures:
    """Fill a window with `count` messages, then let further ones evict as many."""
    corpus, own = Corpus(count + count // FURTHER), Server("", os.getpid())
    coming, window = records(corpus), Window(count, 1 << 40)
    garbage.begin()
    _take(window, islice(coming, _WARM))
    empty, frozen = own.memory(), len(gc.get_objects())
    with Passes() as young:
        _take(window, islice(coming, count - _WARM))
    full, filled = _full_pass(), own.memory()
    with young:
        _take(window, coming)
    grown = own.memory() - filled
    return {
        "full pass ms": full,
        "full pass after the others ms": _full_pass(),
        "longest young pass ms": max(young.taken, default=0.0),
        "young passes": float(len(young.taken)),
        "tracked objects": float(len(gc.get_objects()) - frozen),
        "window MB": (filled - empty) / 1e6,
        "grown / window": grown / (filled - empty),
        "messages": float(len(window)),
        "further messages": float(count // FURTHER),
    }


def _take(window: Window, coming: Iterable[Record]) -> None:
    """Append messages, index them, and evict those for which there is no room."""
    for record in coming:
        window.append(record)
        window.evict(record.seq)
        while window.work():
            pass


def _full_pass() -> float:
    """Return the milliseconds of a full pass; the first one finds out what need not be tracked."""
    gc.collect()
    with Passes() as passes:
        for _ in range(_FULL_PASSES):
            gc.collect()
    return max(passes.taken)
