"""Who gets what, and when: audiences of readers, and the rounds in which they are written to.

A reader is a cursor into the log. Readers with the same subscription that are at the head share an
audience. A message is appended to the audiences it concerns, once; what an audience has gathered is
joined, and the same bytes are handed to every member. A reader that cannot be written to, or that
starts in the past, is not in any audience: the catch-up brings it to the head and `join`s it again.

Members are written to in rounds, and a round in slices, so that the loop breathes. What a member
gets is decided when its turn comes: everything its audience has gathered after its cursor. So a
message that arrives in the middle of a round reaches those who are still to come in that round, and
the others in the next; nobody waits for more than one round. Members that had their turn in the
same slice have the same cursor, so each slice joins once.

The audiences that a message concerns are looked up, not searched: those without filters by the
message's type, the others by one of the terms they require, then asked once more with the one
predicate.

What a reader wants of one person only, such as its own direct messages, would make every
subscription another one, and an audience of each reader. So an audience shares the rest, and the
*personal* frames of a member are kept for that member, until its turn merges the two by seq.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

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
_PERSON = "user_id="
_NO_AUDIENCES: frozenset[Audience] = frozenset()
_NO_READERS: frozenset[Reader] = frozenset()

Entry = TypeVar("Entry", bound=Hashable)
Route = tuple[MessageType, str]
"""A type and a term: where a message that has both is looked up."""


class Reader:
    """One connection's place in the log.

    `cursor` is the seq up to which everything it asked for has been written, exact while it is not
    in an audience; `Hub.position` tells it for live readers too.
    """

    __slots__ = ("audience", "blocked", "cursor", "personal", "subscription", "write")

    def __init__(self, write: Callable[[bytes], object], cursor: int = 0) -> None:
        self.write = write
        self.cursor = cursor
        self.subscription = NOTHING
        self.audience: Audience | None = None
        self.personal: tuple[Route, ...] = ()
        """Where what it shares with no audience is looked up, while it is live."""
        self.blocked = False
        """The send buffer is full; nothing may be written until it has drained."""


class Audience:
    """The live readers of one subscription, and what not all of them have been handed yet."""

    __slots__ = ("frames", "members", "personal", "seqs", "subscription", "turns")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.members: set[Reader] = set()
        self.seqs: list[int] = []
        self.frames: list[bytes] = []
        """What has been gathered: `frames[i]` has the seq `seqs[i]`."""
        self.personal: dict[Reader, list[tuple[int, bytes]]] = {}
        """What has been gathered for one member only: seqs and frames."""
        self.turns: Iterator[Reader] = iter(())
        """Who is still to come in the round under way."""

    def after(self, cursor: int) -> bytes:
        """What every member at `cursor` has to be handed."""
        frames = self.frames[bisect_right(self.seqs, cursor) :]
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def take_for(self, reader: Reader) -> bytes:
        """What `reader` has to be handed, with what is for it alone."""
        start = bisect_right(self.seqs, reader.cursor)
        shared = zip(self.seqs[start:], self.frames[start:], strict=True)
        return b"".join(frame for _, frame in sorted([*shared, *self.personal.pop(reader)]))

    def first_for(self, reader: Reader) -> int | None:
        """The seq of the first frame that `reader` has to be handed; None if there is none."""
        waiting = bisect_right(self.seqs, reader.cursor)
        first = [seq for seq, _ in self.personal.get(reader, ())[:1]]
        return min([*self.seqs[waiting : waiting + 1], *first], default=None)

    def drop(self, upto: int) -> None:
        """Everybody has been handed what has a seq up to here."""
        handed = bisect_right(self.seqs, upto)
        del self.seqs[:handed], self.frames[:handed]


class Hub:
    """All audiences. Owns which readers are live, and the bytes that wait for them."""

    def __init__(self, head: int = 0) -> None:
        self.head = head
        """Seq of the newest message published."""
        self._audiences: dict[Subscription, Audience] = {}
        self._unfiltered: defaultdict[MessageType, set[Audience]] = defaultdict(set)
        self._routes: dict[Route, set[Audience]] = {}
        self._persons: dict[Route, set[Reader]] = {}
        """Live readers with personal parts, by the person."""
        self._text_routes = 0
        """How many entries of `_routes` stand under letters of a text."""
        self._dirty: set[Audience] = set()
        """Audiences that have gathered something."""
        self._round: deque[Audience] = deque()
        """Audiences whose members are still to be written to in the round under way."""
        self._round_head = 0
        """The head when it began: at its end everybody has everything up to here."""

    # Readers come and go.

    def position(self, reader: Reader) -> int:
        """The seq up to which `reader` has been handed all it asked for."""
        audience = reader.audience
        if audience is None:
            return reader.cursor if reader.subscription.parts else self.head
        first = audience.first_for(reader)
        return self.head if first is None else first - 1

    def join(self, reader: Reader) -> None:
        """Make a reader live; its cursor must be at the head."""
        assert reader.cursor >= self.head
        shared, reader.personal = _split(reader.subscription)
        audience = self._audiences.get(shared) or self._open(shared)
        audience.members.add(reader)
        reader.audience = audience
        for route in reader.personal:
            self._persons.setdefault(route, set()).add(reader)

    def leave(self, reader: Reader) -> None:
        """Take `reader` out of the live set, with its cursor at the exact place."""
        reader.cursor = self.position(reader)
        audience, reader.audience = reader.audience, None
        if audience is not None:
            audience.members.discard(reader)
            audience.personal.pop(reader, None)
            if not audience.members:
                self._close(audience)
        for route in reader.personal:
            _discard(self._persons, route, reader)
        reader.personal = ()

    def release(self, reader: Reader) -> None:
        """Let a reader leave at the head: it is first handed what its audience has gathered."""
        audience = reader.audience
        if audience is not None and self.position(reader) < self.head:
            personal = reader in audience.personal
            data = audience.take_for(reader) if personal else audience.after(reader.cursor)
            reader.cursor = self.head
            reader.write(data)
        self.leave(reader)

    # Messages come in and go out.

    def publish(self, record: Record) -> None:
        """Append `record` to the audiences it concerns."""
        self.head = record.seq
        for audience in self._concerned(record):
            audience.seqs.append(record.seq)
            audience.frames.append(record.frame)
            self._dirty.add(audience)
        if self._persons:
            self._publish_personally(record)

    def _publish_personally(self, record: Record) -> None:
        persons = [term for term in record.keys if term.startswith(_PERSON)]
        found: set[Reader] = set()
        for term in persons:
            found |= self._persons.get((record.type, term), _NO_READERS)
        for reader in found:
            audience = reader.audience
            if audience is not None and reader.subscription.wants(record):
                audience.personal.setdefault(reader, []).append((record.seq, record.frame))
                self._dirty.add(audience)

    @property
    def idle(self) -> bool:
        """Nothing waits to be written to a live reader."""
        return not self._dirty

    def begin(self) -> None:
        """Start a round over all audiences that have gathered something.

        The round before must have ended.
        """
        assert not self._round
        self._round_head = self.head
        for audience in self._dirty:
            concerned = audience.members if audience.seqs else audience.personal
            audience.turns = iter(tuple(concerned))
            self._round.append(audience)

    def flush(self, count: int) -> bool:
        """Write to up to `count` readers; True when the round goes on."""
        while self._round:
            audience = self._round[0]
            upto = audience.seqs[-1] if audience.seqs else 0
            personal = audience.personal
            joined: dict[int, bytes] = {}
            for reader in audience.turns:
                # This loop is where the server spends its time.
                cursor = reader.cursor
                if (cursor < upto or reader in personal) and reader.audience is audience:
                    if reader in personal:
                        data = audience.take_for(reader)
                    elif cursor in joined:
                        data = joined[cursor]
                    else:
                        data = joined[cursor] = audience.after(cursor)
                    if cursor < upto:
                        reader.cursor = upto
                    reader.write(data)
                    count -= 1
                    if not count:
                        return True
            self._end_round(self._round.popleft())
        return False

    def _end_round(self, audience: Audience) -> None:
        audience.drop(self._round_head)
        if not (audience.seqs or audience.personal):
            self._dirty.discard(audience)

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
                _discard(self._routes, (name, term), audience)

    def _check(self) -> None:
        """Assert that the tables agree with each other."""
        for subscription, audience in self._audiences.items():
            assert audience.subscription == subscription
            assert audience.members
            assert all(reader.audience is audience for reader in audience.members)
            assert audience in self._dirty or not (audience.seqs or audience.personal)
            assert audience.personal.keys() <= audience.members
            assert all(waiting == sorted(waiting) for waiting in audience.personal.values())
            assert audience.seqs == sorted(set(audience.seqs))
            assert len(audience.seqs) == len(audience.frames)
        placed = {
            a for table in (self._unfiltered, self._routes) for s in table.values() for a in s
        }
        assert placed == set(self._audiences.values())
        assert self._dirty <= placed
        for route, readers in self._persons.items():
            assert readers
            assert all(reader.audience and route in reader.personal for reader in readers)


def _split(subscription: Subscription) -> tuple[Subscription, tuple[Route, ...]]:
    """What is shared with an audience, and where the personal rest is looked up.

    A subscription that is personal as a whole stays so: those who share it are an audience.
    """
    routes = {name: _route(query) for name, query in subscription.parts}
    personal = {name: term for name, term in routes.items() if term.startswith(_PERSON)}
    if len(personal) == len(routes):
        return subscription, ()
    return subscription.without(frozenset(personal)), tuple(personal.items())


def _discard(table: dict[Route, set[Entry]], route: Route, entry: Entry) -> None:
    """Remove `entry`, and its place in the table when nobody else is there."""
    entries = table[route]
    entries.discard(entry)
    if not entries:
        del table[route]


def _route(query: Query) -> str:
    """A term that every message `query` matches has: the most telling one it requires.

    Of several persons it is the last, who is the one that asks.
    """
    for field in _MOST_TELLING_FIRST:
        for term in reversed(query.keys):
            if term.startswith(field):
                return term
    words = [word for phrase in query.phrases for word in phrase]
    longest = max(words, key=len, default="")
    return longest[:_GRAM] if len(longest) >= _GRAM else ""
