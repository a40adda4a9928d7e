"""The extent of the stream: does it still have all that this node has taken, and is it the same?

Brokers whose disks were restored from a copy have lost the end of the stream. A node that has it
waits until it is there again: because a broker was only slow to read it, or because an operator has
healed the stream. If other entries have come in its place, this node's log is another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from livelog.engine.nats.places import Places, Rebase
from livelog.engine.nats.recent import existing
from livelog.engine.nats.stream import AwayError, Bounds, Entry, LostError, StoppedError, Stream

NEW_STORE = (
    "use a new store, such as `livelog store copy` makes of another server's; what only this one"
    " has stays in the old file"
)

_HEAL = "run `livelog engine heal` with the store of the server that has most"

_LOST_SECONDS = 10.0
"""Seconds for which a stream may seem shorter than it was: a broker that starts may be reading."""


class Extent:
    """The check of a stream against what one node has taken of it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.unchecked = True
        """It is not known whether the stream still has all that this node has taken."""
        self._newest: Entry | None = None
        """The newest entry that was taken, without its body; None before the first."""
        self._shorter_since = 0.0
        """Time at which the stream was first found shorter than the log; 0 while it is not."""

    def take(self, entry: Entry) -> None:
        """Note an entry that has been taken."""
        self._newest = entry._replace(body=b"")

    def doubts(self, entry: Entry) -> bool:
        """Tell whether an entry that comes at a place behind this node may be a new one there."""
        return self._newest is not None and entry.time > self._newest.time

    async def check(self, places: Places, done: int, now: float) -> Bounds:
        """Ask how far the stream is, of which all has been taken up to the entry `done`.

        Raises `AwayError`, `LostError` when it has been too short for some time, and `StoppedError`
        when it is another one.
        """
        bounds = await self._asked(places)
        if _healed(bounds, places, done):
            raise LostError("the brokers had lost what they had acknowledged, and it was restored")
        if bounds.last < done:
            self._shorter_since = self._shorter_since or now
            self.unchecked = True
            issue = f"the stream ends at batch {bounds.last}, and this node has {done}"
            if now > self._shorter_since + _LOST_SECONDS:
                raise LostError(
                    f"{issue}: the brokers have lost what they had acknowledged; {_HEAL}"
                )
            raise AwayError(issue)
        if self.unchecked:
            await self._compare()
        self._shorter_since = 0.0
        self.unchecked = False
        return bounds

    async def regained(self, places: Places, done: int) -> Bounds | None:
        """Return the extent of a stream that had been too short, once it has all again.

        Raises `AwayError`, and `StoppedError` when it is another one.
        """
        bounds = await self._asked(places)
        if _healed(bounds, places, done):
            return bounds
        if bounds.last < done:
            return None
        await self._compare()
        return bounds

    async def _asked(self, places: Places) -> Bounds:
        bounds = await self._stream.bounds()
        if bounds.base != places.base:
            raise StoppedError(f"the stream has been deleted and made anew; {NEW_STORE}")
        return bounds

    async def _compare(self) -> None:
        """Raise `StoppedError` if there is another entry in the place of the newest one taken."""
        mine = self._newest
        if mine is None:
            return
        entries = await existing(self._stream, mine.number)
        if not entries:  # an operator has deleted it
            return
        found = entries[0]
        if found.number == mine.number and found.id != mine.id:
            raise StoppedError(
                f"the stream has another batch {mine.number} than this node: it went on without"
                f" what the brokers had lost; {NEW_STORE}"
            )


def _healed(bounds: Bounds, places: Places, done: int) -> Sequence[Rebase]:
    """Return the rebases that came in the place of entries that this node has taken."""
    return [each for each in bounds.rebases if each.number <= done and each not in places.rebases]
