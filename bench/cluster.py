"""Several nodes on one log: delivery from one to another, and what the brokers' faults cost.

Three brokers that sync every write share the load's core; the nodes are on the server's. Each
comparison with the local engine is made in the same run. `disk sync p95 ms` says what the disk
itself takes at that moment for one write: every acknowledgement waits for a majority of those.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import loadprocess, publishing
from bench.brokers import Brokers, asked, brokers, leader
from bench.clients import SECOND, clock
from bench.latency import Percentiles
from bench.load import Load
from bench.publishing import Publishing
from bench.report import Figures
from bench.server import SERVER_CORES, Launch, Server, started
from bench.websocket import Client

STREAM, SUBJECT = "LIVELOG_bench", "livelog.bench.log"
SYNCS = 200
IDLE_SETTLE = 3.0
READY_SECONDS = 600
PER_BATCH = 1000
PROBE_INTERVAL = SECOND // 50
ELECTING = 4
"""Seconds in which the brokers have no leader yet: they take 5 to 7."""
BURST = 6
"""Seconds of messages that wait for it."""
HISTORY = {"action": "get_history", "limit": 100}


@dataclass(frozen=True)
class Sizes:
    """How much is measured: messages, and seconds."""

    seconds: float = 10
    subscribers: int = 1000
    ingested: int = 150_000
    filled: int = 1_000_000
    idle_seconds: float = 20


FULL = Sizes()
QUICK = Sizes(seconds=2, subscribers=50, ingested=20_000, filled=20_000, idle_seconds=3)


@contextmanager
def nodes(count: int) -> Iterator[tuple[Brokers, list[Server]]]:
    """Start brokers and nodes, each with an archive of its own."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "brokers").mkdir()
        broker = stack.enter_context(brokers(folder / "brokers"))
        yield broker, [stack.enter_context(node(folder, n, broker)) for n in range(count)]


@contextmanager
def node(folder: Path, number: int, broker: Brokers, patience: float = 60) -> Iterator[Server]:
    options = ("--store", str(folder / f"node{number}.db"), "--engine", broker.url("bench"))
    with started("livelog", *options, cores=SERVER_CORES, patience=patience) as server:
        yield server


@contextmanager
def alone() -> Iterator[Server]:
    """Start a server with the local engine, otherwise as the nodes are."""
    with TemporaryDirectory() as folder:
        store = ("--store", str(Path(folder, "live.db")))
        with started("livelog", *store, cores=SERVER_CORES) as server:
            yield server


def disk_sync() -> Figures:
    """Measure what the disk takes for one small write."""
    with TemporaryDirectory() as folder, Path(folder, "file").open("wb", buffering=0) as file:
        taken = []
        for _ in range(SYNCS):
            file.write(bytes(4096))
            began = clock()
            os.fsync(file.fileno())
            taken.append(clock() - began)
    return {"disk sync p95 ms": Percentiles.of(taken).p95}


def beside(local: Figures, *names: str) -> Figures:
    return {f"local {name}": local[name] for name in names}


def delivery(launch: Launch, sizes: Sizes, rate: float = 1000) -> Figures:
    """Publish at one node, deliver at the other."""
    work = Load(subscribers=10, sample=10, rate=rate, seconds=sizes.seconds)
    with alone() as server:
        local = loadprocess.figures(work, server)
    with nodes(2) as (_, (entry, server)):
        found = loadprocess.figures(work, replace(server, entry=entry.url))
    return found | beside(local, "p95 ms") | disk_sync()


def ingest(launch: Launch, sizes: Sizes) -> Figures:
    """Publish NDJSON at one node of one."""
    work = Publishing(count=sizes.ingested)
    with alone() as server:
        local = _ingested(server, work)
    with nodes(1) as (_, (server,)):
        found = _ingested(server, work)
    ratio = found["messages/s"] / local["messages/s"]
    return found | beside(local, "messages/s", "CPU us/message") | {"of local": ratio}


def _ingested(server: Server, work: Publishing) -> Figures:
    before = server.cpu_ns()
    found = publishing.by_ndjson(server.url, work)
    return found | {"CPU us/message": (server.cpu_ns() - before) / 1000 / found["messages"]}


def following(launch: Launch, sizes: Sizes, rate: float = 50) -> Figures:
    """Fan out at a node that only follows, and at a server that is alone."""
    work = Load(subscribers=sizes.subscribers, rate=rate, seconds=sizes.seconds)
    with alone() as server:
        local = loadprocess.figures(work, server)
    with nodes(2) as (_, (entry, server)):
        found = loadprocess.figures(work, replace(server, entry=entry.url))
    ratio = found["CPU us/delivery"] / local["CPU us/delivery"]
    return found | beside(local, "p95 ms", "CPU us/delivery") | {"CPU / local": ratio}


def leader_killed(launch: Launch, sizes: Sizes, rate: float = 1000) -> Figures:
    """Kill the stream's leader in the middle of a load, and ask for history all the while."""
    half = max(sizes.seconds, 8.0)
    work = Load(subscribers=10, sample=10, rate=rate, seconds=half + 15)
    with nodes(2) as (broker, (entry, server)):
        first = asyncio.run(leader(broker.urls, STREAM))
        with loadprocess.running(work, replace(server, entry=entry.url)) as load:
            load.wait_for_stream()
            before = _asked_for_history(server.url, clock() + round(half * SECOND))
            broker.kill(first)
            after = _asked_for_history(server.url, clock() + 10 * SECOND)
            found = load.figures()
    then, now = Percentiles.of(before).p95, Percentiles.of(after).p95
    away = Percentiles.of(after[: ELECTING * SECOND // PROBE_INTERVAL]).p95
    return found | {
        "seconds without delivery": found["max ms"] / 1000,
        "history p95 before ms": then,
        "history p95 without leader ms": away,
        "history p95 after ms": now,
        "history p95 after / before": now / then,
        "local history p95 beside a burst ms": _beside_a_burst(round(rate * BURST)),
    }


def _beside_a_burst(count: int) -> float:
    """Ask for history while two servers on one core, each alone, take many messages at once.

    That many wait when the brokers have a leader again; here are neither brokers nor elections.
    """
    with alone() as server, alone() as other:
        work = Publishing(count=count)
        publishers = [
            loadprocess.SPAWN.Process(target=publishing.by_ndjson, args=(each.url, work))
            for each in (server, other)
        ]
        for each in publishers:
            each.start()
        taken = _asked_for_history(server.url, clock() + 10 * SECOND)
        for each in publishers:
            each.join()
    return Percentiles.of(taken).p95


def _asked_for_history(url: str, until: int) -> list[int]:
    client, taken, due = Client(url), list[int](), clock()
    while due < until:
        time.sleep(max(0, due - clock()) / SECOND)
        client.ask(HISTORY)
        taken.append(clock() - due)
        due += PROBE_INTERVAL
    client.close()
    return taken


def new_node(launch: Launch, sizes: Sizes) -> Figures:
    """Start a node without an archive on a long stream."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "brokers").mkdir()
        with brokers(folder / "brokers") as broker:
            with node(folder, 0, broker):
                pass  # it makes the stream
            asyncio.run(_filled(broker, sizes.filled))
            began = clock()
            with node(folder, 1, broker, READY_SECONDS) as server:
                taken, cpu = (clock() - began) / SECOND, server.cpu_ns() / SECOND
                memory = server.peak_memory() / 2**20
                client = Client(server.url)
                total = client.ask({"action": "get_history", "limit": 1})["total_count"]
                client.close()
    return {
        "ready s": taken,
        "CPU s": cpu,
        "peak memory MB": memory,
        "missing": float(sizes.filled - total),
        "messages": float(sizes.filled),
    }


async def _filled(broker: Brokers, count: int) -> None:
    """Append messages to the stream, as a node would."""
    import nats

    from livelog.engine.nats import batch

    info = await asked(broker.urls, f"$JS.API.STREAM.INFO.{STREAM}")
    base = info["config"]["metadata"]["livelog.base"]
    client = await nats.connect(broker.urls)
    known = publishing.messages(PER_BATCH)
    for first in range(0, count, PER_BATCH):
        moment = {"timestamp": "2026-01-01T00:00:00.000Z"}
        payloads = [
            json.dumps(each | moment | {"id": f"m{first + n}"}, separators=(",", ":")).encode()
            for n, each in enumerate(known[: count - first])
        ]
        format, body = batch.encode(payloads)
        headers = {"Livelog-Format": format, "Livelog-Base": base}
        answer = await client.request(SUBJECT, body, timeout=10, headers=headers)
        if "seq" not in json.loads(answer.data):
            raise SystemExit(f"the stream was not filled: {answer.data!r}")
    await client.close()


def idle(launch: Launch, sizes: Sizes) -> Figures:
    """Measure what a node takes while nothing happens."""
    with nodes(3) as (_, servers):
        time.sleep(IDLE_SETTLE)
        began, before = clock(), [server.cpu_ns() for server in servers]
        time.sleep(sizes.idle_seconds)
        elapsed = clock() - began
        spent = [server.cpu_ns() - b for server, b in zip(servers, before, strict=True)]
        return {"core %": 100 * max(spent) / elapsed, "memory MB": servers[0].memory() / 2**20}
