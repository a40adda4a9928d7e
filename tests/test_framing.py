"""Whole texts that are cut out of the bytes, against `websockets` parsing every frame."""

from __future__ import annotations

import struct

import hypothesis.strategies as st
from hypothesis import given
from websockets.frames import apply_mask  # type: ignore[attr-defined]  # not exported
from websockets.protocol import State

from livelog.net.websocket import deflate
from livelog.net.websocket.framing import ServerFraming

MOST = 300
MASK = b"\x01\x80\x00\xff"


class LibraryAlone(ServerFraming):
    """The same without the shortcut."""

    def take_texts(self, buffer: bytearray) -> None:
        """Leave all to the library."""


def frame(first: int, data: bytes, mask: bytes, length_bits: int) -> bytes:
    """A frame, perhaps unmasked, with its length in as many bits as asked for or as it needs."""
    length, masked = len(data), 0x80 if mask else 0
    if length_bits == 64:
        head = struct.pack("!BBQ", first, masked | 127, length)
    elif length > 125 or length_bits == 16:
        head = struct.pack("!BBH", first, masked | 126, length)
    else:
        head = bytes((first, masked | length))
    return head + mask + (apply_mask(data, mask) if mask else data)


heads = st.sampled_from([0x81] * 12 + [0x80, 0x01, 0x00, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0x91, 0x83])
texts = st.binary(max_size=40) | st.integers(100, MOST + 2).map(bytes)
masks = st.sampled_from([MASK] * 12 + [b""])
frames = st.builds(frame, heads, texts, masks, st.sampled_from([7, 7, 7, 16, 64]))


def parsed(kind: type[ServerFraming], pieces: list[bytes], deflates: bool) -> list[object]:
    """Return the outcome of each piece: frames, what is to be sent, the state, the failure."""
    framing = kind(state=State.OPEN, max_size=MOST)
    framing.extensions = [deflate.Inflation()] if deflates else []
    found: list[object] = []
    for piece in pieces:
        framing.receive_data(piece)
        kinds = [(one, type(getattr(one, "data", None))) for one in framing.events_received()]
        sent = framing.data_to_send()
        failure = repr(framing.parser_exc)
        found.append((kinds, sent, framing.state, failure, bytes(framing.reader.buffer)))
    return found


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 400), max_size=8), st.booleans())
def test_it_parses_as_the_library_does(
    several: list[bytes], cuts: list[int], deflates: bool
) -> None:
    data, pieces = b"".join(several), list[bytes]()
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    pieces = [piece for piece in (*pieces, data) if piece]
    assert parsed(ServerFraming, pieces, deflates) == parsed(LibraryAlone, pieces, deflates)


def test_whole_texts_are_taken_at_once() -> None:
    framing = ServerFraming(state=State.OPEN, max_size=MOST)
    buffer = bytearray(frame(0x81, b"one", MASK, 7) + frame(0x81, bytes(200), MASK, 7) + b"\x81")
    framing.take_texts(buffer)
    assert [getattr(each, "data", None) for each in framing.events_received()] == [
        b"one",
        bytes(200),
    ]
    assert buffer == b"\x81"
