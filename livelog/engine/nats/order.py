"""The order that every node follows: which place a message gets, and whether it is a repetition.

A function of the stream alone. A repeated id is dropped, from any author; its publisher is
answered with the first message's seq, or refused if that is by somebody else. A message that was
restored as redacted names no author: all who use its id are answered with its seq.

A stream that has lost its end is healed: behind a rebase come the messages that were lost, with the
seqs that they had, from a node that still has them. Until all of them are there nothing else is
placed, so that seqs rise.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

from livelog.engine.base import Outcome
from livelog.engine.nats import batch
from livelog.engine.nats.batch import MalformedError
from livelog.engine.nats.places import Places, Rebase
from livelog.engine.nats.repeats import First, Repeats
from livelog.errors import POLICY_VIOLATION, SERVER_ERROR, RefusedError
from livelog.wire.acts import Act, Enacted
from livelog.wire.record import Draft, Receipt, Record, place

_RENEWING = 8
"""Repetitions of acts that may be under way: one, unless several nodes repeat at once."""


class Placed(NamedTuple):
    """The result of placing a batch."""

    records: list[Record]
    outcomes: list[Outcome]
    """One per message, for the node that has published the batch; one for an act."""
    acts: Sequence[Enacted] = ()


class Order:
    """Gives places. `base` names the log, `span` is in microseconds, `rebases` are known ones."""

    def __init__(self, base: int, span: int, rebases: Sequence[Rebase] = ()) -> None:
        self.base = base
        self.places = Places(base, rebases)
        self._repeats = Repeats(span)
        self._restoring: tuple[int, int] | None = None
        """Seqs up to which messages have been restored, and up to which they are to be."""
        self._renewing: dict[int, int] = {}
        """Seq up to which acts are being repeated → parts of that which have come."""

    @property
    def healing(self) -> bool:
        """True while what was lost is being restored."""
        return self._restoring is not None

    def place(
        self, number: int, time: int, drafts: Sequence[Draft]
    ) -> Generator[None, None, Placed]:
        """Place a batch, message by message: it is number `number` in the stream, since `time`."""
        self._repeats.advance(time)
        placed = Placed([], [])
        if self.healing:
            placed.outcomes.extend([_healing(draft.id) for draft in drafts])
            return placed
        base = self.places.base_of(number)
        for index, draft in enumerate(drafts):
            mine = First(batch.seq_of(base, number, index), batch.author(draft.payload))
            known = self._repeats.meet(draft.id, mine)
            if known is None:
                placed.records.append(place(draft, mine.seq))
            placed.outcomes.append(_outcome(draft.id, mine, known or mine))
            yield
        return placed

    def enact(self, number: int, act: Act) -> Placed:
        """Place an act, which is the entry `number`."""
        if self.healing:
            return Placed([], [_healing(id="")])
        seq = self.places.seq_of(number)
        return Placed([], [Receipt("", seq)], [Enacted(seq, act)])

    def renew(self, number: int, time: int, renewal: batch.Renewal) -> list[Enacted]:
        """Place repetitions of acts; the note that all have come is left out if some have not."""
        if self.healing:
            return []
        parts = self._renewing.pop(renewal.upto, 0) if renewal.part else 0
        whole = parts == renewal.part
        if whole and not renewal.last:
            self._renewing[renewal.upto] = parts + 1
            while len(self._renewing) > _RENEWING:
                del self._renewing[min(self._renewing)]
        found = renewal.enacted(self.places.seq_of(number), time)
        return found if whole or not renewal.last else found[:-1]

    def rebase(self, number: int, record: batch.Rebased) -> None:
        """Go on with another base behind the entry `number`. Raises `MalformedError`."""
        before = self.places.seq_of(number - 1, batch.MAX_MESSAGES - 1)
        if not self.places.add(Rebase(number, record.base, record.until)):
            raise MalformedError("is a rebase by which seqs would fall")
        self._restoring = (before, record.until) if record.until > before else None

    def restore(
        self, time: int, placed: Sequence[tuple[int, Draft]]
    ) -> Generator[None, None, list[Record]]:
        """Place messages at the seqs that they had. Raises `MalformedError`."""
        self._repeats.advance(time)
        self._note_restored([seq for seq, _ in placed])
        records: list[Record] = []
        for seq, draft in placed:
            self._repeats.meet(draft.id, First(seq, batch.author(draft.payload)))
            records.append(place(draft, seq))
            yield
        return records

    def restore_act(self, enacted: Enacted) -> Placed:
        """Place an act at the seq that it had. Raises `MalformedError`."""
        self._note_restored([enacted.seq])
        return Placed([], [], [enacted])

    def _note_restored(self, seqs: Sequence[int]) -> None:
        if self._restoring is None:
            raise MalformedError("restores what is not awaited")
        upto, until = self._restoring
        if any(after <= before for before, after in zip([upto, *seqs], seqs, strict=False)):
            raise MalformedError("restores messages again, or not in their order")
        if seqs[-1] > until:
            raise MalformedError("restores more than was lost")
        self._restoring = (seqs[-1], until) if seqs[-1] < until else None

    def recall(
        self, number: int, time: int, payloads: Sequence[bytes]
    ) -> Generator[None, None, None]:
        """Note the ids of a batch that an earlier process has placed, message by message.

        Raises as `batch.named` does.
        """
        self._repeats.advance(time)
        if self.healing:
            return
        named = []
        for payload in payloads:
            named.append(batch.named(payload))
            yield
        for index, (id, author) in enumerate(named):
            self._repeats.meet(id, First(self.places.seq_of(number, index), author))

    def recall_control(self, number: int, time: int, record: batch.Control) -> None:
        """Note a control record that an earlier process has applied. Raises `MalformedError`."""
        if isinstance(record, batch.Rebased):
            self.rebase(number, record)
        elif isinstance(record, batch.Renewal):
            self.renew(number, time, record)
        elif isinstance(record, Enacted):
            self.restore_act(record)

    def recall_restored(self, time: int, placed: Sequence[tuple[int, bytes]]) -> None:
        """Note the ids of messages that an earlier process has restored."""
        self._repeats.advance(time)
        for seq, payload in placed:
            id, author = batch.named(payload)
            self._repeats.meet(id, First(seq, author))
        self._note_restored([seq for seq, _ in placed])

    def refusal(self, draft: Draft) -> RefusedError | None:
        """Return why `draft` cannot be taken as things are: its id is somebody else's."""
        known = self._repeats.known(draft.id)
        if known is None or _may_use(batch.author(draft.payload), known):
            return None
        return _somebody_elses()


def _outcome(id: str, mine: First, known: First) -> Outcome:
    return Receipt(id, known.seq) if _may_use(mine.author, known) else _somebody_elses()


def _may_use(author: str, known: First) -> bool:
    """Tell whether an author is answered with the seq of the message that has the id."""
    return known.author in ("", author)


def _somebody_elses() -> RefusedError:
    return RefusedError(POLICY_VIOLATION, "id", "is that of a message by somebody else")


def _healing(id: str) -> RefusedError:
    issue = "the log is being healed, publish it again with the same id"
    return RefusedError(SERVER_ERROR, "", issue, retry_after=1, id=id)
