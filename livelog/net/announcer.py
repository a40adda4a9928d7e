"""Announcements: who says in the log that a user has come or gone, and when.

Someone who is back within `QUIET` seconds has never been away: a `user_left` waits that long, and
what comes before it is due cancels it. So there is at most one of each kind for a user in that
time. Every node of a log keeps count alike; the one with the lowest id says it. Where two believe
to be that one, as when a node has just come, both make the same id, and the log takes the message
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from livelog.net.roster import Roster

QUIET = 10.0
"""Seconds within which somebody may come back without a word."""


class Announcement(NamedTuple):
    """Somebody has come or gone."""

    user: str
    event: str
    since: float
    """Begin of the time on line that has begun or ended, in Unix time."""

    def message(self, online: int) -> dict[str, Any]:
        """Return the message, with the number of users that are on line now."""
        spell = f"{self.event}\0{self.user}\0{self.since:.3f}"
        return {
            "type": "system",
            "id": f"sys_{sha256(spell.encode(errors='surrogatepass')).hexdigest()[:32]}",
            "event": self.event,
            "data": {"user_id": self.user, "username": self.user, "count_online": online},
            "severity": "info",
        }


class Announcer:
    """The announcements that follow from the changes of a roster. `now` is Unix time."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._since: dict[str, float] = {}
        """User → begin of the time on line, of those who are there."""
        self._leaving: dict[str, float] = {}
        """User → time at which it is told that they have gone, in the order of these."""

    def take(
        self, changes: Mapping[str, bool], roster: Roster, now: float
    ) -> Iterator[Announcement]:
        """Take changes, and yield what is to be announced now."""
        for user, online in changes.items():
            if not online:
                if user in self._since:
                    self._leaving.setdefault(user, now + QUIET)
            elif self._leaving.pop(user, None) is None:
                since = self._since[user] = roster.spell(user).since
                # Who was on line before this node began, or has come back to it, is no news.
                if now - max(since, self._began + QUIET) >= 0 and now - since < QUIET:
                    yield Announcement(user, "user_joined", since)
        yield from self._due(now)

    def _due(self, now: float) -> Iterator[Announcement]:
        for user, due in list(self._leaving.items()):
            if now < due <= now + QUIET:  # beyond that the clock was set back
                return
            del self._leaving[user]
            yield Announcement(user, "user_left", self._since.pop(user))

    @property
    def waits(self) -> bool:
        """Whether something will be due without a further change."""
        return bool(self._leaving)
