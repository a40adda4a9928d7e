"""The store that keeps nothing: the window is all there is, and it ends with the process."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter

from livelog.errors import RefusedError
from livelog.store.base import Bounds, Done, Store
from livelog.wire.acts import MAX_KEPT, Brief, Enacted, Erase, brief
from livelog.wire.erasure import erased_acts
from livelog.wire.record import Origin, Record
from livelog.wire.seqclock import LATEST_BEGIN

_seq = attrgetter("seq")


def open_memory(now: float = 0.0, origin: Origin | None = None) -> Store:
    """Open the store of a process that begins at `now` (Unix time in seconds).

    An earlier process has given out only seqs below that time, if the clock is right. Of a log that
    is ordered elsewhere, which has an `origin`, it holds what can still be had there.
    """
    if origin is not None:
        return Store(MemoryJournal(), None, Bounds(origin.gone_upto, last_seq=origin.gone_upto))
    began = max(0, min(int(now * 1_000_000) - 1, LATEST_BEGIN))
    return Store(MemoryJournal(), None, Bounds(began, last_seq=began))


class MemoryJournal:
    """Holds all records safe at once, since the window has them. Acts are kept here."""

    def __init__(self) -> None:
        self._acts: list[Enacted] = []

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Answer at once."""
        done(None)

    def enact(self, enacted: Enacted, done: Done) -> None:
        """Keep an act, as long as the process lives."""
        if isinstance(enacted.act, Erase):
            changed = dict(erased_acts(enacted.act, self._acts))
            self._acts = [Enacted(seq, changed.get(seq, act)) for seq, act in self._acts]
        self._acts.append(enacted)
        if len(self._acts) > MAX_KEPT:
            del self._acts[0]
        done(None)

    def acts(self, before: int | None, limit: int) -> list[Enacted]:
        """Return the newest acts with a seq below `before`."""
        end = len(self._acts) if before is None else bisect_left(self._acts, before, key=_seq)
        return self._acts[max(0, end - limit) : end][::-1]

    def briefs(self, before: int | None, limit: int) -> list[Brief]:
        """Return the same acts without the messages that they name."""
        return [brief(one) for one in self.acts(before, limit)]

    @property
    def scrubbed_upto(self) -> int:
        """The highest seq there is: there are no files."""
        return 2**53

    def begin(self, began: int, gone_upto: int) -> None:
        """Do nothing: what is not here is gone, whatever the extent of the log."""

    def refusal(self) -> RefusedError | None:
        """Return None: there is always room."""
        return None

    @property
    def pending_bytes(self) -> int:
        """Bytes of frames that are not safe yet: none."""
        return 0

    async def close(self) -> None:
        """Do nothing: there is no file."""
