"""The newest entries that a node has taken: a process that starts reads their ids again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from livelog.engine.nats.stream import AwayError, Bounds, Entry, Stream

Answer = TypeVar("Answer")


class Insist(Protocol):
    """Asks until there is an answer."""

    async def __call__(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask again after each `AwayError`."""


async def recent(stream: Stream, insist: Insist, bounds: Bounds, done: int) -> AsyncIterator[Entry]:
    """Yield the entries of the last span up to the one numbered `done`, oldest first."""
    if not bounds.first <= done <= bounds.last:
        return
    if not (found := await insist(lambda: existing(stream, done))):
        # An operator has deleted it, and what was behind.
        kept = await insist(lambda: stream.newest(done))
        found = await insist(lambda: existing(stream, kept)) if kept else ()
        done = kept
    number = done + 1
    for newest in found[:1]:
        since = newest.time - bounds.span
        number = await insist(lambda: stream.number_at(since))  # noqa: B023 - at once
    while number <= done:
        start = number
        entries = await insist(lambda: existing(stream, start))  # noqa: B023 - at once
        for entry in entries:
            if entry.number <= done:
                yield entry
        number = entries[-1].number + 1 if entries else done + 1


async def existing(stream: Stream, number: int) -> Sequence[Entry]:
    """Read the entries from a number on that was given; none if all of them have been deleted.

    Raises `AwayError`, also when a broker was asked that lags.
    """
    entries, _ = await stream.read(number - 1)
    if not entries and await stream.newest(number) >= number:
        raise AwayError("the broker does not have yet what this node has")
    return entries
