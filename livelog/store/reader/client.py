"""Client of the reading process: it starts the process, sends calls, and replaces it if it dies.

Calls are sent as they come and answered in any order; the process divides its time between their
owners. A call is refused when it takes longer than `DEADLINE_SECONDS`, whatever became of the
process. One whose task is cancelled is withdrawn, so that nothing is searched for nobody.

A process that dies is replaced at once, and its calls are sent to the next one, but to two at most,
since a call may have been the cause. One that says nothing in spite of beats is silent: that shows
in `impaired`, and calls that can do without it are refused at once. After a long silence it is
killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from livelog.budget.owner import Owner
from livelog.config import logs
from livelog.errors import SERVER_ERROR, RefusedError
from livelog.store.reader.calls import (
    BEAT,
    HEAD,
    INDEX_FAILED,
    LARGEST,
    LENGTH,
    MEMORY_BYTES,
    OK,
    PART,
    SPARED,
    Ask,
    Beat,
    Call,
    Drop,
    Opening,
    Progress,
    call_encoder,
    fault_decoder,
    framed,
    progress_decoder,
)

_log = logging.getLogger(__name__)

DEADLINE_SECONDS = 10.0
"""Seconds that a call may take."""

_TRIES = 2
"""Processes that may end while they work on a call, which may have been the cause."""

_CALLS = 2048
_CALLS_PER_OWNER = 256
"""Calls that may be under way in all, and for one user or address."""

_READ_BYTES = 1 << 20
"""Bytes of answers that may wait to be taken."""

_UNSENT_BYTES = 4 << 20
"""Bytes that may wait to be sent to a process that does not read."""

_BEAT_SECONDS = 1.0
_SILENT_BEATS = 3
_SILENT_AT_START_BEATS = 10
_LOST_BEATS = 30
"""Beats without an answer after which the process counts as silent, and as lost. Beats are counted
and not seconds: if this machine was suspended, the process was, too."""

_STARTING_BEATS = 60
"""Beats that a process may take until its first answer: it may have to wait for a lock."""

_RESTART_SECONDS = (0.0, 0.0, 0.0, 0.0, 0.5, 2.0, 5.0)
"""Pauses before a process is started again, after none, one, two … that ended soon."""

_FAILING = 3
"""Processes that end soon, from which on calls that can do without one do not wait for the next."""

_INDEX_RESTS = (0.0, 0.0, 0.0, 60.0, 600.0, 3600.0)
"""Seconds for which no index is made after it has failed not at all, once, twice … in a row."""

_INDEX_FAILING = 3
"""Failures of the index in a row, from which on that is told."""

_SOUND_SECONDS = 3600.0
"""Seconds after which an index that has not failed counts as sound: to make one takes a while."""

_LONG_LIFE_SECONDS = 10.0
_END_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_BEHIND = 20_000
"""Messages that are not indexed yet, from which on that is told."""

_STOPPING = "the server is stopping"
_SILENT = "the process that reads the store does not answer"
_NO_INDEX = (
    "the index on disk has failed again and again, and is made again only after a while; until then"
    " few of the messages on disk can be searched"
)
_BUSY = "too many reads of the store are under way"
_LATE = f"reading the store has taken longer than {DEADLINE_SECONDS:.0f} s"
_UNREADABLE = "what is on disk could not be read, see the server's log"

Answer = TypeVar("Answer")


class _Noise(Exception):
    """Bytes that no reading process sends."""


class _Pending:
    """A call under way."""

    __slots__ = ("answer", "ask", "keys", "optional", "parts", "shape", "tries")

    def __init__(self, ask: Ask, shape: Any, *, optional: bool) -> None:
        self.ask = framed(call_encoder.encode(ask))
        self.shape = shape
        self.optional = optional
        self.parts: list[bytes] = []
        """The beginning of its answer."""
        self.keys = {f"user {ask.owner.user}", f"address {ask.owner.address}"}
        self.tries = 0
        """Number of processes that were at work and ended before they answered it."""
        self.answer = asyncio.get_running_loop().create_future()

    def refuse(self, refused: RefusedError) -> None:
        """End the call with a refusal, unless it has ended."""
        if not self.answer.done():
            self.answer.set_exception(refused)


class ReaderClient:
    """Sends calls about the store at `path` to a process that may use `memory_bytes`, about."""

    def __init__(self, path: str, key: bytes, memory_bytes: int = MEMORY_BYTES) -> None:
        self._path = path
        self._opening = Opening(key, memory_bytes)
        self._pending: dict[int, _Pending] = {}
        self._counts = Counter[str]()
        """Calls under way, by user and by address."""
        self._last = BEAT
        """Number of the last call."""
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self._failure = ""
        """The reason why there is no process now."""
        self._failed = 0
        """Number of processes that ended soon, one after the other."""
        self._index_failures = 0
        """Number of processes that ended because of the index, one after the other."""
        self._beats = 0
        """Beats since the process was last heard."""
        self._has_answered = False
        self._progress = Progress(0, 0)

    @property
    def impaired(self) -> str:
        """The reason why past messages cannot be read now; empty without."""
        if self._failure or self._is_silent:
            return self._failure or _SILENT
        if self._index_failures >= _INDEX_FAILING:
            return _NO_INDEX
        indexed, count = self._progress.indexed, self._progress.count
        if count - indexed > _BEHIND:
            share = indexed / count
            return f"the index is being made, {share:.0%} of the messages on disk can be searched"
        return ""

    @property
    def _is_silent(self) -> bool:
        return self._beats > (_SILENT_BEATS if self._has_answered else _SILENT_AT_START_BEATS)

    @property
    def _is_failing(self) -> bool:
        return self._failed > _FAILING

    async def ask(
        self, call: Call, shape: type[Answer], owner: Owner, *, optional: bool = False
    ) -> Answer:
        """Send `call` for `owner`, return its answer.

        An `optional` one does not wait for a process that is silent. Raises `RefusedError` when
        there is no answer; with `retry_after` if the same call may have one later.
        """
        self._last += 1
        number = self._last
        pending = _Pending(Ask(number, owner, call), shape, optional=optional)
        self._admit(pending)
        self._pending[number] = pending
        self._counts.update(pending.keys)
        try:
            self._send(pending)
            async with asyncio.timeout(DEADLINE_SECONDS):
                answer: Answer = await pending.answer
                return answer
        except TimeoutError:
            silent = _SILENT if self._is_silent else ""
            raise _later(self._failure or silent or _LATE) from None
        finally:
            self._forget(number, pending)

    def _admit(self, pending: _Pending) -> None:
        """Raise `RefusedError` for a call that cannot be sent."""
        if self._closed:
            raise RefusedError(SERVER_ERROR, "", _STOPPING)
        if pending.optional and (self._is_failing or self._is_silent):
            raise _later(self._failure or _SILENT)
        fullest = max(self._counts[key] for key in pending.keys)
        if len(self._pending) >= _CALLS or fullest >= _CALLS_PER_OWNER:
            raise _later(_BUSY)
        if self._writer is not None and _unsent(self._writer) > _UNSENT_BYTES:
            raise _later(_SILENT)

    def _send(self, pending: _Pending) -> None:
        """Send a call; if there is no process, it is sent to the next one."""
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        else:
            self._write(pending.ask)

    def _write(self, data: bytes) -> None:
        """Send to the process, unless there is none."""
        # When it has died its transport is closed before we are told, and raises an error.
        if self._writer is not None and not self._writer.transport.is_closing():
            self._writer.write(data)

    def _forget(self, number: int, pending: _Pending) -> None:
        del self._pending[number]
        self._counts.subtract(pending.keys)
        for key in pending.keys:
            if not self._counts[key]:
                del self._counts[key]
        unanswered = not pending.answer.done() or pending.answer.cancelled()
        if unanswered:
            self._write(framed(call_encoder.encode(Drop(number))))

    async def close(self) -> None:
        """End the process; calls under way have a few seconds to be answered."""
        self._closed = True
        deadline = asyncio.get_running_loop().time() + _END_SECONDS
        waiting = [pending.answer for pending in self._pending.values()]
        if waiting and self._writer is not None:
            await asyncio.wait(waiting, timeout=_END_SECONDS)
        self._refuse_all(RefusedError(SERVER_ERROR, "", _STOPPING))
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
        await self._end(max(0.1, deadline - asyncio.get_running_loop().time()))

    # The process.

    async def _run(self) -> None:
        """Keep a process running."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            failed = await self._failed_conversation()
            # One that has closed its end is about to end, and its code tells why.
            code = await self._end(_END_SECONDS if failed is None else 0.0)
            fault = f"it has ended with code {code}" if failed is None else str(failed)
            self._failure = f"the process that reads {self._path} has failed: {fault}"
            _log.error("%s", self._failure)
            lived = loop.time() - began
            lived_long = lived > _LONG_LIFE_SECONDS
            self._failed = 0 if lived_long else min(self._failed + 1, len(_RESTART_SECONDS) - 1)
            self._note_index(lived, failed=code == INDEX_FAILED)
            self._give_up_calls()
            await asyncio.sleep(_RESTART_SECONDS[self._failed])

    async def _failed_conversation(self) -> Exception | None:
        """Converse with a process until it fails; return the error, None if it has ended."""
        try:
            await self._converse()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except Exception as error:  # of process or system, or noise instead of an answer
            return error
        return None

    def _note_index(self, lived: float, *, failed: bool) -> None:
        """Count the failures of the index in a row; log once when they are many."""
        before = self._index_failures
        if lived > _INDEX_RESTS[before] + _SOUND_SECONDS:
            self._index_failures = 0
        if failed:
            self._index_failures = min(self._index_failures + 1, len(_INDEX_RESTS) - 1)
        if before < _INDEX_FAILING <= self._index_failures:
            _log.error("the store %s: %s", self._path, _NO_INDEX)

    async def _converse(self) -> None:
        """Start a process and take its answers, until it fails. Raises `OSError` and others."""
        self._has_answered = False
        reader, self._writer = await self._started()
        self._beats = 0
        opening = msgspec.structs.replace(self._opening, rest=_INDEX_RESTS[self._index_failures])
        self._write(framed(call_encoder.encode(opening)))
        for pending in self._pending.values():
            pending.parts.clear()  # of a process that has ended
            self._write(pending.ask)
        beating = asyncio.create_task(self._beat(self._writer))
        try:
            while True:
                [length] = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                if not HEAD.size <= length <= LARGEST:
                    raise _Noise(f"it sent a message of {length} bytes")
                self._take(await reader.readexactly(length))
        finally:
            beating.cancel()

    async def _started(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = self._spawned(theirs)
            return await asyncio.open_connection(sock=ours, limit=_READ_BYTES)
        except BaseException:
            ours.close()
            raise

    def _spawned(self, stdin: socket.socket) -> subprocess.Popen[bytes]:
        # An embedding program may have found livelog on a path of its own.
        path = os.pathsep.join(filter(None, sys.path))
        # A group of its own would not do: a signal may come before the process has left ours.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SPARED)
        try:
            form = (logs.form() or logs.Form()).argument
            return subprocess.Popen(
                [sys.executable, "-m", "livelog.store.reader", form, self._path],
                stdin=stdin.fileno(),
                env={**os.environ, "PYTHONPATH": path},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _take(self, data: bytes) -> None:
        """Take an answer. Raises `_Noise` and others for anything else."""
        number, status = HEAD.unpack_from(data)
        body = memoryview(data)[HEAD.size :]
        self._beats, self._has_answered, self._failure = 0, True, ""
        if number == BEAT:
            self._progress = progress_decoder.decode(body)
            return
        if number > self._last:
            raise _Noise(f"it answered call {number} of {self._last}")
        pending = self._pending.get(number)
        if pending is None or pending.answer.done():
            return
        if status == PART:
            pending.parts.append(bytes(body))
            return
        if status == OK:
            whole = b"".join((*pending.parts, body)) if pending.parts else body
            pending.answer.set_result(msgspec.msgpack.decode(whole, type=pending.shape))
            return
        fault = fault_decoder.decode(body)
        details: dict[str, Any] = {} if fault.indexed is None else {"indexed": fault.indexed}
        pending.refuse(
            RefusedError(SERVER_ERROR, "", fault.issue, retry_after=fault.retry_after, **details)
        )

    async def _beat(self, writer: asyncio.StreamWriter) -> None:
        """Ask for signs of life; kill a process that gives none."""
        beat = framed(call_encoder.encode(Beat()))
        while True:
            if _unsent(writer) < _UNSENT_BYTES:
                self._write(beat)
            await asyncio.sleep(_BEAT_SECONDS)
            self._beats += 1
            if self._is_silent:
                self._stop_waiting()
            if self._beats >= (_LOST_BEATS if self._has_answered else _STARTING_BEATS):
                _log.error("the process that reads %s does not answer and is killed", self._path)
                if self._process is not None:
                    self._process.kill()

    def _stop_waiting(self) -> None:
        """Refuse the calls that can do without a process that is silent."""
        for pending in self._pending.values():
            if pending.optional:
                pending.refuse(_later(_SILENT))

    def _give_up_calls(self) -> None:
        """Refuse the calls that have used as many processes as they may."""
        for pending in self._pending.values():
            pending.tries += self._has_answered
            if pending.tries >= _TRIES or (pending.optional and self._is_failing):
                pending.refuse(_later(_UNREADABLE))

    def _refuse_all(self, refused: RefusedError) -> None:
        for pending in self._pending.values():
            pending.refuse(refused)

    async def _end(self, patience: float) -> int | None:
        """End the process; kill it if it has not ended after `patience` seconds.

        Return its exit code, None without a process.
        """
        process, writer = self._process, self._writer
        self._process = self._writer = None
        if writer is not None:
            writer.close()
        if process is None:
            return None
        if not patience:
            process.kill()  # before anything is waited for, which may be cancelled
        try:
            return await asyncio.to_thread(process.wait, patience)
        except subprocess.TimeoutExpired:
            process.kill()
            return await asyncio.to_thread(process.wait)
        except asyncio.CancelledError:
            process.kill()
            raise


def _unsent(writer: asyncio.StreamWriter) -> int:
    closed = writer.transport.is_closing()
    return 0 if closed else writer.transport.get_write_buffer_size()


def _later(issue: str) -> RefusedError:
    return RefusedError(SERVER_ERROR, "", issue, retry_after=_RETRY_SECONDS)
