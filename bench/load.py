"""The load: one process that publishes at a steady rate and reads for every subscriber.

How latency is measured. Message k is due at start + k/rate, whatever happened to those before it,
and carries that time; a reader takes the time again when its `recv` returns, on the same clock
(CLOCK_MONOTONIC, one for all processes). The difference is the latency: time lost by a publisher
that could not send, by a server that was busy and by a reader that came late is all in it. Every
read of every sampled subscriber is timed, and each message in it recorded.

Completeness is exact. All frames have one length, so a subscriber that was sent everything holds
messages x length bytes; a sampled one must besides hold the due times in order, each once.
Ballast subscribers let the kernel discard what they read (MSG_TRUNC) and count it.

One loop publishes and reads, on the core that the server does not use. The publisher is asked
after every BATCH reads, and `publish late` says how long after its due time a message was sent. A
publisher process of its own shares the core with the readers and waits for the scheduler instead:
measured side by side at 50 and 1000 msg/s to 1000 subscribers on a busy machine, it was no more
punctual (p99 of 1.7 to 3.3 ms against 0.9 to 3.2 ms) and the latencies were the same within the
noise, so there is one process less to explain.

`others' core %` is the CPU that neither server nor load used or that the host took away: where it
is not small, the latencies say little.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.clients import SECOND, Publisher, Pump, Sampled, Subscriber, clock, farewell
from bench.latency import Percentiles
from bench.report import Figures
from bench.server import Server, machine_cpu_ns
from bench.traffic import MARKER_DUE, STAMP, Traffic, calibrated
from bench.websocket import Client, listening

DRAIN_SECONDS = 15
HEADER = 4  # of every frame between 126 and 65535 bytes
MB = 1 << 20


@dataclass(frozen=True)
class Load:
    """Settings of a load."""

    subscribers: int = 1000
    rate: float = 50.0
    seconds: float = 10.0
    warmup: float = 3.0
    sample: int = 32
    size: int = 350
    stall_percent: float = 0.0

    @property
    def messages(self) -> int:
        return round((self.warmup + self.seconds) * self.rate)

    @property
    def warmup_messages(self) -> int:
        return round(self.warmup * self.rate)


@dataclass(frozen=True)
class Mark:
    """Counters at one moment."""

    time: int
    cpu: int
    load_cpu: int
    machine_cpu: int
    memory: int
    received: int


class Connections:
    """The connections of one load and the loop that serves them."""

    def __init__(self, load: Load, server: Server) -> None:
        self._load, self._server = load, server
        self._pump = Pump()
        clients = [Client(listening(server.url)) for _ in range(load.subscribers)]
        publishing = Client(server.entry or server.url)
        traffic = calibrated(publishing, clients[0], load.size)
        self.frame_size = load.size + HEADER
        self._start_stream(publishing, clients, traffic)
        self.publisher = Publisher(publishing, traffic)
        self._assign(clients)
        self._pump.watch(self.publisher, [*self.steady, *self.stalled])

    def _start_stream(self, publishing: Client, clients: list[Client], traffic: Traffic) -> None:
        """Publish a marker and read every connection up to it: what follows is the stream."""
        publishing.sock.sendall(traffic.frame(0, MARKER_DUE))
        publishing.read_until(b'"published"')
        for client in clients:
            while len(marker := client.read_until(STAMP)) != self._load.size:
                pass  # the trial messages of the calibration
            self._stamp_at = HEADER + marker.index(STAMP) + len(STAMP)

    def _assign(self, clients: list[Client]) -> None:
        """Spread the stalled evenly over the connections, and the sampled over the others."""
        share = self._load.stall_percent / 100
        stalls = [math.floor((n + 1) * share) > math.floor(n * share) for n in range(len(clients))]
        self.stalled = [Subscriber(c) for c, stall in zip(clients, stalls, strict=True) if stall]
        others = [c for c, stall in zip(clients, stalls, strict=True) if not stall]
        step = max(1, len(others) // max(1, self._load.sample))
        self.sampled = [
            Sampled(c, self.frame_size, self._stamp_at) for c in others[::step][: self._load.sample]
        ]
        taken = {sampled.sock for sampled in self.sampled}
        self.ballast = [Subscriber(c) for c in others if c.sock not in taken]

    @property
    def steady(self) -> list[Subscriber]:
        return [*self.ballast, *self.sampled]

    def pump(self, until: int) -> None:
        """Publish and read until the time `until`."""
        self._pump.run(until)

    def mark(self) -> Mark:
        received = sum(each.received for each in (*self.steady, *self.stalled))
        cpu = (self._server.cpu_ns(), time.process_time_ns(), machine_cpu_ns())
        return Mark(clock(), *cpu, self._server.memory(), received)

    def stop_reading(self) -> None:
        for each in self.stalled:
            self._pump.forget(each)

    def drain(self) -> None:
        """Wait, within bounds, until every message has arrived and every publish is answered."""
        messages = self._load.messages
        deadline = clock() + DRAIN_SECONDS * SECOND
        while clock() < deadline and (
            any(each.received < messages * self.frame_size for each in self.steady)
            or self.publisher.acknowledged + len(self.publisher.refusals) < messages
        ):
            self.pump(clock() + SECOND // 200)


def run(load: Load, server: Server, streaming: Callable[[], None]) -> Figures:
    """Bring the load to the server; `streaming` is called when the warm-up is over."""
    connections = Connections(load, server)
    gc.collect()
    gc.disable()  # the load makes no cycles while it runs, and a pause would be the server's blame
    start = clock() + SECOND // 10
    connections.publisher.plan(start, load.rate, load.messages)
    connections.pump(start + round(load.warmup * SECOND))
    begin = connections.mark()
    streaming()
    connections.stop_reading()
    connections.pump(start + round((load.warmup + load.seconds) * SECOND))
    end, queues = connections.mark(), server.send_queues()
    connections.drain()
    figures = {
        **latency_figures(load, connections),
        **delivery_figures(load, connections),
        **server_figures(server, connections.frame_size, begin, end),
    }
    return figures | stall_figures(connections, queues) if connections.stalled else figures


def latency_figures(load: Load, connections: Connections) -> Figures:
    measured = slice(load.warmup_messages, None)
    taken = [ns for each in connections.sampled for ns in each.latencies[measured]]
    return {
        **Percentiles.of(taken).figures(),
        "publish late p99 ms": Percentiles.of(connections.publisher.lateness[measured]).p99,
    }


def delivery_figures(load: Load, connections: Connections) -> Figures:
    """Count missing and surplus frames by bytes; samples must hold every due time in order."""
    expected = load.messages * connections.frame_size
    odd = sum(list(each.dues) != connections.publisher.dues for each in connections.sampled)
    for refusal in connections.publisher.refusals[:3]:
        print(f"refused: {refusal}")
    return {
        "missing": sum(max(0, expected - e.received) for e in connections.steady)
        / connections.frame_size,
        "surplus": sum(max(0, e.received - expected) for e in connections.steady)
        / connections.frame_size,
        "out of order": float(odd),
        "unacknowledged": float(load.messages - connections.publisher.acknowledged),
    }


def server_figures(server: Server, frame_size: int, begin: Mark, end: Mark) -> Figures:
    deliveries = (end.received - begin.received) / frame_size
    elapsed, cpu = end.time - begin.time, end.cpu - begin.cpu
    load_cpu, machine_cpu = end.load_cpu - begin.load_cpu, end.machine_cpu - begin.machine_cpu
    return {
        "deliveries/s": deliveries / elapsed * SECOND,
        "CPU us/delivery": cpu / 1000 / max(1, deliveries),
        "core %": 100 * cpu / elapsed,
        "load's core %": 100 * load_cpu / elapsed,
        "others' core %": 100 * max(0, machine_cpu - load_cpu - cpu) / elapsed,
        "memory MB": end.memory / MB,
        "memory growth MB": max(end.memory, server.peak_memory()) / MB - begin.memory / MB,
    }


def stall_figures(connections: Connections, queues: int) -> Figures:
    deadline = clock() + DRAIN_SECONDS * SECOND
    found = [farewell(each, connections.frame_size, deadline) for each in connections.stalled]
    return {
        "told and closed %": 100 * sum(told for told, _ in found) / len(found),
        "frames found by the stalled": sum(count for _, count in found) / len(found),
        "send queues MB": queues / MB,
    }
