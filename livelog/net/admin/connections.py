"""The connections of this server: who has them, from where, and how well each keeps up."""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import merge
from itertools import islice
from operator import neg
from typing import Any

from livelog.net.admin.targets import Open, found, target_of
from livelog.net.context import Context
from livelog.net.transport import bytes_received, tcp_figures
from livelog.wire.admin import Connections
from livelog.wire.timestamps import timestamp

_STEP = 16
"""Rows that are made in one step: a few tenths of a millisecond."""

_PART = 64
"""Connections that are measured and sorted in one step, for the same time."""

Measure = Callable[[Context, list[Open]], list[int]]
"""Measures some connections, by which they are sorted."""

Json = dict[str, Any]


def page(context: Context, command: Connections) -> Generator[None, None, Json]:
    """List a page of the connections of this server, and count all that match, in steps."""
    target = target_of(
        connection_id=command.connection_id, user_id=command.user_id, address=command.address
    )
    meant = yield from found(context, target)
    end, first = command.offset + command.limit, meant
    if command.sort != "since":
        first = yield from _first(meant, end, _MEASURES[command.sort], context)
    some = first[command.offset : end]
    rows: list[Json] = []
    for start in range(0, len(some), _STEP):
        rows += [_row(context, peer) for peer in some[start : start + _STEP]]
        yield
    return {
        "connections": rows,
        "total_count": len(meant),
        "limit": command.limit,
        "offset": command.offset,
    }


def _first(
    peers: list[Open], count: int, measure: Measure, context: Context
) -> Generator[None, None, list[Open]]:
    """Find those with the highest measures, in steps: parts are sorted, then merged."""
    parts: list[list[tuple[int, int]]] = []
    for start in range(0, len(peers), _PART):
        measures = measure(context, peers[start : start + _PART])
        parts.append(sorted(zip(map(neg, measures), range(start, start + _PART), strict=False)))
        yield
    merged = islice(merge(*parts), count)
    first: list[Open] = []
    while step := list(islice(merged, _PART)):
        first += [peers[place] for _, place in step]
        yield
    return first


def _row(context: Context, peer: Open) -> Json:
    sent, round_trip = tcp_figures(peer.transport)
    subscription = peer.reader.subscription
    return {
        "id": peer.id,
        "kind": peer.kind,
        "user_id": peer.principal.id,
        "address": peer.address,
        "client": peer.agent,
        "since": timestamp(_since(peer)),
        "node": context.node(),
        "message_types": subscription.types,
        "filters": subscription.filters,
        "behind": _behind(context, [peer])[0],
        "unsent_bytes": peer.transport.get_write_buffer_size(),
        "bytes_sent": sent,
        "round_trip_ms": round_trip,
        "limits": _limits(context, peer),
    }


def _since(peer: Open) -> float:
    """Return the Unix time of its handshake, which its id begins with (RFC 9562 section 5.7)."""
    return int(peer.id.partition("_")[2].replace("-", "")[:12], 16) / 1000


def _behind(context: Context, peers: list[Open]) -> list[int]:
    """Return how many messages in memory are newer than those that each has been sent."""
    newer, position = context.log.newer, context.hub.position
    return [newer(position(peer.reader)) for peer in peers]


def _bytes_sent(context: Context, peers: list[Open]) -> list[int]:
    return bytes_received(peer.transport for peer in peers)


def _limits(context: Context, peer: Open) -> Json:
    if peer.quota is None:
        return {}
    now = context.loop.time()
    buckets = {"messages": peer.quota.messages, "commands": peer.quota.commands}
    return {
        name: {"used": bucket.used(now), "limit": bucket.rate.limit}
        for name, bucket in buckets.items()
    }


_MEASURES: dict[str, Measure] = {
    "behind": _behind,
    "bytes_sent": _bytes_sent,
}
"""Order → what it is by."""
