"""Presence: who is on line, for those who ask, for those who follow it, and for the log.

There are users only with authentication. Connections enter once their principal is known, and leave
at their end; a timer passes on, at most once a second, what has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from msgspec import UNSET

from livelog.auth.principal import ADMIN, PRESENCE, Principal
from livelog.engine.base import Node, Outcome
from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.net.announcer import Announcer
from livelog.net.roster import Roster
from livelog.wire import frames
from livelog.wire.commands import Presence
from livelog.wire.events import Online, OnlineChanged, OnlineUser, encoder
from livelog.wire.timestamps import timestamp

_log = logging.getLogger(__name__)

_EVERY = 1.0
"""Seconds between two looks at what has changed."""
_LONGEST = 256
"""Characters of an id that are told."""
_MAX_NAMED = 1000
"""Users that are named in one event."""

OPEN = "without authentication there are no users; `livelog keys create` makes the first key"


class Follower(Protocol):
    """A connection that follows the changes."""

    @property
    def principal(self) -> Principal:
        """The principal of its session."""

    @property
    def blocked(self) -> bool:
        """Whether its send buffer is full."""

    def tell(self, frame: bytes) -> None:
        """Send the frame of an event."""

    def __hash__(self) -> int: ...


Publish = Callable[[dict[str, Any]], None]
"""Publishes a message as the server's own. Raises `RefusedError`."""


class WhoIsOnline:
    """The presence at one server. `now` is Unix time."""

    def __init__(
        self,
        now: float,
        nodes: Callable[[], Sequence[Node] | None],
        announce: Publish | None = None,
    ) -> None:
        self.roster = Roster()
        self._nodes = nodes
        self._announce = announce
        self._announcer = Announcer(now)
        self._followers: dict[Follower, None] = {}
        self._missed: set[Follower] = set()
        """Followers that were told less than there was, since they do not read."""
        self._next = 0.0
        self._speaks = True
        """Whether this is the node that announces."""

    # Questions.

    def answer(self, principal: Principal, command: Presence) -> Online:
        """Return the number of users, and a page of them if the principal may see it.

        Raises `RefusedError` for a principal that may not read anything.
        """
        sees = _may_list(principal)
        if not (sees or principal.readable):
            raise RefusedError(
                POLICY_VIOLATION, "action", "the scope read is missing", scope="read"
            )
        event = Online(count=len(self.roster))
        if ages := [node.age for node in self._nodes() or ()]:
            event.age_seconds = max(ages)
        if sees:
            event.offset, event.users = command.offset, self._page(command.offset, command.limit)
        return event

    def _page(self, offset: int, limit: int) -> list[OnlineUser]:
        return [self._user(user) for user in self.roster.page(offset, limit)]

    def _user(self, user: str) -> OnlineUser:
        spell = self.roster.spell(user)
        return OnlineUser(id=user, connections=spell.connections, since=timestamp(spell.since))

    # Those who follow.

    def follow(self, follower: Follower) -> None:
        """Tell a connection of changes from now on."""
        self._followers[follower] = None

    def unfollow(self, follower: Follower) -> None:
        """Tell a connection no more, if it was told."""
        self._followers.pop(follower, None)
        self._missed.discard(follower)

    # Connections.

    def enter(self, principal: Principal, now: float) -> None:
        """Note a connection whose principal has become known."""
        self.roster.enter(_name(principal), now)

    def leave(self, principal: Principal) -> None:
        """Note the end of a connection that has entered."""
        self.roster.leave(_name(principal))

    # Other nodes.

    def hear(self, word: bytes) -> None:
        """Take a word of another node; one that is malformed is logged."""
        try:
            self.roster.hear(word)
        except ValueError as error:
            _log.warning("a word about users is malformed, and passed over: %s", str(error)[:200])

    def words(self, node: str) -> Iterable[bytes]:
        """Return what is to be said to the other nodes now, by this one."""
        return self.roster.words(node)

    def among(self, own: str, nodes: Collection[str], new: bool) -> None:
        """Take note of the nodes that are there, by id; `new` tells that one has come."""
        self.roster.keep(nodes)
        self._speaks = own <= min(nodes, default=own)
        if new:
            self.roster.repeat()

    # Time.

    def tick(self, now: float) -> None:
        """Pass on what has changed, at most once a second."""
        too_soon = self._next - _EVERY <= now < self._next  # and the clock was not set back
        if too_soon or not (self.roster.changes or self._announcer.waits):
            return
        self._next = now + _EVERY
        changes, self.roster.changes = self.roster.changes, {}
        if changes:
            self._tell(changes)
        if self._announce is not None:
            for each in self._announcer.take(changes, self.roster, now):
                if self._speaks:
                    self._say(each.message(len(self.roster)))

    def _say(self, message: dict[str, Any]) -> None:
        assert self._announce is not None
        try:
            self._announce(message)
        except RefusedError as refused:
            _log.warning("it is not announced that a user has come or gone: %s", refused)

    def _tell(self, changes: dict[str, bool]) -> None:
        if not self._followers:
            return
        count = frames.text(encoder.encode(OnlineChanged(count=len(self.roster))))
        whole = self._frame(changes, incomplete=len(changes) > _MAX_NAMED)
        partly = self._frame(changes, incomplete=True)
        for follower in list(self._followers):
            if follower.blocked:
                self._missed.add(follower)
            elif not _may_list(follower.principal):
                follower.tell(count)
            else:
                follower.tell(partly if follower in self._missed else whole)
                self._missed.discard(follower)

    def _frame(self, changes: dict[str, bool], *, incomplete: bool) -> bytes:
        named = list(changes.items())[:_MAX_NAMED]
        event = OnlineChanged(
            count=len(self.roster),
            joined=[self._user(user) for user, online in named if online],
            left=[user for user, online in named if not online],
            incomplete=incomplete or UNSET,
        )
        return frames.text(encoder.encode(event))


def _name(principal: Principal) -> str:
    """Return the id as it can be said to others: an identity provider may give strange ones."""
    name = principal.id[:_LONGEST]
    return name if name.isascii() else name.encode(errors="replace").decode()


def _may_list(principal: Principal) -> bool:
    return not principal.scopes.isdisjoint((PRESENCE, ADMIN))


def unanswered(outcomes: Sequence[Outcome]) -> None:
    """Log that an announcement was not taken, if so."""
    for outcome in outcomes:
        if isinstance(outcome, RefusedError):
            _log.warning("it is not announced that a user has come or gone: %s", outcome)
