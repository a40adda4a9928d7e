"""The search planner: how a query is answered by a source of posting lists.

A source looks up terms; it is the index in memory or a segment of the index on disk. The planner
intersects cheap lookups first (types, keys, dates), then the parts of words, shortest first, and
stops looking up as soon as few candidates are left: their text is read instead. Phrases are always
verified in the text, since posting lists do not hold the order of words, and so is an expression.

Searches are generators that pause after each small step, so that a long one can be interleaved with
other work. Messages that arrive during a pause are not in the result, and
messages that are forgotten during one are taken out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from pyroaring import BitMap

from livelog.index.query import BEGINNING_OF_TIME, END_OF_TIME, Query
from livelog.index.terms import mentions, message_in
from livelog.index.text import Phrase
from livelog.index.where.matching import Subject, Test
from livelog.wire.messages import TYPES, MessageType

_FEW = 32
"""Candidates up to which reading their text is cheaper than looking up the words of a query."""

Result = TypeVar("Result")
Steps = Generator[None, None, Result]

Read = Callable[[int], bytes]
"""Return the message at a position as JSON, empty if it is not there any more."""


class Source(Protocol):
    """Posting lists of the messages at a run of positions.

    Lookups may return positions that have been forgotten; the planner drops them. No caller
    changes a bitmap that a lookup returns.
    """

    @property
    def positions(self) -> range:
        """Positions of the messages that can be found now."""

    def of_type(self, name: MessageType) -> BitMap:
        """Positions of the messages of one type."""

    def of_key(self, key: str) -> BitMap:
        """Positions of the messages with a term made by `terms.key`."""

    def between(self, first: int, last: int) -> BitMap:
        """Positions of the messages with a timestamp from `first` to `last`, both included."""

    def containing(self, part: str) -> Steps[BitMap]:
        """Positions of the messages with a word that contains `part`."""


def find(source: Source, query: Query, read: Read, within: range | None = None) -> Steps[BitMap]:
    """Find the positions whose messages match `query`, of those `within` if it is given."""
    found = select(source, query, source.positions if within is None else within)
    for part in sorted({word for phrase in query.phrases for word in phrase}, key=len):
        if len(found) > _FEW:
            found &= yield from source.containing(part)
    few = len(found) <= _FEW
    unsure = [phrase for phrase in query.phrases if few or len(phrase) > 1]
    if unsure or query.test is not None:
        found = yield from _verified(unsure, query.test, found, read)
    return found & BitMap(source.positions)


def select(source: Source, query: Query, within: range) -> BitMap:
    """Find the positions `within` that match all of `query` but its text and `where`."""
    positions = source.positions
    found = BitMap(range(max(within.start, positions.start), min(within.stop, positions.stop)))
    if len(query.types) < len(TYPES):
        found &= _any_of([source.of_type(name) for name in query.types])
    for key in query.keys:
        found &= source.of_key(key)
    if query.own is not None:
        found -= source.of_type("dm") - source.of_key(query.own)
    if query.date_from > BEGINNING_OF_TIME or query.date_to < END_OF_TIME:
        found &= source.between(query.date_from, query.date_to)
    return found


def finish(steps: Steps[Result]) -> Result:
    """Run a search to its end at once, for callers whose thread has no other work."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: Result = stop.value
            return result


def _any_of(bitmaps: list[BitMap]) -> BitMap:
    """Join bitmaps; a single one, the usual case, is not copied."""
    return bitmaps[0] if len(bitmaps) == 1 else BitMap.union(BitMap(), *bitmaps)


def _verified(
    phrases: Sequence[Phrase], test: Test | None, candidates: BitMap, read: Read
) -> Steps[BitMap]:
    """Keep the candidates in whose text `phrases` stand, and that pass the test."""
    verified = BitMap()
    for position in candidates:  # their JSON is decoded, which may take a while for a single one
        if (yield from says(read(position), phrases, test)):
            verified.add(position)
        yield
    return verified


def says(payload: bytes, phrases: Sequence[Phrase], test: Test | None) -> Steps[bool]:
    """Tell whether a message is there, has `phrases` in its text and passes the test."""
    if not payload or (phrases and not (yield from mentions(payload, phrases))):
        return False
    return test is None or test(Subject(message_in(payload)))
