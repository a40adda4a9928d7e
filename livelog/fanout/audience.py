"""Readers, and the audiences that readers with the same subscription share.

A reader is a cursor into the log. An audience gathers the frames that some of its members have not
been sent yet; which of them a member gets is decided when it is written to. *Personal* frames, such
as a reader's own direct messages, are kept for that member alone, and merged with the shared ones
by seq when it is written to.

What is written to members are *units*. Here each message is one; `batching` has audiences whose
units are arrays of messages. In an audience whose members can inflate, units may be compressed, in
one stream for all of them: see `compression`. A member reads it from `compressed_from` on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from livelog.budget.owner import Owner
from livelog.errors import RefusedError
from livelog.fanout.compression import Stream
from livelog.index.paging import Chunk
from livelog.index.query import NOTHING, Subscription
from livelog.wire.events import Gap
from livelog.wire.messages import MessageType

Route = tuple[MessageType, str]
"""A type and a term, the key of `routing`'s tables: a message with both concerns what it finds."""


Place = tuple[int, int | None]
"""Cursor and `compressed_from` of a member; all with the same get the same."""


class Party(Protocol):
    """The one that reads: a connection, or a subscription in process."""

    @property
    def owner(self) -> Owner:
        """The owner of what is read from the store for it."""

    def fail(self, refused: RefusedError) -> None:
        """End the reading: messages that are stored cannot be had now, but may be later."""

    def gap(self, start: int, chunk: Chunk) -> Gap:
        """Return the event for what is lost between the seq `start` and a chunk."""


class Reader:
    """One connection's place in the log.

    `cursor` is the seq up to which all subscribed messages have been written. It is exact while the
    reader is in no audience; `Hub.position` is exact for live readers, too.
    """

    __slots__ = (
        "asked",
        "audience",
        "batch",
        "blocked",
        "compressed_from",
        "cursor",
        "deflates",
        "party",
        "personal",
        "subscription",
        "write",
    )

    def __init__(self, write: Callable[[bytes], object], party: Party, cursor: int = 0) -> None:
        self.write = write
        self.party = party
        self.cursor = cursor
        self.asked = cursor
        """The last `since` that it gave itself."""
        self.subscription = NOTHING
        self.batch = 0
        """Milliseconds for which messages are gathered for it, to come in arrays; 0 for one by one.
        """
        self.deflates = False
        """It can inflate what is compressed (RFC 7692)."""
        self.compressed_from: int | None = None
        """Seq after which it reads its audience's stream, None while it reads plain frames."""
        self.audience: Audience | None = None
        self.personal: tuple[Route, ...] = ()
        """Routes of the parts of its subscription that no audience shares, while it is live."""
        self.blocked = False
        """The send buffer is full; nothing may be written until it has drained."""


class Audience:
    """The live readers of one subscription, and the frames that some of them still lack."""

    __slots__ = (
        "by_text", "deflates", "ends", "frames", "handed", "joined", "joining", "mark", "members",
        "personal", "private", "seqs", "stream", "subscription", "units", "waiting",
    )  # fmt: skip

    batch = 0
    """Milliseconds for which messages are gathered to be written in one array."""

    def __init__(
        self, subscription: Subscription, by_text: bool = False, deflates: bool = False
    ) -> None:
        self.subscription = subscription
        self.by_text = by_text
        """The text of messages decides about some deliveries, so they lag behind the head."""
        self.members: dict[Reader, None] = {}
        """In the order in which they joined. It is about that of what the kernel keeps of their
        connections, and a processor takes a seventh less for a round through memory in order."""
        self.seqs: list[int] = []
        self.frames: list[bytes] = []
        """Gathered frames: `frames[i]` has the seq `seqs[i]`."""
        self.ends = self.seqs
        self.units = self.frames
        """Frames as they are written: `units[i]` ends with the message of the seq `ends[i]`."""
        self.personal: dict[Reader, list[tuple[int, bytes]]] = {}
        """Frames gathered for one member only, with their seqs."""
        # Compression.
        self.deflates = deflates
        """Its members can inflate."""
        self.stream: Stream | None = None
        self.joining: set[Reader] = set()
        """Members that can inflate, and do not read the stream yet."""
        self.joined: set[Reader] = set()
        """Members that have joined since the last round, and lack units from before it, plain."""
        self.private: set[int] = set()
        """Seqs of what goes plain in any case: events, and direct messages, next to which others
        could put what they choose, and see by the length whether it is alike."""
        self.handed = 0
        """Messages that all members have been sent since this was set to 0."""
        # The round under way.
        self.waiting: Iterator[Reader] = iter(())
        """Members not yet written to."""
        self.mark = 0
        """End of the last unit at its beginning: at its end every member has all up to here."""

    @property
    def pending(self) -> bool:
        """True while frames wait to be written to a member."""
        return bool(self.ends or self.personal)

    def begin(self) -> None:
        """Start a round: all members are written to that lack a unit, or have personal frames."""
        self.waiting = iter(tuple(self.members if self.ends else self.personal))
        self.mark = self.ends[-1] if self.ends else 0

    def end(self) -> None:
        """End the round: drop what every member has been sent."""
        self._drop(bisect_right(self.seqs, self.mark))

    def _drop(self, count: int) -> None:
        """Drop the first messages."""
        if self.stream is not None:
            del self.stream.frames[: bisect_right(self.ends, self.mark)]
            self._settle()
        if self.private:
            self.private.difference_update(self.seqs[:count])
        self.handed += count
        del self.seqs[:count], self.frames[:count]

    def _settle(self) -> None:
        """Treat members that have joined the stream like all others: nothing is left plain."""
        for reader in self.joined:
            reader.compressed_from = 0
        self.joined.clear()

    # Events.

    def tell(self, seq: int, events: bytes) -> None:
        """Add frames with events, which every member gets at this place, plain."""
        self.seqs.append(seq)
        self.frames.append(events)
        if self.deflates:
            self.private.add(seq)

    def tell_one(self, reader: Reader, seq: int, events: bytes) -> None:
        """Add frames with events for one member only."""
        self.personal.setdefault(reader, []).append((seq, events))

    # Compression.

    @property
    def size(self) -> int:
        """Number of its members."""
        return len(self.members)

    def compress(self) -> None:
        """Compress the units that have come, before any member is written to.

        If that fails, all members are written to plain, and the exception is raised.
        """
        stream = self.stream
        if stream is None:
            return
        try:
            for place in range(len(stream.frames), len(self.units)):
                stream.add(self.units[place], self.ends[place] in self.private)
        except Exception:
            self.close_stream()
            raise

    def open_stream(self) -> None:
        """Begin to compress; members read it once they have joined."""
        self.stream = Stream(len(self.members), len(self.units))

    def close_stream(self) -> None:
        """Write to all members plain from now on."""
        self.stream = None
        for reader in self.members:
            reader.compressed_from = None
        self.joining = set(self.members)
        self.joined.clear()

    def let_join(self, upto: int) -> None:
        """Let members join the stream, from units after the seq `upto` on.

        All gathered messages are in units, and up to `upto`. A member that is beyond could not read
        all that follows, as it has some of it, so it waits.
        """
        assert self.stream is not None
        self.compress()
        joining = [one for one in self.joining if one.cursor <= upto]
        if joining:
            self.stream.begin_anew()
        for reader in joining:
            reader.compressed_from = upto
        self.stream.readers += len(joining)
        self.joining.difference_update(joining)
        self.joined.update(joining)

    # What members lack.

    def lacking(self, reader: Reader, joined: dict[Place, tuple[bytes, int]]) -> tuple[bytes, int]:
        """Return the units that `reader` lacks, and the number of messages in them.

        Personal frames are taken out. `joined` keeps what is the same for all members at a place.
        """
        if reader in self.personal:
            number = self.lacked_by(reader)
            return self.take_for(reader), number
        place = reader.cursor, reader.compressed_from
        if place not in joined:
            joined[place] = self.after(*place), self.lacked_by(reader)
        return joined[place]

    def after(self, cursor: int, compressed_from: int | None = None) -> bytes:
        """Join the units that a member at `cursor` lacks, without personal frames."""
        if self.stream is None or compressed_from is None:
            units = self._plain(cursor, len(self.units))
        else:
            border = bisect_right(self.ends, compressed_from)
            start = max(border, bisect_right(self.ends, cursor))
            units = self._plain(cursor, border) + self.stream.frames[start:]
        return units[0] if len(units) == 1 else b"".join(units)

    def _plain(self, cursor: int, end: int) -> list[bytes]:
        """Return what a member at `cursor` lacks among the first units."""
        return self.units[bisect_right(self.ends, cursor) : end]

    def take_for(self, reader: Reader) -> bytes:
        """Join the frames that `reader` lacks, in order of seq, and take out its personal ones."""
        frames, border = self.frames, reader.compressed_from
        if self.stream is not None and border is not None:
            plain = bisect_right(self.ends, border)
            frames = self.frames[:plain] + self.stream.frames[plain:]
        return b"".join(self._merged(reader, frames, self.personal.pop(reader, [])))

    def take_all_for(self, reader: Reader) -> tuple[bytes, int]:
        """Take out all that `reader` lacks, plain, also what is in no unit yet; and its number."""
        found = self._merged(reader, self.frames, self.personal.pop(reader, []))
        return b"".join(found), len(found)

    def _merged(
        self, reader: Reader, frames: list[bytes], personal: Iterable[tuple[int, bytes]]
    ) -> list[bytes]:
        """Return what `reader` lacks among the first of `frames`, with its personal ones."""
        start = bisect_right(self.seqs, reader.cursor)
        shared = zip(self.seqs[start : len(frames)], frames[start:], strict=True)
        return [frame for _, frame in sorted([*shared, *personal])]

    def lacked_by(self, reader: Reader) -> int:
        """Return the number of messages that `reader` lacks."""
        shared = len(self.seqs) - bisect_right(self.seqs, reader.cursor)
        return shared + len(self.personal.get(reader, ()))

    def first_for(self, reader: Reader) -> int | None:
        """Return the seq of the first message that `reader` lacks; None if it has all."""
        waiting = bisect_right(self.seqs, reader.cursor)
        first = [seq for seq, _ in self.personal.get(reader, ())[:1]]
        return min([*self.seqs[waiting : waiting + 1], *first], default=None)

    def forget(self, reader: Reader) -> None:
        """Drop a member, and its personal frames."""
        self.members.pop(reader, None)
        self.personal.pop(reader, None)
        self.joining.discard(reader)
        self.joined.discard(reader)
        if self.stream is not None and reader.compressed_from is not None:
            self.stream.readers -= 1
        reader.compressed_from = None

    def _check(self) -> None:
        """Assert that members and frames are in order."""
        assert self.members
        assert all(reader.audience is self for reader in self.members)
        assert self.personal.keys() <= self.members.keys()
        assert all(waiting == sorted(waiting) for waiting in self.personal.values())
        assert self.seqs == sorted(set(self.seqs))
        assert len(self.seqs) == len(self.frames)
        assert len(self.ends) == len(self.units)
        reading = {one for one in self.members if one.compressed_from is not None}
        assert self.joining == (self.members.keys() - reading if self.deflates else set())
        assert self.joined <= reading
        assert all(not one.compressed_from for one in reading - self.joined)
        assert len(reading) == (0 if self.stream is None else self.stream.readers)
        assert self.stream is None or (self.deflates and len(self.stream.frames) <= len(self.units))
        assert self.private <= set(self.seqs)
