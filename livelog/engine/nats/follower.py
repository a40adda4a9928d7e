"""The follower: takes the entries of the stream in their order, and commits them to the log.

Entries come live; those that do not are read. When in doubt, such as after a second of silence, the
majority of the brokers is asked how far the stream is; without one, what any broker has is read.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from livelog.budget.slices import interleaved
from livelog.engine.base import Outcome, Sink
from livelog.engine.nats import batch
from livelog.engine.nats.absence import LACKS_ACTS, Absence
from livelog.engine.nats.agreement import disagreement
from livelog.engine.nats.arrivals import Arrivals
from livelog.engine.nats.extent import NEW_STORE, Extent
from livelog.engine.nats.order import Order
from livelog.engine.nats.placing import placed, recalled
from livelog.engine.nats.recent import existing, recent
from livelog.engine.nats.spent import Spent
from livelog.engine.nats.stream import AwayError, Bounds, Entry, StoppedError, Stream
from livelog.errors import ConfigError, RefusedError
from livelog.wire.acts import Enacted, Renewed
from livelog.wire.record import Draft

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

ASKED_AGAIN = (0.05, 0.25)
"""Bounds of the seconds before the broker is asked again, or a batch is sent again."""

_LAGGARD_SECONDS = 0.02
"""Seconds to wait for a broker that does not have yet what others have."""

_LIVE_SECONDS = 0.01
"""Seconds that an entry has to come live, when it is known to exist."""

_VAIN = 10
"""Reads in vain after which the leader is asked whether there is nothing any more."""

_FULL_SECONDS = 0.02
"""Seconds between two looks whether this node can take more."""


class Follower:
    """One node's place in the stream. `silence` is in seconds.

    `drafts` returns what this node itself has sent under an id, which need not be decoded, and
    `tell` is called with the id of each batch and its outcomes. `level` is set once all has been
    taken that there was. `bounds` is the extent of the stream, if it is known.
    """

    def __init__(
        self,
        stream: Stream,
        silence: float,
        drafts: Callable[[str], Sequence[Draft] | None],
        tell: Callable[[str, list[Outcome]], None],
        level: asyncio.Event,
        bounds: Bounds | None = None,
    ) -> None:
        # Given once, and kept.
        self._stream = stream
        self._silence = silence
        self._drafts = drafts
        self._tell = tell
        self.bounds = bounds
        """The extent of the stream as it was told last; None before."""
        self._sink: Sink
        self._late = False
        self._loop: asyncio.AbstractEventLoop
        # The place.
        self._order: Order | None = None
        self._arrivals = Arrivals(0)
        self._vain = 0
        """Reads in a row that have found nothing."""
        self._waited_for = 0
        """The newest entry that was given a moment to come live."""
        self._taken = 0
        """Messages taken since the start."""
        self._first = 0
        """Number of the entry behind which this node began."""
        self._joined = asyncio.Event()
        """Set once it is known how far the stream is."""
        self._level = level
        # Signals.
        self._woken = asyncio.Event()
        """Set when there may be something to take."""
        self._doubts = asyncio.Event()
        """Set when entries may be missing that nothing tells of."""
        self._extent = Extent(stream)
        self._absence: Absence
        self.spent: Spent
        """The part of the stream's bounds that is spent since acts were repeated last."""
        self._makeshift = False
        """No majority answers: to read what any broker has is all that can be done."""
        # How it goes.
        self._heard_at = 0.0
        """Time of the last word about how far the stream is."""
        self._level_at = 0.0
        """Time at which this node last had all there was."""
        self.unanswered = ""
        """The reason why the broker has not told how far the stream is, empty when it has."""

    def start(self, sink: Sink, *, late: bool = False) -> None:
        """Commit to `sink`, behind its head, once `follow` and `watch` run.

        `late` says that the stream could not be opened so far, so the sink does not know of it.
        """
        self._sink = sink
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._level_at = self._loop.time()

    @property
    def lag(self) -> float:
        """Seconds since this node last had all there was."""
        return self._loop.time() - self._level_at

    @property
    def unready(self) -> str:
        """The reason why this node has not had all there is so far; empty once it has had."""
        if self._level.is_set():
            return ""
        if not self._joined.is_set():
            return f"the broker is away: {self.unanswered or 'it is being asked'}"
        if self._absence.lacks_acts and not self._arrivals.behind:
            return LACKS_ACTS
        done, last = self._arrivals.done - self._first, self._arrivals.last - self._first
        percent = 100 * done // max(1, last)
        return f"catching up with the log: {self._taken} messages taken, {percent} %"

    def refusal(self, draft: Draft) -> RefusedError | None:
        """Return why `draft` is known to be refused; None if it is not."""
        return None if self._order is None else self._order.refusal(draft)

    def hear(self, number: int) -> None:
        """Note that there is an entry with this number."""
        self._arrivals.hear(number)
        self._woken.set()

    def _came(self, entry: Entry) -> None:
        # Of a stream that has been made anew they begin at 1 again: that is no word of this one.
        if entry.number > self._arrivals.done:
            self._heard_at = self._loop.time()
            self._arrivals.add(entry)
            self._woken.set()
        elif self._extent.doubts(entry):
            self._doubt()

    @property
    def unchecked(self) -> bool:
        """Tell whether the stream may lack what this node has taken of it."""
        return self._extent.unchecked

    def _doubt(self) -> None:
        """Note that entries may be missing: of this node, or of the brokers after their start."""
        self._extent.unchecked = True
        self._doubts.set()

    async def follow(self) -> None:
        """Take all there is and all that comes. Raises `StoppedError` and `UnknownError`."""
        bounds = self.bounds
        if bounds is None:
            bounds = self.bounds = await self._insist(self._opened)
        self._begin(bounds)
        order = Order(bounds.base, bounds.span, bounds.rebases)
        if order.places.strays(self._sink.head):
            raise StoppedError(
                "this node has messages that the brokers had lost and that were not restored;"
                f" {NEW_STORE}"
            )
        await self._compare(bounds)
        self._absence = Absence(self._sink, bounds)
        self._first = order.places.place_of(self._sink.head)
        self._arrivals = Arrivals(self._first)
        largest = self._stream.max_bytes
        self.spent = Spent(bounds, self._first, self._sink.renewal, largest)
        self._stream.listen(self._came, self._doubt)
        await self._recall(order, bounds)
        self._order = order
        await self._insist(lambda: self._check(order))
        self._joined.set()
        while True:
            self._woken.clear()
            try:
                if self._makeshift:
                    self._makeshift = False
                    await self._read(order)
                await self._advance(order)
            except AwayError as error:
                self.unanswered = str(error)
                await asyncio.sleep(random.uniform(*ASKED_AGAIN))
            else:
                self._note_level()
                if not self._absence.lacks_acts:
                    self._level.set()
                await self._woken.wait()

    async def _opened(self) -> Bounds:
        """Open the stream; one that cannot be used is tried again, for it may be mended."""
        try:
            return await self._stream.open()
        except ConfigError as error:
            if str(error) != self.unanswered:
                _log.error("the stream cannot be used yet: %s", error)
            raise AwayError(str(error)) from None

    def _begin(self, bounds: Bounds) -> None:
        """Tell the sink of the log, unless it knows. Raises `StoppedError`."""
        try:
            if self._late:
                self._sink.begin(bounds.origin)
        except ConfigError as error:
            raise StoppedError(str(error)) from None

    async def _compare(self, bounds: Bounds) -> None:
        """Raise `StoppedError` if this node's store has something else than the stream."""

        async def read(number: int) -> Sequence[Entry]:
            return await self._insist(lambda: existing(self._stream, number))

        seq = await disagreement(read, bounds, self._sink)
        if seq:
            raise StoppedError(
                f"the stream has something else than this node at seq {seq}: it went on without"
                f" what the brokers had lost; {NEW_STORE}"
            )

    @property
    def taken_upto(self) -> int:
        """The highest seq that the newest entry taken can have."""
        assert self._order is not None
        return self._order.places.seq_of(self._arrivals.done, batch.MAX_MESSAGES - 1)

    @property
    def has_all_acts(self) -> bool:
        """Tell whether this node knows of all acts that last, and of the stream as it is."""
        followed = self._level.is_set() and not self._extent.unchecked
        return followed and self._absence.knows_all_acts

    async def watch(self) -> None:
        """Ask how far the stream is, in doubt: after silence, or when entries may be missing.

        Raises `StoppedError`.
        """
        await self._joined.wait()
        assert self._order is not None
        while True:
            with suppress(TimeoutError):
                silent_in = self._heard_at + self._silence - self._loop.time()
                await asyncio.wait_for(self._doubts.wait(), max(0.0, silent_in))
            silent = self._loop.time() >= self._heard_at + self._silence
            if not (silent or self._doubts.is_set()):
                continue
            self._doubts.clear()
            try:
                await self._check(self._order)
            except AwayError as error:
                self.unanswered = str(error)
                self._makeshift = True
                self._doubts.set()
                await asyncio.sleep(random.uniform(*ASKED_AGAIN))
            self._woken.set()

    def _note_level(self) -> None:
        if not self._arrivals.behind:
            self._level_at = self._heard_at

    async def _insist(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask until there is an answer."""
        while True:
            try:
                return await ask()
            except AwayError as error:
                self.unanswered = str(error)
                await asyncio.sleep(random.uniform(*ASKED_AGAIN))

    async def _check(self, order: Order) -> None:
        """Ask how far the stream is. Raises `AwayError` and `StoppedError`."""
        now = await self._extent.check(order.places, self._arrivals.done, self._loop.time())
        self.bounds = now
        self.unanswered = ""
        self._heard_at = self._loop.time()
        self._arrivals.hear(now.last)
        self._note_level()

    async def regained(self) -> Bounds | None:
        """Return the extent of a stream that had lost its end, once it has that again.

        Raises `AwayError` and `StoppedError`.
        """
        assert self._order is not None
        return await self._extent.regained(self._order.places, self._arrivals.done)

    async def _advance(self, order: Order) -> None:
        """Take all entries that are known of. Raises `AwayError`."""
        while True:
            entry = self._arrivals.next()
            if entry is not None:
                await self._take(order, entry)
            elif not self._arrivals.behind:
                return
            elif not await self._comes_live() and not await self._read(order):
                await asyncio.sleep(_LAGGARD_SECONDS)

    async def _comes_live(self) -> bool:
        """Give a single missing entry a moment to come, which costs less than to ask for it."""
        missing = self._arrivals.last
        if missing != self._arrivals.done + 1 or missing == self._waited_for:
            return False
        self._waited_for = missing
        self._woken.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), _LIVE_SECONDS)
        return self._arrivals.next() is not None

    async def _read(self, order: Order) -> bool:
        """Read and take the next entries; return whether there were any. Raises `AwayError`."""
        entries, _ = await self._stream.read(self._arrivals.done)
        self._vain = 0 if entries else self._vain + 1
        for entry in entries:
            done = self._arrivals.done
            if entry.number > done:
                if entry.number > done + 1:
                    await self._look_into_hole(done + 1, entry.number)
                await self._take(order, entry)
        return bool(entries) or await self._ends_in_hole()

    async def _ends_in_hole(self) -> bool:
        """Pass the last entries that are known of if they are gone. Raises `AwayError`."""
        done, last = self._arrivals.done, self._arrivals.last
        if last == done or self._vain % _VAIN or await self._stream.newest(last) > done:
            return False
        await self._look_into_hole(done + 1, last + 1)
        self._arrivals.take(last)
        return True

    async def _look_into_hole(self, start: int, end: int) -> None:
        """Tell entries that an operator has deleted from those that were too old to be kept."""
        bounds = await self._stream.bounds()
        if bounds.first > start:
            issue = "the stream no longer has what comes next on this node; restart it"
            raise StoppedError(f"{issue}, and its readers are told of a gap")
        _log.warning("the batches %d to %d have been deleted from the stream", start, end - 1)

    async def _take(self, order: Order, entry: Entry) -> None:
        """Place the messages of the next entry, and commit them as soon as this node can."""
        # A full disk stops this node, and not the log. Nothing tells when it has passed.
        while self._sink.refusal is not None:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_FULL_SECONDS)
        if entry.base != order.base:
            self._doubts.set()
        records, outcomes, acts = await interleaved(placed(order, entry, self._drafts(entry.id)))
        if entry.format == batch.RESTORED:
            head = self._sink.head
            records = [record for record in records if record.seq > head]
        while True:
            self._sink.commit(records, _ignore)
            if not records or self._sink.head >= records[-1].seq:
                break
            await asyncio.sleep(_FULL_SECONDS)
        for enacted in acts:
            await self._apply(enacted)
        self._taken += len(records)
        self._arrivals.take(entry.number)
        self.spent.take(entry, renews=any(isinstance(each.act, Renewed) for each in acts))
        self._extent.take(entry)
        self._tell(entry.id, outcomes)

    async def _apply(self, enacted: Enacted) -> None:
        """Apply an act, unless it is the repetition of one that was applied here."""
        if enacted.act.first_seq and self._sink.has_act(enacted.first_seq):
            return
        # One that an earlier process has applied does not come again: it is the head, or below.
        while self._sink.head < enacted.seq:
            self._sink.apply(*enacted, _ignore)
            if self._sink.head < enacted.seq:
                await asyncio.sleep(_FULL_SECONDS)

    async def _recall(self, order: Order, bounds: Bounds) -> None:
        """Read the ids of the last span again, which an earlier process has placed."""
        done = self._arrivals.done
        async for entry in recent(self._stream, self._insist, bounds, done):
            await interleaved(recalled(order, entry))


def _ignore(refused: RefusedError | None) -> None:
    """Do nothing: what a majority has needs no word from this node's store."""
