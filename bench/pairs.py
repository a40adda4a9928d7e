"""Rows of `python -m bench pairs`: loads that two checkouts of livelog get alternately.

One harness measures both. Only the server is started from the checkout it belongs to, with the same
Python, and no module of the baseline (A) is imported here. Each row is measured A B A B and so on,
so that slow changes of the machine fall on both sides. The rows are those of `table`, `log` and
`search`, shorter; searches are asked over HTTP.
"""

from __future__ import annotations

from functools import partial

from bench import loadprocess
from bench.comparison import Compared, PairRow
from bench.disksearch import disk_search_only
from bench.load import Load
from bench.measurements import (
    fanout,
    handshakes,
    idle,
    publish_at_a_pace,
    publish_commands,
    publish_ndjson,
    resume,
    resume_from_disk,
)
from bench.memorysearch import KINDS
from bench.publishing import Publishing
from bench.report import Figures
from bench.server import Launch
from bench.windowsearch import window_search

P95, CPU = Compared("p95 ms"), Compared("CPU us/delivery")
RATES = (Compared("messages/s", -1), Compared("CPU us/message"))


def rows(seconds: float) -> tuple[PairRow, ...]:
    """Return the rows of `table`, `log` and `search`, each load `seconds` long."""
    load = partial(Load, seconds=seconds, warmup=1)
    return (
        *(
            PairRow(f"{n} x {rate} msg/s", partial(fanout, load=load(n, rate)), (P95, CPU))
            for n, rate in ((1000, 50), (1000, 1000), (1000, 2000), (5000, 50))
        ),
        PairRow(
            "9000 idle connections",
            partial(idle_bytes, connections=9000),
            (Compared("bytes per connection", margin=0.02),),
        ),
        PairRow(
            "2000 handshakes during 100,000 deliveries/s",
            partial(handshakes, connections=2000, in_flight=32, background=load(1000, 100)),
            (P95, Compared("handshakes/s", -1), Compared("fan-out p95 ms")),
        ),
        PairRow(
            "20 % of 1000 stop reading at 500 msg/s",
            partial(stalled, load=load(1000, 500, stall_percent=20)),
            (P95, CPU),
        ),
        PairRow(
            "publish NDJSON: disk, index, 10 subscribers",
            partial(publish_ndjson, work=Publishing(count=60_000)),
            RATES,
        ),
        PairRow(
            "publish pipelined commands, the same",
            partial(publish_commands, work=Publishing(count=40_000)),
            RATES,
        ),
        PairRow(
            "publish 2000 msg/s",
            partial(publish_at_a_pace, rate=2000, seconds=seconds),
            (Compared("ack p95 ms"),),
        ),
        *(
            PairRow(
                f"1000 clients resume 2500 messages each{where}",
                partial(measure, clients=1000, behind=2500, live=load(100, 50)),
                (Compared("seconds"), Compared("live p95 ms")),
            )
            for where, measure in (("", resume), (" from disk", resume_from_disk))
        ),
        PairRow(
            "20 searches/s over 60,000 messages on disk only",
            partial(disk_search_only, count=60_000, live=load(1000, 50)),
            (Compared("search p50 ms"), Compared("search p95 ms"), Compared("delivery p95 ms")),
        ),
        PairRow(
            "search among 40,000 messages in memory",
            partial(window_search, count=40_000, asked=100),
            (
                Compared("published/s", -1),
                Compared("bytes per message"),
                *(Compared(f"{kind.name}: {of}") for kind in KINDS for of in ("p50 ms", "CPU ms")),
            ),
        ),
    )


def idle_bytes(launch: Launch, connections: int) -> Figures:
    """Return the growth of the server's resident memory by connections that only listen."""
    found = idle(launch, connections)
    return {"bytes per connection": found["KB each"] * 1024}


def stalled(launch: Launch, load: Load) -> Figures:
    """Measure the load on a server that soon closes subscribers that stop reading."""
    with launch.server("--stall-seconds", f"{load.seconds / 2:g}") as server:
        return loadprocess.figures(load, server)
