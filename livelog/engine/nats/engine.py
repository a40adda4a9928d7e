"""The engine of one node of many: publishes batches, and answers when they come back.

What is to be published goes a batch at a time: what comes meanwhile rides in the next, so batches
grow by themselves and the order never breaks. A batch whose outcome is unknown is sent again under
the same id until it is known, or nobody waits for it any more. A publisher is answered when a
majority of the brokers has its batch, and this node, which follows the stream (`follower`), shows
it.

A node that cannot go on without becoming another log than the rest stops, by name: it takes no
messages and goes on to answer questions.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from livelog.engine.base import ActDone, Answer, Done, Node, Outcome, Present, Sink
from livelog.engine.nats import batch
from livelog.engine.nats.batch import UnknownError
from livelog.engine.nats.follower import ASKED_AGAIN, Follower
from livelog.engine.nats.herald import Health, Herald
from livelog.engine.nats.outbox import ActFlight, Flight, Outbox
from livelog.engine.nats.renewing import Renewing
from livelog.engine.nats.stream import AwayError, Bounds, LostError, StoppedError, Stream
from livelog.engine.users import Talk
from livelog.errors import GOING_AWAY, SERVER_ERROR, RefusedError
from livelog.wire.acts import Act
from livelog.wire.record import UNKNOWN, Draft, Origin

_log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds after which a publisher is told that its messages are not acknowledged."""

_SILENCE = 1.0
"""Seconds without an entry after which the broker is asked how far the stream is."""

_BEHIND_SECONDS = 5.0
"""Seconds that a node may be behind before its health says so: elections take nearly as long."""

_CLOSE_SECONDS = 2.0
"""Seconds that batches under way have when the server stops."""

_CANCEL_SECONDS = 0.25

_MAX_WAITING = 32 * 2**20
"""Bytes of messages that may wait for the broker before publishers are told to wait."""


class _Mine(NamedTuple):
    """The batch of this node that is on its way."""

    id: str
    flight: Flight | ActFlight
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
        self._herald = Herald(stream, self._node, self._health)
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
        self._level = asyncio.Event()
        """Set once all has been taken that there was, or nothing will be."""
        self._follower = self._new_follower()
        self._away = False
        """No broker has answered before the start."""
        self._early = False
        """The doors have opened before this node had all there was."""
        self._stopped = ""
        """The reason why this node cannot go on."""
        self._closed = False

    # The seam.

    async def open(self) -> Origin:
        """Connect to the stream, or make it. Raises `ConfigError`.

        Returns `UNKNOWN` if no broker answers: this node begins with what it has.
        """
        try:
            return (await self._stream.open()).origin
        except AwayError as error:
            _log.warning("starting without brokers: %s", error)
            self._follower.unanswered = str(error)
            self._away = True
            return UNKNOWN

    def start(self, sink: Sink) -> None:
        """Begin to commit what the stream has to `sink`, behind its head."""
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._run(late=self._away)
        self._herald.start()

    def _new_follower(self, bounds: Bounds | None = None) -> Follower:
        how = self._drafts, self._placed, self._level, bounds
        return Follower(self._stream, self._silence, *how)

    def _run(self, *, late: bool = False) -> None:
        follower = self._follower
        follower.start(self._sink, late=late)
        renewing = Renewing(self._stream, self._sink, follower, self._herald.all_read)
        mains = (follower.follow, follower.watch, self._publish, self._expire, renewing.run)
        self._tasks = [self._loop.create_task(self._guarded(main)) for main in mains]

    async def ready(self, seconds: float | None = None) -> None:
        """Wait until this node has all there is, or has stopped, or for this long."""
        if self._away and seconds is not None:
            seconds = 0  # it has been waited for
        try:
            async with asyncio.timeout(seconds):
                await self._level.wait()
        except TimeoutError:
            self._early = True

    @property
    def unready(self) -> str:
        """The reason why this node has not all there is, or will not have; empty without."""
        return self._stopped or self._follower.unready

    def submit(self, drafts: Sequence[Draft], done: Done) -> None:
        """Enqueue `drafts`; `done` is called when a majority has them and this node shows them."""
        refused = self._refused()
        if refused is not None or not drafts:
            done([refused] * len(drafts) if refused else [])
            return
        self._outbox.add(drafts, done, self._loop.time())
        self._work.set()

    def act(self, act: Act, done: ActDone) -> None:
        """Enqueue `act`; `done` is called when a majority has it and this node has applied it."""
        refused = self._refused()
        if refused is not None:
            done(refused)
            return
        self._outbox.add_act(act, done, self._loop.time())
        self._work.set()

    def refusal(self, draft: Draft | None = None) -> RefusedError | None:
        """Return why nothing can be taken now, or why `draft` cannot; None if it can."""
        refused = self._refused() or self._sink.refusal
        if refused is None and self._outbox.bytes > _MAX_WAITING:
            return RefusedError(SERVER_ERROR, "", "the broker is behind", retry_after=1)
        if refused is not None or draft is None or not draft.named:
            return refused
        return self._follower.refusal(draft)

    @property
    def lag(self) -> float | None:
        """Seconds for which this node may not have had all there is."""
        lag = self._follower.lag
        return lag if self._stopped or lag > 2 * self._silence else 0.0

    @property
    def kept_seconds(self) -> float:
        """Seconds for which the stream keeps its entries; infinite if it has not told yet."""
        bounds = self._follower.bounds
        return bounds.max_age / 1_000_000 if bounds and bounds.max_age else math.inf

    def introduce(self, present: Present) -> None:
        """Tell the other nodes of this one."""
        self._herald.present = present

    def answer_with(self, answer: Answer) -> None:
        """Have the questions of other nodes answered."""
        self._herald.questions.answer = answer

    async def ask(self, question: bytes, seconds: float) -> Mapping[str, bytes | None]:
        """Ask the other nodes that were heard."""
        return await self._herald.ask(question, seconds)

    def talk(self, talk: Talk) -> None:
        """Pass on words about users."""
        self._herald.talk = talk

    @property
    def nodes(self) -> Sequence[Node]:
        """The nodes that were heard, this one included."""
        return self._herald.nodes

    def _health(self) -> Health:
        refused = self.refusal()
        issue = self.unready or self.impaired or ("" if refused is None else refused.issue)
        impaired = "" if self._stopped else self.impaired
        lag, unready = self.lag or 0.0, self._follower.unready
        return Health(self._sink.head, lag, issue, impaired, unready)

    @property
    def impaired(self) -> str:
        """The reason why this node is not what the others are; empty without."""
        lag = self.lag or 0.0
        if self._stopped or (self._early and self.unready):
            return self.unready
        if lag > _BEHIND_SECONDS:
            why = self._follower.unanswered or "it is catching up"
            return f"this node is up to {lag:.0f} s behind the log: {why}"
        if self._mine is not None and self._loop.time() > self._mine.since + _BEHIND_SECONDS:
            return f"nothing is acknowledged: {self._unsent or 'the batch does not come back'}"
        return ""

    async def close(self) -> None:
        """Take nothing more; answer what is under way, and disconnect."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._outbox or self._mine is not None:
                    self._landed.clear()
                    await self._landed.wait()
        await self._cancel(self._tasks)
        self._outbox.end(None)
        await self._herald.close()
        await self._stream.close()

    async def _cancel(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        # Again, because `wait_for` of Python 3.11 swallows a cancellation now and then.
        while running := [task for task in tasks if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=_CANCEL_SECONDS)

    def _refused(self) -> RefusedError | None:
        if self._closed:
            return RefusedError(GOING_AWAY, "", "the server is stopping", retry_after=1)
        if self._stopped:
            return RefusedError(SERVER_ERROR, "", self._stopped)
        if self._early and self._follower.unready:
            return RefusedError(SERVER_ERROR, "", self._follower.unready, retry_after=1)
        return None

    async def _guarded(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run a task; what ends it stops this node."""
        try:
            await main()
        except LostError as error:
            stopped = self._stop(str(error), final=False)
            mending = self._guarded(lambda: self._mend(stopped))
            self._tasks = [self._loop.create_task(mending)]
        except (StoppedError, UnknownError) as error:
            self._stop(str(error))
        except Exception as error:
            _log.exception("the engine has failed")
            self._stop(f"the engine has failed: {str(error) or type(error).__name__}")

    def _stop(self, reason: str, *, final: bool = True) -> Sequence[asyncio.Task[None]]:
        """Take nothing more; return the tasks that end for it."""
        _log.critical("this node takes nothing more: %s", reason)
        self._stopped = reason
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        self._outbox.end(None)
        self._mine = None
        if final:
            self._level.set()
        return others

    async def _mend(self, stopped: Sequence[asyncio.Task[None]]) -> None:
        """Wait until the stream has again what it had lost, and go on as after a start.

        Raises `StoppedError` when it has something else instead.
        """
        await self._cancel(stopped)
        # The brokers are asked: nothing tells of it.
        while (bounds := await self._regained()) is None:  # noqa: ASYNC110 - see above
            await asyncio.sleep(self._silence)
        _log.warning("this node goes on: the stream has again what it had lost")
        self._stopped, self._early = "", True
        self._level.clear()
        self._outbox.land()
        self._landed.set()
        self._follower = self._new_follower(bounds)
        self._run()

    async def _regained(self) -> Bounds | None:
        try:
            return await self._follower.regained()
        except AwayError:
            return None

    # Publishing.

    async def _publish(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._outbox:
                most = min(batch.MAX_BYTES, self._stream.max_bytes)
                flight = self._outbox.depart_act() or self._outbox.depart(most)
                await self._deliver(flight)
                self._outbox.land()
                self._mine = None
                self._landed.set()

    async def _deliver(self, flight: Flight | ActFlight) -> None:
        """Send a batch until its outcome is known, or nobody waits for it."""
        self._batches += 1
        id, now = f"{self._node}-{self._batches}", self._loop.time()
        mine = self._mine = _Mine(id, flight, now, self._loop.create_future())
        format, body = flight.encode()
        try:
            number = await self._appended(mine, format, body)
        except RefusedError as refused:
            flight.refuse(refused)
            return
        self._follower.hear(number)
        while flight.awaited and not mine.placed.done():
            await asyncio.wait([mine.placed], timeout=self._silence)
        if mine.placed.done():
            flight.settle(mine.placed.result())

    async def _appended(self, mine: _Mine, format: str, body: bytes) -> int:
        """Return the number of the batch in the stream, 0 if nobody waits for it any more."""
        while mine.flight.awaited:
            try:
                if self._follower.unchecked:  # what is published there could take others' seqs
                    raise AwayError("it is not known yet whether the brokers have all")
                number = await self._stream.append(mine.id, format, body)
            except AwayError as error:
                self._unsent = str(error)
                await asyncio.sleep(random.uniform(*ASKED_AGAIN))
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

    def _placed(self, id: str, outcomes: list[Outcome]) -> None:
        """Be told what has become of a batch in the stream, which may be this node's."""
        mine = self._mine
        if mine is not None and mine.id == id and not mine.placed.done():
            mine.placed.set_result(outcomes)

    def _drafts(self, id: str) -> Sequence[Draft] | None:
        """Return what was sent in a batch, None if that was not this node, or some time ago."""
        mine = self._mine
        return mine.flight.drafts if mine is not None and mine.id == id else None
