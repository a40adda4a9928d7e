"""The beat of the fan-out: when what was published leaves, and in what pieces."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from itertools import pairwise

from livelog.auth.principal import PROGRAM
from livelog.engine.local import LocalEngine
from livelog.fanout.audience import Reader
from livelog.fanout.catchup import CatchUp
from livelog.fanout.flusher import Flusher
from livelog.fanout.hub import Hub
from livelog.fanout.pacing import Pacing
from livelog.index.query import EVERYTHING, NOTHING
from livelog.log import ingest
from livelog.log.ingest import Ingest
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.memory import open_memory
from tests.support.party import Silent
from tests.support.wire import on_each_loop, on_uvloop, until, user


class Stage:
    """A flusher with what it drives, and readers that only note what they are given."""

    def __init__(self, share: float = 0.5, target: float = 0.09) -> None:
        self.hub = Hub()
        window = Window(10_000, 1 << 30)
        self.log = Log(window, open_memory(), [self.hub])
        self.catch_up = CatchUp(self.log, self.hub)
        loop = asyncio.get_running_loop()
        Flusher(loop, self.hub, self.catch_up, Pacing(share, target))
        engine = LocalEngine(time.time)
        engine.start(self.log)
        self.ingest = Ingest(engine, time.time, 1 << 20)

    def publish(self, *contents: str) -> None:
        """Publish user messages."""
        messages = [ingest.convert(user(content)) for content in contents]
        drafts = [self.ingest.admit(PROGRAM, message) for message in messages]
        self.ingest.publish(drafts, lambda outcomes: None)

    def listen(self, write: Callable[[bytes], object], since: int | None = None) -> Reader:
        """A reader of everything."""
        reader = Reader(write, Silent())
        self.catch_up.move(reader, NOTHING.with_types({"user": EVERYTHING}), since)
        return reader


@on_each_loop
async def test_a_message_after_a_pause_leaves_in_the_next_turn_of_the_loop() -> None:
    stage = Stage()
    written: list[bytes] = []
    stage.listen(written.append)
    await asyncio.sleep(0)
    stage.publish("at once")
    assert not written
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(written) == 1


@on_each_loop
async def test_what_is_published_in_one_turn_leaves_in_one_piece() -> None:
    stage = Stage()
    written: list[bytes] = []
    stage.listen(written.append)
    stage.publish("one", "two")
    stage.publish("three")
    await until(lambda: written, "a write")
    assert [written[0].count(word) for word in (b'"one"', b'"two"', b'"three"')] == [1, 1, 1]
    assert len(written) == 1


@on_each_loop
async def test_a_large_audience_is_written_to_in_slices_between_which_others_run() -> None:
    """A slice ends by time: slow writes make it short, and quick ones long."""
    for seconds, at_most in ((0.0005, 8), (0.0, 20_000)):
        stage = Stage()
        written: list[bytes] = []

        def write(data: bytes, seconds: float = seconds, written: list[bytes] = written) -> None:
            if seconds:
                time.sleep(seconds)
            written.append(data)

        count = 60 if seconds else 20_000
        for _ in range(count):
            stage.listen(write)
        stage.publish("to all")
        seen = [0]
        while len(written) < count:
            await asyncio.sleep(0)
            seen.append(len(written))
        most = max(b - a for a, b in pairwise(seen))
        assert 0 < most <= at_most
        assert len(set(written)) == 1


@on_each_loop
async def test_what_is_published_between_two_slices_comes_second_to_everyone() -> None:
    stage = Stage()
    pieces: list[list[bytes]] = [[] for _ in range(50)]

    def slowly(own: list[bytes]) -> Callable[[bytes], None]:
        def write(data: bytes) -> None:
            time.sleep(0.0005)
            own.append(data)

        return write

    for own in pieces:
        stage.listen(slowly(own))
    stage.publish("first")
    while not any(pieces):  # noqa: ASYNC110 - one iteration of the loop at a time
        await asyncio.sleep(0)
    assert not all(pieces)
    stage.publish("second")
    await until(lambda: stage.hub.idle, "an end")
    for own in pieces:
        got = b"".join(own)
        assert (got.count(b'"first"'), got.count(b'"second"')) == (1, 1)
        assert got.index(b'"first"') < got.index(b'"second"')


@on_each_loop
async def test_readers_behind_are_served_until_they_are_live() -> None:
    stage = Stage()
    stage.publish(*map(str, range(5000)))
    written: list[bytes] = []
    reader = stage.listen(written.append, since=0)
    await until(lambda: reader.audience is not None, "a reader at the head")
    assert b"".join(written).count(b'"content"') == 5000
    assert stage.catch_up.idle


@on_uvloop
async def test_after_a_dear_flush_it_rests_and_what_arrives_meanwhile_leaves_together() -> None:
    stage = Stage(share=0.01, target=5)
    written: list[bytes] = []

    def write(piece: bytes) -> None:
        time.sleep(0.005)
        written.append(piece)

    stage.listen(write)
    stage.publish("first")
    await until(lambda: written, "the first flush")
    for number in range(50):
        stage.publish(str(number))
        await asyncio.sleep(0)
    await until(lambda: len(written) == 2, "the second flush")
    assert written[1].count(b'"content"') == 50


@on_each_loop
async def test_a_reader_that_cannot_be_written_to_does_not_keep_the_others_from_theirs() -> None:
    stage = Stage()
    written: list[bytes] = []

    def fail(_: bytes) -> None:
        raise OSError("no")

    for number in range(20):
        stage.listen(fail if number % 4 == 0 else written.append)
    with _logged("livelog.fanout.flusher") as records:
        stage.publish("to all")
        await until(lambda: stage.hub.idle, "an end")
    assert len(written) == 15
    assert len(records) == 5


@on_each_loop
async def test_a_catch_up_that_fails_does_not_stop_the_beat() -> None:
    stage = Stage()
    stage.publish("old")
    written: list[bytes] = []

    def fail(_: bytes) -> None:
        raise OSError("no")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    stage.listen(written.append)
    with _logged("livelog.fanout.flusher"):
        stage.listen(fail, since=0)
        await asyncio.sleep(0.01)
        stage.publish("new")
        await until(lambda: written, "the message")


class _logged(logging.Handler):
    """Collects what a logger is told, instead of letting it be shown."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.logger = logging.getLogger(name)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def __enter__(self) -> list[logging.LogRecord]:
        self.logger.addHandler(self)
        return self.records

    def __exit__(self, *_: object) -> None:
        self.logger.removeHandler(self)
