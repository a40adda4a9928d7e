"""Fair shares of a process's time, by owner.

Owners share the time fairly, as packets share a link (start-time fair queueing). Each has a *tag*,
the virtual time up to which it has been served, and the work with the lowest tag goes next. The
time that a piece of work takes is added to the tags of its user and of its address, and the higher
of the two decides: neither many users behind one address nor one user at many addresses get more
than one share. Who comes begins a little below the lowest tag of those that wait: so one that asks
for little is served at once, however many others keep the process busy. To leave and come back pays
off no debt.
"""

from __future__ import annotations

from collections import Counter

from livelog.budget.owner import Key, Owner

_CREDIT = 0.1
"""Seconds that an owner who has not asked for a while may have ahead of all others."""

_REMEMBERED = 4096
"""Owners without work whose tags are kept, before those are forgotten that owe nothing."""

Place = tuple[float, float, float]


class Shares:
    """The tags of the owners with work, and of those that had some."""

    def __init__(self) -> None:
        self._now = 0.0
        """The lowest tag of an owner with work, in seconds of virtual time."""
        self._tags: dict[Key, float] = {}
        self._working = Counter[Key]()
        """Pieces of work of each user and address."""

    def enter(self, owner: Owner) -> None:
        """Note that there is a piece of work for `owner`."""
        for key in owner.keys:
            begin = self._now - _CREDIT
            self._tags[key] = max(begin, self._tags.get(key, begin))
            self._working[key] += 1

    def leave(self, owner: Owner) -> None:
        """Note that a piece of work is done, or given up."""
        for key in owner.keys:
            self._working[key] -= 1
            if not self._working[key]:
                del self._working[key]
        if not self._working:
            self._now, self._tags = 0.0, {}  # nobody has waited for anybody
        elif len(self._tags) > 2 * len(self._working) + _REMEMBERED:
            self._forget()

    def charge(self, owner: Owner, seconds: float) -> None:
        """Count time that was used for an owner with work."""
        for key in set(owner.keys):
            self._tags[key] += seconds

    def place(self, owner: Owner) -> Place:
        """Return the place of an owner with work; the lowest one goes first. It never falls."""
        user, address = map(self._tags.__getitem__, owner.keys)
        return max(user, address), user, address

    def is_ahead(self, owner: Owner) -> bool:
        """Tell whether an owner with work has had less time than those that have waited on."""
        return self.place(owner)[0] < self._now

    def advance(self, lowest: Place) -> None:
        """Let the virtual time follow the lowest place of all."""
        self._now = max(self._now, lowest[0])

    def _forget(self) -> None:
        """Forget the owners without work, those first that owe nothing."""
        gone = sorted((tag, key) for key, tag in self._tags.items() if key not in self._working)
        owing = [key for tag, key in gone if tag > self._now]
        for key in {key for _, key in gone} - set(owing[-_REMEMBERED // 2 :]):
            del self._tags[key]
