"""Readers, and the audiences that readers with the same subscription share.

A reader is a cursor into the log. An audience gathers the frames that some of its members have not
been sent yet; which of them a member gets is decided when it is written to. *Personal* frames, such
as a reader's own direct messages, are kept for that member alone, and merged with the shared ones
by seq when it is written to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Protocol

from livelog.budget.owner import Owner
from livelog.errors import RefusedError
from livelog.index.paging import Chunk
from livelog.index.query import NOTHING, Subscription
from livelog.wire.events import Gap
from livelog.wire.messages import MessageType

Route = tuple[MessageType, str]
"""A type and a term, the key of `routing`'s tables: a message with both concerns what it finds."""


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
        "blocked",
        "cursor",
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
        self.audience: Audience | None = None
        self.personal: tuple[Route, ...] = ()
        """Routes of the parts of its subscription that no audience shares, while it is live."""
        self.blocked = False
        """The send buffer is full; nothing may be written until it has drained."""


class Audience:
    """The live readers of one subscription, and the frames that some of them still lack."""

    __slots__ = ("by_text", "frames", "members", "personal", "seqs", "subscription", "waiting")

    def __init__(self, subscription: Subscription, by_text: bool = False) -> None:
        self.subscription = subscription
        self.by_text = by_text
        """The text of messages decides about some deliveries, so they lag behind the head."""
        self.members: set[Reader] = set()
        self.seqs: list[int] = []
        self.frames: list[bytes] = []
        """Gathered frames: `frames[i]` has the seq `seqs[i]`."""
        self.personal: dict[Reader, list[tuple[int, bytes]]] = {}
        """Frames gathered for one member only, with their seqs."""
        self.waiting: Iterator[Reader] = iter(())
        """Members not yet written to in the round under way."""

    @property
    def pending(self) -> bool:
        """True while frames wait to be written to a member."""
        return bool(self.seqs or self.personal)

    def after(self, cursor: int) -> bytes:
        """Join the frames that a member at `cursor` lacks, without personal ones."""
        frames = self.frames[bisect_right(self.seqs, cursor) :]
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def take_for(self, reader: Reader) -> bytes:
        """Join the frames that `reader` lacks, in order of seq, and take out its personal ones."""
        start = bisect_right(self.seqs, reader.cursor)
        shared = zip(self.seqs[start:], self.frames[start:], strict=True)
        return b"".join(frame for _, frame in sorted([*shared, *self.personal.pop(reader)]))

    def lacked_by(self, reader: Reader) -> int:
        """Return the number of frames that `reader` lacks."""
        shared = len(self.seqs) - bisect_right(self.seqs, reader.cursor)
        return shared + len(self.personal.get(reader, ()))

    def first_for(self, reader: Reader) -> int | None:
        """Return the seq of the first frame that `reader` lacks; None if it has all."""
        waiting = bisect_right(self.seqs, reader.cursor)
        first = [seq for seq, _ in self.personal.get(reader, ())[:1]]
        return min([*self.seqs[waiting : waiting + 1], *first], default=None)

    def drop(self, upto: int) -> None:
        """Drop the frames up to this seq, which every member has been sent."""
        handed = bisect_right(self.seqs, upto)
        del self.seqs[:handed], self.frames[:handed]

    def _check(self) -> None:
        """Assert that members and frames are in order."""
        assert self.members
        assert all(reader.audience is self for reader in self.members)
        assert self.personal.keys() <= self.members
        assert all(waiting == sorted(waiting) for waiting in self.personal.values())
        assert self.seqs == sorted(set(self.seqs))
        assert len(self.seqs) == len(self.frames)
