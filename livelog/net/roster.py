"""The roster: the users that are on line, at this node and at those that share its log.

Each node says of its own users only, a part at a time: users are spread over `SLOTS` slots by their
id, and a word has all users of one slot. So a word that is lost is made up for by the next one
about that slot; slots with changes are said at once, and all others in turn. A node that is heard
no more takes its users along. Nobody is asked, and `now` is Unix time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, NamedTuple
from zlib import crc32

import msgspec
from msgspec import Meta
from sortedcontainers import SortedList

SLOTS = 256
_IN_TURN = 8
"""Slots that are said in each round although they have not changed: all within a minute."""
_MAX_ELSEWHERE = 500_000
"""Users of other nodes that are kept; what goes beyond is passed over."""

WORD = b"U"
"""Begins a word about users."""

_Id = Annotated[str, Meta(max_length=256)]


class Spell(NamedTuple):
    """The time that a user is on line at a node."""

    connections: int
    since: float
    """Unix time from which on there was always a connection."""


_Spell = tuple[Annotated[int, Meta(ge=1, lt=2**31)], Annotated[float, Meta(ge=0, lt=1e12)]]
"""The fields of a `Spell`."""


class _Said(msgspec.Struct, array_like=True):
    """A word: all users of one slot of a node."""

    node: Annotated[str, Meta(max_length=64)]
    slot: Annotated[int, Meta(ge=0, lt=SLOTS)]
    users: dict[_Id, _Spell]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Said)


def _slot_of(user: str) -> int:
    return crc32(user.encode(errors="surrogatepass")) % SLOTS


class Roster:
    """Users by id, here and elsewhere."""

    def __init__(self) -> None:
        self.changes: dict[str, bool] = {}
        """User → whether they are on line now, of those for whom that has changed."""
        self._users: SortedList[str] = SortedList()
        """All that are on line, here or elsewhere."""
        self._here: list[dict[str, Spell]] = [{} for _ in range(SLOTS)]
        self._count_here = 0
        self._elsewhere: dict[str, dict[int, dict[str, Spell]]] = {}
        """Node → slot → users."""
        self._nodes_with: dict[str, int] = {}
        """User → number of other nodes where they are on line."""
        self._unsaid: set[int] = set()
        self._next = 0

    def __len__(self) -> int:
        return len(self._users)

    def __contains__(self, user: str) -> bool:
        return user in self._here[_slot_of(user)] or user in self._nodes_with

    def __iter__(self) -> Iterator[str]:
        return iter(self._users)

    def page(self, offset: int, limit: int) -> list[str]:
        """Return users in the order of their ids, at most `limit` from a place on."""
        return [*self._users.islice(offset, offset + limit)]

    @property
    def here(self) -> int:
        """Number of users that are on line at this node."""
        return self._count_here

    def spell(self, user: str) -> Spell:
        """Return the connections of a user at all nodes, and since when there was one."""
        slot = _slot_of(user)
        found = [
            nodes[slot][user] for nodes in self._elsewhere.values() if user in nodes.get(slot, ())
        ]
        if (own := self._here[slot].get(user)) is not None:
            found.append(own)
        return Spell(sum(each.connections for each in found), min(each.since for each in found))

    # This node.

    def enter(self, user: str, now: float) -> None:
        """Note a connection of a user here."""
        slot = _slot_of(user)
        users = self._here[slot]
        known = users.get(user)
        if known is None:
            self._come(user)
            users[user] = Spell(1, now)
            self._count_here += 1
        else:
            users[user] = Spell(known.connections + 1, known.since)
        self._note(slot)

    def leave(self, user: str) -> None:
        """Note the end of a connection that has entered."""
        slot = _slot_of(user)
        users = self._here[slot]
        known = users[user]
        if known.connections > 1:
            users[user] = Spell(known.connections - 1, known.since)
        else:
            del users[user]
            self._count_here -= 1
            self._go(user)
        self._note(slot)

    def words(self, node: str) -> Iterator[bytes]:
        """Yield what is to be said to the other nodes now, in the name of this one."""
        turn = {(self._next + number) % SLOTS for number in range(_IN_TURN)}
        self._next = (self._next + _IN_TURN) % SLOTS
        due = self._unsaid | {slot for slot in turn if self._here[slot]}
        for slot in sorted(due):
            self._unsaid.discard(slot)  # the rest stays, if this one cannot be said
            yield WORD + _encoder.encode((node, slot, self._here[slot]))

    def repeat(self) -> None:
        """Say everything again, for a node that is new."""
        self._unsaid.update(slot for slot, users in enumerate(self._here) if users)

    def _note(self, slot: int) -> None:
        self._unsaid.add(slot)

    # Other nodes.

    def hear(self, word: bytes) -> None:
        """Take a word of another node. Raises `ValueError` for one that is malformed."""
        said = _decoder.decode(word[len(WORD) :])
        slots = self._elsewhere.setdefault(said.node, {})
        before = slots.get(said.slot, {})
        room = _MAX_ELSEWHERE - len(self._nodes_with) + len(before)
        after = {
            user: Spell(*spell)
            for user, spell in said.users.items()
            if _slot_of(user) == said.slot and (room := room - 1) >= 0
        }
        if after == before:
            return
        self._replace(before, after)
        slots[said.slot] = after

    def keep(self, nodes: Collection[str]) -> None:
        """Forget the users of all other nodes than these."""
        for node in [node for node in self._elsewhere if node not in nodes]:
            for users in self._elsewhere.pop(node).values():
                self._replace(users, {})

    def _replace(self, before: dict[str, Spell], after: dict[str, Spell]) -> None:
        for user in after.keys() - before.keys():
            self._come(user)
            self._nodes_with[user] = self._nodes_with.get(user, 0) + 1
        for user in before.keys() - after.keys():
            self._nodes_with[user] -= 1
            if not self._nodes_with[user]:
                del self._nodes_with[user]
                self._go(user)

    # Changes.

    def _come(self, user: str) -> None:
        """Note that a user comes, before that is so."""
        if user not in self:
            self._users.add(user)
            self._change(user, online=True)

    def _go(self, user: str) -> None:
        """Note that a user has gone, once that is so."""
        if user not in self:
            self._users.remove(user)
            self._change(user, online=False)

    def _change(self, user: str, *, online: bool) -> None:
        if self.changes.get(user, online) != online:
            del self.changes[user]  # it is as it was
        else:
            self.changes[user] = online

    def _check(self) -> None:
        """Assert that the counts are those of the tables."""
        here = [user for users in self._here for user in users]
        elsewhere = [
            user for slots in self._elsewhere.values() for users in slots.values() for user in users
        ]
        assert self._count_here == len(here) == len({*here})
        assert self._nodes_with == {user: elsewhere.count(user) for user in {*elsewhere}}
        assert [*self] == sorted({*here, *elsewhere})
