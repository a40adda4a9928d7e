"""The targets of the fuzzers: functions that take any bytes, and fail only when livelog is wrong.

`python -m tests.support.fuzz TARGET CORPUS` lets atheris look for such bytes, guided by coverage;
`tests/test_corpus.py` replays those that were worth keeping. A server runs on a loop without
sockets: connections are made over a transport in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from livelog import Config, RefusedError, Server
from livelog.auth import tokens
from livelog.auth.principal import ANYBODY
from livelog.log import ingest
from livelog.net import proxyprotocol
from livelog.net.context import Context
from livelog.net.http.connection import HttpConnection
from tests.support.identity import PRIVATE, SECRET, pem
from tests.support.inside import Inside
from tests.support.wire import frame, upgrade

Target = Callable[[bytes], None]


class Faults(logging.Handler):
    """Errors are logged where they cannot be raised; here they are collected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


class Memory(asyncio.Transport):
    """A connection to nowhere that takes everything at once."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = 0
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += len(data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class House:
    """A server that nobody can connect to but through `feed`."""

    def __init__(self, **settings: Any) -> None:
        self._faults = Faults()
        logging.getLogger().addHandler(self._faults)
        logging.getLogger("livelog.audit").setLevel(logging.CRITICAL)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self._faults.found.append(str(context)))
        self.server = Server(Config(port=0, store="memory", limits=False, **settings))
        self._loop.run_until_complete(self.server.start())
        self.context: Context = Inside(self.server).context

    def feed(self, *pieces: bytes) -> None:
        """A connection on which these arrive, and then its end."""
        self._loop.run_until_complete(self._fed(pieces))
        assert not self._faults.found, self._faults.found
        assert not self.context.limiter.connections, "somebody has stayed"

    async def _fed(self, pieces: tuple[bytes, ...]) -> None:
        transport = Memory(HttpConnection(self.context))
        transport.protocol.connection_made(transport)
        for data in pieces:
            if data and not transport.closed:
                transport.protocol.data_received(data)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        if not transport.closed:
            transport.protocol.eof_received()
        transport.protocol.connection_lost(None)
        for _ in range(3):
            await asyncio.sleep(0)

    def close(self) -> None:
        """Stop it."""
        self._loop.run_until_complete(self.server.close())
        self._loop.close()
        logging.getLogger().removeHandler(self._faults)


def targets(house: House) -> dict[str, Target]:
    """All of them, by name."""
    keys = [tokens.secret_key(SECRET), tokens.public_key(pem(PRIVATE["ES256"]), "f")]

    def head(data: bytes) -> None:
        """An HTTP request, in one piece and in two."""
        house.feed(data)
        house.feed(data[: len(data) // 2], data[len(data) // 2 :])

    def frames(data: bytes) -> None:
        """Feed frames behind a handshake."""
        house.feed(upgrade(), data)

    def command(data: bytes) -> None:
        """The payload of a text frame."""
        house.feed(upgrade("/ws/live-log?message_types=user,dm"), frame(data))

    def message(data: bytes) -> None:
        """A message, on its way in and out."""
        with suppress(RefusedError):
            house.context.ingest.admit(ANYBODY, ingest.decode(data))

    def proxy(data: bytes) -> None:
        """The preface of a proxy."""
        with suppress(ValueError):
            preface = proxyprotocol.read(data)
            assert preface is None or 0 < preface.size <= len(data)

    def token(data: bytes) -> None:
        """A token that none of our keys has signed."""
        with suppress(RefusedError):
            tokens.verify(data.decode("latin-1"), keys, tokens.Rules("i", "a", 5), 0.0)
            raise AssertionError("believed")

    return {each.__name__: each for each in (head, frames, command, message, proxy, token)}
