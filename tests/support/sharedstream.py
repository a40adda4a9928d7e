"""A stream in memory that several nodes share, with the faults of a network between.

Live entries may be lost, doubled and late; requests fail before or after they have had their
effect; reads are answered by replicas that lag. The order of the stream is the truth that tests
compare every node with.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from livelog.engine.nats.batch import MAX_BYTES
from livelog.engine.nats.places import Rebase
from livelog.engine.nats.stream import AwayError, Bounds, Entry

SPAN = 900_000_000
HEAD = 200
"""Bytes of an entry beside its body."""


class SharedStream:
    """The brokers. `faults` is the share of what goes wrong; `clock` tells microseconds."""

    def __init__(self, seed: int = 0, faults: float = 0.0, base: int = 10**15) -> None:
        self.dice = random.Random(seed)
        self.faults = faults
        self.base = base
        self.now = base
        self.away = False
        """Nothing is answered, and nothing comes."""
        self.leaderless = False
        """There is no majority: only reads are answered."""
        self.entries: list[Entry] = []
        self.deleted: set[int] = set()
        self.first = 1
        self.last = 0
        self.rebases: tuple[Rebase, ...] = ()
        self.max_age = 0
        """Microseconds after which entries would go; 0 if they would not."""
        self.max_entries = 0
        self.max_bytes = 0
        """Bounds beyond which the oldest entries go; 0 without."""
        self.views: list[View] = []

    def view(self) -> View:
        """Return the stream as one more node sees it."""
        return View(self)

    def unlucky(self) -> bool:
        return self.dice.random() < self.faults

    def append(self, id: str, format: str, body: bytes, base: int | None = None) -> int:
        """Append an entry, unless its id is known, and tell all nodes in the end."""
        for known in self.entries[-100:]:
            if known.id == id:
                return known.number
        self.now += 1
        previous = self.entries[-1].number if self.entries else 0
        self.last += 1
        mine = self.base if base is None else base
        entry = Entry(self.last, previous, self.now, id, mine, format, body)
        self.entries.append(entry)
        self._forget()
        for view in self.views:
            view.tell(entry)
        return entry.number

    def size(self, after: int = 0) -> int:
        """Return the bytes of the entries above a number."""
        return sum(HEAD + len(entry.body) for entry in self.entries if entry.number > after)

    def _forget(self) -> None:
        """Forget the oldest entries beyond the bounds."""
        while (0 < self.max_entries < len(self.entries)) or (0 < self.max_bytes < self.size()):
            self.expire(self.entries[1].number)

    def drop(self, number: int) -> None:
        """Delete an entry, as an operator may."""
        self.entries = [entry for entry in self.entries if entry.number != number]

    def lose(self, after: int) -> None:
        """Lose all entries above a number, as brokers do that were restored from a copy."""
        self.entries = [entry for entry in self.entries if entry.number <= after]
        self.last = after

    def expire(self, before: int) -> None:
        """Forget all entries below a number, as too old or too many."""
        self.entries = [entry for entry in self.entries if entry.number >= before]
        self.first = before

    def make_anew(self) -> None:
        """Delete the stream and make another under its name."""
        self.base += 1
        self.first, self.last, self.entries = 1, 0, []

    def bounds(self) -> Bounds:
        certain = self.first
        if self.first > 1:
            old = self.entries[0].time + SPAN if self.entries else 0
            certain = next((e.number for e in self.entries if e.time >= old), self.last + 1)
        bounds = Bounds(self.base, SPAN, self.first, self.last, certain, self.rebases)
        return bounds._replace(
            max_age=self.max_age,
            max_entries=self.max_entries,
            max_bytes=self.max_bytes,
            bytes=self.size(),
            now=self.now,
        )


class View:
    """The stream as one node sees it."""

    max_bytes = MAX_BYTES

    def __init__(self, shared: SharedStream) -> None:
        self.shared = shared
        self.connected = False
        self._base = shared.base
        self._came: Callable[[Entry], None] = lambda entry: None
        self.heard: Callable[[bytes], None] = lambda word: None

    async def open(self) -> Bounds:
        await self._pause()
        return self.shared.bounds()

    def listen(self, came: Callable[[Entry], None], doubt: Callable[[], None]) -> None:
        self._came = came
        self.connected = True
        self.shared.views.append(self)

    def hear(self, heard: Callable[[bytes], None]) -> None:
        self.heard = heard

    async def say(self, word: bytes) -> None:
        await self._pause()
        for view in self.shared.views:
            view.heard(word)

    async def bounds(self) -> Bounds:
        await self._pause(majority=True)
        return self.shared.bounds()

    async def append(self, id: str, format: str, body: bytes) -> int:
        await self._pause(majority=True)
        number = self.shared.append(id, format, body, self._base)
        await self._pause(majority=True)
        return number

    async def read(self, after: int) -> tuple[Sequence[Entry], bool]:
        await self._pause()
        found = [entry for entry in self.shared.entries if entry.number > after]
        if found and self.shared.unlucky():  # a replica that lags
            found = found[: self.shared.dice.randrange(len(found))]
        return [entry._replace(previous=entry.number - 1) for entry in found[:7]], len(found) > 7

    async def newest(self, known: int) -> int:
        await self._pause(majority=True)
        if self.shared.last < known:
            raise AwayError("it is not there yet")
        return self.shared.entries[-1].number if self.shared.entries else 0

    async def number_at(self, time: int) -> int:
        await self._pause()
        found = (entry.number for entry in self.shared.entries if entry.time >= time)
        return next(found, self.shared.last + 1)

    async def close(self) -> None:
        self.connected = False
        if self in self.shared.views:
            self.shared.views.remove(self)

    def tell(self, entry: Entry) -> None:
        """Let an entry come live: perhaps not, perhaps late, perhaps twice."""
        loop = asyncio.get_running_loop()
        for _ in range(1 + self.shared.unlucky()):
            if not self.shared.unlucky():
                late = self.shared.dice.random() / 100 if self.shared.unlucky() else 0
                loop.call_later(late, self._tell, entry)

    def _tell(self, entry: Entry) -> None:
        if self.connected and not self.shared.away:
            self._came(entry)

    async def _pause(self, *, majority: bool = False) -> None:
        """Let time pass, as a request does; it may fail."""
        await asyncio.sleep(self.shared.dice.random() / 1000 if self.shared.unlucky() else 0)
        if self.shared.away or self.shared.unlucky() or (majority and self.shared.leaderless):
            await asyncio.sleep(0.001)
            raise AwayError("the broker does not answer")
