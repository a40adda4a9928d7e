"""Blocks that moderators have set: users and networks that are kept out, until a time or for good.

The limiter holds them, so that every door asks in one place. They are made by acts, which every
server applies and keeps; here is what is in force now. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import islice
from operator import attrgetter
from typing import NamedTuple, TypeVar

from sortedcontainers import SortedKeyList

from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.net.addresses import parse

Network = IPv4Network | IPv6Network

Result = TypeVar("Result")

MOST = 50_000
"""Blocks in force at most: some hundred bytes each."""


_LISTED = 64
"""Blocks that are looked at in one step: less than a tenth of a millisecond."""


class BlockedError(RefusedError):
    """A client that a moderator has blocked; with `retry_after` unless that is for good."""


class Block(NamedTuple):
    """A block of one user or network."""

    user_id: str
    address: str
    """An address or a network; empty where a user is blocked."""
    until: float | None
    """Time of its end; None if it has no end."""
    reason: str
    by: str
    """Id of the moderator."""
    at: str
    """Time at which it was set."""
    seq: int
    """Seq at which the act that has set it was placed first: the order of blocks."""


class Blocks:
    """The blocks in force. `clock` returns Unix time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._users: dict[str, Block] = {}
        self._networks: dict[Network, Block] = {}
        self._in_order: SortedKeyList[Block] = SortedKeyList(key=attrgetter("seq"))
        """All of them. They do not come so: acts are repeated, and an erasure renames."""
        self._lengths: dict[tuple[int, int], int] = {}
        """Version and length of a prefix → networks with it: a look-up tries only those."""
        self._sweep_above = 100
        """Number at which those that have ended are looked for, so that this costs little each."""
        self.set_so_far = 0
        """Number of blocks that were set; long work looks now and then whether it has grown."""

    def __len__(self) -> int:
        return len(self._users) + len(self._networks)

    def page(self, offset: int, limit: int) -> Generator[None, None, tuple[list[Block], int]]:
        """Find some of those that have not ended, and count all of these, in steps.

        Those that were set last come at the end.
        """
        in_order = iter(list(self._in_order))  # as they are now
        found: list[Block] = []
        count = 0
        while step := list(islice(in_order, _LISTED)):
            for block in step:
                if not self._has_ended(block):
                    if offset <= count < offset + limit:
                        found.append(block)
                    count += 1
            yield
        return found, count

    def add(self, block: Block) -> None:
        """Set a block, in the place of an earlier one of the same user or network."""
        self.remove(block.user_id, block.address)
        self.set_so_far += 1
        self._in_order.add(block)
        if block.user_id:
            self._users[block.user_id] = block
        else:
            network = ip_network(block.address)
            self._networks[network] = block
            length = network.version, network.prefixlen
            self._lengths[length] = self._lengths.get(length, 0) + 1
        if len(self) > self._sweep_above:
            self.sweep()
            self._sweep_above = 2 * len(self) + 100

    def remove(self, user_id: str, address: str) -> bool:
        """End the block of a user or of exactly this network; False if there is none."""
        if user_id:
            block = self._users.pop(user_id, None)
        else:
            block = self._networks.pop(ip_network(address), None)
        if block is None:
            return False
        self._in_order.remove(block)
        if block.address:
            network = ip_network(block.address)
            length = network.version, network.prefixlen
            self._lengths[length] -= 1
            if not self._lengths[length]:
                del self._lengths[length]
        return True

    def of(self, user_id: str, address: str) -> Block | None:
        """Return the block in force of a user or of exactly this network."""
        block = self._users.get(user_id) if user_id else self._networks.get(ip_network(address))
        return None if block is None or self._has_ended(block) else block

    def check(self, user_id: str, address: str) -> None:
        """Raise `BlockedError` when the user or the address is blocked."""
        self.check_user(user_id)
        self.check_address(address)

    def check_user(self, id: str) -> None:
        """Raise `BlockedError` when the user is blocked."""
        if block := self._users.get(id):
            self._refuse(block, "user_id", "this user is blocked")

    def check_address(self, address: str) -> None:
        """Raise `BlockedError` when the address is; that of a Unix socket never is."""
        if not self._networks or not address:
            return
        parsed = parse(address)
        for version, length in self._lengths:
            if version == parsed.version:
                found = self._networks.get(ip_network((parsed, length), strict=False))
                if found is not None:
                    self._refuse(found, "address", "this address is blocked")

    def sweep(self) -> None:
        """Forget those that have ended."""
        for block in [*self._users.values(), *self._networks.values()]:
            if self._has_ended(block):
                self.remove(block.user_id, block.address)

    def _refuse(self, block: Block, field: str, issue: str) -> None:
        if self._has_ended(block):
            return
        left = None if block.until is None else block.until - self._clock()
        said = f"{issue}: {block.reason}" if block.reason else issue
        raise BlockedError(POLICY_VIOLATION, field, said, retry_after=left)

    def _has_ended(self, block: Block) -> bool:
        return block.until is not None and block.until <= self._clock()

    def _check(self) -> None:
        """Assert that the lengths of the prefixes are counted right."""
        lengths = [(network.version, network.prefixlen) for network in self._networks]
        assert self._lengths == {each: lengths.count(each) for each in lengths}
        assert all(block.user_id == id for id, block in self._users.items())
        every = [*self._users.values(), *self._networks.values()]
        assert list(self._in_order) == sorted(every, key=attrgetter("seq"))


class Guest:
    """A client that was let in, and may be blocked while something long is done for it."""

    def __init__(self, blocks: Blocks, user_id: str, address: str) -> None:
        self._blocks = blocks
        self._user_id = user_id
        self._address = address
        self._known = blocks.set_so_far
        self._refused: BlockedError | None = None

    @property
    def refusal(self) -> BlockedError | None:
        """The reason why nothing more is done for it; None until it is blocked.

        A block that is ended again brings back nothing that it has ended.
        """
        if self._refused is None and self._known != self._blocks.set_so_far:
            self._known = self._blocks.set_so_far
            try:
                self._blocks.check(self._user_id, self._address)
            except BlockedError as refused:
                self._refused = refused
        return self._refused

    def served(self, steps: Generator[None, None, Result]) -> Generator[None, None, Result]:
        """Make `steps` until the client is blocked. Raises `BlockedError` then."""
        while (refused := self.refusal) is None:
            try:
                next(steps)
            except StopIteration as stop:
                result: Result = stop.value
                return result
            yield
        steps.close()
        raise refused
