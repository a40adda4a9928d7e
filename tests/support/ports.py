"""Ports for servers that must be told theirs, because they cannot choose one and say which.

They lie below those from which systems take the local ports of outgoing connections (on Linux
32,768 and above): a port that was free among these may be a connection's own a moment later.
"""

from __future__ import annotations

import random
import socket

_PORTS = range(20_000, 32_000)
_given = set[int]()


def free_ports(number: int) -> list[int]:
    """Return ports of 127.0.0.1 that nothing uses; in this process each is returned once."""
    return [free_port() for _ in range(number)]


def free_port() -> int:
    """Return one such port."""
    chance = random.SystemRandom()  # not the seeded one: processes beside this would get the same
    while True:
        port = chance.choice(_PORTS)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
