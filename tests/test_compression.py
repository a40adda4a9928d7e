"""Shared streams: which audiences get one, and an audience whose compressor fails."""

from __future__ import annotations

from unittest import mock

import pytest

from livelog.fanout import compression
from livelog.fanout.audience import Audience, Reader
from livelog.fanout.compression import FEWEST, MOST, Stream, choose
from livelog.fanout.hub import Hub
from livelog.index.query import EVERYTHING, NOTHING
from livelog.wire import frames
from tests.support.decoding import Decoder
from tests.support.party import Silent
from tests.support.strategies import record
from tests.support.wire import user


class Crowd:
    """An audience of some members, who have been sent some messages."""

    def __init__(self, size: int, handed: int) -> None:
        self.size, self.handed = size, handed
        self.stream: Stream | None = None

    def open_stream(self) -> None:
        """Begin to compress."""
        self.stream = Stream(self.size, 0)

    def close_stream(self) -> None:
        """End it."""
        self.stream = None


def chosen(crowds: list[Crowd]) -> list[int]:
    return [place for place, one in enumerate(crowds) if one.stream is not None]


def test_the_audiences_with_the_most_deliveries_have_streams() -> None:
    crowds = [Crowd(FEWEST + place, 100) for place in range(MOST + 10)]
    choose(crowds)
    assert chosen(crowds) == list(range(10, MOST + 10))
    # One that has a stream keeps it until another has twice as many.
    for place, one in enumerate(crowds):
        one.handed = 150 if place == 0 else 100
    choose(crowds)
    assert chosen(crowds) == list(range(10, MOST + 10))
    for one in crowds:
        one.handed = 100
    crowds[0].handed = 1000
    choose(crowds)
    assert chosen(crowds) == [0, *range(11, MOST + 10)]


def test_a_small_audience_and_one_without_messages_have_none() -> None:
    small, silent, busy = Crowd(FEWEST - 1, 9999), Crowd(1000, 0), Crowd(FEWEST, 1)
    choose([small, silent, busy])
    assert chosen([small, silent, busy]) == [2]
    choose([small, silent, busy])
    assert chosen([small, silent, busy]) == [2], "while there is room it is kept"
    busy.size = FEWEST - 1
    choose([small, silent, busy])
    assert chosen([small, silent, busy]) == []


def test_when_compressing_fails_all_members_read_on_plain() -> None:
    hub, got = Hub(), list[list[bytes]]()
    for _ in range(FEWEST):
        got.append([])
        reader = Reader(got[-1].append, Silent())
        reader.deflates = True
        reader.subscription = NOTHING.with_types({"user": EVERYTHING})
        hub.join(reader)

    def round_of(seq: int) -> None:
        hub.publish(record(user(str(seq)), seq))
        hub.begin()
        while hub.flush(3):
            pass
        hub._check()

    round_of(1)
    hub.review()
    round_of(2)
    with (
        mock.patch.object(Stream, "_compressed", side_effect=MemoryError),
        pytest.raises(MemoryError),
    ):
        round_of(3)
    while hub.flush(3):
        pass
    round_of(4)
    hub.review()
    round_of(5)
    for writes in got:
        decoder = Decoder()
        payloads = decoder.payloads(b"".join(writes))
        assert [b'"content":"%d"' % (n + 1) in one for n, one in enumerate(payloads)] == [True] * 5
        assert decoder.compressed == 2


def test_members_who_joined_one_after_the_other_soon_share_all_they_get() -> None:
    hub = Hub()
    for seq in range(1, 5):
        for _ in range(FEWEST):
            reader = Reader(list[bytes]().append, Silent(), hub.head)
            reader.deflates = True
            reader.subscription = NOTHING.with_types({"user": EVERYTHING})
            hub.join(reader)
        hub.publish(record(user("hello"), seq))
        hub.begin()
        assert not hub.flush(1000)
        hub.review()  # they join the stream behind a message of their own
        hub._check()
    hub.publish(record(user("hello"), 5))
    hub.begin()
    assert not hub.flush(1000)
    hub.publish(record(user("hello"), 6))
    hub.begin()
    with mock.patch.object(Audience, "after", autospec=True, side_effect=Audience.after) as joined:
        assert not hub.flush(1000)
    joined.assert_called_once()


def test_a_private_unit_goes_plain_and_leaves_the_stream_as_it_is() -> None:
    secret, other = frames.text(b'{"type":"dm"}' * 9), frames.text(b'{"type":"user"}' * 9)
    lengths = []
    for units in ([other, other], [other, secret, other]):
        stream = Stream(FEWEST, 0)
        stream.readers = 1
        for unit in units:
            stream.add(unit, unit is secret)
        assert (secret in stream.frames) is (secret in units)
        lengths.append(len(stream.frames[-1]))
    assert lengths[0] == lengths[1]


def test_a_large_audience_is_compressed_harder() -> None:
    units = [frames.text(f'{{"place":"{n * n} of {n % 7}"}}'.encode() * 9) for n in range(99)]
    sizes = []
    for members in (FEWEST, 1000):
        stream = Stream(members, 0)
        stream.readers = 1
        for unit in units:
            stream.add(unit, private=False)
        assert Decoder().payloads(b"".join(stream.frames)) == [frames.payload(one) for one in units]
        sizes.append(sum(map(len, stream.frames)))
    assert sizes[0] > sizes[1]


def test_a_stream_without_readers_compresses_nothing() -> None:
    audience = Audience(NOTHING, deflates=True)
    audience.stream = Stream(FEWEST, 0)
    audience.seqs.append(1)
    audience.frames.append(frames.text(b"{}"))
    with mock.patch.object(compression.Stream, "_compressed", side_effect=AssertionError):
        audience.compress()
    assert audience.stream.frames == [b""]
