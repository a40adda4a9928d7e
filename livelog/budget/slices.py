"""Time slices: how long one piece of work may hold the event loop.

Everything shares one loop with the fan-out. So long work is written as a generator that pauses
after each small step, and `interleaved` runs its steps for a slice of time before the loop runs
everything else that is ready. The bound is a time and never a number of messages, words or bytes:
what one of these costs differs by a factor of ten thousand.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Generator
from heapq import heappop, heappush
from itertools import count
from time import perf_counter
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from livelog.budget.owner import INTERNAL, Owner
from livelog.budget.shares import Place, Shares

SLICE_SECONDS = 0.002
"""Seconds for which all work in steps together may hold the loop in one of its iterations, and as
many again for all that is done in the background."""

HOLD_SECONDS = 0.005
"""Seconds for which all commands together may hold the loop before the fan-out runs again."""

TURN_SECONDS = 0.001
"""Seconds of one connection's turn while several wait."""

_AT_ONCE = 4
"""Pieces of work that may share one slice: short ones need not wait for an iteration each."""

_MOST = 4096
"""Items in a step at most: a pause of the machine is not to be multiplied."""

Result = TypeVar("Result")
Turns = TypeVar("Turns")
Steps = Generator[None, None, Result]

_log = logging.getLogger(__name__)


class Slice:
    """A slice of time that begins when it is made."""

    __slots__ = ("_until",)

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        self._until = perf_counter() + seconds

    def is_over(self) -> bool:
        """Tell whether the time is used up."""
        return perf_counter() >= self._until


class Pace:
    """The number of equal items for one step, learned from how long the last ones took.

    A step is timed by `with`. It begins with one item, and comes to take between an eighth and half
    of a slice, unless a single item takes longer.
    """

    def __init__(self) -> None:
        self.size = 1
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, *raised: object) -> None:
        spent = perf_counter() - self._began
        if spent < SLICE_SECONDS / 8:
            self.size = min(2 * self.size, _MOST)
        elif spent > SLICE_SECONDS / 2:
            self.size = max(1, int(self.size * SLICE_SECONDS / 4 / spent))


class _LongSteps:
    """Steps that cannot be cut, such as to encode a large page: one in an iteration of the loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False
        """There has been one in this iteration, or one comes in the next."""

    async def next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for an iteration without another one."""
        if not self._taken:
            self._taken = True
            loop.call_soon(self._grant, loop)
            return
        mine = loop.create_future()
        self._waiting.append(mine)
        await mine

    def _grant(self, loop: asyncio.AbstractEventLoop) -> None:
        self._taken = False
        while self._waiting and not self._taken:
            first = self._waiting.popleft()
            if not first.done():  # its task may have been cancelled
                first.set_result(None)
                self._taken = True
                loop.call_soon(self._grant, loop)


class _Waiting(NamedTuple):
    """A piece of work that waits for its turn; the lowest goes first."""

    place: Place
    number: int
    owner: Owner
    turn: asyncio.Future[bool]
    """Its result tells whether the slice begins with it."""


class _Turns:
    """The slices of one loop, shared out to the owners of the work that waits for one."""

    def __init__(self) -> None:
        self.shares = Shares()
        self._waiting: list[_Waiting] = []
        """A heap. Places in it may be lower by now than those of their owners."""
        self._numbers = count()
        self._until = 0.0
        """End of the slice for work that need not wait; 0 if none has begun in this iteration."""
        self._slice_until = 0.0
        """End of the slice for work that has waited."""

    def at_once(self, loop: asyncio.AbstractEventLoop) -> float:
        """Return the end of the slice for work that need not wait; 0 if it has to."""
        if self._waiting:
            return 0.0
        now = perf_counter()
        if not self._until:
            self._until = now + SLICE_SECONDS
            loop.call_soon(self._end_iteration)
        return self._until if now < self._until else 0.0

    async def next(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> float:
        """Wait for a slice, or for what others have left of one, and return its end."""
        number = next(self._numbers)
        while True:
            if not self._waiting:
                loop.call_soon(self._grant, loop)
            mine: asyncio.Future[bool] = loop.create_future()
            heappush(self._waiting, _Waiting(self.shares.place(owner), number, owner, mine))
            begins, now = await mine, perf_counter()
            if begins:
                self._slice_until = now + SLICE_SECONDS
            if now < self._slice_until:
                return self._slice_until

    def _end_iteration(self) -> None:
        self._until = 0.0

    def _grant(self, loop: asyncio.AbstractEventLoop) -> None:
        """Share out the slice of the next iteration to those that have had least."""
        chosen = 0
        while self._waiting and chosen < _AT_ONCE:
            first = heappop(self._waiting)
            if first.turn.done():  # its task may have been cancelled
                continue
            place = self.shares.place(first.owner)
            if place > first.place:  # others of its owner have had slices meanwhile
                heappush(self._waiting, first._replace(place=place))
                continue
            self.shares.advance(first.place)
            first.turn.set_result(not chosen)
            chosen += 1
        if self._waiting:
            loop.call_soon(self._grant, loop)


_ByLoop = WeakKeyDictionary[asyncio.AbstractEventLoop, Turns]
_turns: _ByLoop[_Turns] = WeakKeyDictionary()
_background: _ByLoop[_Turns] = WeakKeyDictionary()
_long_steps: _ByLoop[_LongSteps] = WeakKeyDictionary()


async def long_step() -> None:
    """Wait for an iteration of the loop in which nobody else makes a long step that cannot be cut.

    Callers make it before they wait for anything else.
    """
    loop = asyncio.get_running_loop()
    steps = _long_steps.get(loop) or _long_steps.setdefault(loop, _LongSteps())
    await steps.next(loop)


async def interleaved(steps: Steps[Result], owner: Owner = INTERNAL) -> Result:
    """Run `steps` to their end, in slices between which the loop runs all that is ready.

    Where others wait for slices, too, those owners go first that have used the least time. The
    result is returned in the iteration of the loop in which the last step was made.
    """
    return await _interleaved(steps, owner, _turns)


async def _interleaved(steps: Steps[Result], owner: Owner, by_loop: _ByLoop[_Turns]) -> Result:
    loop = asyncio.get_running_loop()
    turns = by_loop.get(loop) or by_loop.setdefault(loop, _Turns())
    turns.shares.enter(owner)
    try:
        while True:
            # Short work, as most searches are, is done without a wait, a future or another task.
            until = turns.at_once(loop) or await turns.next(loop, owner)
            began = perf_counter()
            try:
                next(steps)  # however short the slice is, the work advances
                while perf_counter() < until:
                    next(steps)
            finally:
                turns.shares.charge(owner, perf_counter() - began)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    finally:
        turns.shares.leave(owner)


def in_background(steps: Steps[None], name: str) -> asyncio.Task[None]:
    """Start to run `steps` in slices; an exception ends them and is logged under `name`.

    What runs in the background has slices of its own, since somebody waits for everything else.
    """
    return asyncio.get_running_loop().create_task(_guarded(steps, name))


async def _guarded(steps: Steps[None], name: str) -> None:
    try:
        await _interleaved(steps, INTERNAL, _background)
    except Exception:
        _log.exception("%s failed", name)
