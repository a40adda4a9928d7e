"""Backpressure: how a client is treated that reads more slowly than it is written to.

When the transport reports a full send buffer, the connection stops reading from the client, and its
reader leaves the live set: a slow client costs a cursor, not a buffer. When the buffer has room
again, the reader catches up from the log and the connection reads on. How long a buffer may stay
full (`stall_seconds`) is checked by `keepalive`.
"""

from __future__ import annotations

from typing import Protocol

from livelog.net.websocket import inbox
from livelog.net.websocket.keepalive import Keepalive


class Writer(inbox.Receiver, Protocol):
    """The connection that is written to."""

    keepalive: Keepalive

    def set_timer(self) -> None:
        """Set the deadline anew."""


def pause(writer: Writer) -> None:
    """Write and read nothing more: the send buffer is full."""
    writer.keepalive.blocked_since = writer.context.loop.time()
    _count(writer)
    writer.context.catch_up.block(writer.reader)
    if not writer.closing:
        writer.transport.pause_reading()
        writer.set_timer()


def resume(writer: Writer) -> None:
    """Catch up and read on: the send buffer has room again."""
    forget(writer)
    if writer.closing:
        return
    writer.keepalive.heard = writer.context.loop.time()  # taking data is a sign of life, too
    writer.context.catch_up.unblock(writer.reader)
    writer.context.watches.resume(writer)
    writer.set_timer()
    if not inbox.is_holding(writer):
        writer.resume_reading()
    elif writer.task is None:
        writer.context.scheduler.wait(writer)


def forget(writer: Writer) -> None:
    """Count nothing for the connection any more: its send buffer is empty, or has gone."""
    writer.context.memory.answers.drop(writer)
    writer.context.memory.deliveries.drop(writer)


def _count(writer: Writer) -> None:
    """Count what is in the send buffer, but for an answer in it, which is counted."""
    memory = writer.context.memory
    unsent = writer.transport.get_write_buffer_size()
    memory.deliveries.hold(writer, max(0, unsent - memory.answers.size_of(writer)))
