"""The supervisor: forks the workers, passes signals on to them, and starts them again.

It waits in `select`, with no event loop and no threads, since it forks: a child would share the
one, and be without the others. A signal wakes it by a byte (`signal.set_wakeup_fd`).
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import NoReturn

from livelog.cli import early, systemd
from livelog.cli.exit import FAILED, WRONG_USAGE, say
from livelog.cli.workers.child import Child
from livelog.cli.workers.worker import HURRY, RELOAD, STOP, Worker
from livelog.config import Config, logs
from livelog.config.live import with_live
from livelog.errors import ConfigError

DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a worker is started again, by the number of times that it has not lasted; where
there is no delay any more, all end."""

_FIGURES = 0
"""The number of the process with the figures of all, among those of the workers."""

_FIGURES_DELAY = 1.0
"""Seconds before it is started again."""

_SIGNALS = (*early.ENDING, signal.SIGHUP, signal.SIGCHLD)

_log = logging.getLogger(__name__)

Run = Callable[[Config, Worker], int]
"""Run a worker to its end, and return the exit code."""

Answer = Callable[[socket.socket], None]
"""Answer for all workers until the other end of a channel is closed."""


class Supervisor:
    """Owner of the processes and of the signals."""

    def __init__(
        self,
        configs: Mapping[int, Config],
        run: Run,
        announce: Callable[[str], None],
        reread: Callable[[], Config],
        held: ExitStack,
        answer: Answer | None = None,
    ) -> None:
        self._configs = dict(configs)
        self._reread = reread
        self._run = run
        self._answer = answer
        self._announce = announce
        self._held = held
        """What a worker has to close that this process holds open."""
        self._children: dict[int, Child] = {}
        """By process id."""
        self._due = {1: 0.0} if answer is None else {_FIGURES: 0.0, 1: 0.0}
        """When processes are to be started, by number. The other workers follow the first, which
        says what is wrong with the options."""
        self._failures = dict.fromkeys(configs, 0)
        """How often each has not lasted, in a row."""
        self._announced = False
        self._ending = False
        self._code = 0
        self._woken, self._waker = socket.socketpair()

    def __enter__(self) -> Supervisor:
        for sock in (self._woken, self._waker):
            self._held.enter_context(sock)
            sock.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)  # the byte that wakes the loop is enough
        return self

    def __exit__(self, *error: object) -> None:
        signal.set_wakeup_fd(-1)

    def watch(self) -> int:
        """Start the workers and do what is to be done, until none is left."""
        while self._due or any(child.number for child in self._children.values()):
            self._start_due()
            channels = {child.channel: child for child in self._children.values() if not child.text}
            ready, _, _ = select.select([self._woken, *channels], [], [], self._pause())
            for channel in ready:
                if channel in channels and channels[channel].read():
                    self._is_ready()
            self._hear()
            self._reap()
        for pid, child in self._children.items():  # that of the figures, which ends by itself
            child.channel.close()
            os.waitpid(pid, 0)
        return self._code

    def _pause(self) -> float | None:
        """Return the seconds until a worker is to be started; None without one."""
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _start_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            self._start(number)

    def _start(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        with _blocked():
            pid = os.fork()
            if not pid:
                ours.close()
                self._become(number, theirs)
        theirs.close()
        self._children[pid] = Child(number, pid, ours)

    def _become(self, number: int, channel: socket.socket) -> NoReturn:
        """Be a worker, in the process that was forked for it."""
        code = FAILED
        try:
            signal.set_wakeup_fd(-1)
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            early.install()
            for child in self._children.values():
                child.channel.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            form = self._configs[number or 1].logs
            logs.configure(logs.Form(form.format, form.level, number))
            code = self._work(number, channel)
        except BaseException:
            _log.exception("the worker failed")
        finally:
            os._exit(code)

    def _work(self, number: int, channel: socket.socket) -> int:
        """Return the exit code of a process, at its end."""
        if number == _FIGURES and self._answer is not None:
            for each in (*early.ENDING, signal.SIGHUP):  # they come to all processes of a terminal
                signal.signal(each, signal.SIG_IGN)
            self._answer(channel)
            return 0
        self._held.close()
        return self._run(self._configs[number], Worker(number, channel))

    # What comes.

    def _is_ready(self) -> None:
        ready = [child for child in self._children.values() if child.text]
        if len(ready) == 1 and not self._announced and not self._ending:
            waiting = self._configs.keys() - {child.number for child in ready}
            self._due |= dict.fromkeys(sorted(waiting), 0.0)
        if len(ready) == len(self._configs) and not self._announced:
            self._announced = True
            self._announce(ready[0].text)

    def _hear(self) -> None:
        """Pass on the signals that have come."""
        try:
            came = self._woken.recv(1024)
        except BlockingIOError:
            return
        for number in came:
            if number in early.ENDING:
                systemd.notify(systemd.STOPPING)
                self._order(HURRY if self._ending else STOP)
                self._end()
            elif number == signal.SIGHUP:
                systemd.notify(systemd.reloading())
                self._read_again()
                self._order(RELOAD)
                systemd.notify(systemd.READY)

    def _read_again(self) -> None:
        """Let workers that are started from now on have the settings of a reload, too."""
        with suppress(ConfigError):  # each worker logs it
            new = self._reread()
            for number, config in self._configs.items():
                self._configs[number] = with_live(config, new)

    def _order(self, order: bytes) -> None:
        for child in self._children.values():
            child.order(order)

    def _end(self) -> None:
        self._ending = True
        self._due.clear()

    def _reap(self) -> None:
        """See which processes have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if child := self._children.pop(pid, None):  # or an orphan that process 1 inherits
                child.channel.close()
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended ({code})"
        if self._ending:
            if code:
                say(f"{child.name} {how}")
                self._code = self._code or _exit_code(code)
            return
        if child.number == _FIGURES:
            say(f"{child.name} {how}; started again in {_FIGURES_DELAY:g} s")
            self._due[_FIGURES] = time.monotonic() + _FIGURES_DELAY
            return
        failures = 0 if child.lasted else self._failures[child.number] + 1
        self._failures[child.number] = failures
        wrong = code == WRONG_USAGE and not self._announced
        if wrong or failures == len(DELAYS):
            say(f"{child.name} {how}{'' if wrong else ' again and again'}; all stop")
            self._code = _exit_code(code)
            self._order(STOP)
            self._end()
            return
        say(f"{child.name} {how}; started again in {DELAYS[failures]:g} s")
        self._due[child.number] = time.monotonic() + DELAYS[failures]


def _exit_code(code: int) -> int:
    """Return the exit code for that of a worker: never 0, and above 128 for a signal."""
    return 128 - code if code < 0 else code or FAILED


@contextmanager
def _blocked() -> Iterator[None]:
    """Hold signals back, so that a new process takes none for the old one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
