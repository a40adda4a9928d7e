"""Questions to a transport that asyncio and uvloop answer differently, or not in one call."""

from __future__ import annotations

import asyncio
import ctypes
import socket
from collections.abc import Iterable
from contextlib import suppress
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


class _TcpInfo(ctypes.Structure):
    """The fields that are read of the kernel's `struct tcp_info`, which only ever grows at its end.

    Linux, `include/uapi/linux/tcp.h`.
    """

    _fields_ = (
        ("before_rtt", ctypes.c_uint32 * 17),
        ("rtt", ctypes.c_uint32),  # microseconds
        ("before_bytes_acked", ctypes.c_uint32 * 12),
        ("bytes_acked", ctypes.c_uint64),
    )


_info = _TcpInfo()
_size = ctypes.c_uint32(0)
_INFO_BYTES = ctypes.sizeof(_TcpInfo)

# Ten thousand connections are asked in a row: through a socket object, which uvloop makes for each
# question, that takes twice as long. The call is short, so the interpreter lock is kept.
_getsockopt = ctypes.PyDLL(None).getsockopt
_ARGUMENTS = ctypes.byref(_info), ctypes.byref(_size)


def tcp_figures(transport: Any) -> TcpFigures:
    """Ask the kernel, so that nothing has to be counted while it is written."""
    if not _ask_kernel(transport):
        return TcpFigures()
    return TcpFigures(_info.bytes_acked, _info.rtt / 1000)


def bytes_received(transports: Iterable[Any]) -> list[int]:
    """Return the bytes that have reached each client, 0 where the kernel does not tell."""
    return [_info.bytes_acked if _ask_kernel(transport) else 0 for transport in transports]


def _ask_kernel(transport: Any) -> bool:
    """Read what the kernel tells of a connection into `_info`; return whether it does.

    It does not of a Unix socket, on another system, and once the connection has gone; an old one
    tells less.
    """
    if _TCP_INFO is None:
        return False
    _size.value = _INFO_BYTES
    descriptor = transport.get_extra_info("socket").fileno()
    failed = _getsockopt(descriptor, socket.IPPROTO_TCP, _TCP_INFO, *_ARGUMENTS)
    return not failed and _size.value == _INFO_BYTES


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


_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)


def give_up_after(transport: asyncio.Transport, seconds: float) -> None:
    """Have the kernel end the connection when nothing is acknowledged for so long (tcp(7)).

    Some systems have no such option, and a Unix socket needs none.
    """
    sock = transport.get_extra_info("socket")
    if _TCP_USER_TIMEOUT is not None and sock is not None and sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, round(1000 * seconds))
