"""Announcements: who says in the log that users have come or gone, and when.

Someone who is back within `QUIET` seconds has never been away: a `user_left` waits that long, and
what comes before it is due cancels it. So there is at most one of each kind for a user in that
time. When a network fails, thousands of users go in the same second, and come back in another. So
beyond `SINGLY` users of a kind in a second they are announced together, `TOGETHER` in a message,
and of those messages `MESSAGES` a second go out; who comes back while they wait cancels the word.

Every node of a log keeps count alike; the one with the lowest id says it. Where two believe to be
that one, as when a node has just come, both make the same id, and the log takes the message once;
of users that are announced together it may then take the same twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from livelog.net.roster import Roster

QUIET = 10.0
"""Seconds within which somebody may come back without a word."""

SINGLY = 20
"""Users of whom each gets a message of its own, where more do not come, or go, in a second."""

TOGETHER = 100
_TOGETHER_BYTES = 8192
"""Users in one message otherwise, and the bytes of their ids: an identity provider may give long
ones. All of them are found by the index, which takes 128 values of a free object."""

MESSAGES = 20
"""Messages of each kind in a second, at most."""


class Announcement(NamedTuple):
    """Users have come or gone: one, or several of whom all is told together."""

    event: str
    users: tuple[str, ...]
    since: tuple[float, ...]
    """Begin of the times on line that have begun or ended, in Unix time."""

    def message(self, online: int) -> dict[str, Any]:
        """Return the message, with the number of users that are on line now."""
        spells = zip(self.users, self.since, strict=True)
        spell = "\0".join([self.event, *(f"{user}\0{since:.3f}" for user, since in spells)])
        return {
            "type": "system",
            "id": f"sys_{sha256(spell.encode(errors='surrogatepass')).hexdigest()[:32]}",
            "event": self.event,
            "data": {**self._named(), "count_online": online},
            "severity": "info",
        }

    def _named(self) -> dict[str, Any]:
        if len(self.users) == 1:
            return {"user_id": self.users[0], "username": self.users[0]}
        return {"user_ids": [*self.users], "count": len(self.users)}


class Announcer:
    """The announcements that follow from the changes of a roster. `now` is Unix time."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._since: dict[str, float] = {}
        """User → begin of the time on line, of those who are there."""
        self._coming: dict[str, float] = {}
        """The same of those of whom it is yet to be told that they have come, in that order."""
        self._leaving: dict[str, float] = {}
        """User → time at which it is told that they have gone, in the order of these."""

    def take(
        self, changes: Mapping[str, bool], roster: Roster, now: float
    ) -> Iterator[Announcement]:
        """Take changes, and yield what is to be announced now. Called once a second."""
        for user, online in changes.items():
            if online:
                self._come(user, roster, now)
            elif self._coming.pop(user, None) is not None:
                del self._since[user]
            elif user in self._since:
                self._leaving.setdefault(user, now + QUIET)
        for several in _gathered(self._coming):
            since = tuple(self._coming.pop(user) for user in several)
            yield Announcement("user_joined", several, since)
        for several in _gathered(self._due(now)):
            for user in several:
                del self._leaving[user]
            since = tuple(self._since.pop(user) for user in several)
            yield Announcement("user_left", several, since)

    def _come(self, user: str, roster: Roster, now: float) -> None:
        if self._leaving.pop(user, None) is None:
            since = self._since[user] = roster.spell(user).since
            # Who was on line before this node began, or has come back to it, is no news.
            if now - max(since, self._began + QUIET) >= 0 and now - since < QUIET:
                self._coming[user] = since

    def _due(self, now: float) -> Iterator[str]:
        for user, due in self._leaving.items():
            if now < due <= now + QUIET:  # beyond that the clock was set back
                return
            yield user

    @property
    def waits(self) -> bool:
        """Whether something will be due without a further change."""
        return bool(self._leaving or self._coming)


def _gathered(users: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the users of each message that goes out now."""
    waiting = list(users)
    if len(waiting) <= SINGLY:
        return [(user,) for user in waiting]
    found: list[tuple[str, ...]] = []
    start = 0
    while start < len(waiting) and len(found) < MESSAGES:
        end, room = start + 1, _TOGETHER_BYTES - _size(waiting[start])
        while end < min(start + TOGETHER, len(waiting)) and room >= (size := _size(waiting[end])):
            end, room = end + 1, room - size
        found.append(tuple(waiting[start:end]))
        start = end
    return found


def _size(user: str) -> int:
    return len(user.encode(errors="surrogatepass"))
