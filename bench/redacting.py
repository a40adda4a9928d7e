"""Commands of moderators: a redaction, an erasure, and a list of all clients.

The first two share a file of `count` messages, all on disk and indexed there, the newer half in
memory, too; one in a hundred has a word of its own, another one a user of its own. While live
traffic flows they are redacted by that word, as a moderator does it: a dry run, then the act. It is
timed from the act's request until its answer, until a search finds none any more, and until the
server says that the files are clean. A reader of their type counts what it is told. Then the user
is erased, timed likewise; pings of a WebSocket, sent meanwhile a few milliseconds apart, show how
long the server was held. In the end the files are searched for the word and the user, byte by byte.

The list: an HTTP request for the first page, while so many WebSockets are open; pings of one of
them, sent meanwhile without a pause, show how long the server was held.
"""

from __future__ import annotations

import json
import secrets
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import jwt
import msgspec

from bench import loadprocess
from bench.clients import SECOND, clock
from bench.corpus import Corpus
from bench.disksearch import SMALL_WINDOW, indexed
from bench.handshakes import held
from bench.http import Http, publication
from bench.latency import Percentiles
from bench.load import Load
from bench.pings import pinging
from bench.report import Figures
from bench.server import Launch, Server
from bench.websocket import Client, Json, RefusedError
from bench.windowsearch import PER_BODY
from livelog.auth.principal import Principal
from livelog.net.online import WhoIsOnline

WORD, USER = "xyzzyplugh", "user_plughxyzzy"
"""In nothing but what is redacted, and what is erased."""
EVERY = 100
PING_SECONDS = 0.002
PATIENCE = 300
"""Seconds after which something is taken to fail."""
HOUR = 3600


LIVE = Load(subscribers=1000, rate=50, seconds=40, warmup=3)


@dataclass(frozen=True)
class Redaction:
    """A log of `count` messages, of which one in a hundred is redacted beside the live traffic, and
    another one erased."""

    count: int = 1_000_000
    live: Load = LIVE


class Moderator:
    """Requests over HTTP with a token that allows everything."""

    def __init__(self, server: Server, token: str) -> None:
        self._http = Http(server.url, PATIENCE)
        self._head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"

    def command(self, name: str, **fields: Any) -> Json:
        """Give a command and return its result."""
        body = json.dumps(fields)
        head = f"POST /api/admin/{name} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        answer: Json = json.loads(self._http.send(f"{head}{body}".encode()))
        result: Json = answer["result"]
        return result

    def get(self, target: str) -> Json:
        answer: Json = json.loads(
            self._http.send(f"GET {target} HTTP/1.1\r\n{self._head}\r\n".encode())
        )
        return answer

    def found(self) -> int:
        """Return how many messages have the word."""
        answer = self.get(f"/api/search?{urlencode({'query': WORD, 'limit': 1})}")
        return -1 if answer.get("incomplete") else int(answer["count"])


@contextmanager
def _moderated(launch: Launch, path: Path | None, *options: str) -> Iterator[tuple[Server, str]]:
    """Start a server with authentication; its URL has a token that allows everything."""
    secret = secrets.token_hex(32)
    claims = {"sub": "bench", "exp": int(time.time()) + HOUR}
    claims["scope"] = "read publish:any moderate presence admin"
    token = jwt.encode(claims, secret, "HS256")
    options = (*options, "--jwt-secret", secret)
    with launch.server_on(path, *options) if path else launch.server(*options) as server:
        yield replace(server, url=f"{server.url}?token={token}"), token


def redacted(launch: Launch, work: Redaction) -> Figures:
    """Redact one message in a hundred, scattered over the log, and erase the user of another."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "live.db")
        _fill(launch, path, work.count)
        window = ("--window-messages", str(work.count // 2))
        with _moderated(launch, path, *window) as (server, token):
            moderator = Moderator(server, token)
            _wait_until_filled(moderator)
            with loadprocess.running(work.live, server) as load:
                load.wait_for_stream()
                time.sleep(2)
                found = _timed(moderator, server) | _erased(moderator, server)
                figures = load.figures()
            files = [each.read_bytes() for each in path.parent.iterdir()]
    return {
        **found,
        "files with the word": float(sum(WORD.encode() in each for each in files)),
        "files with the user": float(sum(USER.encode() in each for each in files)),
        "delivery p95 ms": figures["p95 ms"],
        "delivery max ms": figures["max ms"],
        "missing": figures["missing"],
    }


def _fill(launch: Launch, path: Path, count: int) -> None:
    """Publish the messages, and let them be indexed."""
    messages = _messages(Corpus(count))
    with launch.server_on(path, *SMALL_WINDOW) as server:
        http = Http(server.url, PATIENCE)
        while batch := list(islice(messages, PER_BODY)):
            http.send(publication(batch))
    indexed(path, launch)


def _messages(corpus: Corpus) -> Iterator[bytes]:
    for number, message in enumerate(corpus.messages()):
        if number % EVERY == EVERY // 2:
            text = f"{WORD} {corpus.words[number % len(corpus.words)]}"
            message = {"type": "guild", "guild_id": f"guild_{number % 500}", "guild_name": text}
            message |= {"guild_level": 1, "event": "war_declared"}
        elif number % EVERY == 0:
            text = corpus.words[number % len(corpus.words)]
            message = {"type": "user", "user_id": USER, "username": "Plugh", "content": text}
        yield msgspec.json.encode(message)


def _wait_until_filled(moderator: Moderator) -> None:
    deadline = clock() + PATIENCE * SECOND
    while clock() < deadline:
        with suppress(RefusedError):
            if moderator.get("/readyz")["status"] == "ready" and moderator.found() > 0:
                return
        time.sleep(0.2)
    raise AssertionError("the log cannot be searched")


def _timed(moderator: Moderator, server: Server) -> Figures:
    reader = Client(f"{server.url}&message_types=guild")
    reader.read_until(b'"subscribed"')
    began = clock()
    dry = moderator.command("redact", where=WORD, dry_run=True)
    tried, cpu, reading = clock(), server.cpu_ns(), server.children_cpu_ns()
    moderator.command("redact", where=WORD, reason="spam", **dry)
    answered = clock()
    while moderator.found() != 0:
        pass
    gone, told = clock(), 0
    while told < dry["count"]:
        told += len(json.loads(reader.read_until(b'"redacted"'))["seqs"])
    known = clock()
    _wait_until_scrubbed(moderator)
    return {
        "messages": float(dry["count"]),
        "dry run s": (tried - began) / SECOND,
        "answered s": (answered - tried) / SECOND,
        "found no more s": (gone - tried) / SECOND,
        "told s": (known - tried) / SECOND,
        "scrubbed s": (clock() - tried) / SECOND,
        "CPU s": (server.cpu_ns() - cpu) / SECOND,
        "reading process CPU s": (server.children_cpu_ns() - reading) / SECOND,
    }


def _wait_until_scrubbed(moderator: Moderator) -> None:
    deadline = clock() + PATIENCE * SECOND
    while not moderator.command("audit", limit=1)["acts"][0]["scrubbed"]:
        assert clock() < deadline, "the files are not clean"
        time.sleep(0.1)


def _erased(moderator: Moderator, server: Server) -> Figures:
    with pinging(Client(server.url), PING_SECONDS) as pings:
        began = clock()
        done = moderator.command("erase", user_id=USER, reason="request")
        answered = clock()
        _wait_until_scrubbed(moderator)
    held = Percentiles.of(pings)
    return {
        "erased": float(done["erased"]),
        "erase answered s": (answered - began) / SECOND,
        "erase scrubbed s": (clock() - began) / SECOND,
        "erase ping p99 ms": held.p99,
        "erase ping max ms": held.max,
    }


# The list of the connections.


def connections_listed(launch: Launch, connections: int, asked: int = 20) -> Figures:
    """Ask for the first page in each order, of so many connections."""
    figures: Figures = {}
    with _moderated(launch, None) as (server, token), held(server.url, connections) as clients:
        moderator = Moderator(server, token)
        for sort in ("since", "behind", "bytes_sent"):
            with pinging(clients[0], 0.0) as pings:
                taken, cpu = [], server.cpu_ns()
                for _ in range(asked):
                    began = clock()
                    result = moderator.command("connections", sort=sort)
                    taken.append(clock() - began)
                cpu = server.cpu_ns() - cpu
            assert result["total_count"] == connections
            figures |= Percentiles.of(taken).figures(f"{sort} ")
            figures[f"{sort} CPU ms"] = cpu / asked / 1e6
            figures[f"{sort} ping p99 ms"] = Percentiles.of(pings).p99
    return figures


# Presence.


def presence_memory(users: int) -> Figures:
    """Memory of the presence at one server, by user."""
    principals = [Principal(f"user_{number:08}") for number in range(users)]
    tracemalloc.start()
    try:
        online = WhoIsOnline(0.0, lambda: None, lambda message: None)
        before, _ = tracemalloc.get_traced_memory()
        for number, principal in enumerate(principals):
            online.enter(principal, number / 1000)
        online.tick(1e6)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return {"bytes per user": (after - before) / users}
