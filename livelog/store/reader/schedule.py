"""The order in which calls get slices of the reading process's time.

Owners share the time fairly, as packets share a link (start-time fair queueing). Each has a *tag*,
the virtual time up to which it has been served, and the call with the lowest tag goes next. The
time that a call takes is added to the tags of its user and of its address, and the higher of the
two decides: neither many users behind one address nor one user at many addresses get more than one
share. Who comes begins a little below the lowest tag of those that wait: so one that asks for
little is served at once, however many others keep the process busy. To leave and come back pays off
no debt.

Among the calls of one owner those that have used little time go first, so a short call does not
wait for the long ones before it; these are carried out one after the other, so that some are
answered before their deadline.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from livelog.budget.owner import Owner

_SHORT_SECONDS = 0.1
"""Seconds up to which a call counts as short."""

_CREDIT = 0.1
"""Seconds that an owner who has not asked for a while may have ahead of all others."""

_REMEMBERED = 4096
"""Owners without a call whose tags are kept, before those are forgotten that owe nothing."""


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
    """Calls that are not answered yet, and how much time their owners have had."""

    def __init__(self) -> None:
        self._tasks: dict[int, Task] = {}
        self._now = 0.0
        """The lowest tag of a call, in seconds of virtual time."""
        self._tags: dict[str, float] = {}
        """Of each user and address with a call, and of those that had one."""

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task) -> None:
        """Enqueue a call."""
        for key in task.keys:
            begin = self._now - _CREDIT
            self._tags[key] = max(begin, self._tags.get(key, begin))
        self._tasks[task.number] = task

    def next(self) -> Task | None:
        """Return the call whose turn it is, None without any."""
        if not self._tasks:
            return None
        chosen = min(self._tasks.values(), key=self._place)
        self._now = max(self._now, min(map(self._tag, self._tasks.values())))
        return chosen

    def charge(self, task: Task, seconds: float) -> None:
        """Count the time that a call has just run."""
        task.used += seconds
        for key in set(task.keys):
            self._tags[key] += seconds

    def drop(self, number: int) -> None:
        """Remove a call that is answered or not waited for; the number may be unknown."""
        task = self._tasks.pop(number, None)
        if task is None:
            return
        task.steps.close()
        if not self._tasks:
            self._now, self._tags = 0.0, {}  # nobody has waited for anybody
        elif len(self._tags) > 2 * len(self._tasks) + _REMEMBERED:
            self._forget()

    def _forget(self) -> None:
        """Forget the owners without a call, those first that owe nothing."""
        waiting = {key for task in self._tasks.values() for key in task.keys}
        gone = sorted((tag, key) for key, tag in self._tags.items() if key not in waiting)
        owing = [key for tag, key in gone if tag > self._now]
        for key in {key for _, key in gone} - set(owing[-_REMEMBERED // 2 :]):
            del self._tags[key]

    def _tag(self, task: Task) -> float:
        return max(self._tags[key] for key in task.keys)

    def _place(self, task: Task) -> tuple[float, ...]:
        used = min(task.used, _SHORT_SECONDS)
        return self._tag(task), used, *(self._tags[key] for key in task.keys), task.number
