"""The engine of one node of many: publishes batches, and follows the stream.

Two tasks. One sends what is to be published, a batch at a time: what comes meanwhile rides in the
next, so batches grow by themselves and the order never breaks. A batch whose outcome is unknown is
sent again under the same id until it is known, or nobody waits for it any more. The other takes
the entries of the stream in their order, as they come live, reads those that did not come, and
commits what they hold to the log. A publisher is answered when both have met: a majority of the
brokers has its batch, and this node shows it.

When in doubt, such as after a second of silence, the broker's majority is asked how far the stream
is. A node that cannot go on without becoming another log than the rest stops, by name: it takes no
messages and goes on to answer questions.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

from livelog.budget.slices import interleaved
from livelog.engine.base import Done, Outcome, Sink
from livelog.engine.nats import batch
from livelog.engine.nats.arrivals import Arrivals
from livelog.engine.nats.batch import MalformedError, UnknownError
from livelog.engine.nats.order import Order, Placed
from livelog.engine.nats.outbox import Flight, Outbox
from livelog.engine.nats.stream import AwayError, Bounds, Entry, StoppedError, Stream
from livelog.errors import GOING_AWAY, SERVER_ERROR, RefusedError
from livelog.wire.record import Draft, Origin

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

PATIENCE = 10.0
"""Seconds after which a publisher is told that its messages are not acknowledged."""

_SILENCE = 1.0
"""Seconds without an entry after which the broker is asked how far the stream is."""

_BEHIND_SECONDS = 5.0
"""Seconds that a node may be behind before its health says so: elections take nearly as long."""

_LOST_SECONDS = 10.0
"""Seconds for which a stream may seem shorter than it was: a broker that starts may be reading."""

_SENT_AGAIN = (0.05, 0.25)
"""Bounds of the seconds before a batch is sent again."""

_LAGGARD_SECONDS = 0.02
"""Seconds to wait for a broker that does not have yet what others have."""

_LIVE_SECONDS = 0.01
"""Seconds that an entry has to come live, when it is known to exist."""

_FULL_SECONDS = 0.02
"""Seconds between two looks whether this node can take more."""

_CLOSE_SECONDS = 2.0
"""Seconds that batches under way have when the server stops."""

_CANCEL_SECONDS = 0.25

_MAX_WAITING = 32 * 2**20
"""Bytes of messages that may wait for the broker before publishers are told to wait."""

_TOLD_EVERY = 5.0
"""Seconds between two lines in the log while a node that starts is catching up."""


class _Mine(NamedTuple):
    """The batch of this node that is on its way."""

    id: str
    flight: Flight
    since: float
    """Time at which it was sent first."""
    placed: asyncio.Future[list[Outcome]]
    """Set when this node has taken it from the stream."""


class StreamEngine:
    """The order of a shared stream. `patience` and `silence` are seconds."""

    def __init__(
        self, stream: Stream, *, patience: float = PATIENCE, silence: float = _SILENCE
    ) -> None:
        # Given once, and kept.
        self._stream = stream
        self._silence = silence
        self._node = secrets.token_hex(8)
        """Begins the ids of the batches: no other process has it."""
        self._sink: Sink
        self._loop: asyncio.AbstractEventLoop
        self._tasks: list[asyncio.Task[None]] = []
        # Publishing.
        self._outbox = Outbox(patience)
        self._work = asyncio.Event()
        """Set when there is something to publish."""
        self._batches = 0
        self._mine: _Mine | None = None
        self._unsent = ""
        """The reason why the batch on its way has not been acknowledged yet."""
        self._landed = asyncio.Event()
        """Set while no batch is on its way."""
        self._landed.set()
        # Following.
        self._order: Order | None = None
        self._arrivals = Arrivals(0)
        self._woken = asyncio.Event()
        """Set when there may be something to take."""
        self._doubts = asyncio.Event()
        """Set when entries may be missing that nothing tells of."""
        self._makeshift = False
        """No majority answers: to read what any broker has is all that can be done."""
        self._heard_at = 0.0
        """Time of the last word about how far the stream is."""
        self._level_at = 0.0
        """Time at which this node last had all there was."""
        self._waited_for = 0
        """The newest entry that was given a moment to come live."""
        self._shorter_since = 0.0
        """Time at which the stream was first found shorter than the log; 0 while it is not."""
        self._unanswered = ""
        """The reason why the broker has not told how far the stream is, empty when it has."""
        self._level = asyncio.Event()
        """Set once this node has had all there was, or has stopped."""
        self._stopped = ""
        """The reason why this node cannot go on."""
        self._closed = False

    # The seam.

    async def open(self) -> Origin:
        """Connect to the stream, or make it. Raises `ConfigError`."""
        bounds = await self._insist(self._stream.open)
        return Origin(bounds.base, bounds.joins_from, bounds.gone_upto)

    def start(self, sink: Sink) -> None:
        """Begin to commit what the stream has to `sink`, behind its head."""
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._level_at = self._loop.time()
        self._tasks = [
            self._loop.create_task(self._guarded(main))
            for main in (self._follow, self._publish, self._expire)
        ]

    async def ready(self) -> None:
        """Wait until this node has all there is, or has stopped; tell how far it is."""
        while not self._level.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._level.wait(), _TOLD_EVERY)
                return
            done, last = self._arrivals.done, self._arrivals.last
            _log.warning("catching up with the log: at %d of %d batches", done, last)

    def submit(self, drafts: Sequence[Draft], done: Done) -> None:
        """Enqueue `drafts`; `done` is called when a majority has them and this node shows them."""
        refused = self._refused()
        if refused is not None or not drafts:
            done([refused] * len(drafts) if refused else [])
            return
        self._outbox.add(drafts, done, self._loop.time())
        self._work.set()

    def refusal(self, draft: Draft | None = None) -> RefusedError | None:
        """Return why nothing can be taken now, or why `draft` cannot; None if it can."""
        refused = self._refused() or self._sink.refusal
        if refused is None and self._outbox.bytes > _MAX_WAITING:
            return RefusedError(SERVER_ERROR, "", "the broker is behind", retry_after=1)
        if refused is not None or draft is None or not draft.named or self._order is None:
            return refused
        return self._order.refusal(draft)

    @property
    def lag(self) -> float | None:
        """Seconds for which this node may not have had all there is."""
        lag = self._loop.time() - self._level_at
        return lag if self._stopped or lag > 2 * self._silence else 0.0

    @property
    def impaired(self) -> str:
        """The reason why this node is not what the others are; empty without."""
        lag = self.lag or 0.0
        if not self._stopped and lag > _BEHIND_SECONDS:
            why = self._unanswered or "it is catching up"
            return f"this node is up to {lag:.0f} s behind the log: {why}"
        if self._mine is not None and self._loop.time() > self._mine.since + _BEHIND_SECONDS:
            return f"nothing is acknowledged: {self._unsent or 'the batch does not come back'}"
        return self._stopped

    async def close(self) -> None:
        """Take nothing more; answer what is under way, and disconnect."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._outbox or self._mine is not None:
                    self._landed.clear()
                    await self._landed.wait()
        # Again, because `wait_for` of Python 3.11 swallows a cancellation now and then.
        while running := [task for task in self._tasks if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=_CANCEL_SECONDS)
        self._outbox.end(None)
        await self._stream.close()

    def _refused(self) -> RefusedError | None:
        if self._closed:
            return RefusedError(GOING_AWAY, "", "the server is stopping", retry_after=1)
        return RefusedError(SERVER_ERROR, "", self._stopped) if self._stopped else None

    async def _guarded(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run a task; what ends it stops this node."""
        try:
            await main()
        except (StoppedError, UnknownError) as error:
            self._stop(str(error))
        except Exception as error:
            _log.exception("the engine has failed")
            self._stop(f"the engine has failed: {str(error) or type(error).__name__}")

    def _stop(self, reason: str) -> None:
        _log.critical("this node takes nothing more: %s", reason)
        self._stopped = reason
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._outbox.end(None)
        self._mine = None
        self._level.set()

    # Publishing.

    async def _publish(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._outbox:
                flight = self._outbox.depart(min(batch.MAX_BYTES, self._stream.max_bytes))
                await self._deliver(flight)
                self._outbox.land()
                self._mine = None
                self._landed.set()

    async def _deliver(self, flight: Flight) -> None:
        """Send a batch until its outcome is known, or nobody waits for it."""
        self._batches += 1
        id, now = f"{self._node}-{self._batches}", self._loop.time()
        mine = self._mine = _Mine(id, flight, now, self._loop.create_future())
        format, body = batch.encode([draft.payload for draft in flight.drafts])
        try:
            number = await self._appended(mine, format, body)
        except RefusedError as refused:
            flight.settle([refused] * len(flight.drafts))
            return
        self._arrivals.hear(number)
        self._woken.set()
        while flight.awaited and not mine.placed.done():
            await asyncio.wait([mine.placed], timeout=self._silence)
        if mine.placed.done():
            flight.settle(mine.placed.result())

    async def _appended(self, mine: _Mine, format: str, body: bytes) -> int:
        """Return the number of the batch in the stream, 0 if nobody waits for it any more."""
        while mine.flight.awaited:
            try:
                number = await self._stream.append(mine.id, format, body)
            except AwayError as error:
                self._unsent = str(error)
                await asyncio.sleep(random.uniform(*_SENT_AGAIN))
            else:
                self._unsent = ""
                return number
        return 0

    async def _expire(self) -> None:
        """Tell those who have waited too long."""
        while True:
            now = self._loop.time()
            self._outbox.expire(now)
            due = self._outbox.due
            pause = self._silence if due is None else due - now
            await asyncio.sleep(min(max(pause, 0.01), self._silence))

    # Following.

    def _came(self, entry: Entry) -> None:
        # Of a stream that has been made anew they begin at 1 again: that is no word of this one.
        if entry.number > self._arrivals.done:
            self._heard_at = self._loop.time()
            self._arrivals.add(entry)
            self._woken.set()

    async def _follow(self) -> None:
        bounds = await self._insist(self._stream.open)
        self._arrivals = Arrivals(batch.place_of(bounds.base, self._sink.head))
        order = Order(bounds.base, bounds.span)
        self._stream.listen(self._came, self._doubts.set)
        await self._recall(order, bounds)
        self._order = order
        await self._insist(lambda: self._check(bounds.base))
        watch = partial(self._watch, bounds.base)
        self._tasks.append(self._loop.create_task(self._guarded(watch)))
        while True:
            self._woken.clear()
            try:
                if self._makeshift:
                    self._makeshift = False
                    await self._read(order)
                await self._advance(order)
            except AwayError as error:
                self._unanswered = str(error)
                await asyncio.sleep(random.uniform(*_SENT_AGAIN))
            else:
                self._note_level()
                self._level.set()
                await self._woken.wait()

    async def _watch(self, base: int) -> None:
        """Ask how far the stream is, in doubt: after silence, or when entries may be missing."""
        while True:
            with suppress(TimeoutError):
                silent_in = self._heard_at + self._silence - self._loop.time()
                await asyncio.wait_for(self._doubts.wait(), max(0.0, silent_in))
            silent = self._loop.time() >= self._heard_at + self._silence
            if not (silent or self._doubts.is_set()):
                continue
            self._doubts.clear()
            try:
                await self._check(base)
            except AwayError as error:
                self._unanswered = str(error)
                self._makeshift = True
                self._doubts.set()
                await asyncio.sleep(random.uniform(*_SENT_AGAIN))
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
                self._unanswered = str(error)
                await asyncio.sleep(random.uniform(*_SENT_AGAIN))

    async def _check(self, base: int) -> None:
        """Ask how far the stream is. Raises `AwayError` and `StoppedError`."""
        now = await self._stream.bounds()
        if now.base != base:
            raise StoppedError("the stream has been deleted and made anew; use a new store")
        done, moment = self._arrivals.done, self._loop.time()
        if now.last >= done:
            self._shorter_since = 0.0
            self._unanswered = ""
            self._heard_at = moment
            self._arrivals.hear(now.last)
            self._note_level()
            return
        self._shorter_since = self._shorter_since or moment
        issue = f"the stream ends at batch {now.last}, and this node has {done}"
        if moment > self._shorter_since + _LOST_SECONDS:
            raise StoppedError(f"{issue}: the brokers have lost what they had acknowledged")
        raise AwayError(issue)

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
        for entry in entries:
            done = self._arrivals.done
            if entry.number > done:
                if entry.number > done + 1:
                    await self._look_into_hole(done + 1, entry.number)
                await self._take(order, entry)
        return bool(entries)

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
        mine = self._mine if self._mine is not None and self._mine.id == entry.id else None
        placed = await interleaved(_placed(order, entry, mine.flight.drafts if mine else None))
        while True:
            self._sink.commit(placed.records, _ignore)
            if not placed.records or self._sink.head >= placed.records[-1].seq:
                break
            await asyncio.sleep(_FULL_SECONDS)
        self._arrivals.take(entry.number)
        if mine is not None and not mine.placed.done():
            mine.placed.set_result(placed.outcomes)

    async def _recall(self, order: Order, bounds: Bounds) -> None:
        """Read the ids of the last span again, which an earlier process has placed."""
        done = self._arrivals.done
        if not bounds.first <= done <= bounds.last:
            return
        [newest, *_] = await self._insist(lambda: self._existing(done))
        since = newest.time - bounds.span
        number = await self._insist(lambda: self._stream.number_at(since))
        while number <= done:
            start = number
            entries = await self._insist(lambda: self._existing(start))  # noqa: B023 - at once
            for entry in entries:
                if entry.number <= done:
                    await interleaved(_recalled(order, entry))
            number = entries[-1].number + 1

    async def _existing(self, number: int) -> Sequence[Entry]:
        """Read the entries from a number on, of which there are some. Raises `AwayError`."""
        entries, _ = await self._stream.read(number - 1)
        if not entries:
            raise AwayError("the broker does not have yet what this node has")
        return entries


def _placed(
    order: Order, entry: Entry, mine: Sequence[Draft] | None
) -> Generator[None, None, Placed]:
    """Place an entry in steps; what this node has sent itself need not be decoded.

    An entry that is no batch takes its seqs, and nothing else. Raises `UnknownError`.
    """
    drafts: list[Draft] = []
    try:
        for payload in _payloads(order, entry) if mine is None else ():
            drafts.append(batch.draft(payload))
            yield
    except MalformedError as error:
        _log.warning("entry %d of the stream is passed over: it %s", entry.number, error)
        drafts = []
    except UnknownError as error:
        raise UnknownError(_unknown(entry, error)) from None
    return (yield from order.place(entry.number, entry.time, drafts if mine is None else mine))


def _recalled(order: Order, entry: Entry) -> Generator[None, None, None]:
    """Note the ids of an entry, as `_placed` has done."""
    with suppress(MalformedError, UnknownError):
        yield from order.recall(entry.number, entry.time, _payloads(order, entry))


def _payloads(order: Order, entry: Entry) -> list[bytes]:
    """Return the messages of an entry. Raises `MalformedError` and `UnknownError`."""
    if entry.base != order.base:
        raise MalformedError("is not of this log")
    return batch.decode(entry.format, entry.body)


def _unknown(entry: Entry, error: UnknownError) -> str:
    return f"entry {entry.number} of the stream {error}; this livelog is too old for the log"


def _ignore(refused: RefusedError | None) -> None:
    """Do nothing: what a majority has needs no word from this node's store."""
