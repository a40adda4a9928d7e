"""A polite end: clients are sent away one by one, and asked to come back one by one.

Thousands that are disconnected together come back together, and the next server answers handshakes
instead of delivering. So they are told in slices over `--drain-seconds`, each with a time of its
own at which to come back: after this server is gone and the next one is up, spread over as long
again. With few clients both take less. Meanwhile the server is unready: whoever asks `/healthz` is
told, nobody else is let in, and those who are still connected are served as ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from livelog.net.context import Context

_PER_CLIENT = 0.01
"""Seconds that the drain takes for each client, unless there are too many."""

_SLICE = 0.05
"""Seconds between two slices."""

_SUCCESSION = 1.0
"""Seconds from the end of this server until the next one is taken to be up."""

_PER_RETURN = 0.001
"""Seconds for each client to come back in, at least."""


class Schedule:
    """Who is told when, and when they are to come back. `elapsed` is in seconds since the start."""

    def __init__(
        self, clients: int, at_most: float, close_timeout: float, dice: random.Random
    ) -> None:
        self._clients = clients
        self.seconds = min(at_most, clients * _PER_CLIENT)
        """How long the drain takes."""
        self._spread = max(self.seconds, clients * _PER_RETURN)
        # Some do not answer the close, and this server waits for them. Few clients may as well try
        # sooner, and again.
        self._gone = self.seconds + min(close_timeout + _SUCCESSION, self._spread)
        self._places: Iterator[int] = iter(dice.sample(range(clients), clients))
        self._dice = dice

    def told(self, elapsed: float) -> int:
        """How many have to have been told by then."""
        part = elapsed / self.seconds if elapsed < self.seconds else 1
        return round(self._clients * part)

    def back_in(self, elapsed: float) -> float:
        """In how many seconds the next one to be told is to come back.

        The places are dealt out by chance, so a client's absence says nothing about when it came,
        and each place is a time of its own.
        """
        place = next(self._places) + self._dice.random()
        return max(0.0, self._gone - elapsed) + self._spread * place / self._clients


async def drain(context: Context, hurried: asyncio.Event) -> None:
    """Send everybody away; at once, as soon as it is `hurried`."""
    context.ending.set()
    peers = list(context.peers)
    net = context.config.net
    schedule = Schedule(len(peers), net.drain_seconds, net.close_timeout, random.Random())
    started = context.loop.time()
    remaining = iter(peers)
    told = 0
    while told < len(peers):
        elapsed = schedule.seconds if hurried.is_set() else context.loop.time() - started
        due = schedule.told(elapsed)
        for _ in range(due - told):
            peer = next(remaining)
            if peer in context.peers:  # it has not left, nor handed over to another
                peer.shut_down(schedule.back_in(elapsed))
        told = due
        if told < len(peers):
            await _pause(hurried)
    for peer in list(context.peers):  # requests that have come since
        peer.shut_down(0)


async def _pause(hurried: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_SLICE):
            await hurried.wait()
    except TimeoutError:
        pass
