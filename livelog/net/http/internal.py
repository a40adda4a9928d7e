"""The listener for those who watch over the server: metrics and health, and nothing else.

The operator gives it an address that only they reach, so it asks for no credential, knows no
proxies, and makes no WebSockets.
"""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as changed

from livelog.config.check import NetworkList
from livelog.config.network import Net
from livelog.net.addresses import Networks
from livelog.net.context import Context
from livelog.net.hosts import hosts_of
from livelog.net.http.answering import Pending
from livelog.net.http.connection import HttpConnection
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.message import Request
from livelog.net.http.routes import INTERNAL_ROUTES
from livelog.net.listeners import Listener, listen, resolve


class InternalConnection(HttpConnection):
    """A connection to this listener."""

    routes = INTERNAL_ROUTES

    def _upgrade(self, request: Request, rest: bytes) -> None:
        refused = HttpRefusedError(404, "path", "there is no WebSocket on this listener")
        self.pending.append(Pending(request, refused))


def internal(net: Net) -> Net:
    """Return the options of this listener: its own addresses, and no proxies."""
    own: Net = changed(
        net,
        hosts=net.metrics_hosts,
        port=net.metrics_port,
        uds="",
        allowed_hosts=frozenset(),
        trusted_proxies=NetworkList(),
        proxy_header="x-forwarded-for",
    )
    return own


async def listen_internally(context: Context) -> Listener | None:
    """Listen as `--metrics-host` and `--metrics-port` say; None without a port.

    Raises `OSError` for an address that cannot be listened on.
    """
    own = internal(context.config.net)
    if not own.port:
        return None
    endpoints = await resolve(own)
    seen = replace(
        context,
        proxies=Networks(own.trusted_proxies),
        hosts=hosts_of(own, [endpoint.address[0] for endpoint in endpoints]),
    )
    return await listen(own, endpoints, lambda: InternalConnection(seen))
