"""Who gets what, and when: audiences of readers, and the pace at which they are written to.

A reader is a cursor into the log. Readers with the same subscription that are at the head share an
audience; a message is appended to the audiences it concerns once, and `flush` joins what an
audience has gathered and hands the same bytes to every member. A reader that cannot be written to,
or that starts in the past, is not in any audience: the catch-up brings it to the head and `join`s
it again.

The audiences that a message concerns are looked up, not searched: those without filters by the
message's type, the others by one of the terms they require, then asked once more with the one
predicate.

A flush runs in slices so that the loop breathes between them. `begin` fixes what is to be sent and
to whom; whoever joins, leaves or is blocked while the slices run is judged by its cursor: a reader
is written to only if its cursor is behind what the flush brings.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator

from livelog.messages import MessageType
from livelog.query import EVERYTHING, NOTHING, Query, Subscription
from livelog.record import Record

_GRAM = 3
"""A filter on text alone is found by the first letters of its longest word."""

# Terms have the form `field=value`; the fewer messages share a value, the better it routes.
_MOST_TELLING_FIRST = (
    "user_id=",
    "username=",
    "raid_id=",
    "party_id=",
    "guild_id=",
    "event=",
    "channel=",
    "status=",
    "severity=",
    "server=",
)
_NO_AUDIENCES: frozenset[Audience] = frozenset()


class Reader:
    """One connection's place in the log.

    `cursor` is the seq up to which everything it asked for has been written, exact while it is not
    in an audience; `Hub.position` tells it for live readers too.
    """

    __slots__ = ("audience", "blocked", "cursor", "subscription", "write")

    def __init__(self, write: Callable[[bytes], object], cursor: int = 0) -> None:
        self.write = write
        self.cursor = cursor
        self.subscription = NOTHING
        self.audience: Audience | None = None
        self.blocked = False
        """The send buffer is full; nothing may be written until it has drained."""


class Audience:
    """The live readers of one subscription, and what has not been handed to them yet."""

    __slots__ = ("first_flushing", "first_pending", "members", "pending", "subscription")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.members: set[Reader] = set()
        self.pending: list[bytes] = []
        self.first_pending = 0
        self.first_flushing = 0
        """Seq of the first frame of the flush under way; 0 when there is none."""


class Flush:
    """What one audience gets in the flush under way: `data`, which ends at seq `upto`."""

    __slots__ = ("audience", "data", "readers", "upto")

    def __init__(self, audience: Audience, upto: int) -> None:
        self.audience = audience
        self.upto = upto
        pending = audience.pending
        self.data = pending[0] if len(pending) == 1 else b"".join(pending)
        self.readers: Iterator[Reader] = iter(tuple(audience.members))


class Hub:
    """All audiences. Owns which readers are live, and the bytes that wait for them."""

    def __init__(self, head: int = 0) -> None:
        self.head = head
        """Seq of the newest message published."""
        self._audiences: dict[Subscription, Audience] = {}
        self._unfiltered: defaultdict[MessageType, set[Audience]] = defaultdict(set)
        self._routes: dict[tuple[MessageType, str], set[Audience]] = {}
        self._text_routes = 0
        """How many entries of `_routes` stand under letters of a text."""
        self._dirty: set[Audience] = set()
        self._flushes: deque[Flush] = deque()

    # Readers come and go.

    def position(self, reader: Reader) -> int:
        """The seq up to which `reader` has been handed all it asked for."""
        audience = reader.audience
        if audience is None:
            return reader.cursor if reader.subscription.parts else self.head
        if reader.cursor < audience.first_flushing:
            return audience.first_flushing - 1
        return max(reader.cursor, audience.first_pending - 1) if audience.pending else self.head

    def join(self, reader: Reader) -> bool:
        """Make a reader at the head live. False when its audience has bytes it must not get yet.

        Until the next `begin` has taken those, the reader stays behind.
        """
        audience = self._audiences.get(reader.subscription)
        if audience is None:
            audience = self._open(reader.subscription)
        elif audience.pending:
            return False
        audience.members.add(reader)
        reader.audience = audience
        return True

    def leave(self, reader: Reader) -> None:
        """Take `reader` out of the live set, with its cursor at the exact place."""
        reader.cursor = self.position(reader)
        audience, reader.audience = reader.audience, None
        if audience is not None:
            audience.members.discard(reader)
            if not audience.members:
                self._close(audience)

    def release(self, reader: Reader) -> None:
        """Let a reader leave at the head: it is first handed what its audience has gathered."""
        audience = reader.audience
        for flush in self._flushes:
            if flush.audience is audience:
                self._hand(flush.data, flush.upto, reader)
        # The write may have blocked the reader, which has then left at its place already.
        if audience is not None and reader.audience is audience and audience.pending:
            self._hand(b"".join(audience.pending), self.head, reader)
        self.leave(reader)

    # Messages come in and go out.

    def publish(self, record: Record) -> None:
        """Append `record` to the audiences it concerns."""
        self.head = record.seq
        for audience in self._concerned(record):
            if not audience.pending:
                audience.first_pending = record.seq
                self._dirty.add(audience)
            audience.pending.append(record.frame)

    @property
    def idle(self) -> bool:
        """Nothing waits to be written to a live reader."""
        return not self._dirty and not self._flushes

    def begin(self) -> None:
        """Start a flush of all that has gathered. The one before must have ended."""
        assert not self._flushes
        for audience in self._dirty:
            self._flushes.append(Flush(audience, self.head))
            audience.pending = []
            audience.first_flushing = audience.first_pending
        self._dirty.clear()

    def flush(self, count: int) -> bool:
        """Write to up to `count` readers; True when the flush goes on."""
        while self._flushes:
            flush = self._flushes[0]
            for reader in flush.readers:
                # Inlined for speed: this loop is where the server spends its time.
                if reader.cursor < flush.upto and reader.audience is flush.audience:
                    reader.cursor = flush.upto
                    reader.write(flush.data)
                    count -= 1
                    if not count:
                        return True
            flush.audience.first_flushing = 0
            self._flushes.popleft()
        return False

    def _hand(self, data: bytes, upto: int, reader: Reader) -> None:
        if reader.cursor < upto:
            reader.cursor = upto
            reader.write(data)

    # Tables by which audiences are found.

    def _concerned(self, record: Record) -> Iterator[Audience]:
        yield from self._unfiltered.get(record.type, ())
        if self._routes:
            found: set[Audience] = set()
            for term in self._terms(record):
                found |= self._routes.get((record.type, term), _NO_AUDIENCES)
            yield from (audience for audience in found if audience.subscription.wants(record))

    def _terms(self, record: Record) -> Iterator[str]:
        yield ""
        yield from record.keys
        if self._text_routes:
            text = record.text
            yield from {text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)}

    def _open(self, subscription: Subscription) -> Audience:
        audience = self._audiences[subscription] = Audience(subscription)
        for name, query in subscription.parts:
            if query == EVERYTHING:
                self._unfiltered[name].add(audience)
            else:
                term = _route(query)
                self._text_routes += len(term) == _GRAM
                self._routes.setdefault((name, term), set()).add(audience)
        return audience

    def _close(self, audience: Audience) -> None:
        del self._audiences[audience.subscription]
        self._dirty.discard(audience)
        for name, query in audience.subscription.parts:
            if query == EVERYTHING:
                self._unfiltered[name].discard(audience)
            else:
                term = _route(query)
                self._text_routes -= len(term) == _GRAM
                self._routes[name, term].discard(audience)
                if not self._routes[name, term]:
                    del self._routes[name, term]

    def _check(self) -> None:
        """Assert that the tables agree with each other."""
        for subscription, audience in self._audiences.items():
            assert audience.subscription == subscription
            assert audience.members
            assert all(reader.audience is audience for reader in audience.members)
            assert bool(audience.pending) == (audience in self._dirty)
        placed = {
            a for table in (self._unfiltered, self._routes) for s in table.values() for a in s
        }
        assert placed == set(self._audiences.values())
        assert self._dirty <= placed


def _route(query: Query) -> str:
    """A term that every message `query` matches has: the most telling one it requires."""
    for field in _MOST_TELLING_FIRST:
        for term in query.keys:
            if term.startswith(field):
                return term
    words = [word for phrase in query.phrases for word in phrase]
    longest = max(words, key=len, default="")
    return longest[:_GRAM] if len(longest) >= _GRAM else ""
