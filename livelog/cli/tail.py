"""`livelog tail`: print messages as they arrive, over any number of connections, and older ones."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import datetime

from livelog.cli import options
from livelog.cli.exit import outcome, say
from livelog.cli.format import print_json, printer
from livelog.cli.moments import place
from livelog.cli.reading import Selection, newest, stored
from livelog.client.client import Client, connect
from livelog.client.decoding import Item
from livelog.client.reconnecting import Status
from livelog.wire.events import Gap

_EXAMPLES = """\
  livelog tail
  livelog tail -n 50 --type user --filter channel=general
  livelog tail --since 10m --where 'channel:general,trade -type:dm'
  livelog tail --since 2025-12-03T18:00 --until 2025-12-03T19:00
  livelog tail --type raid,guild --search 'ancient dragon'
  livelog tail --since 0 --json > everything.ndjson

A lost connection is opened again and resumed; messages that the server no
longer stores are reported as a gap. Times without a zone are local.
"""
_LAST = 10
"""Messages that `--no-follow` prints where nothing says how many."""


def main(arguments: Sequence[str]) -> int:
    """Print messages until interrupted, or to the end, and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])

    def act() -> int:
        with suppress(asyncio.CancelledError):  # the output was closed
            asyncio.run(_print(given))
        return 0

    return outcome(act)


def make_parser(name: str) -> options.Parser:
    """Make the parser of `tail`."""
    parser = options.parser(name, "Print new messages as they arrive.", _EXAMPLES)
    options.add_selection(parser)
    parser.add_argument(
        "--search", metavar="WORDS", help="Select messages that contain all of these words."
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "-n",
        "--lines",
        type=_count,
        metavar="N",
        help="Start with the newest N messages that are stored.",
    )
    start.add_argument(
        "--since",
        type=place,
        metavar="PLACE",
        help="Start with the first message after this seq (0: the oldest), or of this time: 10m,"
        " 2h, 7d for so long ago, 2025-12-03, 2025-12-03T18:00.",
    )
    parser.add_argument(
        "--until",
        type=place,
        metavar="PLACE",
        help="End with the last stored message up to this seq or time.",
    )
    parser.add_argument(
        "--no-follow",
        action="store_true",
        help=f"End when all that is stored is printed; without -n or --since the newest {_LAST}.",
    )
    return parser


def _count(text: str) -> int:
    if not (text.isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is invalid: must be a number of messages")
    return int(text)


async def _print(given: argparse.Namespace) -> None:
    _end_without_reader()
    show = _shower(given.json)
    filters = options.filters(given)
    if given.search is not None:
        filters["text"] = given.search
    selection = Selection(options.types(given.type), filters).within(given.since, given.until)
    ends = given.no_follow or given.until is not None
    async with connect(given.url, token=given.token, watch=_Reporter()) as log:
        async for item in (_stored if ends else _followed)(log, selection, given):
            show(item)


def _shower(as_json: bool) -> Callable[[Item], None]:
    """Return a function that prints a message or a gap."""
    show = printer(as_json=as_json)

    def show_item(item: Item) -> None:
        if not isinstance(item, Gap):
            show(item)
        elif as_json:
            print_json(item)
        else:
            sys.stdout.flush()
            say(f"gap: messages after {item.from_} and up to {item.to} are no longer stored")

    return show_item


async def _stored(
    log: Client, selection: Selection, given: argparse.Namespace
) -> AsyncIterator[Item]:
    """Yield stored messages from the given beginning to the given end."""
    everything = given.until is not None or given.since is not None
    count = given.lines if everything or given.lines is not None else _LAST
    since, until = (
        place if isinstance(place, int) else None for place in (given.since, given.until)
    )
    if count is None:
        async for item in stored(log, selection, since, until):
            yield item
    elif count:
        for message in reversed((await newest(log, selection, count, until)).messages):
            yield message


async def _followed(
    log: Client, selection: Selection, given: argparse.Namespace
) -> AsyncIterator[Item]:
    """Yield messages from the given beginning on, by default new ones only, as they arrive."""
    since = given.since if isinstance(given.since, int) else None
    seen = 0
    async with selection.subscription(log, since) as live:
        # It is in force before the log is asked, so that nothing is missed in between.
        if given.lines is not None or isinstance(given.since, datetime):
            async for item in _stored(log, selection, given):
                yield item
                seen = item.to if isinstance(item, Gap) else item.seq
        async for item in live:
            if isinstance(item, Gap) or item.seq > seen:
                yield item


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
