"""The status of a shared log: its nodes, its stream, and what is wrong with them, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from livelog.config.address import SharedLog
from livelog.engine.base import Node
from livelog.engine.nats import batch, settings
from livelog.engine.nats.gossip import problems
from livelog.engine.nats.operator import Operator, connected
from livelog.engine.nats.stream import AwayError, Bounds
from livelog.errors import ConfigError


class Replica(msgspec.Struct):
    """A broker that has the stream."""

    name: str
    current: bool
    """It has all, as far as the leader knows."""
    offline: bool
    silent: float
    """Seconds since the leader has heard it."""
    behind: int
    """Entries that it lacks."""


class StreamState(msgspec.Struct):
    """The stream, as its leader tells of it."""

    name: str
    leader: str
    replicas: list[Replica]
    """Those beside the leader."""
    entries: int
    """Batches of messages."""
    bytes: int
    first_seq: int
    """Lowest and highest seq that what it has can have; 0 for an empty one."""
    last_seq: int
    unfit: str
    """The setting that does not fit; empty if all do."""


class Status(msgspec.Struct):
    """The status of a log."""

    log: str
    stream: StreamState | None
    nodes: list[Node]
    wrong: list[str]
    """What is wrong; empty if all is well."""
    notes: list[str]
    """What is good to know."""


async def look(log: SharedLog, creds: str) -> Status:
    """Look at a log, for some seconds. Raises `ConfigError` when the brokers refuse."""
    try:
        async with connected(log, creds) as operator:
            nodes = await operator.nodes()
            try:
                info = await operator.info()
            except AwayError as error:
                wrong = [f"the stream cannot be asked: {error}", *problems(nodes)]
                return Status(log.name, None, nodes, wrong, [])
            return _status(operator, info, nodes)
    except AwayError as error:
        return Status(log.name, None, [], [str(error)], [])


def _status(operator: Operator, info: Any, nodes: list[Node]) -> Status:
    wrong = list(problems(nodes))
    if not nodes:
        wrong.append("no node is heard")
    if info is None:
        name = settings.stream_of(operator.name)
        wrong.append(f"there is no stream {name}; the first node makes it")
        return Status(operator.name, None, nodes, wrong, [])
    stream, bounds = _stream(operator, info), None
    try:
        bounds = operator.bounds(info)
        wrong += _behind(bounds, nodes)
    except ConfigError as error:
        stream.unfit = str(error)
    wrong += _stream_problems(stream)
    return Status(operator.name, stream, nodes, wrong, list(_notes(info, stream, nodes)))


def _stream(operator: Operator, info: Any) -> StreamState:
    cluster, state = info.get("cluster") or {}, info["state"]
    replicas = [
        Replica(
            name=str(each.get("name", "")),
            current=bool(each.get("current")),
            offline=bool(each.get("offline")),
            silent=round(int(each.get("active", 0)) / 1e9, 3),
            behind=int(each.get("lag", 0)),
        )
        for each in cluster.get("replicas") or ()
    ]
    first = last = 0
    if state["messages"] and not settings.unfit(operator.name, info["config"]):
        bounds = operator.bounds(info)
        first, last = bounds.places.seq_of(bounds.first), bounds.end
    leader = str(cluster.get("leader", ""))
    name, entries, size = info["config"]["name"], state["messages"], state["bytes"]
    return StreamState(name, leader, replicas, entries, size, first, last, "")


def _stream_problems(stream: StreamState) -> Iterator[str]:
    if stream.unfit:
        yield stream.unfit
    if not stream.leader:
        yield "the stream has no leader: nothing is acknowledged until the brokers elect one"
    for replica in stream.replicas:
        if replica.offline:
            yield f"the replica on broker {replica.name} is offline"
        elif not replica.current:
            state = f"silent for {replica.silent:.0f} s, {replica.behind} entries behind"
            yield f"the replica on broker {replica.name} is not up to date: {state}"


def _behind(bounds: Bounds, nodes: list[Node]) -> Iterator[str]:
    """Tell of nodes that have more than the stream: the brokers have lost what they acknowledged.

    A node's word may be newer than what the leader has told: the stream is asked later.
    """
    ahead = sorted((node for node in nodes if node.seq > bounds.end), key=lambda node: -node.seq)
    for node in ahead:
        yield f"node {node.name} has messages up to {node.seq}, the stream only up to {bounds.end}"
    if ahead:
        name = ahead[0].name
        yield f"stop {name}, run `livelog engine heal` with its store, and start it again"


def _notes(info: Any, stream: StreamState, nodes: list[Node]) -> Iterator[str]:
    replicas = info["config"].get("num_replicas", 1)
    if replicas < 3:
        yield f"{replicas} replica{'s' * (replicas > 1)}: a broker that dies stops or loses the log"
    if len(versions := sorted({node.version for node in nodes})) > 1:
        yield f"the nodes have different versions: {', '.join(versions)}"
    for node in nodes:
        if lacking := sorted(batch.FORMATS - set(node.formats)):
            yield f"node {node.name} does not read {', '.join(lacking)}: it would stop there"
    if rebases := len(settings.bounds_of(info).rebases):
        yield f"the log was healed {'once' if rebases == 1 else f'{rebases} times'}"
