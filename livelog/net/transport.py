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


_TCP_INFO = getattr(socket, "TCP_INFO", -1)
_ROUND_TRIP, _ACKNOWLEDGED = 68, 120
"""Offsets of `tcpi_rtt` and `tcpi_bytes_acked` in the kernel's `struct tcp_info`, which only ever
grows at its end."""
_INFO_BYTES = _ACKNOWLEDGED + 8
_microseconds, _bytes = struct.Struct("=I").unpack_from, struct.Struct("=Q").unpack_from


def tcp_figures(transport: Any) -> TcpFigures:
    """Ask the kernel, so that nothing has to be counted while it is written."""
    info = _tcp_info(transport)
    if info is None:
        return TcpFigures()
    return TcpFigures(_bytes(info, _ACKNOWLEDGED)[0], _microseconds(info, _ROUND_TRIP)[0] / 1000)


def bytes_received(transport: Any) -> int:
    """Return the bytes that have reached the client, 0 where the kernel does not tell."""
    info = _tcp_info(transport)
    return 0 if info is None else int(_bytes(info, _ACKNOWLEDGED)[0])


def _tcp_info(transport: Any) -> bytes | None:
    sock = transport.get_extra_info("socket")
    try:
        info: bytes = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES)
    except (OSError, AttributeError):  # a Unix socket, another system, or the connection has gone
        return None
    return info if len(info) == _INFO_BYTES else None  # shorter of an old kernel


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
