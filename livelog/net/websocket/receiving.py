"""Bytes that arrive at a WebSocket connection: they become frames, and frames go to the inbox.

`websockets` parses and checks them. A flood is noticed before all of it is parsed, and a message
that is not whole yet is counted. Messages, and the order in which they are carried out, are for
`inbox`; the answer to a close frame is for `closing`.
"""

from __future__ import annotations

from typing import Protocol

from websockets.frames import Frame, Opcode

from livelog.budget.memory import SMALL_BYTES
from livelog.errors import RefusedError
from livelog.net import queries
from livelog.net.websocket import closing, deflate, inbox

PIECE_BYTES = 8192
"""Bytes that are parsed at once: at most 1365 frames, which take some milliseconds."""
_LATE_FRAMES = 4096
"""Frames in one read after our close frame; a peer cannot know of the close while it sends them."""


class Taker(closing.Closer, Protocol):
    """The connection that takes bytes."""

    def fail(self, refused: RefusedError) -> None:
        """Close, and say when the client may come back."""


def receive_much(taker: Taker, data: bytes) -> None:
    """Take a large read in pieces, so that a flood is noticed before all of it is parsed.

    A read may be of forty thousand frames; a peer that sends on after our close is dropped.
    """
    late = 0
    for start in range(0, len(data), PIECE_BYTES):
        was_closing = taker.closing
        count = receive(taker, data[start : start + PIECE_BYTES])
        late += count if was_closing else 0
        if late > _LATE_FRAMES:
            taker.transport.abort()
        if taker.transport.is_closing():
            return


def receive(taker: Taker, data: bytes) -> int:
    """Take bytes from the peer; return the number of frames in them."""
    was_closing = taker.closing
    taker.websocket.receive_data(data)
    received = taker.websocket.events_received()
    for frame in received:
        assert isinstance(frame, Frame)  # requests are parsed at the HTTP door
        if frame.opcode is Opcode.CLOSE:
            closing.peer_closes(taker)
            continue
        if frame.opcode is Opcode.PING:
            _answer_ping(taker, frame)
        inbox.receive(taker, frame)
    if taker.websocket.parser_exc is not None and not taker.closing:
        closing.protocol_failed(taker, str(taker.websocket.parser_exc))
    if not taker.closing:
        _count_unfinished(taker)
    if not taker.leaving:
        taker.pump(only_the_end=was_closing)
    return len(received)


def _answer_ping(taker: Taker, ping: Frame) -> None:
    """Send a pong: behind the replies to what came before the ping, ahead of later ones."""
    if not (taker.closing or taker.transport.is_closing()):
        pong = Frame(Opcode.PONG, ping.data)  # with the same data (RFC 6455 section 5.5.3)
        taker.transport.write(pong.serialize(mask=False))  # a server never masks (section 5.1)


def _count_unfinished(taker: Taker) -> None:
    """Count a message that is not whole yet; close if there is no room for it."""
    memory = taker.context.memory
    size = len(taker.websocket.reader.buffer) + inbox.unfinished(taker)
    size += deflate.held_bytes(taker.websocket.extensions)
    if size <= SMALL_BYTES // 4 and not memory.bodies.size_of(taker):
        return  # the usual case: not worth an entry
    try:
        memory.hold_body(taker, size, queries.owner(taker.principal, taker.address))
    except RefusedError as refused:
        taker.fail(refused)
