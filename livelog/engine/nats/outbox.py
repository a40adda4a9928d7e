"""The outbox: what waits to be published, and the one batch that is on its way.

Small submits ride together, large ones are divided; the order is kept. A submitter that has waited
too long is told that the outcome is unknown: what has not been sent is dropped, what has may come
yet.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from livelog.engine.base import ActDone, Done, Outcome
from livelog.engine.nats import batch
from livelog.errors import SERVER_ERROR, RefusedError
from livelog.wire.acts import Act
from livelog.wire.record import Draft, Receipt

_log = logging.getLogger(__name__)


class _Submit:
    """Drafts that one submitter waits for."""

    def __init__(self, drafts: Sequence[Draft], done: Done, due: float) -> None:
        self.drafts = drafts
        self.due = due
        """Time at which it is told, whatever has happened."""
        self.sent = 0
        """Drafts that have been put into a batch."""
        self._done: Done | None = done
        self._outcomes: list[Outcome] = []

    @property
    def open(self) -> bool:
        """True until the submitter has been told."""
        return self._done is not None

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Note the outcomes of the next drafts; those of the last tell the submitter."""
        self._outcomes += outcomes
        if len(self._outcomes) == len(self.drafts):
            self._tell()

    def end(self, reason: RefusedError | None = None) -> None:
        """Tell the submitter now; what has no outcome yet is refused for `reason`."""
        left = self.drafts[len(self._outcomes) :]
        self.settle([reason or not_acknowledged(draft) for draft in left])

    def _tell(self) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        try:
            done(self._outcomes)
        except Exception:  # the others have to be told all the same
            _log.exception("a publisher could not be told")


class Flight(NamedTuple):
    """The batch that is on its way."""

    drafts: list[Draft]
    """The messages of the batch."""
    parts: list[tuple[_Submit, int]]
    """The submits that its drafts are from, and how many of each."""

    def encode(self) -> tuple[str, bytes]:
        """Return the format and the body of the entry."""
        return batch.encode([draft.payload for draft in self.drafts])

    def refuse(self, refused: RefusedError) -> None:
        """Tell that none of it is taken."""
        self.settle([refused] * len(self.drafts))

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Tell the outcomes of all its drafts."""
        left = iter(outcomes)
        for submit, count in self.parts:
            mine = list(islice(left, count))
            if submit.open:
                submit.settle(mine)

    @property
    def awaited(self) -> bool:
        """True while any of its submitters waits."""
        return any(submit.open for submit, _ in self.parts)


class ActFlight:
    """An act, which travels alone: waiting, and then on its way."""

    drafts = None

    def __init__(self, act: Act, done: ActDone, due: float) -> None:
        self._act = act
        self._done: ActDone | None = done
        self.due = due
        """Time at which its author is told, whatever has happened."""

    def encode(self) -> tuple[str, bytes]:
        """Return the format and the body of the entry."""
        return batch.encode_control(self._act)

    @property
    def awaited(self) -> bool:
        """True until its author has been told."""
        return self._done is not None

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Tell its one outcome."""
        [outcome] = outcomes
        self._tell(outcome.seq if isinstance(outcome, Receipt) else outcome)

    def refuse(self, refused: RefusedError) -> None:
        """Tell that it is not taken."""
        self._tell(refused)

    def end(self, reason: RefusedError | None) -> None:
        """Tell its author now."""
        issue = "not known to be applied; look at what has become of it, and try again"
        self._tell(reason or RefusedError(SERVER_ERROR, "", issue, retry_after=1))

    def _tell(self, outcome: int | RefusedError) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        try:
            done(outcome)
        except Exception:  # the others have to be told all the same
            _log.exception("the author of an act could not be told")


class Outbox:
    """Submits in their order. `patience` is the seconds after which a submitter is told."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: deque[_Submit] = deque()
        self._acts: deque[ActFlight] = deque()
        self._flight: Flight | ActFlight | None = None
        self.bytes = 0
        """Bytes of the messages that have not been put into a batch."""

    def __bool__(self) -> bool:
        return bool(self._waiting or self._acts)

    def add(self, drafts: Sequence[Draft], done: Done, now: float) -> None:
        """Enqueue a submit of at least one draft."""
        self._waiting.append(_Submit(drafts, done, now + self._patience))
        self.bytes += sum(len(draft.payload) for draft in drafts)

    def add_act(self, act: Act, done: ActDone, now: float) -> None:
        """Enqueue an act."""
        self._acts.append(ActFlight(act, done, now + self._patience))

    def depart_act(self) -> ActFlight | None:
        """Take the first act in the queue, None without any."""
        self._flight = flight = self._acts.popleft() if self._acts else None
        return flight

    def depart(self, max_bytes: int) -> Flight:
        """Make a batch of the first drafts in the queue, as many as fit."""
        sizes = (len(d.payload) for submit in self._waiting for d in submit.drafts[submit.sent :])
        left = batch.fitting(sizes, max_bytes)
        flight = Flight([], [])
        while left:
            submit = self._waiting[0]
            drafts = submit.drafts[submit.sent : submit.sent + left]
            submit.sent += len(drafts)
            left -= len(drafts)
            flight.drafts.extend(drafts)
            flight.parts.append((submit, len(drafts)))
            if submit.sent == len(submit.drafts):
                self._waiting.popleft()
        self.bytes -= sum(len(draft.payload) for draft in flight.drafts)
        self._flight = flight
        return flight

    def land(self) -> None:
        """Note that the batch under way has been settled, or given up."""
        self._flight = None

    def expire(self, now: float) -> None:
        """Tell those who have waited too long."""
        self._end([submit for submit in self._unanswered() if submit.due <= now], None)
        self._end_acts([act for act in self._unanswered_acts() if act.due <= now], None)

    def end(self, reason: RefusedError | None) -> None:
        """Tell all who wait."""
        self._end(self._unanswered(), reason)
        self._end_acts(self._unanswered_acts(), reason)

    def _end_acts(self, ended: Sequence[ActFlight], reason: RefusedError | None) -> None:
        self._acts = deque(act for act in self._acts if act not in ended)
        for act in ended:
            act.end(reason)

    def _unanswered_acts(self) -> list[ActFlight]:
        flying = [self._flight] if isinstance(self._flight, ActFlight) else []
        return [act for act in (*flying, *self._acts) if act.awaited]

    def _end(self, submits: Sequence[_Submit], reason: RefusedError | None) -> None:
        ended = {id(submit) for submit in submits}
        left = deque(submit for submit in self._waiting if id(submit) not in ended)
        self._waiting = left
        self.bytes = sum(len(d.payload) for submit in left for d in submit.drafts[submit.sent :])
        for submit in submits:
            submit.end(reason)

    @property
    def due(self) -> float | None:
        """Time at which somebody has waited too long, None while nobody waits."""
        dues = [submit.due for submit in self._unanswered()]
        return min(dues + [act.due for act in self._unanswered_acts()], default=None)

    def _unanswered(self) -> list[_Submit]:
        """Return all submits that wait, each once, those on their way first."""
        flight = self._flight
        flying = [submit for submit, _ in flight.parts] if isinstance(flight, Flight) else []
        every = {id(submit): submit for submit in (*flying, *self._waiting)}
        return [submit for submit in every.values() if submit.open]


def not_acknowledged(draft: Draft) -> RefusedError:
    """Return the refusal of a message whose outcome is unknown; it names the id to use again."""
    issue = "not acknowledged, publish it again with the same id"
    return RefusedError(SERVER_ERROR, "", issue, retry_after=1, id=draft.id)
