"""`livelog serve`: a server with the options of `Config`, until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from livelog import __version__
from livelog.cli import garbage
from livelog.cli.exit import WRONG_USAGE, say
from livelog.cli.options import Parser
from livelog.config import OPTIONS, Config, flag, load
from livelog.config.check import Option
from livelog.errors import ConfigError, RefusedError
from livelog.server import Server

_log = logging.getLogger(__name__)

_EXAMPLES = """
examples:
  livelog serve --demo                         sample traffic on ws://127.0.0.1:8000/ws/live-log
  livelog serve --host 0.0.0.0 --port 80       listen on all addresses
  livelog serve --api-keys keys.json           require an API key, see livelog keys
  LIVELOG_PORT=9000 livelog --config live.toml options from the environment and a file

Every option is also a variable (--ping-interval: LIVELOG_PING_INTERVAL) and a key of the TOML file
(ping_interval). An option on the command line beats a variable, a variable beats the file.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the server and return the exit code."""
    flags = vars(make_parser(arguments[0]).parse_args(arguments[1:]))
    file = flags.pop("config", None) or os.environ.get("LIVELOG_CONFIG")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("livelog.audit").setLevel(logging.INFO)  # refused clients, and reasons
    _allow_many_files()
    try:
        config = load(flags, os.environ, file)
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(_serve(config))
    except ConfigError as wrong:
        return _complain(str(wrong))
    except OSError as error:
        where = config.net.uds or f"{config.net.host}:{config.net.port}"
        return _complain(f"cannot listen on {where}: {error}")
    return 0


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


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():  # the second signal
            server.hurry()
        stop.set()

    server = Server(config)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    async with server:
        loop.add_signal_handler(signal.SIGHUP, server.reload)
        print(f"livelog ready on {server.url} ({server.trust})", flush=True)
        tasks = [loop.create_task(garbage.collect_when_idle())]
        if config.demo.enabled:
            tasks.append(loop.create_task(_demo(server)))
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _demo(server: Server) -> None:
    from livelog.cli import demo  # not loaded without --demo

    def publish(message: dict[str, Any]) -> None:
        try:
            server.publish_nowait(message)
        except RefusedError as refused:
            _log.warning("a sample message was refused: %s", refused)

    config = server.config
    await demo.run(demo.World(config.demo.seed), publish, config.demo.rate)


_TITLES = {
    "net": "listening, proxies, sizes and time-outs",
    "tls": "TLS",
    "storage": "store and window",
    "auth": "authentication",
    "limits": "limits",
    "fanout": "fan-out under load",
    "demo": "sample traffic",
}
"""Group of options → its title in the help."""


def make_parser(name: str) -> Parser:
    """Make the parser of `serve`."""
    parser = Parser(
        prog=f"livelog {name}",
        usage="livelog [serve] [options]",
        description="Run a live-log server: typed messages to WebSocket subscribers.",
        epilog=_EXAMPLES,
        # Absent options stay absent, so that variables and the file can set them.
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"livelog {__version__}",
        help="Print the version and exit.",
    )
    parser.add_argument("--config", metavar="FILE", help="Read options from this TOML file.")
    groups = {group: parser.add_argument_group(title) for group, title in _TITLES.items()}
    for option in OPTIONS.values():
        kind: dict[str, Any] = {"metavar": option.metavar}
        if isinstance(option.default, bool):
            kind = {"action": argparse.BooleanOptionalAction}
        groups[option.group].add_argument(flag(option.name), help=_help(option), **kind)
    return parser


def _help(option: Option) -> str:
    """Return the description with the default, if it has one."""
    if option.read is not None or option.default == "":
        return option.description
    default = option.default
    if isinstance(default, bool):
        default = "on" if default else "off"
    return f"{option.description.removesuffix('.')} (default: {default})."
