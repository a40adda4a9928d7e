"""The rule by which a place in the stream becomes a seq, and a seq a place.

A seq is *base* + 1024 * *number of the entry* + *index*. A stream that has lost its end goes on
with a higher base, so that no seq is used twice: entries behind a rebase have that of the rebase.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from livelog.engine.nats import batch


class Rebase(NamedTuple):
    """A change of the base: it holds for the entries behind `number`."""

    number: int
    base: int
    until: int
    """Seq up to which messages of before are restored behind it, with the seqs that they had."""


class Places:
    """The bases of a log. `base` is that of its first entry."""

    def __init__(self, base: int, rebases: Sequence[Rebase] = ()) -> None:
        self.base = base
        self._pieces = [Rebase(0, base, 0), *rebases]

    def add(self, rebase: Rebase) -> bool:
        """Note a rebase that is read; False if it would let seqs fall. One that is known stays."""
        if rebase in self._pieces:
            return True
        last = self._pieces[-1]
        rises = rebase.base > last.base and rebase.number > last.number
        if not rises or rebase.base + (rebase.number + 1) * batch.MAX_MESSAGES <= rebase.until:
            return False
        self._pieces.append(rebase)
        return True

    @property
    def rebases(self) -> Sequence[Rebase]:
        """The rebases that are known, in their order."""
        return self._pieces[1:]

    def strays(self, seq: int) -> bool:
        """Tell whether a log that ends at a seq has messages that were lost, and not restored."""
        for before, after in pairwise(self._pieces):
            kept = batch.seq_of(before.base, after.number - 1, batch.MAX_MESSAGES - 1)
            if max(kept, after.until) < seq < batch.seq_of(after.base, after.number + 1):
                return True
        return False

    def seq_of(self, number: int, index: int = 0) -> int:
        """Return the seq of the message at `index` of the entry with this number."""
        return batch.seq_of(self.base_of(number), number, index)

    def base_of(self, number: int) -> int:
        """Return the base of the entry with this number."""
        return next(piece.base for piece in reversed(self._pieces) if piece.number < max(1, number))

    def number_of(self, seq: int) -> int:
        """Return the number of the entry that has given a seq; 0 if none of the stream has.

        What was lost and restored has its seq from an entry that is not there any more.
        """
        end: int | None = None
        for piece in reversed(self._pieces):
            number = batch.place_of(piece.base, seq)
            if number > piece.number:
                return number if end is None or number < end else 0
            end = piece.number
        return 0

    def place_of(self, seq: int) -> int:
        """Return the number of the entry up to which a log with this head has taken the stream.

        Of a log that ends with what was lost it is the last entry before the rebase.
        """
        end: int | None = None
        for piece in reversed(self._pieces):
            place = batch.place_of(piece.base, seq)
            if place > piece.number or piece.number == 0:
                return place if end is None else min(place, end)
            end = piece.number - 1
        raise AssertionError  # the first piece begins at 0
