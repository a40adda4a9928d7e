"""`permessage-deflate` (RFC 7692): its negotiation, and messages that come in compressed.

The server compresses in streams that many connections share (`fanout/compression`), so it takes an
offer only if the client keeps its context and takes the whole window: one with
`server_no_context_takeover`, or with `server_max_window_bits` below 15, is declined, and the next
is looked at (section 5.1). The client has to compress each message by itself, so that a connection
that is idle needs no inflater; `client_max_window_bits` is left to it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from websockets.exceptions import NegotiationError, PayloadTooBig, ProtocolError
from websockets.extensions import Extension, ServerExtensionFactory
from websockets.frames import CTRL_OPCODES, Frame, Opcode
from websockets.typing import ExtensionName, ExtensionParameter

NAME = ExtensionName("permessage-deflate")
_WINDOWS = [str(bits) for bits in range(8, 16)]
_ALLOWED: dict[str, list[str | None]] = {
    "client_no_context_takeover": [None],
    "server_max_window_bits": ["15"],
    "client_max_window_bits": [None, *_WINDOWS],
}
"""Parameters of an offer that is taken, and their values; None for no value."""

INFLATER_BYTES = 48 * 2**10
"""Memory of an inflater, which a message takes until it is whole."""

_EMPTY_BLOCK = b"\x00\x00\xff\xff"
_ENDS = (b"", _EMPTY_BLOCK, b"\x00" + _EMPTY_BLOCK)
"""What may follow a final block (section 7.2.3.4): padding, and what is put behind a message."""


class Inflation(Extension):
    """The extension on one connection: inflates what comes in, and lets all pass that goes out."""

    __slots__ = ("_inflater",)
    name = NAME

    def __init__(self) -> None:
        self._inflater: zlib._Decompress | None = None  # of a message that is not whole yet

    @property
    def held_bytes(self) -> int:
        """Memory that it takes now."""
        return INFLATER_BYTES if self._inflater is not None else 0

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Inflate a frame of a compressed message, to `max_size` bytes at most.

        Raises `ProtocolError` and `PayloadTooBig`.
        """
        if frame.opcode in CTRL_OPCODES:
            return frame  # with its RSV1, if it has any: that is refused as without the extension
        if frame.opcode is not Opcode.CONT:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if frame.rsv1 else None
        elif frame.rsv1:
            raise ProtocolError("RSV1 on a fragment that is not the first")
        if self._inflater is None:
            return frame
        data = _inflate(self._inflater, bytes(frame.data), frame.fin, max_size)
        if frame.fin:
            self._inflater = None
        return Frame(frame.opcode, data, frame.fin, False, frame.rsv2, frame.rsv3)

    def encode(self, frame: Frame) -> Frame:
        """Leave a frame as it is: control frames, as all others are made elsewhere."""
        return frame


def _inflate(inflater: zlib._Decompress, data: bytes, last: bool, max_size: int | None) -> bytes:
    # One byte more than there may be, as zlib takes 0 for no bound.
    bound = 0 if max_size is None else max_size + 1
    try:
        found = inflater.decompress(data + _EMPTY_BLOCK if last else data, bound)
    except zlib.error as error:
        raise ProtocolError(f"a compressed message cannot be inflated: {error}") from None
    if max_size is not None and len(found) > max_size:
        raise PayloadTooBig(None, max_size)
    if inflater.unused_data not in _ENDS:
        raise ProtocolError("a compressed message goes on behind its final block")
    return found


class Negotiation(ServerExtensionFactory):
    """The answer to offers of the extension."""

    name = NAME

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Extension]:
        """Take an offer. Raises `NegotiationError` when it is declined (section 7.1)."""
        if accepted_extensions:
            raise NegotiationError("an offer has been taken already")
        names = [name for name, _ in params]
        if len(set(names)) < len(names):
            raise NegotiationError("a parameter comes twice")
        for name, value in params:
            if value not in _ALLOWED.get(name, []):
                raise NegotiationError(f"{name}={value} is declined")
        answer: list[ExtensionParameter] = [("client_no_context_takeover", None)]
        if "server_max_window_bits" in names:  # has to be repeated (section 7.1.2.1)
            answer.append(("server_max_window_bits", "15"))
        return answer, Inflation()


SHARED = [Negotiation()]
"""The extensions of a server that compresses."""


def held_bytes(extensions: Sequence[Extension]) -> int:
    """Return the memory that a message which is not whole yet takes, besides its bytes."""
    return sum(one.held_bytes for one in extensions if isinstance(one, Inflation))
