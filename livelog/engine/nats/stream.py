"""The stream as the engine sees it: a replicated list of batches that anybody may append to.

`jetstream` is the real one; tests have one in memory, with the faults of a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from livelog.engine.nats import batch
from livelog.engine.nats.places import Places, Rebase
from livelog.wire.record import Origin


class AwayError(Exception):
    """The broker has not answered: nobody knows what became of the request. Try again."""


class StoppedError(Exception):
    """Going on would make this node's log another one than that of the others."""


class LostError(StoppedError):
    """The stream lacks what this node has taken of it, which may be mended."""


class Entry(NamedTuple):
    """An entry of the stream."""

    number: int
    """Its place: entries are numbered from 1, and the numbers of deleted ones stay free."""
    previous: int
    """The number of the entry before; lower than `number - 1` behind deleted ones."""
    time: int
    """Microseconds since 1970, by the broker's clock."""
    id: str
    """Given by the node that has appended it."""
    base: int
    """The log for which that node has meant it; 0 if it says nothing of it."""
    format: str
    """The header with the format; empty without."""
    body: bytes


class Bounds(NamedTuple):
    """The extent of a stream, and the rule by which its entries become a log."""

    base: int
    """The seqs of the log are above. It names the log: a stream that is made anew has another."""
    span: int
    """Microseconds within which an id that comes again is a repetition."""
    first: int
    """Number of the oldest entry, one more than `last` if there is none."""
    last: int
    """Number of the newest entry ever appended; 0 in a new stream."""
    certain: int = 1
    """Number of the oldest entry that a node without a past can judge: what a first entry repeats
    may have gone. It is `first` only where nothing has gone."""

    rebases: tuple[Rebase, ...] = ()
    """Changes of the base, since the stream had lost its end."""
    imported: int = 0
    """Seq of the newest message of a single server whose log goes on here; 0 without."""
    began: int = 0
    """The seqs of that server's log are above; 0 where it is `base`."""
    max_age: int = 0
    """Microseconds after which entries go; 0 if they do not."""
    max_entries: int = 0
    """Entries beyond which the oldest go; 0 if they do not."""
    max_bytes: int = 0
    """Bytes beyond which the oldest entries go; 0 if they do not."""
    bytes: int = 0
    """Bytes of all that are there."""
    now: int = 0
    """Microseconds since 1970, by the broker's clock, when it was asked; 0 if it did not tell."""

    @property
    def origin(self) -> Origin:
        """The extent of the log, as a store is told of it."""
        return Origin(self.began or self.base, self.joins_from, self.gone_upto)

    @property
    def joins_from(self) -> int:
        """The lowest head of a log that misses nothing of what the stream no longer has."""
        return self.imported if self.first <= 1 else self.places.seq_of(self.first - 1)

    @property
    def gone_upto(self) -> int:
        """Seq up to which a log that does miss something has to do without."""
        return self.base if self.first <= 1 else self.places.seq_of(self.certain) - 1

    @property
    def end(self) -> int:
        """The highest seq that the newest entry can have."""
        return self.places.seq_of(self.last, batch.MAX_MESSAGES - 1)

    @property
    def forgets(self) -> bool:
        """Tell whether entries go, sooner or later."""
        return bool(self.max_age or self.max_entries or self.max_bytes)

    @property
    def places(self) -> Places:
        """The rule by which its places become seqs."""
        return Places(self.base, self.rebases)


class Stream(Protocol):
    """Called in the loop's thread, as its callbacks are. Everything else may raise `AwayError`."""

    async def open(self) -> Bounds:
        """Connect, and make the stream or check that it fits, within some seconds.

        Once that is done, later calls ask nobody. Raises `ConfigError` for what waiting does not
        mend.
        """

    def listen(self, came: Callable[[Entry], None], doubt: Callable[[], None]) -> None:
        """Call `came` with entries as they are appended, if all goes well: some may be missing,
        come twice or late. `doubt` says that some are likely to be."""

    def hear(self, heard: Callable[[bytes], None]) -> None:
        """Call `heard` with what nodes say, this one included, as far as it comes."""

    async def say(self, word: bytes) -> None:
        """Say something to all nodes; nobody answers."""

    async def bounds(self) -> Bounds:
        """Return what is in the stream now, as the broker's majority knows it.

        Raises `StoppedError` for a stream that does not fit any more.
        """

    async def append(self, id: str, format: str, body: bytes) -> int:
        """Append an entry for the log that was opened; return its number, once a majority has it
        on disk.

        With an id that it has had within the last minutes it appends nothing, and returns the
        number of that entry. Raises `RefusedError` for an entry that the broker does not take.
        """

    async def read(self, after: int) -> tuple[Sequence[Entry], bool]:
        """Return the next entries behind a number, and whether there are more.

        As far as the broker that is asked has them; that may be fewer than others have.
        """

    async def newest(self, known: int) -> int:
        """Return the number of the newest entry that is there; 0 if there is none.

        It is below `known`, that of an entry which was appended, if that and all behind it were
        deleted. Raises `AwayError` when the broker does not know of that entry yet.
        """

    async def number_at(self, time: int) -> int:
        """Return the number of the first entry at a time or later, one above the last without."""

    @property
    def max_bytes(self) -> int:
        """Largest body that the broker takes."""

    async def close(self) -> None:
        """Disconnect."""
