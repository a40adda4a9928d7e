"""The store that keeps nothing: the window is all there is, and it ends with the process."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from livelog.errors import RefusedError
from livelog.store.base import Bounds, Done, Store
from livelog.wire import acts
from livelog.wire.acts import MAX_KEPT, Brief, Enacted, Erase
from livelog.wire.erasure import erased_acts
from livelog.wire.record import Origin, Record
from livelog.wire.seqclock import LATEST_BEGIN

_log = logging.getLogger(__name__)

_ACTS_BYTES = 64 * 2**20
_KEPT_BYTES = 200
"""Memory of an act besides its JSON."""

_NO_ROOM = "they take more memory than they may; with a store on disk 100 000 are kept"

_seq = attrgetter("seq")


def open_memory(
    now: float = 0.0, origin: Origin | None = None, acts_bytes: int = _ACTS_BYTES
) -> Store:
    """Open the store of a process that begins at `now` (Unix time in seconds).

    Acts may take `acts_bytes` of memory.

    An earlier process has given out only seqs below that time, if the clock is right. Of a log that
    is ordered elsewhere, which has an `origin`, it holds what can still be had there.
    """
    if origin is not None:
        return Store(
            MemoryJournal(acts_bytes), None, Bounds(origin.gone_upto, last_seq=origin.gone_upto)
        )
    began = max(0, min(int(now * 1_000_000) - 1, LATEST_BEGIN))
    return Store(MemoryJournal(acts_bytes), None, Bounds(began, last_seq=began))


class _Kept(NamedTuple):
    """An act as JSON, which takes less than half of the memory that its numbers would take."""

    seq: int
    first_seq: int
    body: bytes

    @property
    def memory(self) -> int:
        return len(self.body) + _KEPT_BYTES

    @property
    def enacted(self) -> Enacted:
        return Enacted(self.seq, acts.decode(self.body))


class MemoryJournal:
    """Holds all records safe at once, since the window has them. Acts are kept here.

    The newest are kept: `MAX_KEPT` at most, and in at most `max_bytes`.
    """

    def __init__(self, max_bytes: int = _ACTS_BYTES) -> None:
        self._max_bytes = max_bytes
        self._acts: list[_Kept] = []
        self.acts_memory = 0
        """Bytes of memory that the acts take, nearly."""
        self.forgot_acts = False
        """Acts were forgotten for their size, before there were `MAX_KEPT`."""

    def append(self, records: Sequence[Record], done: Done) -> None:
        """Answer at once."""
        done(None)

    def enact(self, enacted: Enacted, done: Done) -> None:
        """Keep an act, as long as the process lives and there is room."""
        if isinstance(enacted.act, Erase):
            self._erase(enacted.act)
        self._acts.append(_kept(enacted))
        self.acts_memory += self._acts[-1].memory
        self._make_room()
        done(None)

    def _erase(self, act: Erase) -> None:
        """Put the pseudonym into the earlier acts that the act names."""
        named = {seq for group in act.records for seq in group.seqs}
        places = [at for at, one in enumerate(self._acts) if named and one.first_seq in named]
        changed = erased_acts(act, [self._acts[at].enacted for at in places])
        for at, enacted in zip(places, changed, strict=True):
            old, self._acts[at] = self._acts[at], _kept(enacted)
            self.acts_memory += self._acts[at].memory - old.memory

    def _make_room(self) -> None:
        """Forget the oldest acts, but never the newest of all."""
        excess = max(0, len(self._acts) - MAX_KEPT)
        size = self.acts_memory - sum(one.memory for one in self._acts[:excess])
        while size > self._max_bytes and excess < len(self._acts) - 1:
            size -= self._acts[excess].memory
            excess += 1
            if not self.forgot_acts:
                self.forgot_acts = True
                _log.warning("the oldest acts of moderators are forgotten: %s", _NO_ROOM)
        self.acts_memory = size
        del self._acts[:excess]

    def acts(self, before: int | None, limit: int) -> list[Enacted]:
        """Return the newest acts with a seq below `before`."""
        return [one.enacted for one in self._before(before, limit)]

    def briefs(self, before: int | None, limit: int) -> list[Brief]:
        """Return the same acts without the messages that they name."""
        return [acts.decode_brief(one.seq, one.body) for one in self._before(before, limit)]

    def _before(self, before: int | None, limit: int) -> list[_Kept]:
        end = len(self._acts) if before is None else bisect_left(self._acts, before, key=_seq)
        return self._acts[max(0, end - limit) : end][::-1]

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


def _kept(enacted: Enacted) -> _Kept:
    return _Kept(enacted.seq, enacted.first_seq, acts.encode(enacted.act))
