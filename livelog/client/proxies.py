"""Proxies: through which one, if any, an outgoing connection is opened.

One rule for all of livelog's own connections, to a server and to an identity provider: HTTPS_PROXY
for https and wss, HTTP_PROXY for http and ws, NO_PROXY for the exceptions; in lower case they come
first. This machine itself is never reached through a proxy.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from livelog.errors import ConfigError

_VARIABLES = {
    "https": "HTTPS_PROXY",
    "wss": "HTTPS_PROXY",
    "http": "HTTP_PROXY",
    "ws": "HTTP_PROXY",
}
_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


class Proxy(NamedTuple):
    """An HTTP proxy, and the variable that names it."""

    host: str
    port: int
    user: str
    password: str
    variable: str

    @property
    def url(self) -> str:
        """Its address without user and password."""
        return f"http://{self._authority}"

    @property
    def url_with_password(self) -> str:
        """Its address with user and password, if it has them; not to be shown."""
        if not self.user:
            return self.url
        return f"http://{quote(self.user, '')}:{quote(self.password, '')}@{self._authority}"

    @property
    def headers(self) -> dict[str, str]:
        """The header that tells the proxy user and password (RFC 9110 section 11.7.2)."""
        if not self.user:
            return {}
        basic = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {basic}"}

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        """Hide the password, so that logs and tracebacks never show it."""
        return f"Proxy({self.url})"


def proxy_for(url: str, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy for a connection to `url`; None for a direct one.

    Raises `ConfigError`, which names the variable, for a proxy that cannot be used.
    """
    variables = os.environ if environment is None else environment
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    if parts.scheme not in _VARIABLES or _is_local(host):
        return None
    variable, value = _found(_VARIABLES[parts.scheme], variables)
    _, exceptions = _found("NO_PROXY", variables)
    if not value or _is_excepted(host, port or _PORTS[parts.scheme], exceptions):
        return None
    return _read(variable, value)


def via(proxy: Proxy | None) -> str:
    """Return the words that name the proxy in an error; "" without one."""
    return f" through the proxy {proxy.url} ({proxy.variable})" if proxy is not None else ""


def _found(name: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that counts, and its value."""
    variable = name.lower() if name.lower() in variables else name
    return variable, variables.get(variable, "").strip()


def _read(variable: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme != "http" or port == 0:
        issue = "must be the address of an HTTP proxy, such as http://proxy.example.com:3128"
        raise ConfigError(f"{variable}: {issue}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(host, port or _PORTS["http"], user, password, variable)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_local(host: str) -> bool:
    """Return whether a host is this machine, as is the 0.0.0.0 that servers print."""
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return not host or host == "localhost" or host.endswith(".localhost")


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    return any(_excepts(entry, host, port) for entry in exceptions.replace(",", " ").split())


def _excepts(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of NO_PROXY names the host: itself, a domain, or a network."""
    name, number = _without_port(entry.lower())
    if number is not None and number != port:
        return False
    address = _address(host)
    if address is not None:
        try:
            return address in ip_network(name, strict=False)
        except ValueError:
            return name == "*"
    domain = name.removeprefix("*").strip(".")
    return name == "*" or (bool(domain) and f".{host}".endswith(f".{domain}"))


def _without_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, int(rest[1:]) if rest[1:].isdigit() else None
    name, colon, port = entry.rpartition(":")
    if colon and ":" not in name and port.isdigit():
        return name, int(port)
    return entry, None
