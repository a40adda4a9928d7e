"""Records of Python's logging as messages: what is in them, and that nothing waits for them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from livelog import LogHandler
from livelog.client import loghandler
from tests.support.identity import api_key
from tests.support.ports import free_port
from tests.support.wire import PATIENCE, House, on_uvloop, serving

Json = dict[str, Any]


@contextmanager
def logging_to(handler: LogHandler) -> Iterator[logging.Logger]:
    """A logger that writes there and nowhere else."""
    logger = logging.Logger("shop.cart", logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        handler.close()


async def beside(act: Callable[[], None]) -> None:
    """Run `act` in a thread, so that the server can answer."""
    await asyncio.to_thread(act)


async def published(house: House) -> list[Json]:
    """All messages, the oldest first."""
    page = (await (await house.http()).ask("GET", "/api/history?limit=1000")).json
    return list(reversed(page["messages"]))


@on_uvloop
async def test_records_become_messages() -> None:
    async with serving() as house:

        def act() -> None:
            with logging_to(LogHandler(house.server.url)) as logger:
                logger.info("not this")
                logger.warning("careful with %s", "that")
                try:
                    raise ValueError("too much")
                except ValueError:
                    logger.exception("it failed")
                logger.critical("half a pair: \ud800")

        await beside(act)
        careful, failed, half = await published(house)
        assert (careful["type"], careful["event"]) == ("system", "error")
        severities = [message["severity"] for message in (careful, failed, half)]
        assert severities == ["warning", "error", "critical"]
        assert careful["data"]["message"] == "careful with that"
        assert careful["data"]["logger"] == "shop.cart"
        assert careful["data"]["function"] == "act"
        assert Path(careful["data"]["file"]).name == Path(__file__).name
        assert failed["data"]["traceback"].endswith("ValueError: too much")
        assert half["data"]["message"] == "half a pair: ?"


@on_uvloop
async def test_very_long_records_and_strange_ones_are_cut_and_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serving() as house:

        def act() -> None:
            with logging_to(LogHandler(house.server.url, level="DEBUG")) as logger:
                logger.debug("x" * 1_000_000)
                logger.warning("%d", "not a number")  # told on stderr, as logging does
                logger.warning("after it")

        await beside(act)
        long, after = await published(house)
        assert len(long["data"]["message"]) < 20_000
        assert long["severity"] == "info"
        assert after["data"]["message"] == "after it"
        assert "not a number" in capsys.readouterr().err


def test_without_a_server_nothing_waits_and_what_does_not_fit_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loghandler, "_CLOSING_SECONDS", 0.1)
    handler = LogHandler(f"ws://127.0.0.1:{free_port()}/ws/live-log", capacity=10)
    with logging_to(handler) as logger:
        for number in range(300):
            logger.error("lost %d", number)
        handler.flush(0.01)
    assert handler.dropped >= 300 - 10 - loghandler._BATCH
    logger.error("after the end")
    handler._thread.join(PATIENCE)
    assert not handler._thread.is_alive()


@on_uvloop
async def test_records_wait_for_a_server_that_is_away() -> None:
    port = free_port()
    handler = LogHandler(f"ws://127.0.0.1:{port}/ws/live-log")
    logger = logging.Logger("shop")
    logger.addHandler(handler)
    for number in range(300):
        logger.error("early %d", number)
    async with serving(port=port) as house:
        await beside(lambda: handler.flush(30))
        contents = [message["data"]["message"] for message in await published(house)]
        assert contents == [f"early {number}" for number in range(300)]
        assert handler.dropped == 0
        await beside(handler.close)


@on_uvloop
async def test_dropped_records_are_told_of() -> None:
    port = free_port()
    handler = LogHandler(f"ws://127.0.0.1:{port}/ws/live-log", capacity=5)
    logger = logging.Logger("shop")
    logger.addHandler(handler)
    for number in range(500):
        logger.error("%d", number)
    dropped = handler.dropped
    assert dropped > 0
    async with serving(port=port) as house:
        await beside(lambda: handler.flush(30))
        await beside(handler.close)
        told = [m["data"]["dropped"] for m in await published(house) if "dropped" in m["data"]]
        assert sum(told) == dropped


@on_uvloop
async def test_records_that_are_refused_are_dropped_and_the_others_published(
    tmp_path: Path,
) -> None:
    file = tmp_path / "keys.json"
    key, useless = api_key(file, "shop", "publish:system"), api_key(file, "eve", "read")
    async with serving(api_keys=str(file)) as house:

        def act() -> None:
            refused = LogHandler(house.server.url, token=useless)
            with logging_to(refused) as logger:
                logger.error("not allowed")
                refused.flush(30)
            assert refused.dropped == 1
            with logging_to(LogHandler(house.server.url, token=key)) as logger:
                logger.error("allowed")

        await beside(act)
        assert house.context.log.taken == {"system": 1}


@on_uvloop
async def test_a_forked_process_goes_on_by_itself(tmp_path: Path) -> None:
    async with serving() as house:
        program = tmp_path / "program.py"
        program.write_text(
            "import logging, os, sys\n"
            "from livelog import LogHandler\n"
            "handler = LogHandler(sys.argv[1])\n"
            "logging.getLogger().addHandler(handler)\n"
            "logging.error('parent'); handler.flush()\n"
            "child = os.fork()\n"
            "logging.error('child' if not child else 'parent again')\n"
            "logging.shutdown()\n"
            "child and os.waitpid(child, 0)\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            program,
            house.server.url,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert await process.wait() == 0
        contents = [message["data"]["message"] for message in await published(house)]
        assert sorted(contents) == ["child", "parent", "parent again"]


def test_what_publishing_itself_logs_is_not_published() -> None:
    handler = LogHandler(f"ws://127.0.0.1:{free_port()}/ws/live-log", capacity=1)
    handler._thread = threading.current_thread()
    handler.emit(logging.makeLogRecord({"msg": "a loop", "levelno": logging.ERROR}))
    assert not handler._queue
    assert handler.dropped == 0
    handler._closing = True
    with handler._news:
        handler._news.notify_all()
