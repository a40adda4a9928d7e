"""The repetition of acts before the stream forgets them.

A redaction that has gone out of the stream would stay unknown to a server that was away while it
was there, and that server would go on to show what was redacted; so with blocks. The node that
finds first that the last repetition is nearly half way out of the stream (`spent`) repeats all acts
that last. A server that knows an act passes its repetition over, so two do no harm.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from livelog.engine.base import Sink
from livelog.engine.nats import batch
from livelog.engine.nats.batch import Renewal
from livelog.engine.nats.follower import Follower
from livelog.engine.nats.gossip import SAID_EVERY
from livelog.engine.nats.stream import AwayError, Bounds, Stream
from livelog.errors import RefusedError
from livelog.wire import acts
from livelog.wire.acts import Act, Enacted

_log = logging.getLogger(__name__)

_SHARES = (0.40, 0.45)
"""Bounds of the part of the stream's bounds that is spent when a node repeats; that of each node is
somewhere in between, so that one of them is the first."""

_LOOKS = 50
"""Times that the brokers are asked within the stream's `max_age`, at least."""

_LOOK_SECONDS = 60.0
"""Seconds after which they are asked again, at most."""

_READ_AT_ONCE = 16
"""Acts that are read in one step: each may name thousands of messages."""

_PART_BYTES = 256 * 2**10
"""Bytes of acts in an entry, unless a single one is larger."""

_PART_ACTS = batch.MAX_MESSAGES - 1
"""Acts in an entry at most: each takes a seq, and so does the note behind them."""


class Kept(Protocol):
    """The acts that a node has."""

    def acts(self, before: int | None, limit: int) -> Sequence[Enacted]:
        """Return the newest acts with a seq below `before`, newest first."""


class Renewing:
    """The repetition in the name of one node. `all_read` tells whether nodes read a format."""

    def __init__(
        self, stream: Stream, sink: Sink, follower: Follower, all_read: Callable[[str], bool]
    ) -> None:
        self._stream = stream
        self._sink = sink
        self._follower = follower
        self._all_read = all_read
        self._share = random.uniform(*_SHARES)

    async def run(self) -> None:
        """Look and repeat, again and again. Raises `StoppedError`."""
        loop = asyncio.get_running_loop()
        look_at, pause = 0.0, SAID_EVERY  # the other nodes are heard by then
        while True:
            await asyncio.sleep(pause)
            known = self._follower.bounds
            if known is None or not self._may_repeat():
                continue
            every = min(_LOOK_SECONDS, known.max_age / 1_000_000 / _LOOKS or _LOOK_SECONDS)
            pause = min(SAID_EVERY, every)
            if loop.time() >= look_at or self._is_due(known):
                look_at = loop.time() + every
                await self._look()

    def _may_repeat(self) -> bool:
        """Tell whether this node knows all that is to be repeated, and all nodes understand it."""
        mine = self._follower.has_all_acts and not self._sink.forgot_acts
        return mine and self._all_read(batch.RENEWAL)

    def _is_due(self, bounds: Bounds) -> bool:
        """Tell whether the last repetition is nearly half way out of a stream with these bounds."""
        return self._follower.spent.share(bounds) > self._share

    async def _look(self) -> None:
        """Ask how the stream is, and repeat if that is due."""
        try:
            bounds = await self._stream.bounds()
            if self._is_due(bounds):
                await self._repeat(bounds)
        except AwayError:
            pass  # looked again soon
        except RefusedError as refused:
            _log.warning("acts could not be repeated: %s", refused.issue)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _repeat(self, bounds: Bounds) -> None:
        """Append the acts that last, and wait until they have come back.

        Raises `AwayError` and `RefusedError`.
        """
        upto, found = self._follower.taken_upto, list[Enacted]()
        for some in pages(self._sink):
            found += some
            await asyncio.sleep(0)
        count = number = 0
        for renewal in renewals(found, upto, bounds.now):
            number = await self._stream.append(id_of(renewal), *batch.encode_control(renewal))
            self._follower.hear(number)
            count += len(renewal.acts)
        _log.info("%d acts were repeated, before the stream forgets them", count)
        while self._follower.spent.done < number:  # noqa: ASYNC110 - or it would be due again
            await asyncio.sleep(SAID_EVERY)


def pages(kept: Kept) -> Iterator[Sequence[Enacted]]:
    """Yield all acts, some at once."""
    before: int | None = None
    while some := kept.acts(before, _READ_AT_ONCE):
        yield some
        before = some[-1].seq


def renewals(found: Sequence[Enacted], upto: int, now: int) -> list[Renewal]:
    """Return the records that repeat those acts which last at `now`, in microseconds.

    There is one, though it be empty, since it also tells that nothing is missing up to `upto`.
    """
    lasting = acts.lasting(found, now / 1_000_000)
    parts = [*_parts([enacted.repetition for enacted in lasting])] or [[]]
    last = len(parts) - 1
    return [Renewal(upto, part, part == last, tuple(some)) for part, some in enumerate(parts)]


def id_of(renewal: Renewal) -> str:
    """Return the id of an entry with a repetition: the same for the same acts, nearly always."""
    return f"acts-again-{renewal.upto}-{renewal.part}"


def _parts(repetitions: Sequence[Act]) -> Iterator[list[Act]]:
    """Yield as many acts at once as fit into an entry."""
    part: list[Act] = []
    size = 0
    for act in repetitions:
        bytes_ = len(acts.encode(act)) + 1
        if part and (len(part) == _PART_ACTS or size + bytes_ > _PART_BYTES):
            yield part
            part, size = [], 0
        part.append(act)
        size += bytes_
    if part:
        yield part
