"""Deadlines of a WebSocket connection: it is pinged, warned, or closed when one has come.

`session` and `keepalive` say what is due, and when to look again; the connection is told so by its
timer, which it sets whenever something has moved the deadline.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import UNSET
from websockets.protocol import State

from livelog.errors import POLICY_VIOLATION, Reason, RefusedError
from livelog.net.websocket import backpressure, closing, inbox, session
from livelog.net.websocket.keepalive import Due


class Timed(backpressure.Writer, closing.Closer, Protocol):
    """The connection that has deadlines."""

    def close(self, code: int, why: str, reason: Reason | None = None) -> None:
        """Begin the close handshake."""


def look_after(timed: Timed, now: float) -> None:
    """Close what is stalled or dead or whose session has ended, ping what is silent."""
    _review(timed, now)
    if not timed.closing:
        blocked, held = timed.reader.blocked, inbox.is_holding(timed)
        _keep_alive(timed, timed.keepalive.due(now, blocked=blocked, held=held))
    if not timed.closing:
        timed.set_timer()


def _review(timed: Timed, now: float) -> None:
    """Warn of a session that ends soon, and close the connection when it has ended."""
    try:
        warning = session.review(timed.session, timed.context, now, busy=timed.task is not None)
    except RefusedError as refused:
        timed.refuse(refused, UNSET)
        timed.close(refused.code, refused.issue)
    else:
        if warning is not None:
            timed.send(warning)


def _keep_alive(timed: Timed, due: Due) -> None:
    if due is Due.PING:
        if timed.websocket.state is State.CLOSED:
            return  # TCP has ended, and the transport is about to
        timed.keepalive.pinged = timed.context.loop.time()
        timed.websocket.send_ping(b"")
        timed.pump()
    elif due is not Due.NOTHING:
        timed.close(POLICY_VIOLATION, due.value, "connection_timeout")
