"""`livelog serve`: a server with the options of `Config`, or several of them as workers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from livelog import __version__
from livelog.cli.options import Parser
from livelog.config import OPTIONS, flag
from livelog.config.check import Option, written

_EXAMPLES = """
examples:
  livelog serve --demo                         sample traffic on ws://127.0.0.1:8000/ws/live-log
  livelog serve --host 0.0.0.0 --port 80       listen on all addresses
  livelog serve --api-keys keys.json           require an API key, see livelog keys
  livelog serve --workers 4 --engine nats://n1,n2,n3/prod    use four cores
  LIVELOG_PORT=9000 livelog --config live.toml options from the environment and a file

Every option is also a variable (--ping-interval: LIVELOG_PING_INTERVAL) and a key of the TOML file
(ping_interval). An option on the command line beats a variable, a variable beats the file. Options
that take a list may be repeated. LIVELOG_JWT_SECRET_FILE and
LIVELOG_INTROSPECTION_CLIENT_SECRET_FILE name files with a secret.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the server and return the exit code."""
    flags = vars(make_parser(arguments[0]).parse_args(arguments[1:]))
    from livelog.cli.serving import serve  # takes most of a start; help and the version need none

    return serve(flags)


TITLES = {
    "net": "listening, proxies, sizes and time-outs",
    "tls": "TLS",
    "storage": "store and window",
    "cluster": "a log that many servers share",
    "auth": "authentication",
    "limits": "limits",
    "fanout": "fan-out under load",
    "logs": "the log of the process",
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
    groups = {group: parser.add_argument_group(title) for group, title in TITLES.items()}
    for option in OPTIONS.values():
        kind: dict[str, Any] = {"metavar": option.metavar}
        if option.read is not None:
            kind["action"] = "append"
        if isinstance(option.default, bool):
            kind = {"action": argparse.BooleanOptionalAction}
        groups[option.group].add_argument(flag(option.name), help=_help(option), **kind)
    return parser


def _help(option: Option) -> str:
    """Return the description with the default, if it has one."""
    default: Any = ", ".join(option.default) if option.name == "host" else option.default
    if default == "" or (option.read is not None and option.name != "host"):
        return option.description
    if isinstance(default, bool):
        default = "on" if default else "off"
    elif option.size:
        default = written(default)
    return f"{option.description.removesuffix('.')} (default: {default})."
