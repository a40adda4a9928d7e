"""A watcher: a cursor into the log up to which messages have been counted for somebody.

When the permissions of its principal change, it gets another *part*: what has come before counts as
it was allowed then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from livelog.auth.principal import Principal
from livelog.index.query import Query
from livelog.wire.messages import MessageType

Compile = Callable[[Principal], Query]
"""Return what a principal may read of what is asked for. Raises `RefusedError`."""


class Party(Protocol):
    """The one that watches: a connection, or a watch in process."""

    @property
    def blocked(self) -> bool:
        """Tell whether it can be told nothing now."""

    def tell(self, frame: bytes) -> None:
        """Take an event."""

    def __hash__(self) -> int: ...


class Part(NamedTuple):
    """The permissions that hold for messages after a seq, and the queries they leave.

    They hold up to the next part; what its watcher has counted is counted no more.
    """

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
    """One watch of a party."""

    __slots__ = (
        "after",
        "compile",
        "field",
        "id",
        "interval",
        "late",
        "lost",
        "parts",
        "party",
        "seq",
    )

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
        """They follow each other; the first holds at the cursor."""
        self.after = 0
        """The cursor: place up to which everything has been counted."""
        self.seq = 0
        """The same, as it may be told: newest message up to it that the principal may read."""
        self.lost = 0
        """Place up to which messages were evicted before they were counted; `seq` may be less than
        it would have been, so events that begin before this are incomplete."""
        self.late = False
        """A tick has passed over it, as it was blocked."""

    def spans(self, upto: int) -> Iterator[tuple[Part, int, int]]:
        """Iterate over the parts that begin before `upto`, each with the seqs after and up to which
        it is to be counted.
        """
        ends = [part.after for part in self.parts[1:]]
        for part, end in zip(self.parts, [*ends, upto], strict=True):
            after = max(part.after, self.after)
            if after < upto:
                yield part, after, min(end, upto)

    def advance(self, upto: int, seq: int) -> None:
        """Move the cursor."""
        self.after, self.seq = max(self.after, upto), seq
        while len(self.parts) > 1 and self.parts[1].after <= upto:
            del self.parts[0]
