"""Addresses of clients, also of those behind proxies.

Only a peer that is listed as trusted may name another address. `X-Forwarded-For` is read from the
right, where the nearest proxy has written, up to the first address that is not trusted (see RFC
7239 section 8.1); the client itself may have made up what stands left of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import islice

from livelog.config.check import NetworkList
from livelog.config.hosts import without_brackets, without_port

Address = IPv4Address | IPv6Address
NOBODY = NetworkList()
_MAX_HOPS = 64
"""Hops that are read from the right: more trusted proxies in a row than anybody has."""
_NAT_PREFIX = 64
"""Bits of the IPv6 network that one site gets at least (RFC 6177): its hosts share their limits."""


class Networks:
    """The peers that are trusted as proxies."""

    def __init__(self, listed: NetworkList = NOBODY) -> None:
        self._networks, self._unix = listed

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Return whether a peer is a trusted proxy; "" stands for a peer at a Unix socket."""
        if not address:
            return self._unix
        return bool(self._networks) and self._holds(parse(address))

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """Return the client's address behind the trusted `peer`.

        `forwarded` are the request's `X-Forwarded-For` headers. A hop that is no address, such as
        `unknown` or `_hidden` (RFC 7239 section 6), is unknown, and so is everything beyond it: the
        proxy that wrote it is taken for the client.
        """
        hops = [hop.strip(' \t"') for hop in ",".join(forwarded).split(",")]
        client = peer
        for hop in islice(filter(None, reversed(hops)), _MAX_HOPS):
            try:
                address = parse(_without_port(hop))
            except ValueError:
                break
            client = str(address)
            if not self._holds(address):
                break
        return client

    def overlap(self, network: IPv4Network | IPv6Network) -> bool:
        """Return whether some of them are in `network`, or it is within theirs."""
        return any(
            each.version == network.version and each.overlaps(network) for each in self._networks
        )

    def _holds(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def parse(text: str) -> Address:
    """Parse an address; an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) becomes IPv4.

    Raises `ValueError`.
    """
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(10_000)  # called for every frame
def limited_as(address: str) -> str:
    """Return the key under which limits count an address: IPv6 addresses share their /64."""
    if ":" not in address:
        return address
    return str(IPv6Network((address, _NAT_PREFIX), strict=False))


def is_loopback(address: str) -> bool:
    """Return whether a peer is on this machine; "" stands for a peer at a Unix socket."""
    return not address or parse(address).is_loopback


def _without_port(hop: str) -> str:
    """Remove the port that some proxies add: `203.0.113.9:4711`, `[2001:db8::1]:4711`."""
    if not hop.startswith("[") and "." not in hop:
        return hop
    host = without_port(hop)
    return hop if host is None or hop.endswith(":") else without_brackets(host)
