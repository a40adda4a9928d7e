"""A bar on a terminal that shows how far a command is; it needs the extra `cli`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack


def progress(what: str, total: int | None, stack: ExitStack) -> Callable[[int], object]:
    """Return a function to call with how much more is done; it may show a bar."""
    if not sys.stderr.isatty():
        return lambda done: None
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:  # without the extra
        return lambda done: None
    bar = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
    task = bar.add_task(what, total=total)
    return lambda done: bar.advance(task, done)
