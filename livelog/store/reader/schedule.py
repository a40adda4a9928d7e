"""The order in which calls get slices of the reading process's time.

Owners share the time (`livelog.budget.shares`). Among the calls of one owner those that have used
little time go first, so a short call does not wait for the long ones before it; these are carried
out one after the other, so that some are answered before their deadline.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from livelog.budget.owner import Owner
from livelog.budget.shares import Shares

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


class Schedule:
    """Calls that are not answered yet, and how much time their owners have had."""

    def __init__(self) -> None:
        self._tasks: dict[int, Task] = {}
        self._shares = Shares()

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task) -> None:
        """Enqueue a call."""
        self._shares.enter(task.owner)
        self._tasks[task.number] = task

    def next(self) -> Task | None:
        """Return the call whose turn it is, None without any."""
        if not self._tasks:
            return None
        chosen = min(self._tasks.values(), key=self._place)
        self._shares.advance(self._shares.place(chosen.owner))
        return chosen

    def is_ahead(self, task: Task) -> bool:
        """Tell whether the owner of a call has had little time lately."""
        return self._shares.is_ahead(task.owner)

    def charge(self, task: Task, seconds: float) -> None:
        """Count the time that a call has just run."""
        task.used += seconds
        self._shares.charge(task.owner, seconds)

    def drop(self, number: int) -> None:
        """Remove a call that is answered or not waited for; the number may be unknown."""
        task = self._tasks.pop(number, None)
        if task is None:
            return
        task.steps.close()
        self._shares.leave(task.owner)

    def _place(self, task: Task) -> tuple[float, ...]:
        first, *others = self._shares.place(task.owner)
        return first, min(task.used, _SHORT_SECONDS), *others, task.number
