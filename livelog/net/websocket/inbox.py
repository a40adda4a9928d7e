"""Puts messages together from frames (RFC 6455 section 5.4).

`websockets` has checked the frames and their order, and bounds the sum of the fragments; what is
left is to collect them. Control frames may stand between fragments and are not passed here.
"""

from __future__ import annotations

from typing import NamedTuple

from websockets.frames import Frame, Opcode


class Message(NamedTuple):
    """A whole message."""

    data: bytes
    binary: bool


class Inbox:
    """Collects the fragments of one connection's current message."""

    __slots__ = ("_binary", "_fragments")

    def __init__(self) -> None:
        self._binary = False
        self._fragments: bytearray | None = None

    def add(self, frame: Frame) -> Message | None:
        """The message that `frame` completes, if it does."""
        if frame.opcode is not Opcode.CONT:
            self._binary = frame.opcode is Opcode.BINARY
            if frame.fin:
                return Message(bytes(frame.data), self._binary)
            self._fragments = bytearray()
        if self._fragments is None:
            return None  # what is left of a message that was dropped
        self._fragments += frame.data
        if not frame.fin:
            return None
        data, self._fragments = bytes(self._fragments), None
        return Message(data, self._binary)

    def drop(self) -> None:
        """Forget the current message; the fragments that still come are ignored."""
        self._fragments = None
