"""`livelog doctor`: try a server from outside, and say in plain words what is wrong.

The steps go from the network up: address, TLS, HTTP, WebSocket, authentication, delivery. Each
yields findings; where one ends with a fault that the next ones would only repeat, the rest is left
out. Everything is asked over a connection of its own, as clients would, and nothing is published.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence

from livelog.cli import options
from livelog.cli.doctor.finding import Finding, Hopeless
from livelog.cli.doctor.http import health, metrics, stream
from livelog.cli.doctor.network import network
from livelog.cli.doctor.target import Target
from livelog.cli.doctor.websocket import idle, websocket
from livelog.cli.exit import FAILED, outcome
from livelog.cli.sanitize import sanitized
from livelog.client.url import listed, shown, unix_socket
from livelog.errors import ConfigError, RefusedError

_EXAMPLES = """\
  livelog doctor wss://logs.example.com
  livelog doctor wss://logs.example.com --idle 90       also: do proxies cut quiet connections?
  LIVELOG_TOKEN=lk_… livelog doctor wss://…              also: open files, with the scope metrics
"""
_LONGEST = 500
"""Characters of a finding that are printed: some are the server's."""

_STEPS: list[Callable[[Target], Iterator[Finding]]] = [network, health, websocket, stream, metrics]

_STRANGE = (LookupError, TypeError, ValueError, AttributeError, RecursionError, RefusedError)
"""What goes wrong with an answer that has not the form it should have."""


def main(arguments: Sequence[str]) -> int:
    """Examine a server; the exit code is 1 if something is wrong."""
    name, *rest = arguments
    if rest and not rest[0].startswith("-"):
        rest.insert(0, "--url")
    given = make_parser(name).parse_args(rest)

    def act() -> int:
        urls = listed(given.url) or [given.url]
        if any(map(unix_socket, urls)):
            raise ConfigError("--url: a Unix socket is not outside; give an address of the server")
        wrong = 0
        for url in urls:
            if len(urls) > 1:
                print(sanitized(f"{shown(url)}:"), flush=True)
            wrong += _wrong(Target(url, given.token), given.idle)
        return FAILED if wrong else 0

    return outcome(act)


def _wrong(target: Target, seconds: float) -> int:
    """Examine one server, print what is found, and return how much of it is wrong."""
    wrong = 0
    for finding in examine(target, seconds):
        wrong += not finding.good
        print(f"{'ok' if finding.good else '!!'}  {sanitized(finding.text[:_LONGEST])}", flush=True)
    return wrong


def make_parser(name: str) -> options.Parser:
    """Make the parser of the command."""
    parser = options.parser(name, "Try a server from outside, and say what is wrong.", _EXAMPLES)
    parser.add_argument(
        "--idle",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="Also keep a quiet connection open for so long, to see whether a proxy cuts it.",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise ArgumentTypeError(f"{text} is not a number of seconds up to a day")
    return seconds


def examine(target: Target, seconds: float = 0) -> Iterator[Finding]:
    """Yield what is found, step by step; at the end, a connection is quiet for some seconds."""
    try:
        for step in _STEPS:
            yield from step(target)
        if seconds:
            yield from idle(target, seconds)
    except Hopeless as fault:
        yield Finding(False, str(fault))
    except _STRANGE as error:
        issue = f"answers: one is not as livelog answers ({type(error).__name__}); is it another"
        yield Finding(False, f"{issue} program, or does a proxy change them?")
