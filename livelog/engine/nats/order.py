"""The order that every node follows: which place a message gets, and whether it is a repetition.

A function of the stream alone. A repeated id is dropped, from any author; its publisher is
answered with the first message's seq, or refused if that is by somebody else.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

from livelog.engine.base import Outcome
from livelog.engine.nats import batch
from livelog.engine.nats.repeats import First, Repeats
from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.wire.record import Draft, Receipt, Record, place


class Placed(NamedTuple):
    """The result of placing a batch."""

    records: list[Record]
    outcomes: list[Outcome]
    """One per message, for the node that has published the batch."""


class Order:
    """Gives places. `base` and `span` (in microseconds) are those of the stream."""

    def __init__(self, base: int, span: int) -> None:
        self.base = base
        self._repeats = Repeats(span)

    def place(
        self, number: int, time: int, drafts: Sequence[Draft]
    ) -> Generator[None, None, Placed]:
        """Place a batch, message by message: it is number `number` in the stream, since `time`."""
        self._repeats.advance(time)
        placed = Placed([], [])
        for index, draft in enumerate(drafts):
            mine = First(batch.seq_of(self.base, number, index), batch.author(draft.payload))
            known = self._repeats.meet(draft.id, mine)
            if known is None:
                placed.records.append(place(draft, mine.seq))
            placed.outcomes.append(_outcome(draft.id, mine, known or mine))
            yield
        return placed

    def recall(
        self, number: int, time: int, payloads: Sequence[bytes]
    ) -> Generator[None, None, None]:
        """Note the ids of a batch that an earlier process has placed, message by message.

        Raises as `batch.named` does.
        """
        self._repeats.advance(time)
        named = []
        for payload in payloads:
            named.append(batch.named(payload))
            yield
        for index, (id, author) in enumerate(named):
            self._repeats.meet(id, First(batch.seq_of(self.base, number, index), author))

    def refusal(self, draft: Draft) -> RefusedError | None:
        """Return why `draft` cannot be taken as things are: its id is somebody else's."""
        known = self._repeats.known(draft.id)
        if known is None or known.author == batch.author(draft.payload):
            return None
        return _somebody_elses()


def _outcome(id: str, mine: First, known: First) -> Outcome:
    return Receipt(id, known.seq) if known.author == mine.author else _somebody_elses()


def _somebody_elses() -> RefusedError:
    return RefusedError(POLICY_VIOLATION, "id", "is that of a message by somebody else")
