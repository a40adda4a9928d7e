"""The drain: disconnect clients gradually, and spread their reconnects.

Thousands of clients that are disconnected together reconnect together, and the next server is busy
with handshakes instead of delivering. So the close frames go out in slices over `--drain-seconds`,
each after a `disconnected` event with its own time to reconnect. These times begin when the next
server should be up, and are spread over as long as the drain. With few clients both take less.
During the drain `/healthz` answers that the server is not ready, new WebSockets are refused, and
connected clients are served as before.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from livelog.net.context import Context

_PER_CLIENT = 0.01
"""Seconds of drain for each client, up to `--drain-seconds` in total."""

_SLICE = 0.05
"""Seconds between two slices."""

_SUCCESSION = 1.0
"""Assumed seconds from the end of this server until the next one is up."""

_PER_RETURN = 0.001
"""Minimum seconds of the spread for each client."""


class Schedule:
    """The times of disconnects and reconnects. `elapsed` is in seconds since the drain began."""

    def __init__(
        self, clients: int, at_most: float, close_timeout: float, dice: random.Random
    ) -> None:
        self._clients = clients
        self.seconds = min(at_most, clients * _PER_CLIENT)
        """Duration of the drain."""
        self._spread = max(self.seconds, clients * _PER_RETURN)
        # This server waits up to the close time-out for close frames. With few clients a reconnect
        # that comes too early and is repeated costs nothing, hence the bound.
        self._gone = self.seconds + min(close_timeout + _SUCCESSION, self._spread)
        self._places: Iterator[int] = iter(dice.sample(range(clients), clients))
        self._dice = dice

    def due(self, elapsed: float) -> int:
        """Return the number of clients that are to be disconnected by `elapsed`."""
        part = elapsed / self.seconds if elapsed < self.seconds else 1
        return round(self._clients * part)

    def back_in(self, elapsed: float) -> float:
        """Return the seconds after which the next client to be disconnected is to reconnect.

        The order is random, so the time says nothing about when a client had connected. Each client
        has a place of its own in it.
        """
        place = next(self._places) + self._dice.random()
        return max(0.0, self._gone - elapsed) + self._spread * place / self._clients


async def drain(context: Context, hurried: asyncio.Event) -> None:
    """Disconnect all clients over time; the rest at once when `hurried` is set."""
    context.ending.set()
    connections = context.limiter.connections
    peers = list(connections)
    net = context.config.net
    schedule = Schedule(len(peers), net.drain_seconds, net.close_timeout, random.Random())
    started = context.loop.time()
    remaining = iter(peers)
    notified = 0
    while notified < len(peers):
        elapsed = schedule.seconds if hurried.is_set() else context.loop.time() - started
        due = schedule.due(elapsed)
        for _ in range(due - notified):
            peer = next(remaining)
            if peer in connections:  # neither gone nor replaced, as a TLS door is by an HTTP door
                peer.shut_down(schedule.back_in(elapsed))
        notified = due
        if notified < len(peers):
            await _pause(hurried)
    for peer in list(connections):  # connections made during the drain, such as for /healthz
        peer.shut_down(0)


async def disconnect(context: Context) -> None:
    """Wait for the close handshakes up to `close_timeout`, then cut the connections."""
    loop, connections = context.loop, context.limiter.connections
    deadline = loop.time() + context.config.net.close_timeout
    # Polled, because an event for this moment would cost every connection at every other one.
    while connections and loop.time() < deadline:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.01)
    for peer in list(connections):
        peer.abort()
    await asyncio.sleep(0)  # lets the transports report that they have gone


async def _pause(hurried: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_SLICE):
            await hurried.wait()
    except TimeoutError:
        pass
