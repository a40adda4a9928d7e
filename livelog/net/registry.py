"""The registry of connections: every open one, and how many there are of each address.

A connection is *waiting* from the moment it is accepted until its WebSocket handshake; one that
only ever speaks HTTP waits all its life. Waiting connections are kept in the order of their last
request, so that the least recently active one can be evicted. An address is counted as
`limited_as` gives it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, MutableMapping
from itertools import chain
from typing import Generic, Protocol, TypeVar, cast

from livelog.net.addresses import limited_as


class Peer(Protocol):
    """A connection, as the limiter and the drain see it."""

    def shut_down(self, back_in: float) -> None:
        """Close: the server stops, and the client may come back in so many seconds."""

    def abort(self) -> None:
        """Drop the connection at once."""

    def __hash__(self) -> int: ...


class Waiting(Peer, Protocol):
    """A connection that is not upgraded (yet)."""

    def give_way(self) -> bool:
        """Close, in favour of a new connection; False while a request is being answered."""

    def turn_out(self) -> None:
        """Refuse what is under way, if its client has been blocked by a moderator meanwhile."""


AnyPeer = TypeVar("AnyPeer", bound=Peer)


class Group(Generic[AnyPeer]):
    """Connections with their addresses."""

    def __init__(self, table: MutableMapping[AnyPeer, str]) -> None:
        self._address_of = table
        self.by_address: Counter[str] = Counter()
        """Connections of each address; none is kept for an address without any."""

    def __len__(self) -> int:
        return len(self._address_of)

    def __iter__(self) -> Iterator[AnyPeer]:
        return iter(self._address_of)

    def __contains__(self, peer: object) -> bool:
        return peer in self._address_of

    def address_of(self, peer: AnyPeer) -> str:
        """Return what `peer` is counted as."""
        return self._address_of[peer]

    def add(self, peer: AnyPeer, address: str) -> None:
        """Count `peer`."""
        assert peer not in self._address_of
        counted = self._address_of[peer] = limited_as(address)
        self.by_address[counted] += 1

    def discard(self, peer: Peer) -> bool:
        """Stop counting `peer`; False if it was not counted."""
        counted = self._address_of.pop(cast(AnyPeer, peer), None)
        if counted is None:
            return False
        self.by_address[counted] -= 1
        if not self.by_address[counted]:
            del self.by_address[counted]
        return True

    def _check(self) -> None:
        """Assert that the counts are those of the connections."""
        assert self.by_address == Counter(self._address_of.values())
        assert all(self.by_address.values())


class WaitingGroup(Group[Waiting]):
    """Waiting connections, the least recently active first."""

    def __init__(self) -> None:
        self._order: OrderedDict[Waiting, str] = OrderedDict()
        super().__init__(self._order)

    @property
    def oldest(self) -> Waiting:
        """The least recently active connection."""
        return next(iter(self._order))

    def touch(self, peer: Waiting) -> None:
        """Note that `peer` has been active."""
        if peer in self._order:
            self._order.move_to_end(peer)


class Registry:
    """All open connections, each in one group."""

    def __init__(self) -> None:
        self.waiting = WaitingGroup()
        self.websockets: Group[Peer] = Group({})

    def __len__(self) -> int:
        return len(self.waiting) + len(self.websockets)

    def __iter__(self) -> Iterator[Peer]:
        return chain(self.waiting, self.websockets)

    def __contains__(self, peer: object) -> bool:
        return peer in self.waiting or peer in self.websockets

    def discard(self, peer: Peer) -> None:
        """Stop counting `peer`, if it was counted."""
        if not self.waiting.discard(peer):
            self.websockets.discard(peer)

    def _check(self) -> None:
        """Assert that no connection is counted twice, and the counts are right."""
        assert not set(self.waiting) & set(self.websockets)
        self.waiting._check()
        self.websockets._check()
