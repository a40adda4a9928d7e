"""Where messages are kept beyond the window: `memory` keeps nothing, `sqlite` a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from livelog.errors import RefusedError
from livelog.index.paging import Chunk, Page, Span
from livelog.index.query import Query, Subscription
from livelog.wire.record import Record

Done = Callable[[RefusedError | None], None]
"""Called once when the records are safe, or with the reason why they are not (yet)."""


class Store(Protocol):
    """What the log asks of a store. Called from the loop's thread only."""

    keeps: bool
    """Whether it has what the window has not."""
    began: int
    """This log's seqs are above; one from 1 up to here comes from another log."""
    trimmed_upto: int
    """Seq up to which messages have been given up to keep within the retention."""

    def last_seq(self) -> int:
        """A seq that none given out before this process began is above."""

    def refusal(self) -> RefusedError | None:
        """Why nothing can be taken now, None when it can."""

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Keep `records`, which follow all earlier ones; returns before they are safe.

        Records that could not be written stay in line, and are written as soon as it is possible.
        """

    def seq_of(self, id: str) -> int | None:
        """The seq of the newest message with this id.

        Raises `RefusedError`, as everything that follows does, when the file cannot be read.
        """

    def payload_of(self, id: str) -> bytes | None:
        """The newest message with this id as JSON."""

    def start_of_newest(self, count: int) -> int:
        """Seq of the message before the `count` newest ones, 0 when there are no more."""

    async def page(self, query: Query, upto: int, span: Span, ahead: int = 0) -> Page:
        """A page of the matches with a seq of at most `upto`, behind `ahead` newer ones.

        `total` counts the former, `offset` and an anchor in `span` all of them.
        """

    async def chunk(self, cursor: int, upto: int, wanted: Subscription, max_bytes: int) -> Chunk:
        """What is wanted of the messages after `cursor` and up to `upto`."""

    async def records(self, cursor: int, upto: int, limit: int) -> list[Record]:
        """The first `limit` messages after `cursor`, none above `upto`."""

    async def close(self) -> None:
        """Make everything safe and stop."""
