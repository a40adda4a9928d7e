"""Entry point of the reading process: `python -m livelog.store.reader PATH`.

The opening and the calls come over standard input, which is a socket. Calls are worked on in slices
of time, in the order of the `schedule`; between two slices the process takes what has come: new
calls, and word of those that nobody waits for any more. The index is worked on in slices, too: all
the time while there is no call, and for a share of it while there are. The process ends when the
server closes the socket or dies, and not before: signals to its process group are for the server.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import sqlite3
import sys
from contextlib import suppress
from functools import cache
from time import perf_counter

from livelog.budget.memory import return_freed_memory
from livelog.config import logs
from livelog.store.database.file import index_path
from livelog.store.reader.answers import StoredMessages
from livelog.store.reader.calls import (
    BEAT,
    FAULT,
    INDEX_FAILED,
    OK,
    SPARED,
    Ask,
    Beat,
    Drop,
    Fault,
    encoder,
    message_decoder,
    opening_decoder,
    unframed,
)
from livelog.store.reader.indexfile import DAMAGES, passes, remove
from livelog.store.reader.outbox import Outbox
from livelog.store.reader.rows import Unreadable
from livelog.store.reader.schedule import Schedule, Task
from livelog.store.reader.searches import NotIndexedError

_log = logging.getLogger(__name__)

SLICE_SECONDS = 0.02
"""Seconds that a call or the work on the index runs before others have their turn."""

_WORK_SHARE = 0.25
_WORK_SHARE_BEHIND = 0.5
"""Part of the time for work on the index while there are calls, and when it is behind: messages
that are not in it make every call longer."""

_UNDISTURBED_SECONDS = 0.1
_UNDISTURBED_AHEAD_SECONDS = 1.0
"""Seconds of calls before there is work on the index between them, and before those of owners that
have had little time wait for it."""

_IDLE_SECONDS = 0.5
"""Seconds between two looks for new messages while no call comes."""

_NICENESS = 5
"""Lets live traffic go before searches where they share a core."""

_RECEIVED = 1 << 16
_BUSY_SECONDS = 1.0
"""Seconds after which a store that another program has locked may be read again."""


def main(form: logs.Form, path: str) -> int:
    """Answer calls until the server is gone; return the exit code. Log in the server's form."""
    logs.configure(form)
    gc.freeze()  # modules and classes stay: no pass walks through them, nor does the end
    for number in SPARED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SPARED)
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICENESS)
    return_freed_memory()
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as server:
        try:
            Service(server, path).run()
        except ConnectionError:  # the server is gone
            return 0
        except DAMAGES as error:
            _log.warning("the index of %s has failed: %s", path, error)
            if passes(error):
                return 1
            remove(index_path(path))  # the next process makes it again
            return INDEX_FAILED
        except (Unreadable, OSError) as error:
            _log.warning("%s", error)
            return 1
    return 0


class Service:
    """The socket, the messages in the store, and the calls about them."""

    def __init__(self, server: socket.socket, path: str) -> None:
        self._server = server
        self._received = bytearray()
        self._outbox = Outbox(server)
        self._schedule = Schedule()
        opening = opening_decoder.decode(self._opening())
        self._reader = StoredMessages(path, opening.key, opening.memory_bytes, opening.rest)

    def run(self) -> None:
        """Work until the server is gone, which raises `ConnectionError`."""
        due, busy = 0.0, True  # seconds of calls that no work on the index stands against yet
        while True:
            self._take(
                0 if busy or (self._schedule and not self._outbox.is_full) else _IDLE_SECONDS
            )
            task = self._schedule.next()
            undisturbed = _UNDISTURBED_SECONDS
            if task is not None and self._schedule.is_ahead(task):
                undisturbed = _UNDISTURBED_AHEAD_SECONDS
            elif self._outbox.is_full:
                task = None
            if task is not None:
                due += self._go_on(task)
            share = _WORK_SHARE_BEHIND if busy else _WORK_SHARE
            if task is None or due > undisturbed:
                began = perf_counter()
                busy = self._work()
                due -= (perf_counter() - began) * (1 - share) / share
                due = due if task else 0.0

    def _opening(self) -> bytes:
        while True:
            self._receive()
            for data in unframed(self._received):
                return data

    def _receive(self) -> None:
        data = self._server.recv(_RECEIVED)
        if not data:
            raise ConnectionError("the server has closed the socket")
        self._received += data

    def _take(self, timeout: float) -> None:
        """Take what the server has sent; wait up to `timeout` seconds for it, or for room."""
        while True:
            full = [self._server] if self._outbox else []
            come, room, _ = select.select([self._server], full, [], timeout)
            if room:
                self._outbox.send()
            if not come:
                return
            self._receive()
            for data in unframed(self._received):
                self._act(message_decoder.decode(data))
            timeout = 0

    def _act(self, message: Ask | Drop | Beat) -> None:
        match message:
            case Ask(number, owner, call):
                self._schedule.add(Task(number, owner, self._reader.answer(call)))
            case Drop(number):
                self._schedule.drop(number)
                self._outbox.drop(number)
            case Beat():
                self._send(BEAT, OK, encoder.encode(self._reader.progress))

    def _go_on(self, task: Task) -> float:
        """Run a slice of a call, and answer it if that was the last one; return the seconds."""
        began = perf_counter()
        answer = None
        try:
            with self._reader.snapshot():
                while perf_counter() < began + SLICE_SECONDS:
                    next(task.steps)
        except StopIteration as stop:
            answer = OK, encoder.encode(stop.value)
        except (Unreadable, NotIndexedError) as error:
            answer = FAULT, encoder.encode(_fault(error))
        if answer is not None:
            self._send(task.number, *answer)
        spent = perf_counter() - began
        self._schedule.charge(task, spent)
        if answer is not None:
            self._schedule.drop(task.number)
        return spent

    def _work(self) -> bool:
        """Run a slice of work on the index; return whether there is more."""
        until = perf_counter() + SLICE_SECONDS
        try:
            while self._reader.work():
                if perf_counter() >= until:
                    return True
        except Unreadable as unreadable:
            _log_once(str(unreadable))
        return False

    def _send(self, number: int, status: bytes, data: bytes) -> None:
        self._outbox.put(number, status, data)
        self._outbox.send()


def _fault(error: Unreadable | NotIndexedError) -> Fault:
    if isinstance(error, NotIndexedError):
        return Fault(str(error), error.seconds, error.share)
    _log_once(str(error))
    # Locked, or out of memory or descriptors: that passes. A damaged file stays damaged.
    passes = isinstance(error.__cause__, sqlite3.OperationalError)
    return Fault(str(error), _BUSY_SECONDS if passes else None)


@cache
def _log_once(issue: str) -> None:
    """Log an issue once, not with every call that meets it."""
    _log.error("%s", issue)


if __name__ == "__main__":
    sys.exit(main(logs.parsed(sys.argv[1]), sys.argv[2]))
