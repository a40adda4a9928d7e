"""Questions to a transport that asyncio and uvloop answer differently, or not in one call."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, NamedTuple

from livelog.net.addresses import parse


def address_of(transport: asyncio.Transport) -> str:
    """Return the peer's address; "" at a Unix socket."""
    peer = transport.get_extra_info("peername")
    return str(parse(peer[0])) if isinstance(peer, tuple) else ""


class TcpFigures(NamedTuple):
    """Figures that the kernel keeps of a connection; None where it keeps none."""

    received: int | None = None
    """Bytes that have reached the client."""
    round_trip: float | None = None
    """Milliseconds, smoothed."""


_TCP_INFO = getattr(socket, "TCP_INFO", None)
_ROUND_TRIP, _ACKNOWLEDGED = 68, 120
"""Offsets of `tcpi_rtt` and `tcpi_bytes_acked` in the kernel's `struct tcp_info`, which only ever
grows at its end."""


def tcp_figures(transport: Any) -> TcpFigures:
    """Ask the kernel, so that nothing has to be counted while it is written."""
    sock = transport.get_extra_info("socket")
    if _TCP_INFO is None or sock is None or sock.family == socket.AF_UNIX:
        return TcpFigures()
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKNOWLEDGED + 8)
    except OSError:  # it has gone
        return TcpFigures()
    if len(info) < _ACKNOWLEDGED + 8:  # an old kernel
        return TcpFigures()
    [microseconds] = struct.unpack_from("=I", info, _ROUND_TRIP)
    [received] = struct.unpack_from("=Q", info, _ACKNOWLEDGED)
    return TcpFigures(received, microseconds / 1000)


def half_close(transport: asyncio.Transport) -> None:
    """Close the server's direction, or all of it where there are no halves (TLS)."""
    if not transport.can_write_eof():
        transport.close()
        return
    try:
        transport.write_eof()
    except OSError:
        # The client has reset the connection; asyncio says so from Python 3.13 on.
        transport.abort()
