"""Who asks, and whether they may: settled as soon as a request's head is complete.

The rule: nothing of a request is acted on, and no body is read, before its head has been through
here. Whoever may not is told by a `Refused`.
"""

from __future__ import annotations

from livelog.errors import PROTOCOL_ERROR, Refused
from livelog.net.assets import ASSETS
from livelog.net.routes import Request
from livelog.net.site import Site


def admit(site: Site, request: Request, peer: str, *, behind_proxy: bool) -> None:
    """Settle the request's address, and check its head. Raises `Refused`.

    `peer` is the other end of the connection; `behind_proxy` tells that it is a trusted proxy,
    which says in the head whose request it is.
    """
    request.address = _forwarded(site, request, peer) if behind_proxy else peer
    site.doorman.check(request.address)
    _check_head(request)
    if request.path not in ASSETS:  # these are the same for everybody
        for origin in request.all("origin"):
            site.origins.check(origin, request.header("host"))
    request.admitted = True


def _forwarded(site: Site, request: Request, peer: str) -> str:
    try:
        return site.proxies.client(peer, request.all("x-forwarded-for"))
    except ValueError as error:
        raise Refused(PROTOCOL_ERROR, "x-forwarded-for", str(error)) from None


def _check_head(request: Request) -> None:
    """What two servers in a row could read in two ways, and the parser lets pass."""
    hosts = request.all("host")
    if len(hosts) > 1 or (not hosts and request.version != "1.0"):  # RFC 9112 section 3.2
        raise Refused(PROTOCOL_ERROR, "host", "there has to be exactly one")
    coding = request.header("transfer-encoding").lower()
    if coding and (coding != "chunked" or request.version == "1.0"):  # RFC 9112 section 6.1
        raise Refused(PROTOCOL_ERROR, "transfer-encoding", "only chunked is taken", status=501)
