"""The counts of one turn: the events of the watchers whose interval has ended.

Watchers of the same topic, a query and a field, share the counts of what is public. Direct messages
are counted for each reader by itself, and added. Watchers that are alike get the same frame.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple, Protocol, TypeVar

from livelog.fanout.watcher import Part, Watcher
from livelog.index.analysis.live import Count, Findings, Summary, summary
from livelog.index.query import Query
from livelog.wire import frames
from livelog.wire.events import Counts, encoder
from livelog.wire.messages import MessageType

DIRECT: Final = frozenset[MessageType](["dm"])

Result = TypeVar("Result")
Steps = Generator[None, None, Result]
Stretch = tuple[int, int, int]
"""Identity of a query, and the seqs after and up to which its matches are counted."""
Alike = tuple[int, int, str, int, int, bool]
"""All of a watcher that its event depends on, besides the topic."""


class Source(Protocol):
    """The log's index, as it is counted in."""

    @property
    def indexed_upto(self) -> int:
        """Seq up to which messages are in the index."""

    def count(
        self, query: Query, field: str, after: int, upto: int, known: Findings
    ) -> Steps[Count]:
        """Count the messages after one seq and up to another that match, in steps.

        `known` serves the next call.
        """

    def newest_of(self, types: frozenset[MessageType], after: int, upto: int) -> int:
        """Return the seq of the newest message of these types after one seq and up to another.

        0 without any.
        """

    def newest_dm(self, user: str, after: int, upto: int, known: Findings) -> int:
        """Return the same of the direct messages of one user."""


class Told(NamedTuple):
    """An event."""

    frame: bytes
    to_seq: int
    incomplete: bool
    """Some messages had been evicted."""


class Turn:
    """Counts up to one place. Watchers of one topic come one after the other and share them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known = Findings()
        self.upto = source.indexed_upto
        self._seqs: dict[tuple[frozenset[MessageType], int, int], int] = {}
        self._counts: dict[Stretch, Count] = {}
        self._summaries: dict[Stretch, Summary] = {}
        self._told: dict[Alike, Told] = {}

    def begin_topic(self) -> None:
        """Give up what the watchers of the last topic have shared: it may be large."""
        self._counts.clear()
        self._summaries.clear()
        self._told.clear()

    def told(self, watcher: Watcher) -> Told | None:
        """Return the event that another watcher like this one has been told; None without one."""
        alike = self._alike(watcher)
        return None if alike is None else self._told.get(alike)

    def _alike(self, watcher: Watcher) -> Alike | None:
        """Return all that its event depends on; None if it has one of its own."""
        part, after, seq = watcher.parts[0], watcher.after, watcher.seq
        own = self._newest_own(part, after, self.upto)
        if len(watcher.parts) > 1 or (own and part.own is not None):
            return None
        newest = max(own, self._newest_public(part, after, self.upto))
        return id(part.public), after, watcher.id, seq, newest, seq < watcher.lost

    def event(self, watcher: Watcher) -> Steps[Told]:
        """Count what has come since the cursor of a watcher; return its event."""
        seq, stretches, own = watcher.seq, list[Stretch](), list[Count]()
        for part, after, upto in watcher.spans(self.upto):
            stretch = id(part.public), after, upto
            if stretch not in self._counts:
                found = self._source.count(part.public, watcher.field, after, upto, self._known)
                self._counts[stretch] = yield from found
            stretches.append(stretch)
            newest = self._newest_own(part, after, upto)
            if part.own is not None and newest:
                # What is found for a reader serves no other.
                found = self._source.count(part.own, watcher.field, after, upto, Findings())
                own.append((yield from found))
            seq = max(seq, newest, self._newest_public(part, after, upto))
        summed = yield from self._summary(stretches, own)
        told = Told(_frame(watcher, seq, summed), seq, summed.incomplete)
        if (alike := self._alike(watcher)) is not None:
            self._told[alike] = told
        return told

    def _summary(self, stretches: list[Stretch], own: list[Count]) -> Steps[Summary]:
        """Sum up what was counted; what is the same for many watchers is summed up once."""
        if len(stretches) != 1 or own:
            counts = [self._counts[stretch] for stretch in stretches]
            return (yield from summary([*counts, *own]))
        [stretch] = stretches
        if stretch not in self._summaries:
            self._summaries[stretch] = yield from summary([self._counts[stretch]])
        return self._summaries[stretch]

    def _newest_own(self, part: Part, after: int, upto: int) -> int:
        """Return the seq of the newest direct message of a reader, 0 without any."""
        if part.user is None or not self._newest_of(DIRECT, after, upto):
            return 0  # nearly always
        return self._source.newest_dm(part.user, after, upto, self._known)

    def _newest_public(self, part: Part, after: int, upto: int) -> int:
        """Return the seq of the newest message that others may read as well, 0 without any."""
        return upto if part.open else self._newest_of(part.readable, after, upto)

    def _newest_of(self, types: frozenset[MessageType], after: int, upto: int) -> int:
        key = types, after, upto
        if key not in self._seqs:
            self._seqs[key] = self._source.newest_of(types, after, upto)
        return self._seqs[key]


def _frame(watcher: Watcher, seq: int, summed: Summary) -> bytes:
    event = Counts(
        id=watcher.id,
        from_seq=watcher.seq,
        to_seq=seq,
        total_count=summed.total,
        counts=summed.top,
        others=summed.others,
        missing=summed.missing,
        incomplete=summed.incomplete or watcher.seq < watcher.lost,
    )
    return frames.text(encoder.encode(event))
