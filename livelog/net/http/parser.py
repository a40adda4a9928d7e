"""Who asks, and whether they may: settled as soon as a request's head is complete.

The rule: nothing of a request is acted on, and no body is read, before its head has been through
here. Whoever may not is told by a `RefusedError`.
"""

from __future__ import annotations

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.net.context import Context
from livelog.net.http.assets import ASSETS
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.handlers import Request


def admit(context: Context, request: Request, peer: str, *, behind_proxy: bool) -> None:
    """Settle the request's address, and check its head. Raises `RefusedError`.

    `peer` is the other end of the connection; `behind_proxy` tells that it is a trusted proxy,
    which says in the head whose request it is.
    """
    request.address = _forwarded(context, request, peer) if behind_proxy else peer
    context.limiter.check(request.address)
    _check_head(request)
    if request.path not in ASSETS:  # these are the same for everybody
        for origin in request.all("origin"):
            context.origins.check(origin, request.header("host"))
    request.admitted = True


def _forwarded(context: Context, request: Request, peer: str) -> str:
    try:
        return context.proxies.client(peer, request.all("x-forwarded-for"))
    except ValueError as error:
        raise RefusedError(PROTOCOL_ERROR, "x-forwarded-for", str(error)) from None


def _check_head(request: Request) -> None:
    """What two servers in a row could read in two ways, and the parser lets pass."""
    hosts = request.all("host")
    if len(hosts) > 1 or (not hosts and request.version != "1.0"):  # RFC 9112 section 3.2
        raise RefusedError(PROTOCOL_ERROR, "host", "there has to be exactly one")
    coding = request.header("transfer-encoding").lower()
    if coding and (coding != "chunked" or request.version == "1.0"):  # RFC 9112 section 6.1
        raise HttpRefusedError(501, "transfer-encoding", "only chunked is taken")
