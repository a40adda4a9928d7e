"""The admission of a request: settled as soon as its head is complete.

The rule: no request is acted on, and no body is read, before its head has passed here.
"""

from __future__ import annotations

from livelog.net.context import Context
from livelog.net.http.assets import ASSETS
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.message import Request

_LONGEST = 100
"""Maximum characters of a host that is quoted."""


def admit(context: Context, request: Request, peer: str, *, behind_proxy: bool) -> None:
    """Settle the request's address, and check its head. Raises `RefusedError`.

    `peer` is the address at the other end of the connection; `behind_proxy` tells that it is a
    trusted proxy, which names the client in the head. The address comes first, so that everything
    that is wrong with the request is held against the client and not against the proxy.
    """
    request.address = peer
    if behind_proxy:
        request.address = context.proxies.client(peer, request.all("x-forwarded-for"))
    context.limiter.check(request.address)
    request.check()
    host = request.authority
    if host is not None and not context.hosts.allows(host):
        issue = f"this server does not answer for {host[:_LONGEST]!r}, see --allowed-hosts"
        raise HttpRefusedError(421, "host", issue)  # RFC 9110 section 15.5.20
    if request.path not in ASSETS:  # these are the same for everybody
        for origin in request.all("origin"):
            context.origins.check(origin, host or "")
    request.admitted = True
