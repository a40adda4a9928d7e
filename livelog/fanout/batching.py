"""Audiences whose members get messages in arrays, many in one frame.

Messages are gathered in a *batch*, which is closed after a time, or when it is full; the array made
of it is the unit that all members share. Only then do members lack it, as far as the hub's rounds
are concerned; a member's exact place counts messages, whether their batch is closed or not. A
member that has joined in the midst of a batch gets the rest of it, as an array of its own. So does
one with personal frames, which stand in the arrays where their seqs do.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import groupby

from livelog.fanout.audience import Audience, Reader
from livelog.index.query import Subscription
from livelog.wire.frames import BATCH_BYTES, BATCH_MESSAGES, batches
from livelog.wire.record import Record


class BatchedAudience(Audience):
    """Live readers of one subscription that get arrays, and what some of them still lack."""

    __slots__ = ("_batch_bytes", "_closed", "_personal_batch", "batch", "batches")

    def __init__(
        self, subscription: Subscription, by_text: bool, milliseconds: int, deflates: bool = False
    ) -> None:
        super().__init__(subscription, by_text, deflates)
        self.batch = milliseconds
        self.ends = []
        self.units = []
        self.batches = 0
        """Number of batches that have been begun; it tells one from the next."""
        self._closed = 0
        """Number of gathered messages that are in units."""
        self._batch_bytes = 0
        self._personal_batch: dict[Reader, list[tuple[int, bytes]]] = {}
        """Personal frames that wait for the end of the batch."""

    @property
    def is_open(self) -> bool:
        """Whether there is a batch that has begun and is not closed."""
        return self._closed < len(self.seqs) or bool(self._personal_batch)

    def gather(self, record: Record) -> None:
        """Add a message; close the batch that it fills, or for which it is too large."""
        size = len(record.frame)
        if self._batch_bytes and self._batch_bytes + size > BATCH_BYTES:
            self.close()
        self._begin_batch()
        self.seqs.append(record.seq)
        self.frames.append(record.frame)
        self._batch_bytes += size
        if self._batch_bytes >= BATCH_BYTES or len(self.seqs) - self._closed >= BATCH_MESSAGES:
            self.close()

    def gather_for(self, reader: Reader, record: Record) -> None:
        """Add a message for one member only."""
        self._begin_batch()
        self._personal_batch.setdefault(reader, []).append((record.seq, record.frame))

    def tell(self, seq: int, events: bytes) -> None:
        """Add frames with events behind the batch so far, which is closed."""
        self.close()
        super().tell(seq, events)
        self.close()

    def tell_one(self, reader: Reader, seq: int, events: bytes) -> None:
        """Add frames with events for one member only, behind the batch so far."""
        self.close()
        super().tell_one(reader, seq, events)

    def _begin_batch(self) -> None:
        if not self.is_open:
            self.batches += 1

    def close(self) -> None:
        """Close the batch: what is in it is to be written now."""
        waiting = zip(self.seqs[self._closed :], self.frames[self._closed :], strict=True)
        for _, alike in groupby(waiting, key=lambda one: one[0] in self.private):
            for unit, number in batches(frame for _, frame in alike):
                self._closed += number
                self.units.append(unit)
                self.ends.append(self.seqs[self._closed - 1])
        self._batch_bytes = 0
        for reader, gathered in self._personal_batch.items():
            self.personal.setdefault(reader, []).extend(gathered)
        self._personal_batch.clear()

    def _drop(self, count: int) -> None:
        units = bisect_right(self.ends, self.mark)
        super()._drop(count)
        del self.ends[:units], self.units[:units]
        self._closed -= count

    def let_join(self, upto: int) -> None:
        """Let members join the stream, behind a batch that is closed for it."""
        if self.joining:
            self.close()
        super().let_join(upto)

    # What members lack.

    def _plain(self, cursor: int, end: int) -> list[bytes]:
        """Return what a member at `cursor` lacks among the first units; perhaps the rest of one."""
        first = bisect_right(self.ends, cursor)
        began = bisect_right(self.seqs, self.ends[first - 1]) if first else 0
        start = bisect_right(self.seqs, cursor)
        units = self.units[first:end]
        if units and start > began:
            stop = bisect_right(self.seqs, self.ends[first])
            units[:1] = [unit for unit, _ in batches(self.frames[start:stop])]
        return units

    def take_for(self, reader: Reader) -> bytes:
        """Join what `reader` lacks, in arrays of its own, and take out its personal frames."""
        closed = self.frames[: self._closed]
        return _packed(self._merged(reader, closed, self.personal.pop(reader, [])))

    def take_all_for(self, reader: Reader) -> tuple[bytes, int]:
        """Take out all that `reader` lacks, also what is in the open batch, and its number."""
        personal = self.personal.pop(reader, []) + self._personal_batch.pop(reader, [])
        found = self._merged(reader, self.frames, personal)
        return _packed(found), len(found)

    def lacked_by(self, reader: Reader) -> int:
        """Return the number of messages in units that `reader` lacks."""
        shared = max(0, self._closed - bisect_right(self.seqs, reader.cursor))
        return shared + len(self.personal.get(reader, ()))

    def first_for(self, reader: Reader) -> int | None:
        """Return the seq of the first message that `reader` lacks, also in the open batch."""
        found = super().first_for(reader)
        waiting = [seq for seq, _ in self._personal_batch.get(reader, ())[:1]]
        return min(waiting if found is None else [found, *waiting], default=None)

    def forget(self, reader: Reader) -> None:
        """Drop a member, and its personal frames."""
        super().forget(reader)
        self._personal_batch.pop(reader, None)

    def _check(self) -> None:
        super()._check()
        assert self.ends == sorted(set(self.ends))
        assert self._closed == (bisect_right(self.seqs, self.ends[-1]) if self.ends else 0)
        assert len(self.seqs) - self._closed < BATCH_MESSAGES
        assert self._batch_bytes == sum(map(len, self.frames[self._closed :]))
        assert self._batch_bytes < BATCH_BYTES
        assert self._personal_batch.keys() <= self.members.keys()


def _packed(frames: list[bytes]) -> bytes:
    return b"".join(unit for unit, _ in batches(frames))
