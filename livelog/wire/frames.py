"""WebSocket text frames as a server sends them (RFC 6455 section 5.2).

Frames from a server are not masked (section 5.1). These are not fragmented, so their bytes depend
on the payload alone: a message is framed once, and all connections share the same bytes. So are
those that are compressed shared by the readers of one deflate stream (RFC 7692). Control frames
are left to the `websockets` library; frames from clients are parsed in `net/websocket/framing`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

BATCH_MESSAGES = 256
BATCH_BYTES = 32_000
"""Most messages in one array, and most bytes of them, unless a single one is larger."""

_FIN_TEXT = 0x81  # FIN bit and opcode 1
_FIN_RSV1_TEXT = 0xC1  # and the bit of a compressed message, RFC 7692 section 6
# A length below 126 stands in the second byte; 126 and 127 say that 16 or 64 bits follow it.
_LENGTH_16 = 126
_LENGTH_64 = 127
_head_16 = struct.Struct("!BBH").pack
_HEAD_SIZE = {_LENGTH_16: 4, _LENGTH_64: 10}


def text(payload: bytes, first: int = _FIN_TEXT) -> bytes:
    """Frame `payload`, which must be UTF-8."""
    length = len(payload)
    if length < _LENGTH_16:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return _head_16(first, _LENGTH_16, length) + payload
    return struct.pack("!BBQ", first, _LENGTH_64, length) + payload


def compressed(payload: bytes) -> bytes:
    """Frame a text that has been compressed by DEFLATE."""
    return text(payload, _FIN_RSV1_TEXT)


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


def is_event(frame: bytes) -> bool:
    """Return whether `frame` is that of an event; a message begins with its type."""
    return frame.startswith(_EVENT, head_size(frame))


_EVENT = b'{"action":"'


def batches(frames: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Put messages, framed one by one, into arrays; yield their frames, and how many are in each.

    An event among them stays alone, as a single object in its place.
    """
    gathered: list[bytes] = []
    size = 0
    for frame in frames:
        alone = is_event(frame)
        full = len(gathered) == BATCH_MESSAGES or size + len(frame) > BATCH_BYTES
        if gathered and (alone or full):
            yield _array(gathered), len(gathered)
            gathered, size = [], 0
        if alone:
            yield frame, 1
        else:
            gathered.append(payload(frame))
            size += len(frame)
    if gathered:
        yield _array(gathered), len(gathered)


def _array(messages: list[bytes]) -> bytes:
    return text(b"[%b]" % b",".join(messages))


def split(data: bytes) -> Iterator[bytes]:
    """Yield each frame in `data`, which is made of whole frames."""
    begin = 0
    for body in payloads(data):
        end = begin + len(body)
        end += 2 if len(body) < _LENGTH_16 else 4 if len(body) < 1 << 16 else 10
        yield data[begin:end]
        begin = end


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
