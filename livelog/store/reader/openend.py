"""The newest part of the index on disk, in memory until it is sealed."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from livelog.index.index import Index
from livelog.index.plan import Source
from livelog.wire.record import Record

_WORD_BYTES = 500
_KEY_BYTES = 400
"""Memory that a distinct word or key takes in the open end, with its list."""

_MAX_QUEUED = 1_000_000
"""All words of the open end stay queued: it is sealed before n-grams would pay."""


class Part(NamedTuple):
    """A run of positions, from `first` up to, not including, `end`, that is indexed together."""

    first: int
    end: int
    source: Source | None
    """The index of its messages; positions in it count from 0. None where none is used."""

    def within(self, first: int, last: int) -> range:
        """Return its positions from `first` to `last`, counted from its beginning."""
        return range(max(0, first - self.first), max(0, min(self.end, last + 1) - self.first))


class OpenEnd:
    """The newest part, in memory."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.index = Index(_MAX_QUEUED)
        self.times = array("q")
        self._characters = 0

    @property
    def end(self) -> int:
        """Position behind the last message."""
        return self.first + len(self.index)

    @property
    def bytes(self) -> int:
        """Memory that it takes, about."""
        words = _WORD_BYTES * len(self.index.vocabulary())
        fields = _KEY_BYTES * self.index.keys + self.index.memory_of_numbers
        # A position takes four bytes, and a word at least as many characters with its space.
        return words + fields + self._characters

    def add(self, record: Record) -> None:
        """Index the message at `end`."""
        self.index.add(record)
        self.times.append(record.time)
        self._characters += len(record.text)
