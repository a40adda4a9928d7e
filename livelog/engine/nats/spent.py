"""The part of a stream's bounds that is spent since acts were repeated last.

A stream forgets its oldest entries for their age, their number or their size, whichever bound comes
first. How near the last repetition is to that is a share of each bound; the largest one counts.
"""

from __future__ import annotations

from livelog.engine.nats.stream import Bounds, Entry
from livelog.wire.acts import Renewed
from livelog.wire.timestamps import parse_moment

_HEAD_BYTES = 512
"""Bytes that an entry takes at a broker beside its body, and more."""


class Spent:
    """Count of the entries since the last repetition, of which a store had the note `renewal`.

    `done` is the number of the entry up to which all has been taken, `largest` the most bytes that
    the body of an entry can have.
    """

    def __init__(self, bounds: Bounds, done: int, renewal: Renewed | None, largest: int) -> None:
        self._since = bounds.base
        """Time of the last repetition, in microseconds."""
        self._number = 0
        """The last repetition is behind the entry with this number."""
        if renewal is not None:
            self._since = parse_moment(renewal.at, "at")
            self._number = bounds.places.place_of(renewal.upto)
        self.done = done
        # Nobody knows the sizes of what came before: as much as there is, or can be.
        most = max(0, done - self._number) * (largest + _HEAD_BYTES)
        self._bytes = min(bounds.bytes, most)

    def take(self, entry: Entry, *, renews: bool) -> None:
        """Note an entry; with `renews` it is the last of a repetition."""
        self.done = entry.number
        self._bytes += len(entry.body) + _HEAD_BYTES
        if renews:
            self._since, self._number, self._bytes = entry.time, entry.number, 0

    def share(self, bounds: Bounds) -> float:
        """Return the part that is spent; 1 or more when the stream has forgotten the repetition."""
        if bounds.first > self._number + 1:
            return 1.0
        spent = (
            (bounds.now - self._since, bounds.max_age),
            (self.done - self._number, bounds.max_entries),
            (self._bytes, bounds.max_bytes),
        )
        return max((used / bound for used, bound in spent if bound), default=0.0)
