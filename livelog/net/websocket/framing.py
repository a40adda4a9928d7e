"""The server's side of RFC 6455: `websockets`' parser, with three rules of its own.

A ping is not answered as it is parsed, ahead of whatever is parsed with it, but by the connection
when its turn comes.

`websockets` refuses a close frame between the fragments of a message. But a control frame may stand
there (section 5.4), and an endpoint that receives a close frame answers it (section 5.5.1); the
message that will not be completed is dropped.

The answer to a close frame waits until what came before it has been carried out. If that turns out
to break the protocol, it is told so (section 7.1.7) in place of being given its own code back.
"""

from __future__ import annotations

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol


class ServerFraming(ServerProtocol):
    """Frames in, frames out."""

    def recv_frame(self, frame: Frame) -> None:
        """Take note of a frame; a close frame ends the message it comes into."""
        if frame.opcode is Opcode.PING:
            self.events.append(frame)
            return
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """Close because the peer breaks the protocol, also where its close frame is to be answered.

        Raises `ProtocolError` for an invalid code.
        """
        if self.close_rcvd_then_sent and self.writes:  # the answer, not sent yet
            self.writes.clear()
            self.state, self.eof_sent = State.OPEN, False
        super().fail(code, reason)
