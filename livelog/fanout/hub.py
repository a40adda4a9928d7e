"""The hub: live readers in audiences, and the rounds in which they are written to.

Readers at the head with the same subscription share an audience. A message is appended once to each
audience it concerns; the frames that an audience has gathered are joined, and the same bytes are
written to every member. A blocked reader, or one whose cursor is in the past, is in no audience:
the catch-up brings it to the head and makes it live with `join`.

Members are written to in rounds, and a round is cut into slices, between which the loop runs other
work. A member gets everything its audience has gathered after its cursor, up to the moment it is
written to. So a message that arrives in mid-round reaches the members that are still to come in
that round, and the others in the next; no member waits for more than one round. Members that were
written to in the same slice have the same cursor, so the frames are joined once for all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from livelog.fanout.audience import Audience, Reader
from livelog.fanout.routing import Routing, split
from livelog.index.query import Subscription
from livelog.wire.record import Record


class Hub:
    """All audiences: the live readers, and the frames that wait for them."""

    def __init__(self, head: int = 0) -> None:
        self.head = head
        """Seq of the last published message."""
        self.on_work: Callable[[], object] = _ignored
        """Callback for the flusher: frames have begun to wait for a live reader."""
        self._audiences: dict[Subscription, Audience] = {}
        self._routing = Routing()
        self._dirty: set[Audience] = set()
        """Audiences with frames that some member lacks."""
        self._round: deque[Audience] = deque()
        """Audiences with members not yet written to in the round under way."""
        self._round_head = 0
        """The head when the round began; at its end every live reader has all up to here."""

    # Readers join and leave.

    def position(self, reader: Reader) -> int:
        """Return the seq up to which `reader` has been sent all messages it subscribed to."""
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
        """Take `reader` out of the live set, and set its cursor to its exact position."""
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
        """Take a reader out of the live set at the head, after writing the frames it lacks."""
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

    # Messages are gathered and written.

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
        """True while no frame waits for a live reader."""
        return not self._dirty

    def begin(self) -> None:
        """Start a round over all audiences with frames; the previous one must have ended."""
        assert not self._round
        self._round_head = self.head
        for audience in self._dirty:
            concerned = audience.members if audience.seqs else audience.personal
            audience.waiting = iter(tuple(concerned))
            self._round.append(audience)

    def flush(self, count: int) -> bool:
        """Write to up to `count` readers; return True while the round is unfinished.

        The server spends most of its time in this loop, hence the local variables and the single
        pass. Members with the same cursor get the same joined bytes. A member is skipped if it
        lacks no frame, or if it has left since `begin`: `waiting` is a snapshot, and readers leave
        between slices and during writes.
        """
        while self._round:
            audience = self._round[0]
            upto = audience.seqs[-1] if audience.seqs else 0
            personal = audience.personal
            joined: dict[int, bytes] = {}
            for reader in audience.waiting:
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
                    # After the cursor is set: a full send buffer blocks the reader, which reads it.
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
    """Do nothing: the callback until a flusher sets its own."""
