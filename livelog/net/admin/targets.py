"""The clients that a command is about: those of a user, an address or a network, or one connection.

What would hit the moderator, the server's own machine, a proxy with all clients behind it, or all
clients at once is refused unless it is forced: at three in the morning such a thing is a slip.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Protocol, cast

from msgspec import UNSET, UnsetType

from livelog.auth.principal import Principal
from livelog.config.check import unmapped
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.fanout.audience import Reader
from livelog.net.addresses import Address, parse
from livelog.net.admin.asking import Asking
from livelog.net.context import Context
from livelog.net.quotas import ConnectionQuota
from livelog.net.registry import Peer

Network = IPv4Network | IPv6Network

_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_STEP = 64
"""Connections that are looked at in one step: a tenth of a millisecond."""


class Open(Peer, Protocol):
    """An open WebSocket or stream, as commands see it."""

    id: str
    kind: str
    """`websocket` or `stream`."""
    address: str
    agent: str
    """Name and version of the client, as its handshake tells them."""
    reader: Reader
    transport: Any
    quota: ConnectionQuota | None

    @property
    def principal(self) -> Principal:
        """The principal of its session."""

    def disconnect(self, why: str, back_in: float | None) -> None:
        """Close; the client may come back in so many seconds, or not at all."""


@dataclass(frozen=True, slots=True)
class Target:
    """Conditions on connections; all that are given must hold."""

    connection_id: str | None = None
    user_id: str | None = None
    network: Network | None = None

    def matches(self, peer: Open) -> bool:
        """Return whether `peer` is meant."""
        return (
            (self.connection_id is None or peer.id == self.connection_id)
            and (self.user_id is None or peer.principal.id == self.user_id)
            and (self.network is None or holds(self.network, peer.address))
        )


EVERYBODY = Target()


def target_of(
    *,
    connection_id: str | UnsetType = UNSET,
    user_id: str | UnsetType = UNSET,
    address: str | UnsetType = UNSET,
) -> Target:
    """Return the target that fields of a command name. Raises `RefusedError`."""
    return Target(
        None if connection_id is UNSET else connection_id,
        None if user_id is UNSET else user_id,
        None if address is UNSET else network_of(address),
    )


def one_target(**fields: str | UnsetType) -> Target:
    """Return the target of a command that must name one, and no more. Raises `RefusedError`."""
    named_once(**fields)
    return target_of(**fields)


def named_once(**fields: object) -> None:
    """Check that exactly one of some fields is given. Raises `RefusedError`."""
    given = [name for name, value in fields.items() if value is not UNSET]
    if len(given) != 1:
        where, issue = (given[1], f"cannot be combined with {given[0]}") if given else (
            next(iter(fields)), f"required: one of {', '.join(fields)}"
        )  # fmt: skip
        raise RefusedError(PROTOCOL_ERROR, where, issue)


def network_of(text: str) -> Network:
    """Return the network, of a single address one of its own. Raises `RefusedError`."""
    try:
        if "/" not in text:
            return ip_network(parse(text))
        if "%" in text:
            raise ValueError("the zone of an address is known to its own machine only")
        return unmapped(ip_network(text, strict=False))
    except ValueError:
        issue = f"{text!r} is invalid: must be an address or a network, such as 192.0.2.0/24"
        raise RefusedError(PROTOCOL_ERROR, "address", issue) from None


def holds(network: Network, address: str) -> bool:
    """Return whether a client's address is in the network; that of a Unix socket is in none."""
    return bool(address) and _parsed(address) in network


@lru_cache(10_000)
def _parsed(address: str) -> Address:
    return parse(address)


def found(context: Context, target: Target) -> Generator[None, None, list[Open]]:
    """Find the open connections that are meant, the oldest first, in steps."""
    # The registry knows of its members only what it needs; all of this group are of these kinds.
    peers = cast(list[Open], list(context.limiter.connections.websockets))
    if target == EVERYBODY:
        yield
        return peers
    meant: list[Open] = []
    for start in range(0, len(peers), _STEP):
        meant += filter(target.matches, peers[start : start + _STEP])
        yield
    return meant


def check_spares(asking: Asking, target: Target) -> Generator[None, None, None]:
    """Refuse a target that is hit by mistake only, in steps. Raises `RefusedError`."""
    itself = asking.connection_id and target.connection_id == asking.connection_id
    if itself or (target.user_id is not None and target.user_id == asking.principal.id):
        raise _needs_force("connection_id" if itself else "user_id", "is yourself")
    network = target.network
    if network is None:
        return
    if holds(network, asking.address):
        raise _needs_force("address", "is where you are yourself")
    if any(network.version == each.version and network.overlaps(each) for each in _LOOPBACK):
        raise _needs_force("address", "is this machine")
    if asking.context.proxies.overlap(network):
        raise _needs_force("address", "is a trusted proxy, behind which others are")
    if network.prefixlen == 0 or (yield from _holds_everybody(asking.context, network)):
        raise _needs_force("address", "is a network that holds everybody")


def _holds_everybody(context: Context, network: Network) -> Generator[None, None, bool]:
    """Tell whether all clients, at two addresses or more, are in the network."""
    if network.num_addresses == 1:
        return False
    everybody = yield from found(context, EVERYBODY)
    addresses = {peer.address for peer in everybody}
    return len(addresses) > 1 and all(holds(network, address) for address in addresses)


def _needs_force(field: str, issue: str) -> RefusedError:
    return RefusedError(PROTOCOL_ERROR, field, f"{issue}; with `force` it is done all the same")
