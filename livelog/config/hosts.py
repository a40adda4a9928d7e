"""Names of hosts: those to listen on, and those by which clients may address the server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

ANY = "*"
"""Stands in a list of allowed hosts for all of them."""
_WILDCARD = "*."
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(?::0*([0-9]{0,5}))?")
_LAST_PORT = 65535


def addresses(text: str) -> tuple[str, ...]:
    """Read a list of addresses to listen on, like `127.0.0.1, ::1`. Raises `ValueError`."""
    found = tuple(dict.fromkeys(without_brackets(name) for name in _names(text)))
    if not found:
        raise ValueError("must name an address to listen on, such as 127.0.0.1")
    return found


def host_names(text: str) -> frozenset[str]:
    """Read a list like `live.example.com, *.example.org`. Raises `ValueError`."""
    return frozenset(map(_pattern, _names(text)))


@lru_cache(maxsize=64)  # requests come with few; the bound of their heads is one of its memory
def normal_host(host: str) -> str:
    """Return the name in a `Host` header (RFC 9110 section 7.2) without its port.

    It comes in lower case, without the dot of the root, an address in its shortest form and without
    brackets; "" stands for what is not the name of a host.
    """
    name = without_port(host)
    return "" if name is None else _normal(name)


def without_port(host: str) -> str | None:
    """Return what stands before the port, which may be left out or empty (RFC 3986 section 3.2.3).

    None is returned where a port should be and something else is.
    """
    match = _WITH_PORT.fullmatch(host)
    if match is None or int(match[2] or 0) > _LAST_PORT:
        return None
    return match[1]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether the normal `name` is on a list that `host_names` has read."""
    return any(
        name == pattern or (pattern.startswith(_WILDCARD) and name.endswith(pattern[1:]))
        for pattern in patterns
    )


def _pattern(name: str) -> str:
    if name == ANY:
        return ANY
    rest = name.removeprefix(_WILDCARD)
    found = _normal(_ascii(rest))
    if not found:
        allowed = "live.example.com, *.example.com, 192.0.2.1, [::1] or *; any port is allowed"
        raise ValueError(f"{name!r} must be the name of a host, without a port, such as {allowed}")
    return found if rest == name else _WILDCARD + found


def _normal(name: str) -> str:
    bare = without_brackets(name)
    try:
        address = ip_address(bare)
    except ValueError:
        plain = bare.lower().removesuffix(".") if bare == name else ""
        return plain if _NAME.fullmatch(plain) else ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _ascii(name: str) -> str:
    """Return an international name as browsers send it (RFC 5891)."""
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def without_brackets(name: str) -> str:
    """Return a name or address without the brackets that IPv6 has before a port."""
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
