"""The engine of a single process: seqs from the clock, ids compared with the log's window."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from livelog.engine.base import ActDone, Answer, Done, Node, Outcome, Present, Sink, repeated
from livelog.errors import GOING_AWAY, SERVER_ERROR, RefusedError
from livelog.wire.acts import Act
from livelog.wire.record import Draft, Known, Origin, Receipt, Record, place
from livelog.wire.seqclock import SeqClock

_log = logging.getLogger(__name__)


class LocalEngine:
    """Places drafts at once, and answers when the log says that they are safe.

    `clock` tells Unix time in seconds, `monotonic` a time that is never set. A seq is the time in
    microseconds where that is free and can be right (`wire.seqclock`), and one more than the last
    otherwise: a clock that stands still or jumps cannot make it fall or carry it away, and a new
    process starts above every seq of an earlier one.
    """

    def __init__(
        self, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._seqs: SeqClock
        self._sink: Sink
        self._last = 0
        """The newest seq given out."""
        self._closed = False

    async def open(self) -> Origin | None:
        """Return None: the order is made here."""
        return None

    def start(self, sink: Sink) -> None:
        """Begin to commit to `sink`, above its head."""
        self._sink = sink
        self._last = sink.head
        self._seqs = SeqClock(sink.head, self._clock, self._monotonic)

    async def ready(self, seconds: float | None = None) -> None:
        """Return at once."""

    @property
    def unready(self) -> str:
        """Empty: there is nothing to wait for."""
        return ""

    def submit(self, drafts: Sequence[Draft], done: Done) -> None:
        """Place `drafts` and commit the new ones; `done` is called when they are safe."""
        if self._closed:
            done([_closed()] * len(drafts))
            return
        fresh: dict[str, Record] = {}
        try:
            now = self._seqs.now()
            outcomes = [self._outcome(draft, fresh, now) for draft in drafts]
            records = list(fresh.values())
        except Exception as error:  # memory has run out, for one; nothing has been placed
            _log.exception("%d messages could not be placed", len(drafts))
            issue = f"could not be placed: {str(error) or type(error).__name__}"
            done([RefusedError(SERVER_ERROR, "", issue, retry_after=1)] * len(drafts))
            return

        def committed(refused: RefusedError | None) -> None:
            done(outcomes if refused is None else [_unsafe(each, refused) for each in outcomes])

        self._sink.commit(records, committed)

    def act(self, act: Act, done: ActDone) -> None:
        """Place `act` and have it applied; `done` is called when it is safe."""
        refused = self.refusal()
        if refused is not None:
            done(refused)
            return
        seq = self._next(self._seqs.now())
        self._sink.apply(seq, act, lambda refused: done(seq if refused is None else refused))

    def refusal(self, draft: Draft | None = None) -> RefusedError | None:
        """Return why nothing can be taken now, or why `draft` cannot; None if it can."""
        refused = _closed() if self._closed else self._sink.refusal
        if refused is not None or draft is None or not draft.named:
            return refused
        try:
            known = self._sink.lookup(draft.id)
        except RefusedError as unreadable:
            return unreadable
        outcome = None if known is None else repeated(draft, known)
        return outcome if isinstance(outcome, RefusedError) else None

    @property
    def lag(self) -> float | None:
        """None: the log is nowhere else."""
        return None

    @property
    def kept_seconds(self) -> float | None:
        """None: the log is nowhere else."""
        return None

    def introduce(self, present: Present) -> None:
        """Do nothing: there are no others."""

    def answer_with(self, answer: Answer) -> None:
        """Do nothing: nobody asks."""

    async def ask(self, question: bytes, seconds: float) -> Mapping[str, bytes | None]:
        """Return nothing: there are no others."""
        return {}

    @property
    def nodes(self) -> Sequence[Node] | None:
        """None: there are no others."""
        return None

    @property
    def impaired(self) -> str:
        """Empty: there is no fault of its own."""
        return ""

    async def close(self) -> None:
        """Take nothing more; what has been placed is answered by the store."""
        self._closed = True

    def _outcome(self, draft: Draft, fresh: dict[str, Record], now: int) -> Outcome:
        """Place `draft` among the `fresh` ones of this moment, unless its id is known."""
        if draft.named:
            try:
                known = self._known(draft.id, fresh)
            except RefusedError as unreadable:
                return unreadable
            if known is not None:
                return repeated(draft, known)
        seq = self._next(now)
        fresh[draft.id] = place(draft, seq)
        return Receipt(draft.id, seq)

    def _next(self, now: int) -> int:
        self._last = now if now > self._last else self._last + 1
        return self._last

    def _known(self, id: str, fresh: dict[str, Record]) -> Known | None:
        first = fresh.get(id)
        return self._sink.lookup(id) if first is None else Known(first.seq, first.payload)


def _unsafe(outcome: Outcome, refused: RefusedError) -> Outcome:
    """Return what becomes of `outcome` when the batch could not be made safe."""
    return outcome if isinstance(outcome, RefusedError) else refused


def _closed() -> RefusedError:
    return RefusedError(GOING_AWAY, "", "the server is stopping", retry_after=1)
