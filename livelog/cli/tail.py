"""`livelog tail`: print new messages as they arrive, over any number of connections."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress

from livelog.cli import options
from livelog.cli.exit import outcome, say
from livelog.cli.format import print_json, printer
from livelog.client.client import connect
from livelog.client.reconnecting import Status
from livelog.wire.events import Gap
from livelog.wire.messages import TYPES

_EXAMPLES = """\
  livelog tail
  livelog tail --type user --filter channel=general
  livelog tail --type raid,guild --search 'ancient dragon'
  livelog tail --where 'channel:general,trade -type:dm'
  livelog tail --since 0 --json > everything.ndjson

A lost connection is opened again and resumed; messages that the server no
longer stores are reported as a gap.
"""


def main(arguments: Sequence[str]) -> int:
    """Print messages until interrupted, and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    filters = options.filters(given)
    if given.search is not None:
        filters["text"] = given.search
    types = options.types(given.type) or list(TYPES)

    def act() -> int:
        with suppress(asyncio.CancelledError):  # the output was closed
            asyncio.run(_follow(given, types, filters))
        return 0

    return outcome(act)


def make_parser(name: str) -> options.Parser:
    """Make the parser of `tail`."""
    parser = options.parser(name, "Print new messages as they arrive.", _EXAMPLES)
    options.add_selection(parser)
    parser.add_argument(
        "--search", metavar="WORDS", help="Select messages that contain all of these words."
    )
    parser.add_argument(
        "--since",
        type=int,
        metavar="SEQ",
        help="Start with the first message after this seq; 0 starts with the oldest.",
    )
    return parser


async def _follow(given: argparse.Namespace, types: list[str], filters: dict[str, str]) -> None:
    _end_without_reader()
    show = printer(as_json=given.json)
    async with connect(given.url, token=given.token, watch=_Reporter()) as log:
        async for item in log.subscribe(types, filters=filters, since=given.since):
            if not isinstance(item, Gap):
                show(item)
            elif given.json:
                print_json(item)
            else:
                sys.stdout.flush()
                say(f"gap: messages after {item.from_} and up to {item.to} are no longer stored")


def _end_without_reader() -> None:
    """End as soon as the reader of stdout is gone, and not only with the next message."""
    stdout, loop, task = sys.stdout.fileno(), asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def leave() -> None:
        loop.remove_reader(stdout)
        task.cancel()

    if stat.S_ISFIFO(os.fstat(stdout).st_mode):
        # The writing end of a pipe becomes readable only when its reading end is closed.
        loop.add_reader(stdout, leave)


class _Reporter:
    """Reports on stderr when the connection is lost, and when it is open again."""

    def __init__(self) -> None:
        self._lost = False

    def __call__(self, status: Status) -> None:
        if not status.connected:
            say(f"connection lost: {status.why}; next attempt in {status.retry_in:.1f} s")
        elif self._lost:
            say("connected again")
        self._lost = not status.connected
