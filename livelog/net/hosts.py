"""The check of the `Host` header: the names by which clients may address the server.

A page can let its own name lead to 127.0.0.1 ("DNS rebinding"). For the browser the page then is of
the same origin as the server, so that its `Origin` tells nothing, but the name still stands in
`Host`. On a machine's own address only the names of this machine are expected. A server that
others reach goes by names that it does not know, as one behind a proxy does: there the operator
lists them.
"""

from __future__ import annotations

from collections.abc import Iterable

from livelog.config.check import NetworkList
from livelog.config.hosts import ANY, matches, normal_host
from livelog.config.network import Net
from livelog.net.addresses import is_loopback

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names of a server that listens for this machine only."""


class Hosts:
    """The allowed names; None allows any."""

    def __init__(self, listed: frozenset[str] | None = None) -> None:
        self._listed = listed

    def allows(self, host: str) -> bool:
        """Return whether a request for `host`, with or without a port, is for this server."""
        if self._listed is None:
            return True
        name = normal_host(host)
        return name in self._listed or (bool(name) and matches(name, self._listed))


def hosts_of(net: Net, listening: Iterable[str]) -> Hosts:
    """Return the names that are configured, or else those of this machine on its own addresses.

    `listening` are the addresses that are listened on.
    """
    if net.allowed_hosts:
        return Hosts(None if ANY in net.allowed_hosts else net.allowed_hosts)
    behind_proxy = net.uds or net.trusted_proxies != NetworkList()
    if behind_proxy or not all(map(is_loopback, listening)):
        return Hosts()
    return Hosts(LOCAL.union(filter(None, map(_name, net.hosts))))


def _name(host: str) -> str:
    return normal_host(f"[{host}]" if ":" in host else host)
