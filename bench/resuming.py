"""Many clients that resume at once, each asking for the messages it missed, under live traffic.

All are connected and greeted before the clock starts, and a client is done when it has read every
byte of what it missed. Live subscribers are measured beside them as under any load.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Sequence
from time import monotonic_ns as clock

from bench import loadprocess
from bench.http import Http
from bench.load import Load
from bench.publishing import Publishing, by_ndjson
from bench.report import Figures
from bench.server import Server
from bench.websocket import Client, command

SECOND = 1_000_000_000
LIMIT_SECONDS = 60
LIVE = Load(subscribers=100, rate=50, seconds=12, warmup=2)


def flood(server: Server, clients: int, behind: int, kept: int, live: Load) -> Figures:
    """Publish `kept` messages; let `clients` resume `behind` messages each."""
    by_ndjson(server.url, Publishing(count=kept, subscribers=1, publishers=1))
    with loadprocess.running(live, server) as beside:
        beside.wait_for_stream()
        since, size = _place(server.url, behind)
        seconds = _resumed(server.url, clients, since, behind * (size + 4))
        found = beside.figures()
    return {
        "seconds": seconds,
        "messages/s": clients * behind / seconds,
        **{f"live {name}": found[name] for name in ("p50 ms", "p95 ms", "p99 ms", "missing")},
    }


def _place(url: str, behind: int) -> tuple[int, int]:
    """Return the seq `behind` messages back, and the size of a message."""
    [message] = json.loads(Http(url).ask(f"/api/history?limit=1&offset={behind}"))["messages"]
    return message["seq"], len(json.dumps(message, separators=(",", ":")))


def _resumed(url: str, count: int, since: int, size: int) -> float:
    """Return the seconds until all clients have read what they missed."""
    clients = [Client(url) for _ in range(count)]
    ask = command({"action": "subscribe", "message_types": ["user"], "since": since})
    began = clock()
    for client in clients:
        client.sock.sendall(ask)
    _drain([client.sock for client in clients], size)
    seconds = (clock() - began) / SECOND
    for client in clients:
        client.sock.close()
    return seconds


def _drain(sockets: Sequence[socket.socket], size: int) -> None:
    sink = bytearray(1 << 20)
    left = {each.fileno(): (each, size) for each in sockets}
    poll = select.epoll()
    for descriptor in left:
        poll.register(descriptor, select.EPOLLIN)
    deadline = clock() + LIMIT_SECONDS * SECOND
    while left:
        if clock() > deadline:
            raise SystemExit(f"{len(left)} clients have not got what they missed")
        for descriptor, _ in poll.poll(1):
            sock, missing = left[descriptor]
            missing -= sock.recv_into(sink, 0, socket.MSG_TRUNC)
            left[descriptor] = sock, missing
            if missing <= 0:
                poll.unregister(descriptor)
                del left[descriptor]
    poll.close()
