"""Which web pages may use the server: the check of the `Origin` header.

A browser names the page's origin whenever a page connects, writes, or reads from elsewhere;
programs that are no browsers name none and are not asked. Without a list the page must come from
the host that it talks to; with one from an origin on it, and only then do answers carry the headers
with which a browser lets a page of another site read them (CORS, the Fetch standard). There are no
cookies, so a page can do nothing in the name of whoever looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping

from livelog.config.check import normal_origin
from livelog.errors import POLICY_VIOLATION, RefusedError

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "authorization, content-type, x-api-key",
    "Access-Control-Max-Age": "600",
}


class Origins:
    """The origins that are listed as allowed; an empty list allows the own host's."""

    def __init__(self, listed: frozenset[str] = frozenset()) -> None:
        self._listed = listed

    def check(self, origin: str, host: str) -> None:
        """Raises `RefusedError` unless a page from `origin` may talk to the server at `host`."""
        if origin and not self._allows(origin, host):
            issue = "pages from there may not use this server, see --allowed-origins"
            raise RefusedError(POLICY_VIOLATION, "origin", issue)

    def headers(self, origin: str) -> Mapping[str, str]:
        """What an answer needs for a page from `origin` to read it; `check` has passed it."""
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
        """The answer to a browser that asks before it uses the method `wanted`; None to others."""
        return _PREFLIGHT if self._listed and origin and wanted else None

    def _allows(self, origin: str, host: str) -> bool:
        try:
            normal = normal_origin(origin)
        except ValueError:
            return False
        return normal in self._listed if self._listed else normal == _of_host(normal, host)


def _of_host(origin: str, host: str) -> str:
    """The origin of a page from `host`, read with the same scheme: TLS may end before us."""
    try:
        return normal_origin(f"{origin.partition(':')[0]}://{host}")
    except ValueError:
        return ""
