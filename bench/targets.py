"""What is to be reached, as data: the specification's latencies and the table of loads.

The rule: a target that is missed is printed as missed. Nothing here knows how it is measured, and
nothing that measures knows its target.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.load import Figures, Load
from bench.trials import Against, fanout, fanout_and_floor, handshakes, idle, stall

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
}
VERDICTS = {True: "met", False: "MISSED"}


@dataclass(frozen=True)
class Target:
    """One figure and its bound."""

    figure: str
    relation: str
    bound: float

    def __str__(self) -> str:
        return f"{self.figure} {self.relation} {self.bound:,g}"

    def is_met(self, value: float) -> bool:
        return COMPARE[self.relation](value, self.bound)


@dataclass(frozen=True)
class Row:
    """One load, how it is brought, and what is to be reached under it."""

    name: str
    trial: Callable[[Against], Figures]
    targets: tuple[Target, ...]


COMPLETE = (
    Target("missing", "<=", 0),
    Target("surplus", "<=", 0),
    Target("out of order", "<=", 0),
    Target("unacknowledged", "<=", 0),
)

SLO = {  # the specification bounds the delivery at the 95th percentile and the others always
    "connection": Target("max ms", "<", 500),
    "delivery": Target("p95 ms", "<", 100),
    "search": Target("max ms", "<", 500),
    "history": Target("max ms", "<", 1000),
}

VIEWER = (  # at the 95th percentile half of the frames that a screen can show; no growth
    Target("frame p95 ms", "<=", 34),
    Target("heap grown MB", "<", 20),
    Target("elements", "<", 1500),
    Target("behind s", "<", 2),
)

STALL_SECONDS = 5.0
IN_FLIGHT = 32
# Stalled from the end of the warm-up to the end of the load: long enough for the buffers to fill
# and the policy to act, not so long that the server stops waiting for them to read why.
STALL_LOAD = Load(subscribers=1000, rate=500, seconds=10, warmup=3, stall_percent=20)

ROWS = (
    Row(
        "1000 subscribers x 50 msg/s",
        partial(fanout_and_floor, load=Load(subscribers=1000, rate=50)),
        (Target("p95 ms", "<=", 12), Target("CPU / floor", "<=", 1.25), *COMPLETE),
    ),
    Row(
        "1000 x 1000 msg/s",
        partial(fanout, load=Load(subscribers=1000, rate=1000)),
        (
            # One million, less what is still on its way when the last message has been due.
            Target("deliveries/s", ">=", 990_000),
            Target("p95 ms", "<=", 40),
            Target("core %", "<", 80),
            *COMPLETE,
        ),
    ),
    Row(
        "1000 x 2000 msg/s",
        partial(fanout, load=Load(subscribers=1000, rate=2000)),
        (Target("p95 ms", "<", 100), *COMPLETE),
    ),
    Row(
        "5000 x 50 msg/s",
        partial(fanout, load=Load(subscribers=5000, rate=50)),
        (Target("p95 ms", "<", 100), *COMPLETE),
    ),
    Row(
        "9000 idle connections",
        partial(idle, connections=9000),
        (Target("KB each", "<=", 6),),
    ),
    Row(
        "2000 handshakes during 100,000 deliveries/s",
        partial(handshakes, connections=2000, in_flight=IN_FLIGHT),
        (
            Target("p95 ms", "<", 100),
            Target("fan-out deliveries/s", ">=", 99_000),
            Target("fan-out missing", "<=", 0),
        ),
    ),
    Row(
        "20 % of 1000 stop reading at 500 msg/s",
        partial(stall, load=STALL_LOAD, stall_seconds=STALL_SECONDS),
        (
            Target("p95 / without", "<=", 1.3),
            Target("memory + queues MB", "<", 100),
            Target("told and closed %", ">=", 100),
            *COMPLETE,
        ),
    ),
)
