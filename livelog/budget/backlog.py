"""The backlog: what waits for the index, by the owners that have published it.

A text of words that nobody has used before takes fifty times as long to index as it takes to send.
What waits makes every search longer, so publishers are held back by the cost they cause, not by the
number of their messages: while much waits, an owner with more than a small part of it does work on
the index before the next of its messages is taken. Owners that have little waiting pass at once.

The index takes messages in the order in which they were published, so those that still wait are the
newest ones: to know how many bytes wait is to know whose they are.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator

from livelog.budget.owner import Key, Owner
from livelog.errors import SERVER_ERROR, RefusedError

BACKLOG_BYTES = 512 * 2**10
"""Bytes of messages that may wait: from 0.02 to 0.2 seconds of work."""

_SMALL_BYTES = 16 * 2**10
"""Bytes of one user or address that may wait in any case, unless it is a single message."""

_RETRY_SECONDS = 1.0


class Backlog:
    """The owners of what waits for the index.

    `waiting` tells its bytes, and `work` makes a step of the work, or returns False without any.
    """

    def __init__(self, waiting: Callable[[], int] = int, work: Callable[[], bool] = bool) -> None:
        self._waiting = waiting
        self._work = work
        self._published: deque[tuple[Owner, int]] = deque()
        """Owners and bytes of what may wait, the oldest first."""
        self._total = 0
        self._parts = Counter[Key]()
        """Bytes of each user and address."""

    def add(self, owner: Owner, size: int) -> None:
        """Note that `owner` has published so many bytes."""
        self._settle()
        self._published.append((owner, size))
        self._total += size
        self._parts.update(dict.fromkeys(owner.keys, size))

    def has_room(self, owner: Owner, size: int) -> bool:
        """Tell whether `owner` may publish so many bytes now."""
        self._settle()
        part = max(self._parts[key] for key in owner.keys)
        return self._total + size <= BACKLOG_BYTES or not part or part + size <= _SMALL_BYTES

    def making_room(self, owner: Owner, size: int) -> Generator[None, None, None]:
        """Work on the index, in steps, until `owner` may publish so many bytes."""
        while not self.has_room(owner, size) and self._work():
            yield

    def _settle(self) -> None:
        """Forget what has been indexed."""
        waiting = self._waiting()
        while self._published and self._total - self._published[0][1] >= waiting:
            owner, size = self._published.popleft()
            self._total -= size
            for key in set(owner.keys):
                self._parts[key] -= size
                if not self._parts[key]:
                    del self._parts[key]

    def _check(self) -> None:
        """Assert that the sums are right."""
        parts = Counter[Key]()
        for owner, size in self._published:
            parts.update(dict.fromkeys(owner.keys, size))
        assert parts == self._parts
        assert self._total == sum(size for _, size in self._published)


def refusal() -> RefusedError:
    """Return the refusal of a message that has waited for too long."""
    issue = "much of what was published from here waits for the index"
    return RefusedError(SERVER_ERROR, "", issue, retry_after=_RETRY_SECONDS)
