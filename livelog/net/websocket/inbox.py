"""The inbox: WebSocket frames become WebSocket messages, now or in a later turn.

A frame is carried out as it arrives, unless a command that takes time is under way, or other
connections have to have their turn first. Then it is held, reading stops, and the `scheduler` goes
on when it is this connection's turn; so a client that sends without reading costs one read buffer
and no more. Messages are carried out in the order they came.

Fragments are put together here (RFC 6455 section 5.4). `websockets` has checked the frames and
their order, and bounds the sum of the fragments; control frames may stand between them. Text that
is not UTF-8 ends the connection (section 8.1), with the fragment that shows it. Most connections
never need an `Inbox`: it is made for the first frame that is held or is a fragment, and given up
when it is empty.
"""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from time import perf_counter
from typing import Protocol

from websockets.frames import CloseCode, Frame, Opcode

from livelog.net.scheduler import Busy
from livelog.net.websocket import dispatch

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)

_make_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class Inbox:
    """Frames of one connection that are held, and fragments of its current message."""

    __slots__ = ("_decoder", "binary", "fragments", "held")

    def __init__(self) -> None:
        self.held: deque[Frame] | None = None
        """Frames that wait; None while the connection is read from."""
        self.fragments: bytearray | None = None
        """Payload of a message that is not whole yet."""
        self.binary = False
        self._decoder = _make_utf8_decoder()  # of a text, for its check alone

    def add(self, frame: Frame) -> bytes | None:
        """Return the message that a fragment completes, if it does.

        Raises `UnicodeDecodeError` for a text that is not UTF-8.
        """
        if frame.opcode is not Opcode.CONT:
            self.binary = frame.opcode is Opcode.BINARY
            self.fragments = bytearray()
            self._decoder.reset()
        if self.fragments is None:
            return None  # the rest of a message that was dropped
        if not self.binary:
            self._decoder.decode(frame.data, frame.fin)
        self.fragments += frame.data
        if not frame.fin:
            return None
        data, self.fragments = bytes(self.fragments), None
        return data


class Receiver(dispatch.Sender, Busy, Protocol):
    """The connection that received a frame."""

    inbox: Inbox | None
    transport: asyncio.Transport
    closing: bool

    @property
    def ready(self) -> bool:
        """Whether another frame can be carried out now."""

    def resume_reading(self) -> None:
        """Read on, unless the send buffer is full."""

    def fail_frame(self, code: int, why: str) -> None:
        """End the connection: the peer has broken RFC 6455."""


def receive(receiver: Receiver, frame: Frame) -> None:
    """Carry out a frame, or hold it; it is no close frame."""
    scheduler = receiver.context.scheduler
    if receiver.closing:
        return
    if not receiver.ready:
        _hold(receiver, frame)
    elif has_frames(receiver) or not scheduler.is_free():
        _hold(receiver, frame)
        scheduler.wait(receiver)
    else:
        _carry_out(receiver, frame)


def go_on(receiver: Receiver, until: float) -> None:
    """Carry out held frames up to this time of `perf_counter`; read on when none is left."""
    while has_frames(receiver) and receiver.ready and perf_counter() < until:
        _carry_out(receiver, _next(receiver))
    if is_holding(receiver) and not has_frames(receiver) and receiver.task is None:
        _made(receiver).held = None
        _give_up_if_empty(receiver)
        receiver.resume_reading()


def finish(receiver: Receiver) -> None:
    """Carry out what came before a close frame, up to a command that takes time."""
    while has_frames(receiver) and receiver.task is None and not receiver.closing:
        _carry_out(receiver, _next(receiver))


def is_holding(receiver: Receiver) -> bool:
    """Return whether reading has stopped for frames that are, or were, held."""
    return receiver.inbox is not None and receiver.inbox.held is not None


def has_frames(receiver: Receiver) -> bool:
    """Return whether frames are held."""
    return receiver.inbox is not None and bool(receiver.inbox.held)


def unfinished(receiver: Receiver) -> int:
    """Return the bytes of fragments whose message is not whole yet."""
    inbox = receiver.inbox
    return 0 if inbox is None or inbox.fragments is None else len(inbox.fragments)


def _hold(receiver: Receiver, frame: Frame) -> None:
    inbox = _made(receiver)
    if inbox.held is None:
        inbox.held = deque()
        receiver.transport.pause_reading()
    inbox.held.append(frame)


def _next(receiver: Receiver) -> Frame:
    inbox = _made(receiver)
    assert inbox.held
    return inbox.held.popleft()


def _made(receiver: Receiver) -> Inbox:
    if receiver.inbox is None:
        receiver.inbox = Inbox()
    return receiver.inbox


def _carry_out(receiver: Receiver, frame: Frame) -> None:
    if not dispatch.spend(receiver, "messages", frame.data):
        _drop_message(receiver)
        return
    try:
        _pass_on(receiver, frame)
    except UnicodeDecodeError as error:
        _drop_message(receiver)
        receiver.fail_frame(
            CloseCode.INVALID_DATA, f"not UTF-8: {error.reason} at byte {error.start}"
        )


def _pass_on(receiver: Receiver, frame: Frame) -> None:
    """Pass a message on once it is whole. Raises `UnicodeDecodeError`."""
    if frame.opcode is Opcode.TEXT and frame.fin:
        data = bytes(frame.data)
        if not data.isascii():
            codecs.decode(data, "utf-8")
        dispatch.message(receiver, data, binary=False)
    elif frame.opcode in _DATA:
        inbox = _made(receiver)
        whole = inbox.add(frame)
        _give_up_if_empty(receiver)
        if whole is not None:
            dispatch.message(receiver, whole, binary=inbox.binary)


def _drop_message(receiver: Receiver) -> None:
    """Forget the current message; its fragments that are still to come are ignored."""
    if receiver.inbox is not None:
        receiver.inbox.fragments = None
        _give_up_if_empty(receiver)


def _give_up_if_empty(receiver: Receiver) -> None:
    inbox = receiver.inbox
    if inbox is not None and inbox.held is None and inbox.fragments is None:
        receiver.inbox = None
