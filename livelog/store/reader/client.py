"""Client of the reading process: it starts the process, sends calls, and restarts it if it dies."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from typing import TypeVar

import msgspec

from livelog.errors import SERVER_ERROR, RefusedError
from livelog.store.reader.calls import FAULT, LENGTH, Call, encoder, framed

_log = logging.getLogger(__name__)

_END_SECONDS = 5.0

_ATTEMPTS = 2
"""Processes that a call may use: one that was killed is replaced once, since the call itself may
have been the cause."""

Answer = TypeVar("Answer")


class ReaderClient:
    """Sends calls about the store at `path`, one at a time, in the order they come."""

    def __init__(self, path: str, key: bytes) -> None:
        self._path = path
        self._key = key
        self._lock = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def ask(self, call: Call, shape: type[Answer]) -> Answer:
        """Send `call`, return its answer. Raises `RefusedError` when the store cannot be read."""
        # Shielded, because an answer left unread would be taken for the answer to the next call.
        data = await asyncio.shield(asyncio.create_task(self._exchange(call)))
        if data[:1] == FAULT:
            raise RefusedError(SERVER_ERROR, "", data[1:].decode())
        return msgspec.msgpack.decode(memoryview(data)[1:], type=shape)

    async def close(self) -> None:
        """End the process; calls that are still queued are refused."""
        self._closed = True
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._lock.acquire()
        except TimeoutError:
            if self._process is not None:
                self._process.kill()
            await self._lock.acquire()
        if self._process is not None:
            await self._end(self._process)
        self._lock.release()

    async def _exchange(self, call: Call) -> bytes:
        async with self._lock:
            for _ in range(_ATTEMPTS):
                if self._closed:
                    return FAULT + b"the server is stopping"
                try:
                    return await self._answer(framed(encoder.encode(call)))
                except (OSError, EOFError) as error:
                    _log.error("the process that reads %s has failed: %s", self._path, error)
                    if self._process is not None:
                        await self._end(self._process)
            return FAULT + b"what is on disk could not be read, see the server's log"

    async def _answer(self, data: bytes) -> bytes:
        await self._ensure_running()
        self._writer.write(data)
        [length] = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
        return await self._reader.readexactly(length)

    async def _ensure_running(self) -> None:
        if self._process is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = self._started(theirs)
            self._reader, self._writer = await asyncio.open_connection(sock=ours)
            self._writer.write(framed(self._key))

    def _started(self, stdin: socket.socket) -> subprocess.Popen[bytes]:
        # An embedding program may have found livelog on a path of its own.
        path = os.pathsep.join(filter(None, sys.path))
        return subprocess.Popen(
            [sys.executable, "-m", "livelog.store.reader", self._path],
            stdin=stdin.fileno(),
            env={**os.environ, "PYTHONPATH": path},
            process_group=0,  # Ctrl-C at a terminal is for the server, also while this one starts
        )

    async def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        self._writer.close()
        try:
            await asyncio.to_thread(process.wait, _END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
