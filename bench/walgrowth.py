"""The write-ahead log beside searches that never end, while very much is published.

A reader holds on to the state that it began with, and what is committed meanwhile cannot be moved
into the database: the log grows until no reader is behind. Several clients publish as NDJSON, as
fast as they are let; others search the past on disk over and over, each on its own connection. The
size of the log is looked at from outside, ten times a second.
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.clients import SECOND, clock
from bench.http import Http, publication
from bench.publishing import messages
from bench.report import Figures
from bench.server import Launch
from bench.websocket import RefusedError

_LOOK_SECONDS = 0.1
_GIVEN_BACK_SECONDS = 30
"""Seconds in which the log must become small again after the load."""

_KEPT_BYTES = 2**24
_WINDOW = ("--window-messages", "1000")
"""A small window, so that searches read from disk."""

_QUESTIONS = ("query=dragon", "query=ra&type=user", "query=gold%20raid&offset=50000")


@dataclass(frozen=True)
class Beside:
    """Publishers and searchers at the same time."""

    seconds: float = 25
    publishers: int = 4
    searchers: int = 3
    per_body: int = 1000
    seeded: int = 100_000
    """Messages that there are to search from the start."""


def beside_searches(launch: Launch, load: Beside) -> Figures:
    """Return the rate of publishing, and the size of the log at its largest and afterwards."""
    lines = [json.dumps(each, separators=(",", ":")) for each in messages(load.per_body)]
    body, over = publication([line.encode() for line in lines]), threading.Event()
    with (
        TemporaryDirectory() as folder,
        launch.server_on(file := Path(folder, "live.db"), *_WINDOW) as server,
        ThreadPoolExecutor(load.publishers + load.searchers + 1) as pool,
    ):
        seeding = Http(server.url)
        for _ in range(load.seeded // load.per_body):
            seeding.send(body)
        wal = Path(f"{file}-wal")
        largest = pool.submit(_largest, wal, over)
        searches = [pool.submit(_search, server.url, over) for _ in range(load.searchers)]
        began = clock()
        posts = [pool.submit(_post, server.url, body, over) for _ in range(load.publishers)]
        over.wait(load.seconds)
        over.set()
        taken = sum(each.result() for each in posts) * load.per_body
        return {
            "messages/s": taken * SECOND / (clock() - began),
            "searches": float(sum(each.result() for each in searches)),
            "WAL at most MB": largest.result() / 1e6,
            "WAL afterwards MB": _given_back(wal) / 1e6,
        }


def _post(url: str, body: bytes, over: threading.Event) -> int:
    """Publish until it is over; return how many bodies were taken."""
    http, taken = Http(url), 0
    while not over.is_set():
        try:
            http.send(body)
            taken += 1
        except RefusedError:  # too much waits to be written or indexed
            over.wait(_LOOK_SECONDS)
    http.close()
    return taken


def _search(url: str, over: threading.Event) -> int:
    """Search the past until it is over; return how many searches were answered."""
    http, answered = Http(url), 0
    for question in cycle(_QUESTIONS):
        if over.is_set():
            break
        with suppress(RefusedError):
            http.ask(f"/api/search?limit=1000&{question}")
            answered += 1
    http.close()
    return answered


def _largest(file: Path, over: threading.Event) -> int:
    """Return the largest size of a file until it is over."""
    size = file.stat().st_size
    while not over.wait(_LOOK_SECONDS):
        size = max(size, file.stat().st_size)
    return size


def _given_back(file: Path) -> int:
    """Wait until a file has become small; return its size."""
    deadline = time.monotonic() + _GIVEN_BACK_SECONDS
    while file.stat().st_size > _KEPT_BYTES and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return file.stat().st_size
