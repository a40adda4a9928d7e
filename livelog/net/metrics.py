"""Metrics: what the parts of the server count, in the text formats of Prometheus.

Each part counts what it does by itself; here stand the names, and where each figure is read. They
are read when somebody asks, so nothing is kept twice. The table is the list in README.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from livelog.budget.durations import BOUNDS, Durations
from livelog.net.context import Context

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

_FILES = {"database": "", "wal": "-wal", "index": "-index"}
"""Files of a store → what follows their common name."""

Figures = float | Durations | Mapping[Any, float] | Mapping[Any, Durations]
"""One figure, or one for each label: its value, or a tuple of the values of several."""


class Metric(NamedTuple):
    """A metric: its name without `livelog_`, its meaning, where it is read, and its labels."""

    kind: str
    name: str
    help: str
    read: Callable[[Context], Figures]
    labels: tuple[str, ...] = ()


def _connections(context: Context) -> Figures:
    registry = context.limiter.connections
    return {"websocket": len(registry.websockets), "http": len(registry.waiting)}


def _users(context: Context) -> Figures:
    """Return the number of users; there are none where everything is public."""
    return {} if context.online is None else {(): context.online.roster.here}


def _state(context: Context) -> Figures:
    running = not context.ending.is_set()
    impaired = context.ingest.impaired or context.log.impaired
    return {
        "running": running,
        "ready": running and not (context.ingest.unready or context.log.unready),
        "writable": running and context.ingest.refusal is None,
        "unimpaired": not impaired,
    }


def _files(context: Context) -> Figures:
    """Return the sizes of the files that are there; none are without a store."""
    path = context.config.storage.path
    found: dict[str, float] = {}
    for name, suffix in _FILES.items() if path != "memory" else ():
        with suppress(OSError):
            found[name] = os.stat(path + suffix).st_size
    return found


def _lag(context: Context) -> Figures:
    """Return the lag of a shared log; of the server's own there is none."""
    lag = context.ingest.lag
    return {} if lag is None else {(): lag}


# fmt: off
METRICS = (
    Metric("gauge", "info", "The version of livelog.",
           lambda context: {context.version: 1}, ("version",)),
    Metric("gauge", "state", "1 where it holds: running (no drain), ready, writable, unimpaired.",
           _state, ("state",)),
    Metric("gauge", "head_seq", "Seq of the newest message.",
           lambda context: context.log.head),
    Metric("gauge", "connections", "Open connections.",
           _connections, ("kind",)),
    Metric("gauge", "users", "Users that are on line at this server.",
           _users),
    Metric("gauge", "audiences", "Different subscriptions of live readers.",
           lambda context: context.hub.audiences),
    Metric("gauge", "readers_behind", "Readers that read on from the log, and are not live yet.",
           lambda context: context.catch_up.behind),
    Metric("gauge", "readers_blocked", "Readers whose send buffer is full.",
           lambda context: context.memory.deliveries.holders),
    Metric("counter", "published", "Messages that were given to the engine, repeated ones too.",
           lambda context: context.ingest.published, ("door", "type")),
    Metric("counter", "messages", "Messages that the log has taken.",
           lambda context: context.log.taken, ("type",)),
    Metric("counter", "delivered_messages", "Messages that were written to live readers.",
           lambda context: context.hub.delivered),
    Metric("counter", "delivered_bytes", "Bytes that were written to live readers.",
           lambda context: context.hub.delivered_bytes),
    Metric("counter", "caught_up_bytes", "Bytes that were written to readers behind.",
           lambda context: context.catch_up.written_bytes),
    Metric("histogram", "delivery_seconds",
           "Time from the first message of a round to the end of the round: the longest wait of a"
           " message in it.",
           lambda context: context.hub.waits),
    Metric("histogram", "acknowledgement_seconds", "Time from a publication to its outcome.",
           lambda context: context.ingest.waits),
    Metric("histogram", "read_seconds", "Time to answer a query.",
           lambda context: context.log.reads, ("query",)),
    Metric("histogram", "loop_lag_seconds", "Time by which the event loop runs a timer late.",
           lambda context: context.loop_lag),
    Metric("counter", "refusals", "Requests and commands that were refused, by error code.",
           lambda context: context.audit.refusals, ("code",)),
    Metric("counter", "closes", "WebSockets and streams that the server has ended, by close code.",
           lambda context: context.audit.closes, ("code",)),
    Metric("counter", "limits_hit", "Refusals by a rate limit: of what, and whose.",
           lambda context: context.limiter.hits, ("scope", "owner")),
    Metric("counter", "blocks", "Client addresses that were blocked.",
           lambda context: context.limiter.blocks),
    Metric("gauge", "memory_bytes", "Memory by what it is taken for; `limit` is the limit.",
           lambda context: context.memory.figures(), ("part",)),
    Metric("gauge", "index_waiting_bytes", "Messages that the index does not have yet.",
           lambda context: context.log.waiting_bytes),
    Metric("gauge", "store_bytes", "Size of the files of the store.",
           _files, ("file",)),
    Metric("gauge", "engine_lag_seconds", "Time for which a shared log may have been ahead.",
           _lag),
)
# fmt: on


def render(context: Context, accept: str) -> tuple[bytes, str]:
    """Return all metrics and their content type, OpenMetrics if `accept` asks for it.

    Raises `ImportError` without prometheus-client.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry()
    registry.register(_Collector(context))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector:
    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Family]:
        """Yield all metrics with their figures."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        kinds = {
            "counter": CounterMetricFamily,
            "gauge": GaugeMetricFamily,
            "histogram": HistogramMetricFamily,
        }
        for metric in METRICS:
            family = kinds[metric.kind](f"livelog_{metric.name}", metric.help, labels=metric.labels)
            for labels, figure in _labelled(metric.read(self._context)):
                if isinstance(figure, Durations):
                    family.add_metric(labels, _buckets(figure), figure.seconds)
                else:
                    family.add_metric(labels, figure)
            yield family


def _labelled(figures: Figures) -> Iterable[tuple[tuple[str, ...], float | Durations]]:
    """Return the figure of each combination of labels."""
    if not isinstance(figures, Mapping):
        return [((), figures)]
    return [
        (labels if isinstance(labels, tuple) else (str(labels),), figure)
        for labels, figure in figures.items()
    ]


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    bounds = [*map(str, BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(durations.counts), strict=True))
