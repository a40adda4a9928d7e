"""Frames made here are what `websockets` reads as one whole text message, whatever their length."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from livelog.wire import frames

EDGES = [0, 1, 125, 126, 127, 65535, 65536, 70_000]


def read_by_a_client(data: bytes) -> list[Frame]:
    client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None
    return [event for event in client.events_received() if isinstance(event, Frame)]


@pytest.mark.parametrize("length", EDGES)
def test_a_frame_is_the_shortest_that_holds_its_payload(length: int) -> None:
    payload = b"x" * length
    frame = frames.text(payload)
    assert read_by_a_client(frame) == [Frame(Opcode.TEXT, payload)]
    assert frame == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert frames.payload(frame) == payload


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=5))
def test_frames_put_together_are_read_one_by_one(texts: list[str]) -> None:
    payloads = [text.encode() for text in texts]
    joined = b"".join(map(frames.text, payloads))
    assert [frame.data for frame in read_by_a_client(joined)] == payloads
    assert [frames.payload(frames.text(payload)) for payload in payloads] == payloads
    assert [*frames.payloads(joined)] == payloads


def test_frames_of_every_length_are_told_apart() -> None:
    payloads = [bytes([number]) * length for number, length in enumerate(EDGES)]
    assert [*frames.payloads(b"".join(map(frames.text, payloads)))] == payloads
