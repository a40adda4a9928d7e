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

To look for words in a long text takes time, and so do expressions that have to be tested for every
message. So audiences with such filters, on text for short, do not get a message when it is
published: it is queued for them, and `matching` takes one after the other out of the queue, in
small steps. Up to `matched` they have all that concerns them. When the queue grows too large, their
readers are left to the catch-up, which reads the same from the log. So are the readers of an
audience that fails: an exception is no matter of any other.

Readers that get arrays of messages are in audiences of their own, see `batching`: there a message
waits until its batch is closed, by its size or by the flusher's clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable

from livelog.budget.durations import Durations
from livelog.fanout.audience import Audience, Place, Reader
from livelog.fanout.batching import BatchedAudience
from livelog.fanout.compression import choose
from livelog.fanout.redactions import frames_for
from livelog.fanout.routing import Routing, split
from livelog.fanout.sharing import Key, key_of, made
from livelog.wire.acts import Act, Redact
from livelog.wire.record import Record

_MAX_UNMATCHED = 16 * 2**20
"""Bytes of messages that may wait for the audiences with filters on text."""


class Hub:
    """All audiences: the live readers, and the frames that wait for them."""

    def __init__(self, head: int = 0) -> None:
        self.head = head
        """Seq of the last published message."""
        self.on_work: Callable[[], object] = _ignored
        """Callback for the flusher: frames have begun to wait for a live reader."""
        self.on_unmatched: Callable[[], object] = _ignored
        """Callback for the flusher: there is work for `matching`."""
        self.on_behind: Callable[[Reader], object] = _ignored
        """Callback for the catch-up: a reader that was live has to read on from the log."""
        self.on_batch: Callable[[BatchedAudience, int], object] = _ignored
        """Callback for the flusher: `close_batch` is to be called with this after a while."""
        self._audiences: dict[Key, Audience] = {}
        self._routing = Routing()
        """Tables of the audiences without filters on text."""
        self._dirty: set[Audience] = set()
        """Audiences with frames that some member lacks."""
        self._deflating: set[Audience] = set()
        """Audiences whose members can inflate."""
        # The audiences with filters on text, which lag.
        self.matched = head
        """Seq of the last message that was matched with the filters on text."""
        self._text_routing = Routing()
        self._text_audiences = 0
        """Their number."""
        self._unmatched: deque[Record] = deque()
        """Messages published since."""
        self._unmatched_bytes = 0
        self._is_matching = False
        """`on_unmatched` has been called, and its `matching` has not ended."""
        # What has been written so far.
        self.delivered = 0
        """Messages that were written, counted for each reader."""
        self.delivered_bytes = 0
        self.waits = Durations()
        """Times that messages have waited; the flusher adds one for each round."""
        # The round under way.
        self._round: deque[Audience] = deque()
        """Audiences with members not yet written to."""

    # Readers join and leave.

    def position(self, reader: Reader) -> int:
        """Return the seq up to which `reader` has been sent all messages it subscribed to."""
        audience = reader.audience
        if audience is None:
            return reader.cursor if reader.subscription.parts else self.head
        first = audience.first_for(reader)
        return self._head_for(reader) if first is None else first - 1

    def _head_for(self, reader: Reader) -> int:
        """Return the seq up to which a live reader has been sent all, or it waits for it here."""
        audience = reader.audience
        if audience is None or not audience.by_text:
            return self.head
        return max(self.matched, reader.cursor)  # it may have joined above what was matched

    def join(self, reader: Reader) -> None:
        """Make a reader live; its cursor must be at the head."""
        assert reader.cursor >= self.head
        shared, reader.personal = split(reader.subscription)
        # One with a personal part reads arrays plain: they are its own.
        deflates = reader.deflates and not (reader.batch and reader.personal)
        key = Key(shared, reader.subscription.needs_steps, reader.batch, deflates)
        audience = self._audiences.get(key) or self._open(key)
        audience.members[reader] = None
        if deflates:
            audience.joining.add(reader)
        reader.audience = audience
        self._routing_of(audience).enter(reader)

    def leave(self, reader: Reader) -> None:
        """Take `reader` out of the live set, and set its cursor to its exact position."""
        reader.cursor = self.position(reader)
        audience, reader.audience = reader.audience, None
        if audience is not None:
            audience.forget(reader)
            self._routing_of(audience).leave(reader)
            if not audience.members:
                self._close(audience)
        reader.personal = ()

    def release(self, reader: Reader) -> None:
        """Take a reader out of the live set, after writing the frames that wait for it."""
        audience, upto = reader.audience, self._head_for(reader)
        if audience is not None and self.position(reader) < upto:
            data, number = audience.take_all_for(reader)
            self._count(1, data, number)
            reader.cursor = upto
            reader.write(data)
        self.leave(reader)

    def _routing_of(self, audience: Audience) -> Routing:
        return self._text_routing if audience.by_text else self._routing

    def _open(self, key: Key) -> Audience:
        audience = self._audiences[key] = made(key)
        self._text_audiences += key.by_text
        if key.deflates:
            self._deflating.add(audience)
        self._routing_of(audience).add(audience)
        return audience

    def _close(self, audience: Audience) -> None:
        del self._audiences[key_of(audience)]
        self._text_audiences -= audience.by_text
        self._dirty.discard(audience)
        self._deflating.discard(audience)
        self._routing_of(audience).remove(audience)

    # Messages are gathered and written.

    def publish(self, record: Record) -> None:
        """Append `record` to the audiences it concerns, or queue it for those it may concern.

        What fails takes its readers out of the live set at their exact places, and is raised again
        in the end.
        """
        failure: Exception | None = None
        behind: list[Reader] = []
        try:
            readers = [one for one in self._routing.readers(record) if _wants(one, record)]
            self._append(record, self._routing.audiences(record), readers)
        except Exception as error:
            failure = error
            behind += self._expelled(by_text=False)
        self.head = record.seq
        try:
            self._queue(record)
        except Exception as error:
            failure = error
            behind += self._expelled(by_text=True)
        for reader in behind:
            self.on_behind(reader)
        if failure is not None:
            raise failure

    def act(self, seq: int, act: Act) -> None:
        """Go on behind an act, which has a place like a message; tell readers of a redaction.

        Readers for whom messages have still to be matched are left to the catch-up.
        """
        behind: list[Reader] = []
        if isinstance(act, Redact):
            behind += self._expelled(by_text=True) if self._unmatched else ()
            for audience in list(self._audiences.values()):
                self._tell(audience, seq, act)
        self.head = seq
        if not self._unmatched:
            self.matched = seq
        for reader in behind:
            self.on_behind(reader)

    def _tell(self, audience: Audience, seq: int, act: Redact) -> None:
        """Append the events of a redaction for an audience, and those for single members."""
        idle, shared = not self._dirty, audience.subscription
        frames = frames_for(seq, act, shared)
        if frames:
            audience.tell(seq, frames)
            self._dirty.add(audience)
        if any(shared.query(group.type) is None for group in act.groups):
            for reader in audience.members:
                own = reader.subscription.without(frozenset(shared.types))
                if reader.personal and (frames := frames_for(seq, act, own)):
                    audience.tell_one(reader, seq, frames)
                    self._dirty.add(audience)
        if idle and self._dirty:
            self.on_work()

    def _append(
        self, record: Record, audiences: Iterable[Audience], readers: Iterable[Reader]
    ) -> None:
        """Append `record` to audiences, and to what single readers get."""
        idle = not self._dirty
        private = record.type == "dm"
        for audience in audiences:
            if private and audience.deflates:
                audience.private.add(record.seq)
            if audience.batch:  # its class tells the same, but asking for that takes longer
                assert isinstance(audience, BatchedAudience)
                self._gather(audience, record)
                continue
            audience.seqs.append(record.seq)
            audience.frames.append(record.frame)
            self._dirty.add(audience)
        for reader in readers:
            if isinstance(reader.audience, BatchedAudience):
                self._gather(reader.audience, record, reader)
            elif reader.audience is not None:
                personal = reader.audience.personal.setdefault(reader, [])
                personal.append((record.seq, record.frame))
                self._dirty.add(reader.audience)
        if idle and self._dirty:
            self.on_work()

    # Batches.

    def _gather(
        self, audience: BatchedAudience, record: Record, reader: Reader | None = None
    ) -> None:
        """Add `record` to the batch of an audience, for all members or for one."""
        begun = audience.batches
        if reader is None:
            audience.gather(record)
        else:
            audience.gather_for(reader, record)
        if audience.pending:
            self._dirty.add(audience)
        if audience.is_open and audience.batches != begun:
            self.on_batch(audience, audience.batches)

    def close_batch(self, audience: BatchedAudience, number: int) -> None:
        """Close the batch with this number, if that is still open."""
        if audience.members and audience.is_open and audience.batches == number:
            audience.close()
            idle = not self._dirty
            if audience.pending:
                self._dirty.add(audience)
            if idle and self._dirty:
                self.on_work()

    def _expelled(self, by_text: bool) -> list[Reader]:
        """Take all readers of audiences of one kind out of the live set, and return them."""
        found = [one for one in self._audiences.values() if one.by_text == by_text]
        readers = [reader for audience in found for reader in audience.members]
        for reader in readers:
            self.leave(reader)
        return readers

    # Compression.

    def review(self) -> None:
        """Choose the audiences that are compressed, and let members join; call it once a second.

        Between two rounds: all that has gathered is compressed for those who read the stream.
        """
        assert not self._round
        choose(self._deflating)
        for audience in self._deflating:
            if audience.stream is not None:
                audience.let_join(self.matched if audience.by_text else self.head)
                if audience.pending:
                    self._dirty.add(audience)

    # Filters on text.

    def _queue(self, record: Record) -> None:
        """Queue `record` for the audiences with filters on text."""
        if not self._text_audiences:
            self._unmatched.clear()
            self._unmatched_bytes = 0
            self.matched = record.seq
            return
        self._unmatched.append(record)
        self._unmatched_bytes += len(record.frame)
        if self._unmatched_bytes > _MAX_UNMATCHED:
            for reader in self._expelled(by_text=True):
                self.on_behind(reader)
        elif not self._is_matching:
            self._is_matching = True
            self.on_unmatched()

    def matching(self) -> Generator[None, None, None]:
        """Match what is queued with the filters on text, in steps, until nothing is."""
        try:
            while self._unmatched:
                record, behind = self._unmatched[0], list[Reader]()
                try:
                    behind += yield from self._match(record)
                except Exception:
                    behind += self._expelled(by_text=True)
                    raise
                finally:
                    self._matched(record, behind)
        finally:
            self._is_matching = False

    def _matched(self, record: Record, behind: list[Reader]) -> None:
        """Take `record` out of the queue, unless the queue has been emptied meanwhile."""
        if self._unmatched and self._unmatched[0] is record:
            self._unmatched.popleft()
            self._unmatched_bytes -= len(record.frame)
            self.matched = record.seq if self._unmatched else self.head  # an act may be the head
        for reader in behind:
            self.on_behind(reader)

    def _match(self, record: Record) -> Generator[None, None, list[Reader]]:
        """Append `record` to what it concerns; return the readers of audiences that failed."""
        audiences, readers, failed = yield from self._text_routing.matching(record)
        # All at once, so that at any moment a reader has all of a message or nothing. Who has
        # come meanwhile has a cursor above it.
        still = [one for one in audiences if one.members]
        self._append(record, still, [one for one in readers if one.cursor < record.seq])
        behind = [reader for audience in failed for reader in audience.members]
        for reader in behind:
            self.leave(reader)
        return behind

    @property
    def audiences(self) -> int:
        """The number of audiences."""
        return len(self._audiences)

    @property
    def idle(self) -> bool:
        """True while no frame waits for a live reader."""
        return not self._dirty

    def begin(self) -> None:
        """Start a round over all audiences with frames; the previous one must have ended."""
        assert not self._round
        for audience in self._dirty:
            audience.begin()
            self._round.append(audience)

    def flush(self, count: int) -> bool:
        """Write to up to `count` readers; return True while the round is unfinished.

        The server spends most of its time in this loop, hence the local variables and the single
        pass. Members with the same cursor get the same joined bytes, and are counted together: as
        a rule one follows the other. A member is skipped if it lacks no frame, or if it has left
        since `begin`: `waiting` is a snapshot, and readers leave between slices and during writes.
        """
        while self._round:
            audience = self._round[0]
            audience.compress()
            upto = audience.ends[-1] if audience.ends else 0
            personal = audience.personal
            plain = audience.stream is None and not personal
            joined: dict[Place, tuple[bytes, int]] = {}
            same, form, data, number = -1, None, b"", 0
            after, uncounted = upto, count
            try:
                for reader in audience.waiting:
                    if reader.audience is not audience:
                        continue
                    cursor = reader.cursor
                    # The very object, where they were written to together: numbers of this size
                    # take longer to compare.
                    if cursor is not same or not plain:
                        own = reader in personal
                        if cursor >= upto and not own:
                            continue
                        if cursor != same or own or reader.compressed_from != form:
                            if uncounted != count:
                                self._count(uncounted - count, data, number)
                            uncounted, same = count, -1 if own else cursor
                            form, after = reader.compressed_from, max(cursor, upto)
                            data, number = audience.lacking(reader, joined)
                    # Before the write, which blocks the reader if it fills the send buffer.
                    reader.cursor = after
                    write = reader.write  # a slot: read faster than called as a method
                    write(data)
                    count -= 1
                    if not count:
                        return True
            finally:  # a write may fail
                self._count(uncounted - count, data, number)
            self._end_round(self._round.popleft())
        return False

    def _count(self, writes: int, data: bytes, number: int) -> None:
        """Count writes of the same data with a number of messages."""
        self.delivered += writes * number
        self.delivered_bytes += writes * len(data)

    def _end_round(self, audience: Audience) -> None:
        audience.end()
        if not audience.pending:
            self._dirty.discard(audience)

    def _check(self) -> None:
        """Assert that audiences and tables agree."""
        for key, audience in self._audiences.items():
            assert key_of(audience) == key
            assert key.by_text or not key.subscription.needs_steps
            assert audience in self._dirty or not audience.pending
            audience._check()
        everyone = set(self._audiences.values())
        assert self._dirty <= everyone
        self._routing._check({one for one in everyone if not one.by_text})
        self._text_routing._check({one for one in everyone if one.by_text})
        assert self._text_audiences == sum(one.by_text for one in everyone)
        assert self.matched <= self.head
        queued = [record.seq for record in self._unmatched]
        assert queued == sorted(set(queued))
        assert all(self.matched < seq <= self.head for seq in queued)
        assert self._unmatched_bytes == sum(len(record.frame) for record in self._unmatched)
        assert queued or self.matched == self.head


def _wants(reader: Reader, record: Record) -> bool:
    return reader.audience is not None and reader.subscription.wants(record)


def _ignored(*_: object) -> None:
    """Do nothing: the callback until a flusher sets its own."""
