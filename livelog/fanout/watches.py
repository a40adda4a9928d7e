"""Watches: live counts of messages instead of the messages.

A watcher is a cursor. At each tick of its interval, what has come since is counted in the index,
and the cursor moves to where the index ends by then. So each message is in one event of a watcher;
one that cannot be written to is passed over and gets more in its next event, and nothing is queued.

Ticks are aligned to the epoch, so that watchers of one interval have one tick. Their counting is
long work in steps, which a `Ticker` runs; a tick that comes meanwhile adds to it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain
from typing import Any, TypeVar

from livelog.auth.principal import Principal
from livelog.errors import POLICY_VIOLATION, PROTOCOL_ERROR, RefusedError
from livelog.fanout.counting import DIRECT, Source, Steps, Turn
from livelog.fanout.watcher import Part, Party, Watcher
from livelog.index.query import Query

MAX_WATCHES = 16
"""Watches of one connection."""

_TOLD = 16
"""Watchers that are told what is known in one step: less than half a millisecond."""

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item", bound=Hashable)


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
        watcher.after, watcher.seq = head, seq
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
                turn = Turn(self._source)
                for watchers in _by_topic(due):
                    try:
                        yield from self._count(watchers, turn)
                    except Exception as error:
                        failure = error
        finally:
            self._is_counting = False
        if failure is not None:
            raise failure

    def _count(self, watchers: Iterable[Watcher], turn: Turn) -> Steps[None]:
        turn.begin_topic()
        for number, watcher in enumerate(watchers, 1):
            if not number % _TOLD:
                yield
            if not self._can_be_told(watcher):
                continue
            told = turn.told(watcher)
            if told is None:
                told = yield from turn.event(watcher)
                if not self._can_be_told(watcher):  # any more
                    continue
            if told.incomplete:
                watcher.lost = turn.upto
            watcher.advance(turn.upto, told.to_seq)
            watcher.party.tell(told.frame)

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
            assert begins[0] <= watcher.after
            assert all(watcher.after <= begin for begin in begins[1:])
            assert watcher.seq <= watcher.after


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
