"""WebSocket text frames as a server sends them (RFC 6455 section 5.2).

Frames from a server are not masked (section 5.1). These are not fragmented and use no extension
either, so their bytes depend on the payload alone: a message is framed once, and all connections
share the same bytes. Control frames, and all frames from clients, are left to the `websockets`
library.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

_FIN_TEXT = 0x81  # FIN bit and opcode 1
# A length below 126 stands in the second byte; 126 and 127 say that 16 or 64 bits follow it.
_LENGTH_16 = 126
_LENGTH_64 = 127
_HEAD_SIZE = {_LENGTH_16: 4, _LENGTH_64: 10}


def text(payload: bytes) -> bytes:
    """Frame `payload`, which must be UTF-8."""
    length = len(payload)
    if length < _LENGTH_16:
        return bytes((_FIN_TEXT, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", _FIN_TEXT, _LENGTH_16, length) + payload
    return struct.pack("!BBQ", _FIN_TEXT, _LENGTH_64, length) + payload


def head_size(frame: bytes) -> int:
    """Return the number of bytes before the payload of `frame`."""
    return _HEAD_SIZE.get(frame[1], 2)


def payload(frame: bytes) -> bytes:
    """Return the payload of `frame`."""
    return frame[head_size(frame) :]


def unframed(frames: Iterable[bytes]) -> list[bytes]:
    """Return the payload of each frame."""
    head = _HEAD_SIZE.get  # without a call of `payload` for each: a page has many
    return [frame[head(frame[1], 2) :] for frame in frames]


def payloads(data: bytes) -> Iterator[bytes]:
    """Yield the payload of each frame in `data`, which is made of whole frames."""
    begin = 0
    while begin < len(data):
        length = data[begin + 1]
        body = begin + _HEAD_SIZE.get(length, 2)
        if length >= _LENGTH_16:
            length = int.from_bytes(data[begin + 2 : body], "big")
        begin = body + length
        yield data[body:begin]
