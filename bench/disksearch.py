"""Searches in what is on disk only, beside live traffic; and how soon a server with it is ready.

The rule: the file is written as a server writes it and indexed by a server's reading process, once
for all trials. In each a server with the usual window is started on it. Searches are due at a
steady rate and timed from then; the same live traffic is measured without and with them.
"""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import msgspec

from bench import loadprocess
from bench.clients import SECOND, clock
from bench.corpus import Corpus
from bench.http import Http
from bench.latency import Percentiles
from bench.load import Figures, Load
from bench.memorysearch import KINDS, batched, questions, records
from bench.searchengines import Question
from bench.server import CORES, Server, started
from livelog.errors import RefusedError
from livelog.store.database.file import open_file
from livelog.store.writer import Retention, Writer

LIVE = Load(subscribers=1000, rate=50, seconds=15, warmup=3)
PER_SECOND = 20
INDEX_SECONDS = 600


@dataclass(frozen=True)
class Past:
    """A file of messages with its index, in a folder of its own."""

    folder: TemporaryDirectory[str]
    path: Path
    corpus: Corpus
    indexing: float
    """Seconds until the whole file could be searched when there was no index yet."""


@cache
def past(count: int) -> Past:
    """A file with `count` messages, made once."""
    folder, corpus = TemporaryDirectory(), Corpus(count)
    path = Path(folder.name) / "live.db"
    written(path, corpus)
    return Past(folder, path, corpus, indexed(path))


def indexed(path: Path) -> float:
    """Let a server index a file; returns the seconds until all of it could be searched."""
    began = clock()
    with started("livelog", "--store", str(path), cores=CORES) as server:
        Http(server.url, INDEX_SECONDS).ask("/api/search?query=dragon")
        taken = clock() - began
        _wait_for_index(path)
    return taken / SECOND


def written(path: Path, corpus: Corpus) -> None:
    """Write all messages of `corpus` into a store's file."""
    connection, contents = open_file(str(path))
    safe = queue.SimpleQueue[RefusedError | None]()
    writer = Writer(
        connection, contents, Retention(), time.time, lambda call: call(), lambda upto: None
    )
    for batch in batched(records(corpus), 5000):
        writer.append(batch, safe.put)
        assert safe.get() is None
    writer.close()


def disk_search(count: int) -> Figures:
    """Figures of a server on a file of so many messages."""
    made = past(count)
    began = clock()
    with started("livelog", "--store", str(made.path), cores=CORES) as server:
        ready = clock() - began
        Http(server.url).ask("/api/search?query=dragon")
        answered = clock() - began
        without = loadprocess.figures(LIVE, server)
        with loadprocess.running(LIVE, server) as live:
            live.wait_for_stream()
            found = _searched(server, made.corpus)
            beside = live.figures()
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


def _searched(server: Server, corpus: Corpus) -> Figures:
    """All kinds of questions in turn, `PER_SECOND` of them."""
    count = round(LIVE.seconds - 1) * PER_SECOND
    each = [questions(kind, corpus, count // len(KINDS) + 1) for kind in KINDS]
    asked = islice((question for turn in zip(*each, strict=True) for question in turn), count)
    names = cycle(kind.name for kind in KINDS)
    http, due = Http(server.url), clock()
    taken: dict[str, list[int]] = {kind.name: [] for kind in KINDS}
    for name, question in zip(names, asked, strict=False):
        time.sleep(max(0, due - clock()) / SECOND)
        http.ask(_target(question))
        taken[name].append(clock() - due)
        due += SECOND // PER_SECOND
    everything = Percentiles.of(ns for found in taken.values() for ns in found)
    slowest = {f"{name}: max ms": Percentiles.of(found).max for name, found in taken.items()}
    return {**everything.figures("search "), **slowest}


def _target(question: Question) -> str:
    text = " ".join([*question.words, question.part]).strip()
    parameters: dict[str, Any] = msgspec.to_builtins(question.filters)
    if isinstance(parameters.get("type"), list):
        parameters["type"] = ",".join(parameters["type"])
    parameters |= {"limit": 100, "offset": question.offset} | ({"query": text} if text else {})
    return f"/api/{'search' if text else 'history'}?{urlencode(parameters)}"


def _wait_for_index(path: Path) -> None:
    """Wait until the file beside the store stays as it is: all is indexed, sealed and merged."""
    deadline = clock() + INDEX_SECONDS * SECOND
    sizes: list[int] = []
    while len(set(sizes[-5:])) != 1 or len(sizes) < 5:
        assert clock() < deadline, "the index is not ready"
        time.sleep(1)
        sizes.append(sum(file.stat().st_size for file in path.parent.glob(f"{path.name}-index*")))
