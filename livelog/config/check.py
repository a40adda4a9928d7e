"""Checks of settings: lists of networks and origins, and errors that name a wrong setting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple, TypeGuard, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo

from livelog.config.suggest import suggestion
from livelog.errors import ConfigError

SECONDS = {"gt": 0, "le": 10_000_000}
"""Bounds of a duration, up to a third of a year."""

UNIX = "unix"
"""Stands in a list of networks for the peers at a Unix socket, which have no address."""

_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_PORTS = {"http": "80", "https": "443"}

_SIZE = re.compile(r"([0-9]{1,19}|[0-9]{1,12}\.[0-9]{1,6}(?= ?[a-z]))(?: ?([kmgt])(?:i?b)?)?", re.I)
_UNITS = "kmgt"


_MAPPED = IPv6Network("::ffff:0:0/96")


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
        raise ValueError(f"{origin!r} must be an origin such as https://example.org")
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _PORTS[scheme] else "")


def size(text: str) -> int:
    """Read a number of bytes such as `268435456`, `256M` or `1.5 GiB`. Raises `ValueError`.

    Every unit is a power of 1024, however it is written.

    >>> size("256M") == size("256 MiB") == size("262144k") == 256 * 2**20
    True
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("Expected int, a number of bytes, or one with a unit such as 256M, 1.5G")
    number, unit = match.groups()
    scale = 1024 ** (1 + _UNITS.index(unit.lower())) if unit else 1
    return int(number) * scale if number.isdigit() else int(float(number) * scale)


def written(size: int) -> str:
    """Return a number of bytes as text, with the largest unit that it is a multiple of.

    >>> written(128 * 2**20), written(1000)
    ('128M', '1000')
    """
    unit = ""
    for larger in _UNITS:
        if size == 0 or size % 1024:
            break
        size, unit = size // 1024, larger.upper()
    return f"{size}{unit}"


class Option(NamedTuple):
    """One option, as declared by a field of a group."""

    name: str
    """The flat name."""
    group: str
    field: str
    hint: Any
    """The type with its bounds, for `msgspec.convert`."""
    default: Any
    description: str
    metavar: str
    secret: bool
    """The value must never be shown."""
    filled: bool
    """A value that is given must not be empty."""
    read: Callable[[str], Any] | None
    """Reads the text of a list, whose parts commas separate; raises `ValueError`."""
    size: bool
    """A number of bytes, which text may give with a unit."""


def option(
    description: str,
    metavar: str = "",
    *,
    name: str = "",
    secret: bool = False,
    filled: bool = False,
    read: Callable[[str], Any] | None = None,
    size: bool = False,
    **bounds: Any,
) -> Meta:
    """Describe a field that is an option; `name` is its flat name where that differs."""
    about = {"metavar": metavar, "name": name, "secret": secret, "filled": filled, "read": read}
    return Meta(description=description, extra={**about, "size": size}, **bounds)


def options_of(groups: Mapping[str, type[Struct]]) -> dict[str, Option]:
    """Return every option of `groups` by its flat name."""
    found = [
        _option(group, field, hint)
        for group, struct in groups.items()
        for field, hint in _fields(struct)
    ]
    return {each.name: each for each in found}


def _fields(struct: type[Struct]) -> Iterator[tuple[FieldInfo, Any]]:
    hints = get_type_hints(struct, include_extras=True)
    return ((field, hints[field.name]) for field in msgspec.structs.fields(struct))


def _option(group: str, field: FieldInfo, hint: Any) -> Option:
    [meta] = (part for part in get_args(hint) if isinstance(part, Meta))
    about = dict(meta.extra or {})
    return Option(
        name=about.pop("name") or field.name,
        group=group,
        field=field.name,
        hint=str if about["read"] else hint,
        default=field.default,
        description=meta.description or "",
        **about,
    )


def checked(
    options: Mapping[str, Option], settings: Mapping[str, Any], *, strict: bool
) -> dict[str, Any]:
    """Return the values of the settings, by flat name.

    Unless `strict`, numbers and booleans may be written as strings. Raises `ConfigError` for an
    unknown name or a value that is not allowed.
    """
    values: dict[str, Any] = {}
    for name, value in settings.items():
        check_name(name, options)
        values[name] = _checked(options[name], value, strict=strict)
    return values


def check_name(name: str, options: Mapping[str, Option], source: str = "") -> None:
    """Raise `ConfigError` with a suggestion for an unknown setting that `source` has named."""
    if name not in options:
        meant = suggestion(name, options)
        rest = f"{' Known' if meant else '; known'} are: {', '.join(options)}"
        raise ConfigError(f"{source}unknown setting {name!r}{meant}{rest}")


def _checked(found: Option, value: Any, *, strict: bool) -> Any:
    given = value
    if value == "" and found.filled:
        raise ConfigError(f"{flag(found.name)}: is empty")
    if (found.secret or found.filled) and isinstance(value, str) and value != value.strip():
        raise ConfigError(f"{flag(found.name)}: begins or ends with white space or a line end")
    if found.read is not None and isinstance(value, list | tuple) and all_text(value):
        value = ",".join(value)
    try:
        if found.size and not strict and isinstance(value, str):
            value = size(value)
        converted = msgspec.convert(value, found.hint, strict=strict)
        return converted if found.read is None else found.read(converted)
    except ValueError as error:  # msgspec's are such, too
        issue = str(error).replace("`", "")
        shown = "this" if found.secret else repr(given)
        raise ConfigError(f"{flag(found.name)}: {shown} is not allowed: {issue}") from None


def all_text(values: Iterable[object]) -> TypeGuard[Iterable[str]]:
    """Return whether all of `values` are strings."""
    return all(isinstance(value, str) for value in values)


def grouped(
    options: Mapping[str, Option], groups: Mapping[str, type[Struct]], values: Mapping[str, Any]
) -> dict[str, Struct]:
    """Return each group with its part of `values`."""
    parts: dict[str, dict[str, Any]] = {group: {} for group in groups}
    for name, value in values.items():
        parts[options[name].group][options[name].field] = value
    return {group: struct(**parts[group]) for group, struct in groups.items()}


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


def unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return a network of IPv4-mapped addresses (RFC 4291 section 2.5.5.2) as one of IPv4.

    Clients' addresses are written so, whichever way they came.
    """
    if isinstance(network, IPv4Network) or not network.subnet_of(_MAPPED):
        return network
    bits = int(network.network_address) & (2**32 - 1)
    return IPv4Network((bits, network.prefixlen - _MAPPED.prefixlen))


def _network(name: str) -> IPv4Network | IPv6Network:
    try:
        return unmapped(ip_network(name))
    except ValueError as error:
        raise ValueError(f"{error}; allowed are networks such as 10.0.0.0/8, and unix") from None
