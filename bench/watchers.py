"""Watchers of live counts: the share of a core that they take at a steady rate of messages.

The same connections are open in both runs; in one of them each has a watch. One more watches the
number of all messages, which must be the number that was published.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import msgspec

from bench.clients import SECOND, Publisher, Pump, Subscriber, clock
from bench.livewhere import TEXT_LENGTH
from bench.report import Figures
from bench.server import Launch
from bench.traffic import Traffic
from bench.websocket import Client, Json

GROUPS = ("type", "channel", "user_id", "username")
WHERES = ("*", "dragon", "-the", "user_id:user_0007 OR raid", "channel:general -gold")


@dataclass(frozen=True)
class Watchers:
    """Numbers of watchers and of messages a second."""

    watchers: int = 1000
    rate: float = 2000
    seconds: float = 8
    warmup: float = 2
    pairs: int = 3


def watched(launch: Launch, load: Watchers) -> Figures:
    """Compare connections that watch with the same connections that do not.

    They take turns, and the median is told: what is looked for is small beside the traffic.
    """
    without, found = list[float](), list[float]()
    for _ in range(load.pairs):
        without.append(_core(launch, load, []))
        found.append(_core(launch, load, list(watches())))
    more = [one - other for one, other in zip(found, without, strict=True)]
    return {
        "core %": median(found),
        "core % without": median(without),
        "core % more": median(more),
    }


def watches() -> list[Json]:
    """Return distinct watches."""
    return [
        {"action": "watch", "id": "w", "group_by": group, "filters": {"where": where}}
        for group in GROUPS
        for where in WHERES
    ]


def _core(launch: Launch, load: Watchers, asked: list[Json]) -> float:
    pump = Pump()  # before the sockets
    with launch.server() as server:
        total, publishing = Client(server.url), Client(server.url)
        clients = [Client(server.url) for _ in range(load.watchers)]
        if asked:
            for number, client in enumerate(clients):
                client.ask(asked[number % len(asked)])
            total.ask({"action": "watch", "id": "all"})
        publisher = Publisher(publishing, Traffic(TEXT_LENGTH))
        pump.watch(publisher, [Subscriber(client) for client in clients])
        start = clock()
        publisher.plan(start, load.rate, round(load.rate * (load.warmup + load.seconds)))
        pump.run(start + round(load.warmup * SECOND))
        spent, done = server.cpu_ns(), publisher.acknowledged
        while publisher.acknowledged < len(publisher.dues):
            pump.run(clock() + SECOND // 10)
        # The time per message, since a machine with other work may need longer for all of them.
        spent, done = server.cpu_ns() - spent, publisher.acknowledged - done
        core = 100 * spent / SECOND * load.rate / done
        if asked:
            _check(total, len(publisher.dues))
        for client in (total, publishing, *clients):
            client.sock.close()
    return core


def _check(total: Client, published: int) -> None:
    """Read the counts until they are as many as were published."""
    counted = 0
    while counted < published:
        counted += msgspec.json.decode(total.read_until(b'"counts"'))["total_count"]
    assert counted == published, (counted, published)
