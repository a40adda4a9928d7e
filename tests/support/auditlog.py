"""The audit log, collected."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def audit_log() -> Iterator[list[str]]:
    """Collect the lines of the audit log while the block runs."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    door, listener = logging.getLogger("livelog.audit"), Listener()
    before, level = door.level, logging.INFO
    door.addHandler(listener)
    door.setLevel(level)
    try:
        yield lines
    finally:
        door.removeHandler(listener)
        door.setLevel(before)
