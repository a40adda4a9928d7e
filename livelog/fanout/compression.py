"""One deflate stream for all members of an audience (RFC 7692, with context takeover).

Members of an audience read the same units in the same order. So a unit is compressed once, and the
compressed frame is shared like the plain one. A member can begin at a point where the compressor
was flushed with `Z_FULL_FLUSH`: nothing behind it refers to what came before, so that any inflater
decodes from there on, whatever it has seen. Frames that go plain in between do not touch the window
(section 7.2.3.2), and a member that leaves stops reading the stream wherever it is.

A compressor takes some 270 KB. So there are at most `MOST` of them, for the audiences with the most
deliveries, and a small audience has none.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from heapq import nlargest
from typing import Protocol

from livelog.wire import frames

MOST = 64
"""Largest number of compressors."""
FEWEST = 8
"""Members from which on an audience may have one."""

_LARGE = 100
"""Members from which on an audience is compressed harder."""
_HARD, _LIGHT = 6, 3
"""Levels of zlib: the lighter one makes a quarter more bytes of sample traffic in half the time."""
_EMPTY_BLOCK = b"\x00\x00\xff\xff"
"""The end of every flush, which is left out of a frame (RFC 7692 section 7.2.1)."""


class Stream:
    """The compressor of one audience, and the compressed form of its units."""

    __slots__ = ("_deflater", "frames", "readers")

    def __init__(self, members: int, skipped: int) -> None:
        """Begin behind so many units, which no member reads compressed."""
        level = _HARD if members >= _LARGE else _LIGHT
        self._deflater = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self.frames = [b""] * skipped
        """Frames of the first units, as they go to readers of the stream."""
        self.readers = 0
        """Number of members that read the stream."""

    def add(self, unit: bytes, private: bool) -> None:
        """Add the next unit; one that is private goes plain, and leaves no trace in the stream."""
        if not self.readers:
            self.frames.append(b"")  # for nobody: who joins begins behind it
        elif private:
            self.frames.append(unit)
        else:
            self.frames.append(self._compressed(frames.payload(unit)))

    def _compressed(self, payload: bytes) -> bytes:
        deflater = self._deflater
        data = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(_EMPTY_BLOCK)
        return frames.compressed(data[: -len(_EMPTY_BLOCK)])

    def begin_anew(self) -> None:
        """Let readers join: what is added from now on needs nothing of what was before."""
        self._deflater.flush(zlib.Z_FULL_FLUSH)  # an empty block, which readers can do without


class Candidate(Protocol):
    """An audience that may have a stream."""

    stream: Stream | None
    handed: int
    """Messages that its members have been sent since the last choice."""

    @property
    def size(self) -> int:
        """Number of its members."""

    def open_stream(self) -> None:
        """Begin to compress."""

    def close_stream(self) -> None:
        """Write to all members plain from now on."""


def choose(candidates: Collection[Candidate]) -> None:
    """Give streams to the audiences with the most deliveries.

    An audience without messages gets none, and keeps one that it has while there is room. So that
    two of about the same size do not take it from each other each time, having one counts double.
    """
    able = [one for one in candidates if one.size >= FEWEST and (one.stream or one.handed)]
    best = {id(one) for one in nlargest(MOST, able, key=_worth)}
    for one in candidates:
        one.handed = 0
        if one.stream is not None and id(one) not in best:
            one.close_stream()
    for one in able:
        if one.stream is None and id(one) in best:
            one.open_stream()


def _worth(candidate: Candidate) -> int:
    return candidate.size * candidate.handed * (2 if candidate.stream else 1)
