"""Opening many connections: one after the other to hold them, or as a storm to time them.

The storm is one client that always has `in_flight` handshakes under way and opens the next when
one is done. A handshake is timed from before `connect` until the `connected` event has been read.
It is a closed loop on purpose: with all at once, the last one's latency would be the server's
throughput by another name.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from bench.clients import SECOND, clock
from bench.websocket import Client, RefusedError, address, upgrade

GREETING = b'"connected"'
LIMIT_SECONDS = 120


@contextmanager
def held(url: str, count: int) -> Iterator[list[Client]]:
    """Hold `count` greeted connections open until the end of the block."""
    clients = [Client(url) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.sock.close()


class Handshake:
    """One connection being opened without waiting for it."""

    def __init__(self, url: str) -> None:
        self.started = clock()
        self._request, self._answer = upgrade(url), b""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.connect_ex(address(url))

    def advance(self, epoll: select.epoll) -> bool:
        """Send or read what is possible now; return whether the handshake is complete."""
        if self._request:
            self.sock.send(self._request)
            self._request = b""
            epoll.modify(self.sock, select.EPOLLIN)
            return False
        data = self.sock.recv(1 << 12)
        if not data:
            raise RefusedError(f"closed during the handshake: {self._answer!r}")
        self._answer += data
        return GREETING in self._answer


def storm(url: str, count: int, in_flight: int) -> tuple[list[int], float]:
    """Return the nanoseconds of each handshake and the seconds of all; all stay open meanwhile."""
    epoll, under_way = select.epoll(), dict[int, Handshake]()
    done, took = list[socket.socket](), list[int]()
    begin = clock()
    while len(done) < count:
        while len(under_way) < in_flight and len(done) + len(under_way) < count:
            opened = Handshake(url)
            under_way[opened.sock.fileno()] = opened
            epoll.register(opened.sock, select.EPOLLOUT)
        for descriptor, _ in epoll.poll(LIMIT_SECONDS):
            if under_way[descriptor].advance(epoll):
                finished = under_way.pop(descriptor)
                took.append(clock() - finished.started)
                epoll.unregister(descriptor)
                done.append(finished.sock)
        if clock() - begin > LIMIT_SECONDS * SECOND:
            raise RefusedError(f"{count - len(done)} handshakes not done in {LIMIT_SECONDS} s")
    elapsed = (clock() - begin) / SECOND
    for sock in done:
        sock.close()
    return took, elapsed
