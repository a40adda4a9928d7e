"""The check of the `Origin` header: which web pages may use the server.

Browsers send a page's origin (RFC 6454) when it opens a WebSocket, writes, or reads from another
origin. Other programs send none and are not checked. Without a list of allowed origins the page
must come from the host it connects to. With a list its origin must be on the list, and answers
carry the CORS headers of the Fetch standard that let the page read them. The server uses no
cookies, so a page cannot act with the rights of the user who looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping

from livelog.config.check import normal_origin
from livelog.errors import POLICY_VIOLATION, RefusedError

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "authorization, content-encoding, content-type, last-event-id,"
    " x-api-key",
    "Access-Control-Max-Age": "600",
}


class Origins:
    """The allowed origins; an empty list allows the origin of the server's own host."""

    def __init__(self, listed: frozenset[str] = frozenset()) -> None:
        self._listed = listed

    def change(self, listed: frozenset[str]) -> None:
        """Allow other origins from now on; open connections stay."""
        self._listed = listed

    def check(self, origin: str, host: str) -> None:
        """Check that a page from `origin` may use the server at `host`. Raises `RefusedError`."""
        if origin and not self._allows(origin, host):
            issue = "pages of this origin may not use the server, see --allowed-origins"
            raise RefusedError(POLICY_VIOLATION, "origin", issue)

    def headers(self, origin: str) -> Mapping[str, str]:
        """Return the headers that let a page from `origin` read an answer; call `check` before."""
        if not self._listed:
            return {}
        if not origin:
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "Retry-After",
            "Vary": "Origin",
        }

    def preflight(self, origin: str, wanted: str) -> Mapping[str, str] | None:
        """Return the answer to a CORS preflight for the method `wanted`, else None."""
        return _PREFLIGHT if self._listed and origin and wanted else None

    def _allows(self, origin: str, host: str) -> bool:
        try:
            normal = normal_origin(origin)
        except ValueError:
            return False
        return normal in self._listed if self._listed else normal == _of_host(normal, host)


def _of_host(origin: str, host: str) -> str:
    """Return the origin of a page from `host`.

    The scheme is that of `origin`, because TLS may end at a proxy and the server cannot tell.
    """
    try:
        return normal_origin(f"{origin.partition(':')[0]}://{host}")
    except ValueError:
        return ""
