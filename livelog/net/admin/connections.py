"""The connections of this server: who has them, from where, and how well each keeps up."""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import merge
from itertools import islice
from typing import Any

from livelog.net.admin.targets import Open, found, target_of
from livelog.net.context import Context
from livelog.net.transport import bytes_received, tcp_figures
from livelog.wire.admin import Connections
from livelog.wire.timestamps import timestamp

_STEP = 16
"""Rows that are made in one step: a few tenths of a millisecond."""

_PART = 512
"""Connections that are sorted in one step."""

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
    peers: list[Open], count: int, measure: Callable[[Context, Open], float], context: Context
) -> Generator[None, None, list[Open]]:
    """Find those with the highest measures, in steps: parts are sorted, then merged."""
    parts: list[list[tuple[float, int]]] = [[]]
    for start in range(0, len(peers), _STEP):
        some = enumerate(peers[start : start + _STEP], start)
        parts[-1] += [(-measure(context, peer), place) for place, peer in some]
        if len(parts[-1]) >= _PART:
            parts[-1].sort()
            parts.append([])
        yield
    parts[-1].sort()
    merged = islice(merge(*parts), count)
    first: list[Open] = []
    while step := list(islice(merged, _STEP)):
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
        "behind": _behind(context, peer),
        "unsent_bytes": peer.transport.get_write_buffer_size(),
        "bytes_sent": sent,
        "round_trip_ms": round_trip,
        "limits": _limits(context, peer),
    }


def _since(peer: Open) -> float:
    """Return the Unix time of its handshake, which its id begins with (RFC 9562 section 5.7)."""
    return int(peer.id.partition("_")[2].replace("-", "")[:12], 16) / 1000


def _behind(context: Context, peer: Open) -> int:
    """Return how many messages in memory are newer than those that it has been sent."""
    return context.log.newer(context.hub.position(peer.reader))


def _bytes_sent(context: Context, peer: Open) -> int:
    return bytes_received(peer.transport)


def _limits(context: Context, peer: Open) -> Json:
    if peer.quota is None:
        return {}
    now = context.loop.time()
    buckets = {"messages": peer.quota.messages, "commands": peer.quota.commands}
    return {
        name: {"used": bucket.used(now), "limit": bucket.rate.limit}
        for name, bucket in buckets.items()
    }


_MEASURES: dict[str, Callable[[Context, Open], float]] = {
    "behind": _behind,
    "bytes_sent": _bytes_sent,
}
"""Order → what it is by."""
