"""A party to readers of the log that tests make themselves."""

from __future__ import annotations

from livelog.budget.owner import INTERNAL, Owner
from livelog.errors import RefusedError
from livelog.index.paging import Chunk
from livelog.wire.events import Gap


class Silent:
    """A party whose reading is not expected to fail, unless a test looks at `failures`."""

    def __init__(self) -> None:
        self.failures: list[RefusedError] = []

    @property
    def owner(self) -> Owner:
        """The owner of what is read: the server itself."""
        return INTERNAL

    def fail(self, refused: RefusedError) -> None:
        """Note the failure."""
        self.failures.append(refused)

    def gap(self, start: int, chunk: Chunk) -> Gap:
        """Return a gap up to what is lost."""
        return Gap(from_=start, to=chunk.lost_upto)
