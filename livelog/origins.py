"""Which web pages may use the server: the check of the `Origin` header.

A browser names the page's origin whenever a page connects, writes, or reads from elsewhere;
programs that are no browsers name none and are not asked. Without a list the page must come from
the host that it talks to; with one from an origin on it, and only then do answers carry the headers
with which a browser lets a page of another site read them (CORS, the Fetch standard). There are no
cookies, so a page can do nothing in the name of whoever looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from livelog.errors import POLICY_VIOLATION, Refused

_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_PORTS = {"http": "80", "https": "443"}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "authorization, content-type, x-api-key",
    "Access-Control-Max-Age": "600",
}


class Origins:
    """A list like `https://example.org, http://localhost:3000`, or an empty one.

    Raises `ValueError` for anything else.
    """

    def __init__(self, text: str = "") -> None:
        names = [name.strip() for name in text.split(",") if name.strip()]
        self._listed = frozenset(map(_normal, names))

    def check(self, origin: str, host: str) -> None:
        """Raises `Refused` unless a page from `origin` may talk to the server at `host`."""
        if origin and not self._allows(origin, host):
            issue = "pages from there may not use this server, see --allowed-origins"
            raise Refused(POLICY_VIOLATION, "origin", issue)

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
            normal = _normal(origin)
        except ValueError:
            return False
        return normal in self._listed if self._listed else normal == _of_host(normal, host)


def _normal(origin: str) -> str:
    """The origin as a browser writes it (RFC 6454 section 6.2). Raises `ValueError`."""
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        raise ValueError(f"{origin!r} is no origin such as https://example.org")
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _PORTS[scheme] else "")


def _of_host(origin: str, host: str) -> str:
    """The origin of a page from `host`, read with the same scheme: TLS may end before us."""
    try:
        return _normal(f"{origin.partition(':')[0]}://{host}")
    except ValueError:
        return ""
