"""Watches: live counts of messages instead of the messages.

A watcher is a cursor. At each tick of its interval, what has come since is counted in the index,
and the cursor moves to where the index ends by then. So each message is in one event of a watcher;
one that cannot be written to is passed over and gets more in its next event, and nothing is queued.

Watchers of the same topic, a query and a field, share the counts of what is public. Direct messages
are counted for each reader by itself, and added. When a reader's permissions change, its watcher
gets another *part*: what has come before counts as it was allowed then.

Ticks are aligned to the epoch, so that watchers of one interval have one tick. Their counting is
long work in steps, which a `Ticker` runs; a tick that comes meanwhile adds to it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from livelog.auth.principal import Principal
from livelog.errors import POLICY_VIOLATION, PROTOCOL_ERROR, RefusedError
from livelog.index.analysis.live import Count, Findings, Summary, summary
from livelog.index.query import Query
from livelog.wire import frames
from livelog.wire.events import Counts, encoder
from livelog.wire.messages import MessageType

MAX_WATCHES = 16
"""Watches of one connection."""

DIRECT: Final = frozenset[MessageType](["dm"])

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")
Steps = Generator[None, None, Result]
Compile = Callable[[Principal], Query]
"""Return what a principal may read of what is asked for. Raises `RefusedError`."""
Stretch = tuple[int, int, int]
"""Identity of a query, and the seqs after and up to which its matches are counted."""


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


class Party(Protocol):
    """The one that watches: a connection, or a watch in process."""

    @property
    def blocked(self) -> bool:
        """Tell whether it can be told nothing now."""

    def tell(self, frame: bytes) -> None:
        """Take an event."""

    def __hash__(self) -> int: ...


class Part(NamedTuple):
    """The permissions that hold for messages after a seq, and the queries they leave."""

    after: int
    public: Query
    """All but direct messages, unless everybody may read those. One object for all watchers."""
    own: Query | None
    """Direct messages of the reader."""
    readable: frozenset[MessageType]
    """Types that may be read, without direct messages."""
    user: str | None
    """The reader, if it may read its own direct messages."""
    open: bool
    """Everybody may read everything."""


class Watcher:
    """One watch of a party: `parts` begin at its cursor and follow each other."""

    __slots__ = ("compile", "field", "id", "interval", "late", "lost", "parts", "party", "seq")

    def __init__(
        self,
        party: Party,
        id: str,
        compile: Compile,
        field: str,
        interval: int,
    ) -> None:
        self.party = party
        self.id = id
        self.compile = compile
        self.field = field
        self.interval = interval
        self.parts: list[Part] = []
        self.seq = 0
        """The cursor, as it may be told: newest message up to it that the principal may read."""
        self.lost = 0
        """Place up to which messages were evicted before they were counted; `seq` may be less than
        it would have been, so events that begin before this are incomplete."""
        self.late = False
        """A tick has passed over it, as it was blocked."""

    def spans(self, upto: int) -> Iterator[tuple[Part, int]]:
        """Iterate over the parts that begin before `upto`, each with its end."""
        ends = [part.after for part in self.parts[1:]]
        for part, end in zip(self.parts, [*ends, upto], strict=True):
            if part.after < upto:
                yield part, min(end, upto)

    def advance(self, upto: int, seq: int) -> None:
        """Move the cursor."""
        self.seq = seq
        while len(self.parts) > 1 and self.parts[1].after <= upto:
            del self.parts[0]
        if self.parts[0].after < upto:
            self.parts[0] = self.parts[0]._replace(after=upto)


class Watches:
    """All watchers: by party, by interval, and those whose turn it is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.on_work: Callable[[], object] = _ignored
        """Callback for the ticker: there is work for `counting`."""
        self.on_interval: Callable[[], object] = _ignored
        """Callback for the ticker: there is an interval that was not there before."""
        self._by_party: dict[Party, dict[str, Watcher]] = {}
        self._by_interval: dict[int, dict[Watcher, None]] = {}
        self._slots: dict[int, int] = {}
        """Interval → number of the one under way, counted from the epoch."""
        self._publics: dict[Query, Query] = {}
        """Public queries of the watchers, so that equal ones are one object."""
        self._due: dict[Watcher, None] = {}
        self._is_counting = False
        """`on_work` has been called, and its `counting` has not ended."""

    def __len__(self) -> int:
        return sum(map(len, self._by_party.values()))

    # They come and go.

    def enter(
        self, watcher: Watcher, principal: Principal, head: int, seq: int, now: float
    ) -> None:
        """Begin to watch from the head of the log on; a watch with the same id is replaced.

        `seq` is that of the newest message that the principal may read, `now` Unix time in seconds.
        Raises `RefusedError` for an invalid watch, or one too many.
        """
        present = self._by_party.get(watcher.party, {})
        if watcher.id not in present and len(present) >= MAX_WATCHES:
            issue = f"there are {MAX_WATCHES} watches on this connection already"
            raise RefusedError(POLICY_VIOLATION, "id", issue, allowed=MAX_WATCHES)
        watcher.parts = [self._part(watcher, principal, head)]
        watcher.seq = seq
        if watcher.id in present:
            self._remove(present[watcher.id])
        self._by_party.setdefault(watcher.party, {})[watcher.id] = watcher
        interval = watcher.interval
        is_new = interval not in self._by_interval
        self._by_interval.setdefault(interval, {})[watcher] = None
        if is_new:
            self._slots[interval] = int(now // interval)
            self.on_interval()

    def end(self, party: Party, id: str) -> None:
        """End a watch. Raises `RefusedError` for an unknown one."""
        watcher = self._by_party.get(party, {}).get(id)
        if watcher is None:
            raise RefusedError(PROTOCOL_ERROR, "id", "there is no watch with this id")
        self._remove(watcher)

    def leave(self, party: Party) -> None:
        """End all watches of a party."""
        for watcher in list(self._by_party.get(party, {}).values()):
            self._remove(watcher)

    def renew(self, party: Party, principal: Principal, head: int) -> list[str]:
        """Count what comes after the head as `principal` may read it.

        Return the ids of the watches that have ended, as it may not read what they ask for.
        """
        ended = []
        for watcher in list(self._by_party.get(party, {}).values()):
            try:
                part = self._part(watcher, principal, head)
            except RefusedError:
                self._remove(watcher)
                ended.append(watcher.id)
                continue
            if part[1:] != watcher.parts[-1][1:]:
                watcher.parts.append(part)
        return ended

    def _part(self, watcher: Watcher, principal: Principal, after: int) -> Part:
        """Return the part for messages after a seq. Raises `RefusedError`."""
        public, own = watcher.compile(principal).parted()
        if len(self._publics) > 2 * MAX_WATCHES * (1 + len(self._by_party)):  # many have gone
            parts = (part for one in self._everyone() for part in one.parts)
            self._publics = {part.public: part.public for part in parts}
        public = self._publics.setdefault(public, public)
        reads_own = not principal.open and "dm" in principal.readable
        user = principal.id if reads_own else None
        return Part(after, public, own, principal.readable - DIRECT, user, principal.open)

    def _everyone(self) -> Iterator[Watcher]:
        return chain.from_iterable(each.values() for each in self._by_party.values())

    def _remove(self, watcher: Watcher) -> None:
        _discard(self._by_party, watcher.party, watcher.id)
        _discard(self._by_interval, watcher.interval, watcher)
        self._due.pop(watcher, None)
        if watcher.interval not in self._by_interval:
            del self._slots[watcher.interval]

    def _is_here(self, watcher: Watcher) -> bool:
        return self._by_party.get(watcher.party, {}).get(watcher.id) is watcher

    # Ticks.

    def next_in(self, now: float) -> float | None:
        """Return the seconds until the next tick after `now`, in Unix time; None without any."""
        return min((each - now % each for each in self._by_interval), default=None)

    def tick(self, now: float) -> None:
        """Let all watchers whose interval has ended have their turn."""
        for interval, watchers in self._by_interval.items():
            slot = int(now // interval)
            if slot != self._slots[interval]:  # less, if the clock has been set back
                self._slots[interval] = slot
                self._due.update(watchers)
        self._wake()

    def resume(self, party: Party) -> None:
        """Let the watchers of a party that was blocked have the turn that they have missed."""
        for watcher in self._by_party.get(party, {}).values():
            if watcher.late:
                self._due[watcher] = None
        self._wake()

    def _wake(self) -> None:
        if self._due and not self._is_counting:
            self._is_counting = True
            self.on_work()

    # Counting.

    def counting(self) -> Steps[None]:
        """Count for all whose turn it is and tell them, in steps, until there are none.

        What fails concerns one topic; it is raised again in the end.
        """
        failure: Exception | None = None
        try:
            while self._due:
                due, self._due = self._due, {}
                turn = _Turn(self._source)
                for watchers in _by_topic(due):
                    try:
                        yield from self._count(watchers, turn)
                    except Exception as error:
                        failure = error
        finally:
            self._is_counting = False
        if failure is not None:
            raise failure

    def _count(self, watchers: Iterable[Watcher], turn: _Turn) -> Steps[None]:
        turn.begin_topic()
        for watcher in watchers:
            if self._can_be_told(watcher):
                frame, seq = yield from turn.event(watcher)
                if self._can_be_told(watcher):  # still
                    watcher.advance(turn.upto, seq)
                    watcher.party.tell(frame)
            yield

    def _can_be_told(self, watcher: Watcher) -> bool:
        watcher.late = watcher.party.blocked
        return not watcher.late and self._is_here(watcher)

    def _check(self) -> None:
        """Assert that the tables agree."""
        everyone = set(self._everyone())
        assert all(self._is_here(watcher) for watcher in everyone)
        assert all(each and len(each) <= MAX_WATCHES for each in self._by_party.values())
        assert everyone == {one for each in self._by_interval.values() for one in each}
        assert self._slots.keys() == self._by_interval.keys()
        assert all(self._by_interval.values())
        assert self._due.keys() <= everyone
        for watcher in everyone:
            assert all(self._publics[part.public] is part.public for part in watcher.parts)
            begins = [part.after for part in watcher.parts]
            assert begins
            assert begins == sorted(begins)
            assert watcher.seq <= begins[0]


class _Turn:
    """Counts up to one place. Watchers of one topic come one after the other and share them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known = Findings()
        self.upto = source.indexed_upto
        self._seqs: dict[tuple[frozenset[MessageType], int, int], int] = {}
        self._counts: dict[Stretch, Count] = {}
        self._summaries: dict[Stretch, Summary] = {}
        self._frames: dict[tuple[int, int, int, str, int, int, bool], bytes] = {}
        """Events by all that makes them differ."""

    def begin_topic(self) -> None:
        """Give up what the watchers of the last topic have shared: it may be large."""
        self._counts.clear()
        self._summaries.clear()
        self._frames.clear()

    def event(self, watcher: Watcher) -> Steps[tuple[bytes, int]]:
        """Count what has come since the cursor of a watcher; return the frame and its `to_seq`."""
        seq, stretches, own = watcher.seq, list[Stretch](), list[Count]()
        for part, upto in watcher.spans(self.upto):
            stretch = id(part.public), part.after, upto
            if stretch not in self._counts:
                found = self._source.count(
                    part.public, watcher.field, part.after, upto, self._known
                )
                self._counts[stretch] = yield from found
            stretches.append(stretch)
            newest = self._newest_own(part, upto)
            if part.own is not None and newest:
                # What is found for a reader serves no other.
                found = self._source.count(part.own, watcher.field, part.after, upto, Findings())
                own.append((yield from found))
            public = upto if part.open else self._newest_of(part.readable, part.after, upto)
            seq = max(seq, newest, public)
        summed = yield from self._summary(stretches, own)
        if summed.incomplete:
            watcher.lost = self.upto
        if own or len(stretches) != 1:
            return _frame(watcher, seq, summed), seq
        key = *stretches[0], watcher.id, watcher.seq, seq, watcher.seq < watcher.lost
        if key not in self._frames:
            self._frames[key] = _frame(watcher, seq, summed)
        return self._frames[key], seq

    def _summary(self, stretches: list[Stretch], own: list[Count]) -> Steps[Summary]:
        """Sum up what was counted; what is the same for many watchers is summed up once."""
        if len(stretches) != 1 or own:
            counts = [self._counts[stretch] for stretch in stretches]
            return (yield from summary([*counts, *own]))
        [stretch] = stretches
        if stretch not in self._summaries:
            self._summaries[stretch] = yield from summary([self._counts[stretch]])
        return self._summaries[stretch]

    def _newest_own(self, part: Part, upto: int) -> int:
        """Return the seq of the newest direct message of a reader, 0 without any."""
        if part.user is None or not self._newest_of(DIRECT, part.after, upto):
            return 0  # nearly always
        return self._source.newest_dm(part.user, part.after, upto, self._known)

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
        incomplete=watcher.seq < watcher.lost,
    )
    return frames.text(encoder.encode(event))


def _by_topic(watchers: Iterable[Watcher]) -> Iterable[list[Watcher]]:
    """Group watchers by topic, and topics by query: what matches is found once for all of them."""
    queries: dict[int, dict[str, list[Watcher]]] = {}
    for watcher in watchers:
        fields = queries.setdefault(id(watcher.parts[-1].public), {})
        fields.setdefault(watcher.field, []).append(watcher)
    return chain.from_iterable(fields.values() for fields in queries.values())


def _discard(table: dict[Key, dict[Item, Any]], key: Key, item: Item) -> None:
    """Remove `item`, and its table when that becomes empty."""
    del table[key][item]
    if not table[key]:
        del table[key]


def _ignored() -> None:
    """Do nothing: the callback until a ticker sets its own."""
