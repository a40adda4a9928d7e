"""The hub: live readers in audiences, and the rounds in which they are written to.

Readers with the same subscription that are at the head share an audience. A message is appended to
the audiences it concerns, once; what an audience has gathered is joined, and the same bytes are
handed to every member. A reader that cannot be written to, or that starts in the past, is in no
audience: the catch-up brings it to the head and `join`s it again.

Members are written to in rounds, and a round in slices, so that the loop breathes. What a member
gets is decided when its turn comes: everything its audience has gathered after its cursor. So a
message that arrives in the middle of a round reaches those who are still to come in that round, and
the others in the next; nobody waits for more than one round. Members that had their turn in the
same slice have the same cursor, so each slice joins once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from livelog.fanout.audience import Audience, Reader
from livelog.fanout.routing import Routing, split
from livelog.index.query import Subscription
from livelog.wire.record import Record


class Hub:
    """All audiences. Owns which readers are live, and the bytes that wait for them."""

    def __init__(self, head: int = 0) -> None:
        self.head = head
        """Seq of the last message it was told of."""
        self.on_work: Callable[[], object] = _ignored
        """Called when frames begin to wait for a live reader."""
        self._audiences: dict[Subscription, Audience] = {}
        self._routing = Routing()
        self._dirty: set[Audience] = set()
        """Audiences with frames that not every member has been handed."""
        self._round: deque[Audience] = deque()
        """Audiences whose members are still to be written to in the round under way."""
        self._round_head = 0
        """The head when the round began: at its end everybody has everything up to here."""

    # Readers come and go.

    def position(self, reader: Reader) -> int:
        """Return the seq up to which `reader` has been handed all it asked for."""
        audience = reader.audience
        if audience is None:
            return reader.cursor if reader.subscription.parts else self.head
        first = audience.first_for(reader)
        return self.head if first is None else first - 1

    def join(self, reader: Reader) -> None:
        """Make a reader live; its cursor must be at the head."""
        assert reader.cursor >= self.head
        shared, reader.personal = split(reader.subscription)
        audience = self._audiences.get(shared) or self._open(shared)
        audience.members.add(reader)
        reader.audience = audience
        self._routing.enter(reader)

    def leave(self, reader: Reader) -> None:
        """Take `reader` out of the live set, with its cursor at the exact place."""
        reader.cursor = self.position(reader)
        audience, reader.audience = reader.audience, None
        if audience is not None:
            audience.members.discard(reader)
            audience.personal.pop(reader, None)
            if not audience.members:
                self._close(audience)
        self._routing.leave(reader)
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

    def _open(self, subscription: Subscription) -> Audience:
        audience = self._audiences[subscription] = Audience(subscription)
        self._routing.add(audience)
        return audience

    def _close(self, audience: Audience) -> None:
        del self._audiences[audience.subscription]
        self._dirty.discard(audience)
        self._routing.remove(audience)

    # Messages come in and go out.

    def publish(self, record: Record) -> None:
        """Append `record` to the audiences it concerns."""
        self.head = record.seq
        idle = not self._dirty
        for audience in self._routing.audiences(record):
            audience.seqs.append(record.seq)
            audience.frames.append(record.frame)
            self._dirty.add(audience)
        for reader in self._routing.readers(record):
            if reader.audience is not None and reader.subscription.wants(record):
                personal = reader.audience.personal.setdefault(reader, [])
                personal.append((record.seq, record.frame))
                self._dirty.add(reader.audience)
        if idle and self._dirty:
            self.on_work()

    @property
    def idle(self) -> bool:
        """No frame waits to be written to a live reader."""
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
        """Write to up to `count` readers; True when the round goes on.

        This loop is where the server spends its time. Members with the same cursor get the same
        joined bytes, and a member is skipped that has nothing to get or has left since `begin`.
        """
        while self._round:
            audience = self._round[0]
            upto = audience.seqs[-1] if audience.seqs else 0
            personal = audience.personal
            joined: dict[int, bytes] = {}
            for reader in audience.turns:
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
                    # Last, because a write can block the reader, which reads its cursor.
                    reader.write(data)
                    count -= 1
                    if not count:
                        return True
            self._end_round(self._round.popleft())
        return False

    def _end_round(self, audience: Audience) -> None:
        audience.drop(self._round_head)
        if not audience.pending:
            self._dirty.discard(audience)

    def _check(self) -> None:
        """Assert that audiences and tables agree."""
        for subscription, audience in self._audiences.items():
            assert audience.subscription == subscription
            assert audience in self._dirty or not audience.pending
            audience._check()
        everyone = set(self._audiences.values())
        assert self._dirty <= everyone
        self._routing._check(everyone)


def _ignored() -> None:
    """Stand in until a flusher asks to be told of work."""
