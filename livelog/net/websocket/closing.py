"""The close handshake of a WebSocket connection, from either side. Sections are those of RFC 6455.

`disconnected` and the close frame go out, then the peer has a while to answer, because closing the
socket at once could reset data that is still in flight (section 7.1.1). A peer that closes
is answered when what it has sent before is carried out.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import UNSET, UnsetType
from websockets.protocol import State
from websockets.server import ServerProtocol

from livelog.errors import (
    ABNORMAL_CLOSURE,
    CODES,
    GOING_AWAY,
    PROTOCOL_ERROR,
    Reason,
    RefusedError,
)
from livelog.net.websocket import inbox
from livelog.wire.events import Disconnected


class Closer(inbox.Receiver, Protocol):
    """The connection that ends."""

    websocket: ServerProtocol

    @property
    def leaving(self) -> bool:
        """Whether the peer has sent a close frame that is not answered yet."""

    def on_deadline(self, now: float) -> None:
        """Look after the connection at the time that was set."""

    def abort(self) -> None:
        """Drop the connection at once."""

    def pump(self, *, only_the_end: bool = False) -> None:
        """Send what the protocol has to say by itself."""


_LONGEST_REASON = 123
"""Bytes of the reason in a close frame (section 5.5: 125, and 2 are the code's)."""


def close(
    closer: Closer,
    code: int,
    why: str,
    reason: Reason | None,
    again: int | UnsetType,
    *,
    for_good: bool = False,
) -> None:
    """Send `disconnected` and a close frame, and give the peer a while to answer."""
    if closer.closing:
        return
    if closer.leaving and closer.task is not None:
        peer_has_waited(closer)  # it closes already, and is given back its code (section 5.5.1)
        return
    if code != GOING_AWAY:
        _report(closer, code, why)
    closer.context.limiter.closed(closer.address, code)
    # `disconnected` goes first: behind a close frame no data may follow (section 5.5.1).
    _begin(closer, reason or CODES[code].reason, again, for_good=for_good)
    if closer.websocket.state is State.OPEN:
        closer.websocket.send_close(code, _fitting(why))
    closer.pump()


def peer_closes(closer: Closer) -> None:
    """Answer a close frame, of the peer's own accord or as an answer to ours.

    What came before it is carried out first; while that takes time, the answer waits.
    """
    inbox.finish(closer)
    if closer.closing:
        return
    if closer.task is None:
        _begin(closer, "normal_closure")
        closer.pump()
    else:
        patience = closer.context.config.net.close_timeout
        closer.context.timers.set(closer, closer.context.loop.time() + patience)
        closer.transport.resume_reading()  # to see whether the peer goes


def peer_has_waited(closer: Closer) -> None:
    """Answer a close frame now, without the commands that take time."""
    while closer.task is not None and not closer.closing:
        closer.task.cancel()
        closer.task = None
        peer_closes(closer)


def protocol_failed(closer: Closer, why: str) -> None:
    """Close after a breach of RFC 6455 (section 7.1.7); `websockets` has a close frame ready."""
    sent = closer.websocket.close_sent
    code = sent.code if sent is not None else ABNORMAL_CLOSURE
    _report(closer, code, why)
    if code == PROTOCOL_ERROR:  # and not a message that is too big, or no UTF-8
        closer.context.limiter.failed(closer.address)
    closer.refuse(RefusedError(code if code in CODES else PROTOCOL_ERROR, "", why), UNSET)
    _begin(closer, "protocol_error")


def _begin(
    closer: Closer, reason: Reason, again: int | UnsetType = UNSET, *, for_good: bool = False
) -> None:
    closer.context.gathering.publish()  # what it has sent before
    blocked = closer.reader.blocked
    closer.context.catch_up.block(closer.reader)
    closer.context.watches.leave(closer)
    back = False if for_good else UNSET
    closer.send(Disconnected(reason=reason, reconnect_after_ms=again, reconnect=back))
    closer.closing = True
    closer.inbox = None
    if closer.task is not None:
        closer.task.cancel()
    net = closer.context.config.net
    # A client that does not read can only be told when it reads again.
    patience = net.stall_seconds if blocked else net.close_timeout
    closer.context.timers.set(closer, closer.context.loop.time() + patience)
    if not closer.transport.is_closing():
        closer.transport.resume_reading()  # to see the peer's close frame


def _report(closer: Closer, code: int, why: str) -> None:
    """Write to the audit log that the connection ends, and why."""
    closer.context.audit.closed(closer.address, code, why, closer.id)


def _fitting(why: str) -> str:
    """Shorten the reason of a close frame to what has room in it and is UTF-8 (section 5.5.1)."""
    return why.encode()[:_LONGEST_REASON].decode(errors="ignore")
