"""The newest messages, in memory: where history, search and every reader that is behind look first.

Reads are generators that pause now and then, so that a long one can be interleaved with other work.
The index lags behind the messages, and a search reads what is not in it yet singly. How
messages come in and are indexed stands in `indexing`, how they go in `kept`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from pyroaring import BitMap

from livelog.budget.slices import Pace
from livelog.index import plan
from livelog.index.analysis.live import Count, Findings, count
from livelog.index.analysis.question import Part, Question
from livelog.index.analysis.tally import Tally
from livelog.index.paging import Chunk
from livelog.index.query import Query, Subscription
from livelog.index.terms import reader
from livelog.index.where.matching import Test
from livelog.log.indexing import Indexed
from livelog.wire import frames
from livelog.wire.messages import MessageType
from livelog.wire.record import Record

_SCANNED = 512
"""Messages that are looked up in one step for a reader that is behind: a tenth of a millisecond.
Their text is read singly."""


def _last(positions: BitMap, within: range) -> int:
    """Return the last of `positions` that is in a range, -1 without any."""
    count = positions.rank(within.stop - 1) if within.stop else 0
    last = positions[count - 1] if count else -1
    return int(last) if last in within else -1


def _never() -> bool:
    """Tell that there is no end of the time."""
    return False


class Matches:
    """The result of a search. To be used before the window changes again."""

    def __init__(self, window: Window, positions: BitMap) -> None:
        self._window = window
        self.positions = positions
        self.total = len(positions)

    def newer(self, seq: int) -> int:
        """Return how many have a seq above this one."""
        position = self._window.position_after(seq)
        return self.total - (self.positions.rank(position - 1) if position else 0)

    def payloads(self, offset: int, limit: int) -> list[bytes]:
        """Return up to `limit` messages from `offset` on, newest first."""
        return frames.unframed(self.frames(offset, limit))

    def frames(self, offset: int, limit: int) -> list[bytes]:
        """Return the frames of these messages, which are not copied."""
        last = self.total - offset
        chosen = self.positions[max(0, last - limit) : max(0, last)]
        return self._window.frames(reversed(chosen))


class Counted(NamedTuple):
    """The result of an analysis of the messages with a seq above `follows`."""

    tally: Tally
    follows: int


class Window(Indexed):
    """The newest `max_messages` messages, or fewer when they exceed `max_bytes` with their index.

    It holds all messages with a seq above `evicted_upto`; that starts at `follows`, the seq of the
    message before the first one. `find` is bitmap arithmetic (`livelog.index.index`).
    """

    def after(
        self,
        cursor: int,
        wanted: Subscription,
        max_bytes: int,
        is_over: Callable[[], bool] = _never,
        upto: int = 0,
    ) -> Chunk:
        """Return the wanted messages after `cursor`, up to about `max_bytes` of frames.

        With `upto` none has a higher seq.

        It returns what it has when `is_over` tells that the time is used up, or when it finds that
        what follows has been evicted meanwhile; `cursor` of the chunk says how far it came.
        """
        found: list[bytes] = []
        cursor = max(cursor, self.evicted_upto)
        first = self.position_after(cursor)
        end = self.position_after(upto) if upto else self._frames.end
        while first < end and max_bytes > 0 and self._reach(first, is_over):
            reach = range(first, min(first + _SCANNED, self._index.end, end))
            positions, reach = self._wanted(wanted, reach, is_over)
            for position in positions & BitMap(self._unchanged) if self._unchanged else ():
                self._change(position)
            some = self._frames.at(positions)
            sizes = list(accumulate(map(len, some)))
            fit = bisect_left(sizes, max_bytes) + 1
            if fit < len(some):
                some, reach = some[:fit], range(first, positions[fit - 1] + 1)
            found += some
            max_bytes -= sizes[len(some) - 1] if some else 0
            first = reach.stop
            cursor = self._seqs[first - 1 - self._base]
            if is_over():
                break
        return Chunk(found, cursor)

    def _reach(self, position: int, is_over: Callable[[], bool]) -> bool:
        """Bring the index up to a position; False when the time ends before, or it is evicted."""
        while self._index.end <= position:
            self._add_some()
            if is_over():
                break
        return self._frames.start <= position < self._index.end

    def _wanted(
        self, wanted: Subscription, within: range, is_over: Callable[[], bool]
    ) -> tuple[BitMap, range]:
        """Return the wanted positions, and how much of `within` was looked at in the time."""
        found, unread = BitMap(), dict[int, tuple[Query, Test | None] | None]()
        for name, query in wanted.parts:
            sure, maybe = plan.glance(self._index, query, within)
            found |= sure
            unread.update(dict.fromkeys(maybe - sure, (query, wanted.test(name))))
        if self._index.stale and any(query.reads_terms for _, query in wanted.parts):
            unread |= dict.fromkeys(self._index.stale & BitMap(within))
        for position, asked in sorted(unread.items(), key=itemgetter(0)):
            if self._is_wanted(position, asked, wanted):
                found.add(position)
            if is_over():
                found.remove_range(position + 1, within.stop)
                return found, range(within.start, position + 1)
        return found, within

    def _is_wanted(
        self, position: int, asked: tuple[Query, Test | None] | None, wanted: Subscription
    ) -> bool:
        """Tell whether a message is wanted, by what is left to be asked of it; None is all."""
        if asked is None:
            return wanted.wants(self._decoded(position))
        query, test = asked
        return plan.finish(plan.says(self._kept(position), query.phrases, test))

    def find(self, query: Query) -> Generator[None, None, Matches]:
        """Find all messages that match `query`."""
        while self._unchanged:
            self._change_some()
            yield
        index, found = self._index, BitMap()
        # What waits for the index comes first, and is not held on to: it may be large. The newest
        # is read first, since the index takes the oldest meanwhile, and need not be read then.
        test, position, pace = query.test, self._frames.end, Pace()
        while index is self._index and position > (end := max(index.end, self._frames.start)):
            with pace:
                some = range(max(end, position - pace.size), position)
                found.update([n for n in some if query.matches_with(test, self._record_at(n))])
            position = some.start
            yield
        if index is self._index:
            within = range(index.start, position)
            found |= yield from plan.find(index, query, self._kept, within)
        if index is not self._index:  # positions have been counted anew meanwhile
            return (yield from self.find(query))
        found.remove_range(0, self._frames.start)
        return Matches(self, found)

    def analyze(self, query: Query, question: Question) -> Generator[None, None, Counted]:
        """Count the messages that match `query`, as they are at the end of the search for them."""
        while True:
            index = self._index
            matches = yield from self.find(query)
            counted = Counted(Tally(question), self.evicted_upto)
            if index is self._index:
                yield from self._count(matches.positions, counted.tally)
            if index is self._index:
                return counted

    def _count(self, found: BitMap, tally: Tally) -> Generator[None, None, None]:
        """Count matches, also those that are evicted meanwhile."""
        while self._unchanged:
            self._change_some()
            yield
        index, indexed, held = self._index, self._index.end, self._held
        start, frame = self._frames.start, self._frames.kept()

        def messages(positions: BitMap) -> Iterator[tuple[int, bytes]]:
            return ((position, frames.payload(frame(position))) for position in positions)

        def seq(position: int) -> int:
            return self._seqs[position - self._base] if index is self._index else 0

        waiting = found & BitMap(range(indexed, self._frames.end))
        held[start] += 1
        try:
            known = Part(found - waiting, index, messages, seq)
            yield from tally.add(known)
            if waiting and index is self._index:
                yield from tally.add(Part(waiting, None, messages, seq))
        finally:
            held[start] -= 1
            held += Counter()  # without those that nobody needs

    # What watches count.

    @property
    def indexed_upto(self) -> int:
        """Seq up to which all messages are in the index or evicted."""
        last = self._index.end - 1
        return self._seqs[last - self._base] if last >= self._frames.start else self.evicted_upto

    def count(
        self, query: Query, field: str, after: int, upto: int, known: Findings
    ) -> Generator[None, None, Count]:
        """Count the messages after one seq and up to another by the values of a field, in steps.

        `known` serves the next call.
        """
        index = self._index
        within = range(self.position_after(after), self.position_after(upto))
        while self._index.end < within.stop:  # only after the index was made anew
            self._add_some()
            yield
        if index is self._index:
            found = known.of(index).matches((query, within))
            if found is None:
                found = yield from plan.find(index, query, self._kept, within)
                known.of(index).note((query, within), found)
            counted = yield from count(index, known, field, found, self._kept)
        if index is not self._index:  # positions have been counted anew meanwhile
            return (yield from self.count(query, field, after, upto, known))
        return counted._replace(incomplete=after < self.evicted_upto)

    def newest_of(self, types: Iterable[MessageType], after: int, upto: int) -> int:
        """Return the seq of the newest message of these types after one seq and up to another.

        0 without any.
        """
        within = range(self.position_after(after), self.position_after(upto))
        last = [_last(self._index.of_type(name), within) for name in types]
        return self._seq_at(max(last, default=-1))

    def newest_dm(self, user: str, after: int, upto: int, known: Findings) -> int:
        """Return the same of the direct messages of one user; `known` serves the next call."""
        within = range(self.position_after(after), self.position_after(upto))
        found = known.of(self._index)
        if within not in found.dms:
            found.dms[within] = self._index.of_type("dm") & BitMap(within)
        own = found.dms[within] & self._index.of_key(reader(user))
        return self._seq_at(own.max() if own else -1)

    def _seq_at(self, position: int) -> int:
        return 0 if position < 0 else self._seqs[position - self._base]

    def _record_at(self, position: int) -> Record:
        """Return the record of a message that has waited for the index, and perhaps still does."""
        place = position - self._index.end
        return (self._waiting[place] if place >= 0 else None) or self._decoded(position)
