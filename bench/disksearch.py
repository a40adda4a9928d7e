"""Searches of messages on disk beside live traffic, and the start of a server on such a file.

The file is published over HTTP to a server of the checkout under test and indexed by its reading
process, once for all runs. Each run starts a server with the usual window on it. Searches are due
at a steady rate and timed from then; the same live traffic is measured without and with them.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import loadprocess
from bench.clients import SECOND, clock
from bench.corpus import Corpus
from bench.http import Http
from bench.latency import Percentiles
from bench.load import Load
from bench.memorysearch import KINDS, questions
from bench.report import Figures
from bench.server import Launch, Server
from bench.websocket import RefusedError
from bench.windowsearch import bodies, target

LIVE = Load(subscribers=1000, rate=50, seconds=15, warmup=3)
PER_SECOND = 20
INDEX_SECONDS = 600
SMALL_WINDOW = ("--window-messages", "1000")


@dataclass(frozen=True)
class Past:
    """A file of messages with its index, in a folder of its own."""

    folder: TemporaryDirectory[str]
    path: Path
    corpus: Corpus
    indexing: float
    """Seconds until the whole file could be searched when there was no index yet."""


@cache
def past(count: int, launch: Launch) -> Past:
    """Make a file with `count` messages, once for each checkout."""
    folder, corpus = TemporaryDirectory(), Corpus(count)
    path = Path(folder.name) / "live.db"
    with launch.server_on(path, *SMALL_WINDOW) as server:
        http = Http(server.url, INDEX_SECONDS)
        for body in bodies(corpus):
            http.send(body)
    for file in _index_of(path):
        file.unlink()
    return Past(folder, path, corpus, indexed(path, launch))


def indexed(path: Path, launch: Launch) -> float:
    """Let a server index a file; return the seconds until all of it could be searched."""
    began = clock()
    with launch.server_on(path) as server:
        search_everything(server)
        taken = clock() - began
        wait_for_index(path)
    return taken / SECOND


def search_everything(server: Server) -> None:
    """Search as soon as the index has all messages; until then a search is refused or partial."""
    http, deadline = Http(server.url, INDEX_SECONDS), clock() + INDEX_SECONDS * SECOND
    while clock() < deadline:
        with suppress(RefusedError):
            if b'"incomplete":true' not in http.ask("/api/search?query=dragon"):
                return
        time.sleep(0.2)
    raise AssertionError("the index is not ready")


def disk_search(launch: Launch, count: int) -> Figures:
    """Measure a server on a file of `count` messages, without searches and with them."""
    made = past(count, launch)
    began = clock()
    with launch.server_on(made.path) as server:
        ready = clock() - began
        search_everything(server)
        answered = clock() - began
        without = loadprocess.figures(LIVE, server)
        found, beside = _searched_beside(server, made.corpus, LIVE)
    return {
        "ready s": ready / SECOND,
        "first search s": answered / SECOND,
        **found,
        "delivery p95 ms": beside["p95 ms"],
        "delivery p95 without ms": without["p95 ms"],
        "delivery p95 / without": beside["p95 ms"] / without["p95 ms"],
        "missing": beside["missing"],
        "index made anew s": made.indexing,
    }


def disk_search_only(launch: Launch, count: int, live: Load) -> Figures:
    """Measure the searches beside live traffic, with nearly all messages on disk only."""
    made = past(count, launch)
    with launch.server_on(made.path, *SMALL_WINDOW) as server:
        search_everything(server)
        found, beside = _searched_beside(server, made.corpus, live)
    return {**found, "delivery p95 ms": beside["p95 ms"], "missing": beside["missing"]}


def _searched_beside(server: Server, corpus: Corpus, live: Load) -> tuple[Figures, Figures]:
    """Return the figures of the searches and of the live traffic."""
    with loadprocess.running(live, server) as load:
        load.wait_for_stream()
        found = _searched(server, corpus, live.seconds)
        return found, load.figures()


def _searched(server: Server, corpus: Corpus, seconds: float) -> Figures:
    """Ask all kinds of questions in turn, `PER_SECOND` of them."""
    count = round(seconds - 1) * PER_SECOND
    each = [questions(kind, corpus, count // len(KINDS) + 1) for kind in KINDS]
    asked = islice((question for some in zip(*each, strict=True) for question in some), count)
    names = cycle(kind.name for kind in KINDS)
    http, due = Http(server.url), clock()
    taken: dict[str, list[int]] = {kind.name: [] for kind in KINDS}
    for name, question in zip(names, asked, strict=False):
        time.sleep(max(0, due - clock()) / SECOND)
        http.ask(target(question))
        taken[name].append(clock() - due)
        due += SECOND // PER_SECOND
    everything = Percentiles.of(ns for found in taken.values() for ns in found)
    slowest = {f"{name}: max ms": Percentiles.of(found).max for name, found in taken.items()}
    return {**everything.figures("search "), **slowest}


def _index_of(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}-index*"))


def wait_for_index(path: Path) -> None:
    """Wait until the size of the index stays the same: all is indexed, sealed and merged."""
    deadline = clock() + INDEX_SECONDS * SECOND
    sizes: list[int] = []
    while len(set(sizes[-5:])) != 1 or len(sizes) < 5:
        assert clock() < deadline, "the index is not ready"
        time.sleep(1)
        sizes.append(sum(file.stat().st_size for file in _index_of(path)))
