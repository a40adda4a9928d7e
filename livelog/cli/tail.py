"""`livelog tail`: follow messages as they come, over any number of connections."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from livelog.cli import options
from livelog.cli.exit import outcome, say
from livelog.cli.format import printer
from livelog.client.client import connect
from livelog.client.reconnecting import Status
from livelog.wire.events import Gap
from livelog.wire.messages import TYPES

_EXAMPLES = """\
  livelog tail
  livelog tail --type user --filter channel=general
  livelog tail --type raid,guild --search 'ancient dragon'
  livelog tail --since 0 --json > everything.ndjson

When the connection is lost it comes back and goes on where it was; what the
server no longer keeps is reported as a gap.
"""


def main(arguments: Sequence[str]) -> int:
    """Follow until interrupted; returns the exit code."""
    parser = options.parser("tail", "Follow messages as they come.", _EXAMPLES)
    options.add_selection(parser)
    parser.add_argument("--search", metavar="WORDS", help="only messages in which all words occur")
    parser.add_argument(
        "--since", type=int, metavar="SEQ", help="begin after this seq; 0 begins with the oldest"
    )
    given = parser.parse_args(arguments[1:])
    filters = options.filters(given.filter)
    if given.search is not None:
        filters["text"] = given.search
    types = options.types(given.type) or list(TYPES)

    def act() -> int:
        with suppress(asyncio.CancelledError):  # nobody reads our output any more
            asyncio.run(_follow(given, types, filters))
        return 0

    return outcome(act)


async def _follow(given: argparse.Namespace, types: list[str], filters: dict[str, str]) -> None:
    _end_without_reader()
    show = printer(as_json=given.json)
    async with connect(given.url, token=given.token, watch=_Reporter()) as log:
        async for item in log.subscribe(types, filters=filters, since=given.since):
            if not isinstance(item, Gap):
                show(item)
            elif given.json:
                print(msgspec.json.encode(item).decode(), flush=True)
            else:
                sys.stdout.flush()
                say(f"gap: what came after {item.from_} up to {item.to} is no longer kept")


def _end_without_reader() -> None:
    """End when whoever reads our output has gone, and not only with the next message."""
    stdout, loop, task = sys.stdout.fileno(), asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def leave() -> None:
        loop.remove_reader(stdout)
        task.cancel()

    if stat.S_ISFIFO(os.fstat(stdout).st_mode):
        # The writing end of a pipe becomes readable only by the error that nobody reads.
        loop.add_reader(stdout, leave)


class _Reporter:
    """Says on stderr when the connection is lost, and when it is there again."""

    def __init__(self) -> None:
        self._lost = False

    def __call__(self, status: Status) -> None:
        if not status.connected:
            say(f"connection lost: {status.why}; next attempt in {status.retry_in:.1f} s")
        elif self._lost:
            say("connected again")
        self._lost = not status.connected
