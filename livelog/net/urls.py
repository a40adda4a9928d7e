"""The addresses and the name of a server, for those who are to use it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence

from livelog.config import Config
from livelog.net.addresses import is_loopback
from livelog.net.listeners import ALL_IPV4, ALL_IPV6, Endpoint
from livelog.wire import WEBSOCKET_PATH

_log = logging.getLogger(__name__)


def subscribers(config: Config, port: int) -> str:
    """Return the address for subscribers, at the first host."""
    if config.net.uds:
        return f"ws+unix://{config.net.uds}:{WEBSOCKET_PATH}"
    scheme = "wss" if config.tls.cert else "ws"
    return f"{scheme}://{_in_url(config.net.hosts[0])}:{port}{WEBSOCKET_PATH}"


def viewer(config: Config, endpoints: Sequence[Endpoint], port: int) -> str:
    """Return the address of the viewer, for a browser on this machine; "" for a Unix socket."""
    if config.net.uds:
        return ""
    scheme = "https" if config.tls.cert else "http"
    # Not every browser opens the addresses that stand for all, and `*` none.
    address = endpoints[0].address[0]
    host = {ALL_IPV4: "127.0.0.1", ALL_IPV6: "::1"}.get(address, config.net.hosts[0])
    return f"{scheme}://{_in_url(host)}:{port}/"


def node_name(config: Config, port: int, worker: int) -> str:
    """Return the name of this server among those that share its log."""
    door = os.path.basename(config.net.uds) or port
    name = config.cluster.node_name or f"{socket.gethostname()}:{door}"
    return f"{name}-{worker}" if worker else name


def warn_if_open(config: Config, addresses: Sequence[str]) -> None:
    """Log that clients on other machines read and publish without authentication."""
    beyond = [address for address in addresses if not is_loopback(address)]
    if beyond and not config.net.uds:
        issue = "open: all clients that reach %s may read and publish everything"
        _log.warning(issue, ", ".join(beyond))


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
