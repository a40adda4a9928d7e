"""The seam between the log and what outlives the window: a journal, and a reader or none.

The journal takes records in; every store has one. The reader finds what the window no longer has;
the memory store has none, since its window is all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from livelog.budget.owner import Owner
from livelog.errors import RefusedError
from livelog.index.analysis.question import Counts, Question
from livelog.index.paging import Chunk, Page, Span
from livelog.index.query import Query, Subscription
from livelog.wire.acts import Brief, Enacted
from livelog.wire.record import Known, Record

Done = Callable[[RefusedError | None], None]
"""Called once when the records are safe, or with the reason why they are not (yet)."""


class Bounds(NamedTuple):
    """Seqs that bound a log at the moment its store is opened."""

    began: int = 0
    """The seqs of this log are above; one from 1 up to here comes from another log."""
    trimmed_upto: int = 0
    """Messages up to this seq have been given up to keep within the retention."""
    last_seq: int = 0
    """New seqs are above: none given out before is higher, not even one lost in a crash."""
    lost_upto: int = 0
    """Seq up to which a log that is ordered elsewhere lacks what can be had no more; 0 without."""


class Journal(Protocol):
    """The writing half of a store. Called from the loop's thread only."""

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Keep `records`, which follow all earlier ones; return before they are safe.

        Records that could not be written stay in the queue, and are written as soon as possible.
        """

    def enact(self, enacted: Enacted, done: Done) -> None:
        """Keep an act, and do to the earlier records what it asks for; as `append`."""

    def acts(self, before: int | None, limit: int) -> list[Enacted]:
        """Return up to `limit` acts with a seq below `before`, newest first.

        Those that are not safe yet may be missing. Raises `RefusedError`.
        """

    def briefs(self, before: int | None, limit: int) -> list[Brief]:
        """Return the same acts without the messages that they name: they take little memory."""

    @property
    def acts_memory(self) -> int:
        """Bytes of memory that kept acts take, nearly."""

    @property
    def forgot_acts(self) -> bool:
        """Acts were forgotten for their size, before there were `MAX_KEPT`."""

    @property
    def scrubbed_upto(self) -> int:
        """Seq up to which nothing is left in the files of what acts have redacted."""

    def begin(self, began: int, gone_upto: int) -> None:
        """Note the extent of a log that is ordered elsewhere, before anything is appended.

        Its seqs are above `began`, and messages up to `gone_upto` cannot be had any more.
        """

    def refusal(self) -> RefusedError | None:
        """Return why nothing can be taken now, None when it can."""

    @property
    def pending_bytes(self) -> int:
        """Bytes of frames that are not safe yet."""

    async def close(self) -> None:
        """Make everything safe and stop, the reader included."""


class StoreReader(Protocol):
    """The reading half of a store.

    All methods raise `RefusedError` when they cannot read: with `retry_after` if that may pass.
    Time is divided between the owners of what is read.
    """

    def lookup(self, id: str) -> Known | None:
        """Return the newest message with this id."""

    def stored(self, upto: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return seq and id of the newest messages up to a seq, newest first."""

    def start_of_newest(self, count: int) -> int:
        """Return the seq of the message before the `count` newest ones, 0 without more."""

    @property
    def impaired(self) -> str:
        """A fault of the store, for `/healthz`; empty without."""

    async def page(
        self,
        query: Query,
        upto: int,
        span: Span,
        owner: Owner,
        *,
        ahead: int = 0,
        optional: bool = False,
    ) -> Page:
        """Return a page of the matches with a seq of at most `upto`, behind `ahead` newer ones.

        `total` counts the former, `offset` and an anchor in `span` all of them. An `optional` page
        is not waited for while the store does not answer at all.
        """

    async def analyze(
        self, query: Query, upto: int, question: Question, owner: Owner, *, optional: bool = False
    ) -> Counts:
        """Count the matches with a seq of at most `upto`; an `optional` call is as in `page`."""

    async def chunk(
        self, cursor: int, upto: int, wanted: Subscription, max_bytes: int, owner: Owner
    ) -> Chunk:
        """Return what is wanted of the messages after `cursor` and up to `upto`."""

    async def records(self, cursor: int, upto: int, limit: int) -> list[Record]:
        """Return at most `limit` messages after `cursor`, none above `upto`; [] at the end only."""


class Store(NamedTuple):
    """The two halves of a store, and the state in which it was opened."""

    journal: Journal
    reader: StoreReader | None
    bounds: Bounds
