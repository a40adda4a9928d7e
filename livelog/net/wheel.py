"""The wheel's turning: every connection's deadline, and what else is done at short intervals."""

from __future__ import annotations

import asyncio
import logging

from livelog.net.context import Context

_log = logging.getLogger(__name__)


class Wheel:
    """The driver of the context's timers; it turns until it is closed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._next: asyncio.TimerHandle | None = None

    def turn(self) -> None:
        """Look after the connections whose time has come, and come again."""
        context = self._context
        now = context.loop.time()
        if self._next is not None:
            context.loop_lag.add(max(0.0, now - self._next.when()))
        self._next = context.loop.call_later(context.timers.tick, self.turn)
        for peer in context.timers.expired(now):
            try:
                peer.on_deadline(now)
            except Exception:  # the others that are due have been taken from the timers, too
                _log.exception("what was due for a connection failed")
                peer.abort()
        context.limiter.sweep()
        if context.online is not None:
            context.online.tick(context.clock())

    def close(self) -> None:
        """Turn no more."""
        if self._next is not None:
            self._next.cancel()
