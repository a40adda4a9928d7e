"""The order in which calls get slices of the reading process's time.

Owners take turns. The turn of a call counts for its user and for its address, and the next turn
goes to the call both of whose have waited longest: neither many users behind one address nor one
user at many addresses get more than a single turn. Among the calls of one owner those that have
used little time go first, so a short call does not wait for the long ones before it; the long ones
are carried out one after the other, so that some are answered before their deadline.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from livelog.budget.owner import Owner

_SHORT_SECONDS = 0.1
"""Seconds up to which a call counts as short."""


@dataclass(slots=True, eq=False)
class Task:
    """A call under way."""

    number: int
    owner: Owner
    steps: Generator[None, None, object]
    used: float = 0.0
    """Seconds it has run so far."""

    @property
    def keys(self) -> tuple[str, str]:
        """Its user and its address, as keys; an anonymous call counts for the address alone."""
        address = f"address {self.owner.address}"
        return (f"user {self.owner.user}" if self.owner.user else address), address


class Schedule:
    """Calls that are not answered yet, and the last turn of each of their owners."""

    def __init__(self) -> None:
        self._tasks: dict[int, Task] = {}
        self._turn = 0
        self._last: dict[str, int] = {}
        """Turn in which a user or an address was served last, or came."""

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task) -> None:
        """Enqueue a call; an owner without any gets its turn behind all others."""
        self._turn += 1
        for key in task.keys:
            self._last.setdefault(key, self._turn)
        self._tasks[task.number] = task

    def next(self) -> Task | None:
        """Return the call whose turn it is, None without any."""
        if not self._tasks:
            return None
        chosen = min(self._tasks.values(), key=self._place)
        self._turn += 1
        for key in chosen.keys:
            self._last[key] = self._turn
        return chosen

    def drop(self, number: int) -> None:
        """Remove a call that is answered or not waited for; the number may be unknown."""
        task = self._tasks.pop(number, None)
        if task is None:
            return
        task.steps.close()
        left = {key for other in self._tasks.values() for key in other.keys}
        for key in set(task.keys) - left:
            del self._last[key]

    def _place(self, task: Task) -> tuple[int, int, int, float, int]:
        user, address = (self._last[key] for key in task.keys)
        return max(user, address), user, address, min(task.used, _SHORT_SECONDS), task.number
