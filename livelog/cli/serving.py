"""The process of a server: its settings, its signals, its loop, and what it prints."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from livelog.budget.memory import return_freed_memory
from livelog.cli import garbage, systemd
from livelog.cli.exit import WRONG_USAGE, say
from livelog.cli.workers import config_of, supervise
from livelog.cli.workers.worker import HURRY, RELOAD, STOP, Worker
from livelog.config import Config, environment, load, logs
from livelog.errors import ConfigError, RefusedError
from livelog.net.listeners import settings_of
from livelog.net.reload import Reread
from livelog.server import Server

_log = logging.getLogger(__name__)


def serve(flags: dict[str, Any]) -> int:
    """Run the server and return the exit code; `flags` are the options given, by flat name."""
    variables = environment.sources(os.environ, flags)
    file = flags.pop("config", None) or environment.config_file(os.environ)
    logs.hold()
    _allow_many_files()
    return_freed_memory()

    sockets: list[socket.socket] = []

    def reread() -> Config:
        config = load(flags, os.environ, file)
        return config.replaced(**settings_of(sockets)) if sockets else config

    def work(config: Config, worker: Worker | None = None) -> int:
        def again() -> Config:
            new = reread()
            return new if worker is None else config_of(new, worker.number, config.net.port)

        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(_serve(config, worker, again, sockets))
        return 0

    def act() -> int:
        try:
            sockets.extend(systemd.passed(os.environ))
            config = reread()
            _check_passed(config, sockets)
        except ConfigError:
            logs.configure(logs.Form())
            raise
        logs.configure(logs.Form(config.logs.format, config.logs.level))
        if config.cluster.workers == 1:
            return work(config)
        return supervise(
            config, lambda *one: _outcome(partial(work, *one), variables), _announce, reread
        )

    code = _outcome(act, variables)
    if code == 0:
        _print("livelog stopped")
    return code


def _outcome(act: Callable[[], int], variables: Mapping[str, str]) -> int:
    """Return the exit code of `act`, or say what is wrong; `variables` are those of settings."""
    try:
        return act()
    except ConfigError as wrong:
        return _complain(environment.blamed(str(wrong), variables))
    except OSError as error:
        named = [variables[name] for name in ("host", "port", "uds") if name in variables]
        source = f" ({', '.join(named)})" if named else ""
        return _complain(f"{error.strerror or error}{source}")


def _check_passed(config: Config, sockets: Sequence[socket.socket]) -> None:
    if sockets and config.cluster.workers > 1:
        raise ConfigError("--workers: listen on a port of their own, and exclude LISTEN_FDS")


def _allow_many_files() -> None:
    """Raise the limit of open files: each connection is one, and 1024 is a usual soft limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems report a hard limit that they do not allow
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _complain(issue: str) -> int:
    say(issue)
    return WRONG_USAGE


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # a platform without uvloop
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(
    config: Config,
    worker: Worker | None = None,
    reread: Reread | None = None,
    sockets: Sequence[socket.socket] = (),
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = count()

    def reload() -> None:
        systemd.notify(systemd.reloading())
        server.reload()
        systemd.notify(systemd.READY)

    def end() -> None:
        systemd.notify(systemd.STOPPING)
        if next(signals):  # the second one
            server.hurry()
        stop.set()

    server = Server(config, worker=worker.number if worker else 0, reread=reread, sockets=sockets)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    if worker is not None:
        # systemd sends its signal to all processes: the order that comes beside is no second one.
        worker.obey({STOP: stop.set, HURRY: server.hurry, RELOAD: server.reload})
    if not await _before(stop, server.start()):
        return
    try:
        loop.add_signal_handler(signal.SIGHUP, reload)
        tasks = [loop.create_task(garbage.collect_when_idle())]
        if await _ready(server, stop, worker.open if worker else _print):
            if config.demo.enabled:
                tasks.append(await _demo(server))
            viewer = f"\nlivelog viewer on {server.viewer_url}" if server.viewer_url else ""
            announce = worker.ready if worker else _announce
            announce(f"livelog ready on {_where(server)}{viewer}")
        await stop.wait()
        for task in tasks:
            task.cancel()
    finally:
        await server.close()


def _where(server: Server) -> str:
    return f"{server.url} ({server.trust})"


async def _ready(server: Server, stop: asyncio.Event, announce: Callable[[str], None]) -> bool:
    """Wait until the server has all of its log; False if it ends, or will never have it."""
    if server.unready:
        announce(f"livelog open on {_where(server)}, not ready: {server.unready}")
        return await _before(stop, server.ready()) and not server.unready
    return True


async def _before(stop: asyncio.Event, act: Coroutine[Any, Any, None]) -> bool:
    """Run `act`; False if a signal has ended it before, for it may have to wait for brokers."""
    acting = asyncio.create_task(act)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([acting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not acting.done():
        acting.cancel()
        await asyncio.wait([acting])
        return False
    await acting
    return True


async def _demo(server: Server) -> asyncio.Task[None]:
    """Publish the past of the sample traffic, if there is none; start the live traffic."""
    from livelog.cli import demo  # not loaded without --demo

    def publish(message: dict[str, Any]) -> None:
        try:
            server.publish_nowait(message)
        except RefusedError as refused:
            _log.warning("a sample message was refused: %s", refused)

    config = server.config.demo
    world = demo.World(config.seed)
    if not (await server.history(limit=1)).messages:
        await demo.past(world, publish, config.rate, time.time())
    return asyncio.get_running_loop().create_task(demo.run(world, publish, config.rate))


def _announce(lines: str) -> None:
    """Say that the server is ready, and where."""
    _print(lines)
    systemd.notify(systemd.READY)


def _print(line: str) -> None:
    """Print a line for people or programs; a server goes on when stdout is closed or full."""
    try:
        print(f"{line}\n", end="", flush=True)  # one write, also where stdout has no buffer
    except OSError:
        # The interpreter flushes stdout once more at its end, and would report it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
