"""`livelog serve --workers N`: N processes that serve on one port, and one that watches over them.

The supervisor holds no connection and no message. It is forked from before any loop or thread is
there, keeps the port, passes signals on as orders, reaps what dies (every process, if it is the
first of a container), and starts a worker again that has ended without an order. The kernel spreads
connections over the workers that listen (SO_REUSEPORT), so one that is gone is asked no more.

Each worker is tied to the supervisor by a pair of sockets: it tells there that it is ready, and
takes orders. When the supervisor dies, its end closes, and the workers stop. With `--metrics-port`,
one more process answers there for all of them (`figures`), until the last has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from livelog.cli import early, figures, systemd
from livelog.cli.exit import FAILED, WRONG_USAGE, say
from livelog.config import Config, logs
from livelog.config.live import with_live
from livelog.errors import ConfigError
from livelog.net.hosts import hosts_of
from livelog.net.http.internal import internal
from livelog.net.listeners import ALL_IPV4, ALL_IPV6, bind, reserve

STOP, HURRY, RELOAD = b"s", b"h", b"r"
"""Orders: stop over `--drain-seconds`, stop at once, read the certificate again."""

_OPEN = b"\0"
"""Told by a worker that serves what it has, and is not ready yet."""

DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a worker is started again, by the number of times that it has not lasted; where
there is no delay any more, all end."""

LASTED = 10.0
"""Seconds a worker must be ready to count as one that works."""

_log = logging.getLogger(__name__)

_ENDING = (signal.SIGINT, signal.SIGTERM)
_SIGNALS = (*_ENDING, signal.SIGHUP, signal.SIGCHLD)


class Worker:
    """The worker that this process is, for the code that runs in it."""

    def __init__(self, number: int, channel: socket.socket) -> None:
        self.number = number
        self._channel = channel

    def obey(self, orders: Mapping[bytes, Callable[[], object]]) -> None:
        """Call what belongs to an order whenever one comes; without a supervisor, stop."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            data = self._channel.recv(64)
            if not data:
                loop.remove_reader(self._channel)
            for order in data or STOP:
                orders[bytes([order])]()

        loop.add_reader(self._channel, read)

    def open(self, text: str) -> None:
        """Tell the supervisor that the doors are open, and the log why this is not all."""
        _log.warning("%s", text)
        self._channel.sendall(_OPEN)

    def ready(self, text: str) -> None:
        """Tell the supervisor."""
        self._channel.sendall(text.encode())


Run = Callable[[Config, Worker], int]
"""Run a worker to its end, and return the exit code."""

Answer = Callable[[socket.socket], None]
"""Answer for all workers until the other end of a channel is closed."""

_FIGURES = 0
"""The number of the process that does, among those of the workers."""

_FIGURES_DELAY = 1.0
"""Seconds before it is started again."""


def supervise(
    config: Config,
    run: Run,
    announce: Callable[[str], None],
    reread: Callable[[], Config] | None = None,
) -> int:
    """Run the workers until a signal, and return the exit code.

    `announce` is called once, with the lines that say where they serve, when all are ready;
    `reread` reads the settings again. Raises `OSError` for an address that cannot be listened on.
    """
    with ExitStack() as held:
        port = config.net.port
        for sock in asyncio.run(reserve(config.net)):
            held.enter_context(sock)
            port = sock.getsockname()[1]
        configs = {number: config_of(config, number, port) for number in _numbers(config)}
        answer = _figures(config, configs, held) if config.net.metrics_port else None
        again = reread or (lambda: config)
        with _Supervisor(configs, run, announce, again, held, answer) as supervisor:
            return supervisor.watch()


def _numbers(config: Config) -> range:
    return range(1, config.cluster.workers + 1)


def config_of(config: Config, number: int, port: int) -> Config:
    """Return the configuration of one worker.

    It has its own store and port of metrics, and one of them has the sample traffic.
    """
    store = config.storage.path
    if store != "memory":
        path = Path(store)
        store = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    first = config.net.metrics_port
    return config.replaced(
        store=store,
        port=port,
        metrics_port=first and first + number,
        demo=config.demo.enabled and number == 1,
    )


def _figures(config: Config, configs: Mapping[int, Config], held: ExitStack) -> Answer:
    """Listen on the port of the figures of all; return what answers there.

    Raises `OSError` for an address that cannot be listened on.
    """
    net = internal(config.net)
    sockets = asyncio.run(bind(net))
    for sock in sockets:
        held.enter_context(sock)
        sock.listen()
    hosts = [sock.getsockname()[0] for sock in sockets]
    own = _LOCAL.get(hosts[0], hosts[0])
    addresses = {number: (own, each.net.metrics_port) for number, each in configs.items()}

    def answer(channel: socket.socket) -> None:
        figures.serve(sockets, figures.Workers(addresses), hosts_of(net, hosts), channel)

    return answer


_LOCAL = {ALL_IPV4: "127.0.0.1", ALL_IPV6: "::1"}
"""Where a listener on all addresses is reached from the same machine."""


class _Child:
    """A worker that runs, for the supervisor."""

    def __init__(self, number: int, pid: int, channel: socket.socket) -> None:
        self.number = number
        what = f"worker {number}" if number else "the process of the figures"
        self.name = f"{what} (process {pid})"
        self.channel = channel
        self.text = ""
        """The lines that say where it serves, once it is ready."""
        self._ready_at = 0.0

    def read(self) -> bool:
        """Read that it is ready; False at the end of the worker."""
        try:
            data = self.channel.recv(1 << 16)
        except ConnectionError:  # it has died, and an order to it was not read
            data = b""
        if text := data.replace(_OPEN, b""):
            self.text, self._ready_at = text.decode(), time.monotonic()
        return bool(data)

    def order(self, order: bytes) -> None:
        """Give it an order, unless it has died."""
        with suppress(OSError):
            self.channel.send(order)

    @property
    def lasted(self) -> bool:
        """Whether it was ready for long enough."""
        return bool(self.text) and time.monotonic() - self._ready_at >= LASTED


class _Supervisor:
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
        self._children: dict[int, _Child] = {}
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

    def __enter__(self) -> _Supervisor:
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
        self._children[pid] = _Child(number, pid, ours)

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
            for each in (*_ENDING, signal.SIGHUP):  # they come to all processes of a terminal
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
            if number in _ENDING:
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

    def _ended(self, child: _Child, code: int) -> None:
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
