"""`livelog history` and `livelog search`: past messages, newest first."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

from livelog.cli import options
from livelog.cli.exit import outcome, say
from livelog.cli.format import counted, print_header, printer
from livelog.client.client import connect
from livelog.client.decoding import Page
from livelog.client.pages import whole
from livelog.client.url import shown
from livelog.index.where.lexer import hint_for_nothing

_HISTORY_EXAMPLES = """\
  livelog history --limit 20
  livelog history --type dm --filter user_id=user_1 --json
  livelog history --where 'metadata.level:>=40 timestamp:>-15m'
  livelog history --around 1764763200000000

The first column is the seq, the place of a message in the log: the value of
--before, --after, --around and `livelog tail --since`.
"""
_SEARCH_EXAMPLES = """\
  livelog search ancient dragon
  livelog search '"ancient dragon" victory' --type raid --limit 10
  livelog search dragon --filter date_from=2025-12-01T00:00:00Z --json
  livelog search --where 'dragon (red OR blue) -channel:trade'

Every word must occur, inside a longer word too; words in double quotes must
stand side by side.
"""
_TIMEOUT = 30
"""Seconds for each answer, reconnects included."""
_INCOMPLETE = "; older ones are not counted, as the server's store did not answer"


def main(arguments: Sequence[str]) -> int:
    """Print a page and return the exit code."""
    parser = make_parser(arguments[0])
    given = parser.parse_args(arguments[1:])
    if given.query == [] and given.where is None:
        parser.error("give words to look for, or --where")

    def act() -> int:
        page = asyncio.run(_fetch(given))
        show = printer(as_json=given.json, with_seq=True)
        if page.messages and not given.json:
            print_header()
        for message in page.messages:
            show(message)
        if not given.json or page.truncated or page.incomplete:
            say(_place(page))
        if not page.total and (hint := hint_for_nothing(given.where or "")):
            say(hint)
        return 0

    return outcome(act)


def make_parser(name: str) -> options.Parser:
    """Make the parser of `history` or `search`."""
    return _history_parser() if name == "history" else _search_parser()


def _history_parser() -> options.Parser:
    parser = _parser("history", "Print past messages, newest first.", _HISTORY_EXAMPLES)
    beside = parser.add_mutually_exclusive_group()
    for option, which in (
        ("--before", "the newest messages before"),
        ("--after", "the messages that directly follow"),
        ("--around", "the messages around"),
    ):
        beside.add_argument(option, type=int, metavar="SEQ", help=f"Print {which} this seq.")
    parser.set_defaults(query=None)
    return parser


def _search_parser() -> options.Parser:
    description = "Print past messages that contain all given words, newest first."
    parser = _parser("search", description, _SEARCH_EXAMPLES)
    help = "Words to look for; with --where they may be left out."
    parser.add_argument("query", nargs="*", metavar="WORDS", help=help)
    return parser


def _parser(name: str, description: str, examples: str) -> options.Parser:
    parser = options.parser(name, description, examples)
    options.add_selection(parser)
    parser.add_argument(
        "-n",
        "--limit",
        type=int,
        default=100,
        metavar="N",
        help="Number of messages to print (default: 100).",
    )
    parser.add_argument(
        "--offset",
        type=int,
        default=0,
        metavar="N",
        help="Number of newest matching messages to skip (default: 0).",
    )
    return parser


async def _fetch(given: argparse.Namespace) -> Page:
    filters: dict[str, Any] = options.filters(given)
    if types := options.types(given.type):
        filters["type"] = types
    places = ("offset", "before", "after", "around")
    place = {name: seq for name in places if (seq := getattr(given, name, None))}
    try:
        async with (
            asyncio.timeout(_TIMEOUT) as patience,
            connect(given.url, token=given.token) as log,
        ):

            async def ask(limit: int, **place: int) -> Page:
                patience.reschedule(asyncio.get_running_loop().time() + _TIMEOUT)
                if given.query is None:
                    return await log.history(filters=filters, limit=limit, **place)
                words = " ".join(given.query) or None
                return await log.search(words, filters=filters, limit=limit, **place)

            return await whole(ask, given.limit, seeks=given.query is None, **place)
    except TimeoutError:
        raise TimeoutError(f"no answer from {shown(given.url)} in {_TIMEOUT} seconds") from None


def _place(page: Page) -> str:
    if not page.messages:
        found = "no message matches"
        if page.total:
            found = f"no messages on this page; {counted(page.total, 'message')} in all"
        return f"{found}{_INCOMPLETE}" if page.incomplete else found
    first, last = page.offset + 1, page.offset + len(page.messages)
    of = f"{first} to {last} of {counted(page.total, 'message')}, newest first"
    if page.truncated:
        of += f"; the rest did not arrive, go on with --offset {page.next_offset}"
    return f"{of}{_INCOMPLETE}" if page.incomplete else of
