"""Single keys from the terminal, without echo and without a wait for Enter."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_ARROWS = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down"}


@contextmanager
def single_keys() -> Iterator[None]:
    """Have the terminal pass on each key at once; as it was, at the end."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def key(seconds: float) -> str:
    """Return the next key within so many seconds, empty if there is none; `q` at the end."""
    terminal = sys.stdin.fileno()
    if not select.select([terminal], [], [], seconds)[0]:
        return ""
    data = os.read(terminal, 1)
    if data == b"\x1b" and select.select([terminal], [], [], 0.05)[0]:
        return _ARROWS.get(data + os.read(terminal, 2), "")
    return data.decode(errors="ignore") if data else "q"
