"""The server's side of RFC 6455: `websockets`' parser, with four rules of its own.

A text that has come whole, in one frame that is not compressed, is cut out of the bytes without the
library's generators, which take ten times as long. Nearly all are like that; whatever is unusual
about a frame is left to the library.

A ping is not answered as it is parsed, ahead of whatever is parsed with it, but by the connection
when its turn comes.

`websockets` refuses a close frame between the fragments of a message. But a control frame may stand
there (section 5.4), and an endpoint that receives a close frame answers it (section 5.5.1); the
message that will not be completed is dropped.

The answer to a close frame waits until what came before it has been carried out. If that turns out
to break the protocol, it is told so (section 7.1.7) in place of being given its own code back.
"""

from __future__ import annotations

from collections.abc import Generator

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

try:
    from websockets.speedups import apply_mask
except ImportError:  # as the library does
    from websockets.utils import apply_mask

_WHOLE_TEXT = 0x81  # FIN bit and opcode 1
_MASKED = 0x80
_LENGTH_16 = 0xFE  # masked, and the length follows in 16 bits
_LONGEST_HEAD = 8


class ServerFraming(ServerProtocol):
    """Frames in, frames out."""

    def parse(self) -> Generator[None]:
        """Parse what comes in: whole texts between the frames that the library parses."""
        self.reader = _Reader(self)
        return super().parse()

    def take_texts(self, buffer: bytearray) -> None:
        """Take the frames at the beginning of `buffer` that are whole texts, up to another one."""
        if self.state is not State.OPEN or self.current_size is not None:
            return
        at, end, most = 0, len(buffer), self.max_message_size or 0
        while end - at >= _LONGEST_HEAD and buffer[at] == _WHOLE_TEXT:
            length, body = buffer[at + 1] - _MASKED, at + 6
            if buffer[at + 1] == _LENGTH_16:
                length, body = buffer[at + 2] << 8 | buffer[at + 3], at + 8
            stop = body + length
            if not (0 <= length <= most and stop <= end) or buffer[at + 1] > _LENGTH_16:
                break
            data = apply_mask(buffer[body:stop], buffer[body - 4 : body])
            self.events.append(Frame(Opcode.TEXT, data))
            at = stop
        del buffer[:at]

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


class _Reader(StreamReader):
    """Has whole texts taken wherever a frame may begin."""

    def __init__(self, framing: ServerFraming) -> None:
        super().__init__()
        self._framing = framing

    def at_eof(self) -> Generator[None, None, bool]:
        """Tell whether the stream has ended; the library asks before each frame."""
        self._framing.take_texts(self.buffer)
        while not (self.buffer or self.eof):
            yield
            self._framing.take_texts(self.buffer)
        return not self.buffer
