"""Runs the cases against a server that sends every message back.

    python -m tests.autobahn.runner ws://127.0.0.1:9001/

It has sockets and nothing else, so that a fault in a WebSocket library cannot hide one in the
server. It prints a line for each case that is not OK, and ends with 1 if one has failed.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import zlib
from collections import Counter
from urllib.parse import urlsplit

from tests.autobahn.cases import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Case,
    Event,
    all_cases,
    close,
)

OK, NON_STRICT, FAILED = "OK", "NON-STRICT", "FAILED"

_PATIENCE = 30.0
"""Seconds for one case."""
_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)
_ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3


class _Broken(Exception):
    """The server broke the protocol."""


class _Connection:
    """One connection: events that came back, and how the server has closed."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, inflates: bool
    ) -> None:
        self.inflater = zlib.decompressobj(-15) if inflates else None
        self.reader = reader
        self.writer = writer
        self.events: list[Event] = []
        self.closed_with: bytes | None = None
        self.ended = asyncio.Event()
        self.arrived = asyncio.Event()

    async def read(self) -> None:
        """Read until the server ends the connection."""
        message: Event | None = None
        try:
            while self.closed_with is None:
                opcode, fin, payload = await self._frame()
                if opcode == CLOSE:
                    self.closed_with = payload
                elif opcode in (PING, PONG):
                    self.events.append((opcode, payload))
                else:
                    if (opcode == CONTINUATION) is (message is None):
                        raise _Broken(f"frame {opcode} in the wrong place")
                    message = (message or (opcode, b""))[0], (message or (0, b""))[1] + payload
                    if fin:
                        self.events.append(message)
                        message = None
                self.arrived.set()
            if await self.reader.read(1):
                raise _Broken("something behind the close frame")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended.set()
            self.arrived.set()

    async def _frame(self) -> tuple[int, bool, bytes]:
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        compressed = first & 0x40 and first & 0x0F in (TEXT, BINARY) and first & 0x80
        if first & (0x30 if compressed and self.inflater else 0x70) or second & 0x80:
            raise _Broken("a reserved bit, or a mask")
        if size >= 126:
            more = 2 if size == 126 else 8
            size = int.from_bytes(await self.reader.readexactly(more), "big")
        payload = await self.reader.readexactly(size)
        if compressed and self.inflater:  # the server sends no fragments
            payload = self.inflater.decompress(payload + b"\x00\x00\xff\xff")
        return first & 0x0F, bool(first & 0x80), payload


async def run(case: Case, url: str) -> tuple[str, str]:
    """Run one case; return its verdict, and why."""
    at = urlsplit(url)
    assert at.hostname is not None
    assert at.port is not None
    reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=2**20)
    try:
        more = f"Sec-WebSocket-Extensions: {case.offer}\r\n" if case.offer else ""
        asked = _HANDSHAKE.format(path=at.path or "/", host=at.hostname, port=at.port, more=more)
        writer.write(asked.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 ") or _ACCEPT not in head:
            return FAILED, "no handshake"
        if (agreed := _agreed(head)) != case.agreed:
            return FAILED, f"agreed to {agreed!r}"
        connection = _Connection(reader, writer, inflates=bool(case.agreed))
        reading = asyncio.create_task(connection.read())
        try:
            async with asyncio.timeout(_PATIENCE):
                verdict = await _talk(case, connection)
                await reading
        except TimeoutError:
            return FAILED, f"not done after {_PATIENCE:g} seconds"
        except _Broken as error:
            return FAILED, str(error)
        finally:
            reading.cancel()
        return verdict
    finally:
        writer.transport.abort()


def _agreed(head: bytes) -> str:
    """Return the extensions that the server has agreed to."""
    lines = [line for line in head.decode().split("\r\n") if line.lower().startswith(_EXTENSIONS)]
    return "".join(line.partition(": ")[2] for line in lines)


_EXTENSIONS = "sec-websocket-extensions:"


async def _talk(case: Case, connection: _Connection) -> tuple[str, str]:
    pauses = 0
    for number in range(1, case.rounds + 1):
        pauses += await _send(case, connection)
        if case.answer is None and not case.codes:
            wanted = len(case.expect) * number
            while len(connection.events) < wanted and not connection.ended.is_set():
                connection.arrived.clear()
                await connection.arrived.wait()
    if case.answer is None and not case.codes:
        await _write(connection, close(), 0)
    await connection.ended.wait()
    return _verdict(case, connection, pauses)


async def _send(case: Case, connection: _Connection) -> int:
    """Send what the case says; return after how many pauses the server had not ended it yet."""
    open_after = 0
    for step in case.send:
        if isinstance(step, bytes):
            await _write(connection, step, case.chop)
        else:
            await asyncio.wait([asyncio.ensure_future(connection.ended.wait())], timeout=step)
            open_after += not connection.ended.is_set()
    return open_after


async def _write(connection: _Connection, data: bytes, chop: int) -> None:
    """Write; a server that has ended the connection need not take all of it."""
    try:
        for at in range(0, len(data), chop or len(data)):
            connection.writer.write(data[at : at + (chop or len(data))])
            await connection.writer.drain()
    except ConnectionError:
        pass


def _verdict(case: Case, connection: _Connection, pauses: int) -> tuple[str, str]:
    events = tuple(connection.events)
    if events == case.expect * case.rounds:
        verdict = OK
    elif events in case.also:
        verdict = NON_STRICT
    else:
        return FAILED, f"{len(events)} events came back, not those expected"
    if case.slow_pauses and pauses >= case.slow_pauses:
        verdict = NON_STRICT
    closed = connection.closed_with
    code = struct.unpack("!H", closed[:2])[0] if closed else None
    if case.codes:
        if code not in case.codes:
            return FAILED, f"closed with {code}, not one of {sorted(case.codes)}"
    elif closed != (case.answer if case.answer is not None else b"\x03\xe8"):
        return FAILED, f"closed with {closed!r}"
    return verdict, ""


async def run_all(url: str, cases: list[Case], at_once: int = 8) -> dict[str, tuple[str, str]]:
    """Run cases, a few at a time; return the verdict of each, by its name."""
    slots = asyncio.Semaphore(at_once)

    async def one(case: Case) -> tuple[str, tuple[str, str]]:
        async with slots:
            return case.name, await run(case, url)

    return dict(await asyncio.gather(*map(one, cases)))


def main(url: str) -> int:
    """Run all cases, print what is not OK and the counts."""
    verdicts = asyncio.run(run_all(url, list(all_cases())))
    for name, (verdict, why) in verdicts.items():
        if verdict != OK:
            print(f"{name:8} {verdict:10} {why}")
    counts = Counter(verdict for verdict, _ in verdicts.values())
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts[FAILED] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
