"""Listening: the sockets on which connections arrive.

A server listens on a TCP address or on a Unix socket. Both are set up so that a slow client is
noticed at once and no other user of the machine gets in between.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable

from livelog.config.options import Net
from livelog.errors import ConfigError

_BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""

_UNSENT_BYTES = 64 * 1024
"""Bytes that the kernel holds for a client that does not read, before the server notices."""


async def listen(net: Net, factory: Callable[[], asyncio.Protocol]) -> asyncio.Server:
    """Listen as the configuration says; `factory` makes the protocol of each connection.

    Raises `ConfigError` for a path that is taken, `OSError` for an address that is.
    """
    loop = asyncio.get_running_loop()
    if net.uds:
        sock = _unix_socket(net.uds, int(net.uds_mode, 8))
        return await loop.create_unix_server(factory, sock=sock, backlog=_BACKLOG)
    listener = await loop.create_server(factory, net.host, net.port, backlog=_BACKLOG)
    for listening in listener.sockets:
        # Accepted sockets inherit it. A full send buffer is then noticed at once, and a slow
        # client cannot tie up megabytes of kernel memory.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
    return listener


def _unix_socket(path: str, mode: int) -> socket.socket:
    """Bind a socket to `path`, with these permissions.

    Connecting takes a socket that listens, so there is no moment at which others could. Raises
    `ConfigError` for a path that is taken.
    """
    _clear_stale_socket(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        os.chmod(path, mode)
    except OSError:
        sock.close()
        raise
    return sock


def _clear_stale_socket(path: str) -> None:
    """Remove the socket of a server that is gone. Raises `ConfigError` for anything else."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ConfigError(f"--uds {path}: exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise ConfigError(f"--uds {path}: another server is listening on it")
