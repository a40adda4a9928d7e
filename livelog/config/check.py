"""What a setting may hold: lists of networks and origins, and the error that names a wrong
value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple

import msgspec

from livelog.errors import ConfigError

UNIX = "unix"
"""Stands in a list of networks for the peers at a Unix socket, which have no address."""

_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_PORTS = {"http": "80", "https": "443"}


class NetworkList(NamedTuple):
    """A list like `10.0.0.0/8, ::1, unix`, read."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False


def networks(text: str) -> NetworkList:
    """Read a list of networks. Raises `ValueError`."""
    names = _names(text)
    return NetworkList(tuple(_network(name) for name in names if name != UNIX), UNIX in names)


def origins(text: str) -> frozenset[str]:
    """Read a list like `https://example.org, http://localhost:3000`. Raises `ValueError`."""
    return frozenset(map(normal_origin, _names(text)))


def normal_origin(origin: str) -> str:
    """Return the origin as a browser writes it (RFC 6454 section 6.2). Raises `ValueError`."""
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        raise ValueError(f"{origin!r} is no origin such as https://example.org")
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _PORTS[scheme] else "")


_READERS: dict[str, Callable[[str], object]] = {
    "trusted_proxies": networks,
    "allowed_origins": origins,
}
"""Settings that are lists → the function that reads them and raises `ValueError`."""


def converted(
    settings: Mapping[str, Any],
    hints: Mapping[str, Any],
    is_secret: Callable[[str], bool],
    *,
    strict: bool,
) -> dict[str, Any]:
    """Return the settings with the types that `hints` ask for.

    Unless `strict`, numbers and booleans may be written as strings. Raises `ConfigError` for an
    unknown name or a value that is not allowed.
    """
    checked: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in hints:
            raise ConfigError(f"unknown setting {name!r}; known are: {', '.join(hints)}")
        try:
            checked[name] = msgspec.convert(value, hints[name], strict=strict)
            _READERS.get(name, str)(value)
        except ValueError as error:  # msgspec's are such, too
            issue = str(error).replace("`", "")
            shown = "this" if is_secret(name) else repr(value)
            raise ConfigError(f"{flag(name)}: {shown} is not allowed: {issue}") from None
    return checked


def flag(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Turn errors inside the block into a `ConfigError` that names the setting."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise ConfigError(f"{flag(name)}: {where}{error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{flag(name)}: {error}") from None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _network(name: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(name)
    except ValueError as error:
        raise ValueError(f"{error}; allowed are networks such as 10.0.0.0/8, and unix") from None
