"""A WebSocket's frames as a reader takes them, with a real inflater and a real parser."""

from __future__ import annotations

import zlib

import msgspec

from livelog.wire import frames

_arrays = msgspec.json.Decoder(list[msgspec.Raw])
_RSV1 = 0x40


class Decoder:
    """One connection's decoding: its inflater has one context for all messages (RFC 7692)."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-15)
        self.compressed = 0
        """Number of frames that were compressed."""

    def payloads(self, data: bytes) -> list[bytes]:
        """Return the payload of each frame in `data`."""
        return [self.payload(frame) for frame in frames.split(data)]

    def payload(self, frame: bytes) -> bytes:
        """Return the payload of a frame."""
        body = frames.payload(frame)
        return self.inflate(body) if frame[0] & _RSV1 else body

    def inflate(self, body: bytes) -> bytes:
        """Return what a compressed message holds."""
        self.compressed += 1
        inflated = self._inflater.decompress(body + b"\x00\x00\xff\xff")
        assert not self._inflater.unconsumed_tail
        assert not self._inflater.eof
        return inflated


def messages(payload: bytes) -> list[bytes]:
    """Return the messages in an array, each as it is written."""
    return [bytes(raw) for raw in _arrays.decode(payload)]
