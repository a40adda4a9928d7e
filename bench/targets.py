"""The targets as data: the specification's latencies and the rows of every table.

A target that is missed is printed as missed. No measurement knows its target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from bench import (
    asking,
    attack,
    cluster,
    garbage,
    nginx,
    phone,
    privacy,
    proxied,
    redacting,
    restart,
    upgrading,
    walgrowth,
    wire,
)
from bench.load import Load
from bench.measurements import (
    fanout,
    fanout_and_floor,
    handshakes,
    idle,
    private_messages,
    publish_at_a_pace,
    publish_commands,
    publish_ndjson,
    restarted,
    resume,
    resume_from_disk,
    search_on_disk,
    stall,
    wal_beside_searches,
)
from bench.publishing import Publishing
from bench.report import Figures
from bench.rows import Row, Target
from bench.server import Launch
from bench.viewer import follow
from bench.viewershift import shift
from bench.viewerstart import first_line

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

RECEIVED = Target("subscribers' missing", "<=", 0)
RESUMED = (
    Target("seconds", "<=", 10),
    Target("live p95 ms", "<", 100),
    Target("live missing", "<=", 0),
)

LOG_ROWS = (
    Row(
        "publish NDJSON: disk, index, 10 subscribers",
        partial(publish_ndjson, work=Publishing()),
        (Target("messages/s", ">=", 15_000), RECEIVED),
    ),
    Row(
        "publish pipelined commands, the same",
        partial(publish_commands, work=Publishing(count=100_000)),
        (Target("messages/s", ">=", 10_000), RECEIVED),
    ),
    Row(
        "publish 2000 msg/s",
        partial(publish_at_a_pace, rate=2000, seconds=10),
        (Target("ack p95 ms", "<", 30), Target("unacknowledged", "<=", 0)),
    ),
    Row(
        "1000 clients resume 5000 messages each",
        partial(resume, clients=1000, behind=5000),
        RESUMED,
    ),
    Row("the same from disk", partial(resume_from_disk, clients=1000, behind=5000), RESUMED),
    Row(
        "20 searches/s over 1 M messages on disk only",
        partial(search_on_disk, count=1_100_000),
        (
            Target("ready s", "<", 1),
            Target("search p99 ms", "<", 250),
            Target("delivery p95 / without", "<=", 1.3),
            Target("missing", "<=", 0),
            Target("index made anew s", "<", 90),
        ),
    ),
    Row(
        "NDJSON beside three endless searches on disk",
        partial(wal_beside_searches, load=walgrowth.Beside()),
        (
            Target("WAL at most MB", "<=", 64),
            Target("WAL afterwards MB", "<=", 16),
            Target("searches", ">=", 3),
        ),
    ),
)

MEMORY_ROWS = (
    Row(
        "the garbage collector beside a million messages",
        lambda launch: garbage.collected(1_000_000),
        (
            Target("full pass ms", "<=", 10),
            Target("longest young pass ms", "<=", 10),
            Target("grown / window", "<=", 0.1),
        ),
    ),
)

SEARCHES = {
    "the window": (Target("bytes per message", "<=", 750),),
    "history at depth 200 000": (Target("p99 ms", "<", 2),),
    "one common word": (Target("p99 ms", "<", 5), Target("FTS5 / livelog", ">=", 10)),
    "two words, type, user, dates": (Target("p99 ms", "<", 10),),
    "two words": (),
    "part of a word, 3 to 5 letters": (
        Target("p99 ms", "<", 20),
        Target("longest stretch ms", "<=", 10),
    ),
    "two letters": (Target("p99 ms", "<", 20), Target("longest stretch ms", "<=", 10)),
}

HELD = Target("longest hold ms", "<=", 10)
ASKED = {
    asking.WINDOW: (Target("bytes per message", "<=", 800),),
    "where: up to 5 terms": (Target("p99 ms", "<", 15), HELD),
    "where: metadata.level, two terms": (Target("p99 ms", "<", 20), HELD),
    "analyze: types per minute": (
        Target("p99 ms", "<", 25),
        Target("DuckDB / livelog", ">=", 2),
    ),
    "analyze: top 20 of 20,000 users": (Target("p99 ms", "<", 60), HELD),
    "analyze: distinct users per hour": (Target("p99 ms", "<", 100), HELD),
    asking.ON_DISK: (
        Target("p99 ms", "<", 500),
        Target("incomplete", "<=", 0),
        Target("delivery p95 / without", "<=", 1.3),
        Target("missing", "<=", 0),
    ),
    asking.LIVE: (Target("CPU many / few", "<=", 1.5),),
    asking.WATCHED: (Target("core % more", "<=", 5),),
    asking.INGEST: (Target("CPU / before", "<=", 1.1),),
}
"""Targets of `ask`; those of peers or of another checkout are left out where there is none."""

SEEN = (  # at the 95th percentile no frame is left out; a bound for memory, and no growth
    Target("frame p95 ms", "<", 20),
    Target("heap MB", "<", 20),
    Target("heap grown MB", "<", 20),
    Target("elements", "<", 1500),
    Target("behind s", "<", 2),
)
VIEWER_ROWS = (
    Row("the viewer at 200 msg/s", partial(follow, rate=200), SEEN),
    Row("the viewer at 1000 msg/s", partial(follow, rate=1000), SEEN),
    Row("the viewer at 3000 msg/s", partial(follow, rate=3000), SEEN),
    Row(
        "the viewer over eight hours, sped up",
        shift,
        (
            Target("frame p95 ms", "<", 20),
            Target("heap MB", "<", 20),
            Target("heap MB grown", "<", 2),
            Target("nodes grown", "<", 500),
            Target("listeners grown", "<", 50),
            Target("day rows", ">=", 1),
            Target("behind s", "<", 2),
        ),
    ),
    Row(
        "the viewer's start",
        partial(first_line, tls=False),
        (Target("first line s", "<", 1.5), Target("with handshakes: first line s", "<", 1.5)),
    ),
    Row(
        "the viewer's start with TLS",
        partial(first_line, tls=True),
        (Target("first line s", "<", 1.9), Target("with handshakes: first line s", "<", 1.9)),
    ),
)

PRIVATE = (
    Target("CPU / open", "<=", 1.2),
    Target("missing bytes", "<=", 0),
    Target("surplus bytes", "<=", 0),
    Target("unacknowledged", "<=", 0),
)
PRIVACY_ROWS = (
    Row(
        "10,000 users, 500 msg/s, 2 of them for all",
        partial(private_messages, load=privacy.PrivateLoad(public=2)),
        PRIVATE,
    ),
    Row(
        "10,000 users, 500 msg/s, 5 of them for all",
        partial(private_messages, load=privacy.PrivateLoad(public=5)),
        PRIVATE,
    ),
    Row(
        "2000 users, 500 msg/s, 50 of them for all",
        partial(private_messages, load=privacy.PrivateLoad(users=2000, public=50)),
        PRIVATE,
    ),
)

NGINX_ROWS = (
    Row(
        "1000 x 10 msg/s on one core with nginx",
        partial(nginx.in_front, load=nginx.LOAD),
        tuple(
            Target(f"{way}: {figure}", relation, bound)
            for way in ("nginx", "nginx and TLS")
            for figure, relation, bound in (("p95 ms", "<", 100), ("missing", "<=", 0))
        ),
    ),
)

_SOUND = Target("missing or wrong", "<=", 0)
WIRE_ROWS = (
    Row(
        "1000 readers x 100 msg/s",
        partial(wire.compared, load=wire.Wire()),
        (Target("ratio", ">=", 4), Target("core % more", "<=", 0), _SOUND),
    ),
    Row(
        "the same, the corpus' text",
        partial(wire.compared, load=wire.Wire(corpus=True)),
        (_SOUND,),
    ),
    Row(
        "1000 readers x 1000 msg/s in batches",
        partial(wire.compared, load=wire.Wire(rate=1000, batch=1)),
        (Target("ratio", ">=", 6), _SOUND),
    ),
    Row(
        "100 audiences of 10 readers x 100 msg/s",
        partial(wire.compared, load=wire.Wire(audiences=100)),
        (Target("core % more", "<=", 10), _SOUND),
    ),
    Row(
        "1000 readers x 4000 msg/s",
        partial(wire.compared, load=wire.Wire(rate=4000)),
        (Target("p95 ms", "<", 50), Target("p95 ms without", "<", 50), _SOUND),
    ),
    Row(
        "idle connections that may be compressed",
        partial(wire.idle, connections=4000),
        (Target("KB each", "<=", 6),),
    ),
    Row(
        "1000 readers join within a second at 500 msg/s",
        partial(wire.joined, load=wire.Wire(readers=16, rate=500, seconds=4, joining=1000)),
        (Target("p95 / without", "<=", 1.3), Target("ratio after 2 s", ">=", 4)),
    ),
    *(
        Row(
            f"{proxied.LOAD.readers} readers behind nginx and TLS x {rate} msg/s",
            partial(proxied.compared, load=replace(proxied.LOAD, rate=rate)),
            (
                Target("batches: CPU / single", "<=", 0.5),
                Target("compressed batches: CPU / compressed", "<=", 0.5),
                *(Target(f"{way}: missing or wrong", "<=", 0) for way in proxied.WAYS),
            ),
        )
        for rate in (200, 1000)
    ),
    *(
        Row(
            f"Chromium with {page} at {phone.LOAD.rate} msg/s",
            partial(phone.compared, kind=kind),
            (
                Target("batches: core % / single", "<=", 0.5),
                Target("compressed batches: core % / compressed", "<=", 0.5),
                *(Target(f"{way}: missing", "<=", 0) for way in proxied.WAYS),
                *(Target(f"{way}: audiences", "<=", 1) for way in proxied.WAYS),
            ),
        )
        for kind, page in (("client", "the client alone"), ("viewer", "the viewer"))
    ),
)

RESTART_ROWS = (
    Row(
        "8000 clients through a restart",
        partial(restarted, load=restart.RestartLoad()),
        (
            Target("missing", "<=", 0),
            Target("doubled", "<=", 0),
            Target("out of order", "<=", 0),
            Target("not back", "<=", 0),
            Target("peak / mean", "<=", 1.5),
        ),
    ),
)

REDACT_ROWS = (
    Row(
        "10,000 of 1 M messages are redacted beside 1000 x 50 msg/s",
        partial(redacting.redacted, work=redacting.Redaction()),
        (
            Target("found no more s", "<", 1),
            Target("scrubbed s", "<", 10),
            Target("files with the word", "<=", 0),
            Target("files with the user", "<=", 0),
            Target("erase ping p99 ms", "<=", 10),
            Target("delivery p95 ms", "<", 100),
            Target("missing", "<=", 0),
        ),
    ),
    Row(
        "10,000 connections are listed",
        partial(redacting.connections_listed, connections=10_000),
        (
            Target("since p95 ms", "<", 50),
            Target("behind p95 ms", "<", 50),
            Target("bytes_sent p95 ms", "<", 50),
            Target("bytes_sent ping p99 ms", "<=", 5),
        ),
    ),
    Row(
        "presence of 10,000 users",
        lambda launch: redacting.presence_memory(10_000),
        (Target("bytes per user", "<=", 300),),
    ),
)

UNHARMED = (Target("p95 ms", "<", 100), Target("missing", "<=", 0))
ATTACK_ROWS = (
    Row(
        "10,000 half-open connections",
        lambda launch: attack.half_open(10_000),
        (*UNHARMED, Target("half-open", ">=", 9_000)),
    ),
    Row("a flood of connections", lambda launch: attack.flood(), UNHARMED),
    Row(
        "10,000 changes of subscriptions a second",
        lambda launch: attack.churn(10_000),
        (*UNHARMED, Target("changes/s", ">=", 9_000)),
    ),
    Row(
        "costly requests of all kinds at a time",
        lambda launch: attack.costly(),
        (
            Target("samples of each", ">=", 300),
            Target("ping p99 ms", "<", 100),
            Target("publish p99 ms", "<", 100),
            Target("search p99 ms", "<", 250),
        ),
    ),
    Row(
        "10,000 distinct filters",
        lambda launch: attack.distinct_filters(10, 10_000),
        (Target("CPU many / few", "<=", 1.5),),
    ),
    Row(
        "2000 connections with tokens",
        lambda launch: attack.token_check(2000),
        (Target("CPU ms more, HS256", "<", 1), Target("CPU ms more, ES256", "<", 1)),
    ),
)


def cluster_rows(sizes: cluster.Sizes) -> tuple[Row, ...]:
    """Return the rows of `cluster`, in one size."""

    def measured(
        measure: Callable[[Launch, cluster.Sizes], Figures],
    ) -> Callable[[Launch], Figures]:
        return lambda launch: measure(launch, sizes)

    return (
        Row(
            "published at one node, delivered by another: 1000 msg/s",
            measured(cluster.delivery),
            (Target("p95 ms", "<", 10), *COMPLETE),
        ),
        Row(
            "ingest over NDJSON",
            measured(cluster.ingest),
            (Target("of local", ">=", 0.6), RECEIVED),
        ),
        Row(
            "fan-out of a node that only follows",
            measured(cluster.following),
            (Target("CPU / local", "<=", 1.1), *COMPLETE),
        ),
        Row(
            "leader killed at 1000 msg/s",
            measured(cluster.leader_killed),
            (
                Target("seconds without delivery", "<", 10),
                Target("history p95 after / before", "<=", 1.3),
                *COMPLETE,
            ),
        ),
        Row(
            "new node, 1 M messages in the stream",
            measured(cluster.new_node),
            (Target("ready s", "<", 90), Target("missing", "<=", 0)),
        ),
        Row("idle node", measured(cluster.idle), (Target("core %", "<", 1),)),
        Row(
            "nodes and brokers upgraded one after the other",
            lambda launch: upgrading.upgraded(),
            (
                Target("longest pause, a node s", "<", 1),
                Target("longest pause, a broker s", "<", 1),
                *(Target(wrong, "<=", 0) for wrong in upgrading.WRONG),
            ),
        ),
    )


class Table(NamedTuple):
    """A command that measures rows, and prints a table of them."""

    about: str
    """A line of `--help`."""
    rows: tuple[Row, ...]
    quick: tuple[Row, ...] = ()
    """The rows under `--quick`, if it has that option."""


TABLES = {
    "table": Table("every row of the fan-out", ROWS),
    "log": Table("every row of the log: publishing, resuming, and searches on disk", LOG_ROWS),
    "memory": Table("passes of the garbage collector beside a full window", MEMORY_ROWS),
    "viewer": Table("frames and memory of the viewer's page while messages arrive", VIEWER_ROWS),
    "nginx": Table("what nginx in front costs, without TLS and with it", NGINX_ROWS),
    "wire": Table("bytes on the wire, with compression and batches, and their cost", WIRE_ROWS),
    "attack": Table("the fan-out under attack, and what a token costs", ATTACK_ROWS),
    "restart": Table("clients through a restart", RESTART_ROWS),
    "redact": Table("redacting, listing clients, and the memory of presence", REDACT_ROWS),
    "privacy": Table("users with direct messages, beside an open server", PRIVACY_ROWS),
    "cluster": Table(
        "several nodes on one log, and what brokers' faults cost",
        cluster_rows(cluster.FULL),
        cluster_rows(cluster.QUICK),
    ),
}
"""Command → what it measures."""
