"""Signals before a server can obey them.

Until the server has handlers of its own, it has nothing open that would have to be closed, and ends
at once. Handlers are needed all the same: the first process of a container gets no signal whose
handling is the default.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a server."""


def install() -> None:
    """End the process at once on a signal, from now on."""
    for number in ENDING:
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # The import that a signal has interrupted might catch an exception.
    with suppress(OSError):
        os.write(1, b"livelog stopped\n")
    os._exit(0)
