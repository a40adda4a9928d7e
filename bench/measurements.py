"""The measurements: each starts a server, brings one load to it and returns figures.

A measurement is a function from `Launch` (which server, how started) and its own settings to
figures by name. Each has a server of its own, so that none inherits another's memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from bench import disksearch, loadprocess, privacy, publishing, restart, resuming, walgrowth
from bench.clients import SECOND, clock
from bench.handshakes import held, storm
from bench.latency import Percentiles
from bench.load import MB, Load
from bench.publishing import Publishing
from bench.report import Figures
from bench.server import Launch, Server
from bench.traffic import Traffic
from bench.websocket import Client, Json, listening

SETTLE_SECONDS = 1.5
IDLE_BASELINE = 500  # connections: enough for the server's code and pools to be in memory
HANDSHAKE_BACKGROUND = Load(subscribers=1000, rate=100, seconds=8, warmup=3)
PROBE_INTERVAL = SECOND // 20
SEED_TEXT = 100  # characters


def fanout(launch: Launch, load: Load) -> Figures:
    with launch.server() as server:
        return loadprocess.figures(load, server)


def fanout_and_floor(launch: Launch, load: Load) -> Figures:
    """Repeat the load on the floor right afterwards, while the machine is in the same state."""
    found = fanout(launch, load)
    floor = fanout(replace(launch, kind="floor", url=None), load)
    return found | {
        "CPU of floor": floor["CPU us/delivery"],
        "CPU / floor": found["CPU us/delivery"] / floor["CPU us/delivery"],
        "floor p95 ms": floor["p95 ms"],
    }


def idle(launch: Launch, connections: int) -> Figures:
    """Memory of a connection that subscribes while nothing is published."""
    with launch.server() as server:
        url = listening(server.url)
        with held(url, min(IDLE_BASELINE, connections // 2)) as first:
            before = _settled_memory(server)
            with held(url, connections - len(first)) as rest:
                after = _settled_memory(server)
                each = (after - before) / len(rest) / 1024
    return {"KB each": each, "memory MB": after / MB, "connections": float(connections)}


def _settled_memory(server: Server) -> int:
    time.sleep(SETTLE_SECONDS)
    return server.memory()


def handshakes(
    launch: Launch, connections: int, in_flight: int, background: Load = HANDSHAKE_BACKGROUND
) -> Figures:
    with launch.server() as server, loadprocess.running(background, server) as load:
        load.wait_for_stream()
        took, elapsed = storm(server.url, connections, in_flight)
        fan_out = load.figures()
    return {
        **Percentiles.of(took).figures(),
        "handshakes/s": connections / elapsed,
        **{f"fan-out {name}": fan_out[name] for name in ("deliveries/s", "p95 ms", "missing")},
    }


def stall(launch: Launch, load: Load, stall_seconds: float) -> Figures:
    """Measure the load with stalled subscribers, after the same load without these."""
    staying = round(load.subscribers * (1 - load.stall_percent / 100))
    without = fanout(launch, replace(load, subscribers=staying, stall_percent=0))
    with launch.server("--stall-seconds", str(stall_seconds)) as server:
        found = loadprocess.figures(load, server)
    return found | {
        "p95 without ms": without["p95 ms"],
        "others' core % without": without["others' core %"],
        "p95 / without": found["p95 ms"] / without["p95 ms"],
        "memory + queues MB": found["memory growth MB"] + found["send queues MB"],
    }


def publish_ndjson(launch: Launch, work: Publishing) -> Figures:
    return _published(launch, partial(publishing.by_ndjson, work=work))


def publish_commands(launch: Launch, work: Publishing) -> Figures:
    return _published(launch, partial(publishing.by_commands, work=work))


def _published(launch: Launch, publish: Callable[[str], Figures]) -> Figures:
    with launch.server_on_disk() as server:
        before = server.cpu_ns()
        found = publish(server.url)
        return found | {"CPU us/message": (server.cpu_ns() - before) / 1000 / found["messages"]}


def publish_at_a_pace(launch: Launch, rate: float, seconds: float) -> Figures:
    with launch.server_on_disk() as server:
        return publishing.at_a_pace(server.url, rate, seconds)


def resume(launch: Launch, clients: int, behind: int, live: Load = resuming.LIVE) -> Figures:
    with launch.server() as server:
        return resuming.flood(server, clients, behind, 4 * behind, live)


def resume_from_disk(
    launch: Launch, clients: int, behind: int, live: Load = resuming.LIVE
) -> Figures:
    with launch.server_on_disk("--window-messages", "1000") as server:
        return resuming.flood(server, clients, behind, 4 * behind, live)


def search_on_disk(launch: Launch, count: int) -> Figures:
    return disksearch.disk_search(launch, count)


def wal_beside_searches(launch: Launch, load: walgrowth.Beside) -> Figures:
    return walgrowth.beside_searches(launch, load)


def restarted(launch: Launch, load: restart.RestartLoad) -> Figures:
    return restart.restarted(load)


def private_messages(launch: Launch, load: privacy.PrivateLoad) -> Figures:
    return privacy.beside_the_open_server(load)


@dataclass(frozen=True)
class Probe:
    """A command whose latency the specification bounds."""

    name: str
    command: Json


PROBES = (
    Probe("search", {"action": "search", "query": "dragon"}),
    Probe("search", {"action": "search", "query": "ra gold", "filters": {"type": "user"}}),
    Probe("search", {"action": "search", "query": "isdra", "filters": {"user_id": "user_0007"}}),
    Probe("history", {"action": "get_history", "limit": 100}),
    Probe("history", {"action": "get_history", "limit": 1000, "offset": 500}),
    Probe("history", {"action": "get_history", "filters": {"user_id": "user_0007"}}),
)


def slo(launch: Launch, load: Load, seed: int) -> dict[str, Figures]:
    """Measure the specification's latencies while the load runs."""
    with launch.server() as server:
        _seed(server, seed)
        with loadprocess.running(load, server) as under_way:
            under_way.wait_for_stream()
            taken = _probed(server.url, clock() + round(load.seconds * SECOND))
            delivery = under_way.figures()
    return {"delivery": delivery} | {
        name: Percentiles.of(ns).figures() for name, ns in taken.items()
    }


def _seed(server: Server, count: int) -> None:
    """Publish messages to search, from the same texts as the load's."""
    publisher, traffic = Client(server.url), Traffic(SEED_TEXT)
    for first in range(0, count, 100):
        batch = range(first, min(first + 100, count))
        publisher.sock.sendall(b"".join(traffic.frame(number, 0) for number in batch))
        for _ in batch:
            publisher.read_until(b'"published"')
    publisher.close()


def _probed(url: str, until: int) -> dict[str, list[int]]:
    """Connect, search and fetch in turn, each due at its time and timed from it."""
    asking, opened = Client(url), list[Client]()
    probes: list[tuple[str, Callable[[], object]]] = [
        ("connection", lambda: opened.append(Client(url))),
        *((probe.name, partial(asking.ask, probe.command)) for probe in PROBES),
    ]
    taken: dict[str, list[int]] = {name: [] for name, _ in probes}
    due = clock()
    while due < until:
        for name, do in probes:
            time.sleep(max(0, due - clock()) / SECOND)
            do()
            taken[name].append(clock() - due)
            due += PROBE_INTERVAL
    for client in (asking, *opened):
        client.close()
    return taken
