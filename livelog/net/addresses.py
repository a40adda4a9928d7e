"""Whose address counts when proxies stand in between.

The rule: an address is believed only from a peer that is listed as trusted. `X-Forwarded-For` is
read from the right, where the nearest proxy has written, up to the first address that is not
trusted (the idea of RFC 7239 section 8.1); what stands left of it a stranger may have made up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from livelog.config.check import NetworkList

Address = IPv4Address | IPv6Address
NOBODY = NetworkList()
_NAT_PREFIX = 64
"""Bits of an IPv6 address that one customer of a provider cannot change (RFC 6177)."""


class Networks:
    """The peers that are trusted as proxies."""

    def __init__(self, listed: NetworkList = NOBODY) -> None:
        self._networks, self._unix = listed

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def trusts(self, address: str) -> bool:
        """True for an address in one of the networks; "" stands for a peer at a Unix socket."""
        if not address:
            return self._unix
        return bool(self._networks) and self._holds(parse(address))

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """Who is behind the trusted `peer`; `forwarded` are its `X-Forwarded-For` headers.

        Raises `ValueError` when what the proxies have written is not an address.
        """
        hops = [hop.strip() for hop in ",".join(forwarded).split(",")]
        client = peer
        for hop in filter(None, reversed(hops)):
            address = parse(_without_port(hop))
            client = str(address)
            if not self._holds(address):
                break
        return client

    def _holds(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def parse(text: str) -> Address:
    """An address; an IPv4 one that is dressed as IPv6 is taken for what it is.

    Raises `ValueError`.
    """
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(10_000)  # asked for every frame
def limited_as(address: str) -> str:
    """What limits are kept by: the address, of an IPv6 address its network of 64 bits."""
    if ":" not in address:
        return address
    return str(IPv6Network((address, _NAT_PREFIX), strict=False))


def is_loopback(address: str) -> bool:
    """True for this machine's own addresses, and for a peer at a Unix socket."""
    return not address or parse(address).is_loopback


def _without_port(hop: str) -> str:
    """Some proxies add the port: `203.0.113.9:4711`, `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        host, bracket, _ = hop[1:].partition("]")
        return host if bracket else hop
    host, colon, port = hop.partition(":")
    return host if colon and port.isdigit() and "." in host else hop


def address_of(transport: asyncio.Transport) -> str:
    """The peer's address; empty at a Unix socket."""
    peer = transport.get_extra_info("peername")
    return str(parse(peer[0])) if isinstance(peer, tuple) else ""
