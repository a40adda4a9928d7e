"""Entries of the stream that came live, until they are next: the network may drop, double and swap.

Each says which entry it follows, so a hole shows as soon as anything comes behind it. Some early
ones are kept while the hole is filled; they are bounded in bytes, for they can be read again.
"""

from __future__ import annotations

from livelog.engine.nats.stream import Entry

_MAX_BYTES = 16 * 2**20


class Arrivals:
    """The entries behind the number `done`, up to which all have been taken."""

    def __init__(self, done: int) -> None:
        self.done = done
        self.last = done
        """The highest number that is known of."""
        self._early: dict[int, Entry] = {}
        self._bytes = 0

    def add(self, entry: Entry) -> None:
        """Note an entry that has come, in any order."""
        self.hear(entry.number)
        size = len(entry.body)
        wanted = entry.number > self.done and entry.number not in self._early
        if wanted and (self._bytes + size <= _MAX_BYTES or not self._early):
            self._early[entry.number] = entry
            self._bytes += size

    def hear(self, number: int) -> None:
        """Note that there is an entry with this number."""
        self.last = max(self.last, number)

    def next(self) -> Entry | None:
        """Return the entry that follows `done`, None if it has not come."""
        while self._early:
            entry = self._early[min(self._early)]
            if entry.previous > self.done:
                return None
            if entry.number > self.done:
                return entry
            self._drop(entry)
        return None

    def take(self, number: int) -> None:
        """Note that all entries up to a number have been taken."""
        self.done = max(self.done, number)
        self.hear(number)
        for early in [early for early in self._early if early <= self.done]:
            self._drop(self._early[early])

    @property
    def behind(self) -> bool:
        """True while an entry is known of that has not been taken."""
        return self.last > self.done

    def _drop(self, entry: Entry) -> None:
        del self._early[entry.number]
        self._bytes -= len(entry.body)

    def _check(self) -> None:
        """Assert that the books are right."""
        assert self._bytes == sum(len(entry.body) for entry in self._early.values())
        assert all(number > self.done for number in self._early)
        assert self.last >= max([self.done, *self._early])
