"""Two questions to a transport that asyncio and uvloop answer differently, or not in one call."""

from __future__ import annotations

import asyncio

from livelog.net.addresses import parse


def address_of(transport: asyncio.Transport) -> str:
    """Return the peer's address; "" at a Unix socket."""
    peer = transport.get_extra_info("peername")
    return str(parse(peer[0])) if isinstance(peer, tuple) else ""


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
