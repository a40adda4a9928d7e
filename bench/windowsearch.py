"""Searches in the window of a server, asked over HTTP.

Unlike `bench.memorysearch`, which holds a window in its own process, this measures a server of any
checkout. Questions are asked one after the other; the time of an answer includes parsing the
request and encoding the page. CPU is the server's, for all questions of a kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import msgspec

from bench.clients import SECOND, clock
from bench.corpus import Corpus
from bench.http import Http, publication
from bench.latency import Percentiles
from bench.memorysearch import KINDS, questions
from bench.report import Figures
from bench.searchengines import Question
from bench.server import Launch, Server

PER_BODY = 1000
UNLIMITED_BYTES = str(1 << 40)


def window_search(launch: Launch, count: int, asked: int) -> Figures:
    """Publish `count` messages, then ask `asked` questions of each kind."""
    corpus, posts = _published(count)
    window = ("--window-messages", str(count), "--window-bytes", UNLIMITED_BYTES)
    with launch.server(*window) as server:
        http = Http(server.url)
        http.send(posts[0])  # code and pools are there before the memory is taken
        before, began = server.memory(), clock()
        for post in posts[1:]:
            http.send(post)
        published, taken = count - PER_BODY, clock() - began
        found = {
            "published/s": published * SECOND / taken,
            "bytes per message": (server.memory() - before) / published,
        }
        for kind in KINDS:
            targets = [target(question) for question in questions(kind, corpus, asked)]
            found |= {f"{kind.name}: {k}": v for k, v in _asked(server, http, targets).items()}
    return found


@cache
def _published(count: int) -> tuple[Corpus, list[bytes]]:
    """Return the messages and their requests, made once for all runs."""
    corpus = Corpus(count)
    return corpus, list(bodies(corpus))


def _asked(server: Server, http: Http, targets: list[str]) -> Figures:
    for each in targets[:5]:  # to warm up
        http.ask(each)
    taken, cpu = list[int](), server.cpu_ns()
    for each in targets:
        began = clock()
        http.ask(each)
        taken.append(clock() - began)
    spent = (server.cpu_ns() - cpu) / 1e6 / len(targets)
    times = Percentiles.of(taken)
    return {"p50 ms": times.p50, "p95 ms": times.p95, "CPU ms": spent}


def bodies(corpus: Corpus) -> Iterator[bytes]:
    """Yield the requests that publish all messages of `corpus`."""
    messages = corpus.messages()
    while batch := list(islice(messages, PER_BODY)):
        yield publication([msgspec.json.encode(message) for message in batch])


def target(question: Question) -> str:
    """Return the request target that asks a question."""
    text = " ".join([*question.words, question.part]).strip()
    parameters: dict[str, Any] = msgspec.to_builtins(question.filters)
    if isinstance(parameters.get("type"), list):
        parameters["type"] = ",".join(parameters["type"])
    parameters |= {"limit": 100, "offset": question.offset} | ({"query": text} if text else {})
    return f"/api/{'search' if text else 'history'}?{urlencode(parameters)}"
