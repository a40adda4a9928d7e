"""WebSocket text frames as a server sends them (RFC 6455 section 5.2).

Unmasked, unfragmented, without extensions: the same bytes are right for every connection, so a
message is framed once and shared by all who get it. Control frames and everything a client sends
are the business of the `websockets` library.
"""

from __future__ import annotations

import struct

_FIN_TEXT = 0x81  # FIN bit and opcode 1
_LENGTH_16 = 126
_LENGTH_64 = 127
_HEAD_SIZE = {_LENGTH_16: 4, _LENGTH_64: 10}


def text(payload: bytes) -> bytes:
    """The frame that carries `payload`, which must be UTF-8."""
    length = len(payload)
    if length < _LENGTH_16:
        return bytes((_FIN_TEXT, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", _FIN_TEXT, _LENGTH_16, length) + payload
    return struct.pack("!BBQ", _FIN_TEXT, _LENGTH_64, length) + payload


def head_size(frame: bytes) -> int:
    """How many bytes of `frame` stand before its payload."""
    return _HEAD_SIZE.get(frame[1], 2)


def payload(frame: bytes) -> bytes:
    """What `text` was given."""
    return frame[head_size(frame) :]
