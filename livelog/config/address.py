"""The address of a shared log: `nats://host:port,host:port/NAME`."""

from __future__ import annotations

import re
from typing import NamedTuple

_ADDRESS = re.compile(r"(nats|tls)://([^/?#@\s]+)/([A-Za-z0-9_-]{1,64})")
_SERVER = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_PORT = "4222"


class SharedLog(NamedTuple):
    """The brokers, as URLs, and the name of the log there."""

    servers: tuple[str, ...]
    name: str


def shared_log(text: str) -> SharedLog:
    """Read an address; a port that is left out is 4222. Raises `ValueError`."""
    found = _ADDRESS.fullmatch(text)
    servers = [_SERVER.fullmatch(part) for part in found[2].split(",")] if found else []
    if found is None or not all(servers):
        raise ValueError(
            "Expected nats://HOST:PORT[,HOST:PORT…]/NAME, or tls://…; NAME is of "
            "letters, digits, - and _; credentials are given by --engine-creds"
        )
    parts = [server.groups() for server in servers if server is not None]
    urls = tuple(f"{found[1]}://{host}:{port or _PORT}" for host, port in parts)
    return SharedLog(urls, found[3])
