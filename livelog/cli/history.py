"""`livelog history` and `livelog search`: a page of the past, newest first."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

from livelog.cli import options
from livelog.cli.exit import outcome, say
from livelog.cli.format import print_header, printer
from livelog.client.client import connect
from livelog.client.decoding import Page
from livelog.client.url import shown

_HISTORY_EXAMPLES = """\
  livelog history --limit 20
  livelog history --type dm --filter user_id=user_1 --json
  livelog history --around 1764763200000000

The first column is the seq: the place in the log that --before, --after,
--around and `livelog tail --since` take.
"""
_SEARCH_EXAMPLES = """\
  livelog search ancient dragon
  livelog search '"ancient dragon" victory' --type raid --limit 10
  livelog search dragon --filter date_from=2025-12-01T00:00:00Z --json

Every word must occur, inside a longer word too; words in double quotes must
stand side by side.
"""
_TIMEOUT = 30
"""Seconds for an answer, reconnects included."""


def main(arguments: Sequence[str]) -> int:
    """Show a page; returns the exit code."""
    name = arguments[0]
    parser = _history_parser() if name == "history" else _search_parser()
    given = parser.parse_args(arguments[1:])

    def act() -> int:
        page = asyncio.run(_fetch(given))
        show = printer(as_json=given.json, with_seq=True)
        if page.messages and not given.json:
            print_header()
        for message in page.messages:
            show(message)
        if not given.json:
            say(_place(page))
        return 0

    return outcome(act)


def _history_parser() -> argparse.ArgumentParser:
    parser = _parser("history", "Show past messages, newest first.", _HISTORY_EXAMPLES)
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument("--before", type=int, metavar="SEQ", help="the newest that are older")
    beside.add_argument("--after", type=int, metavar="SEQ", help="those that follow directly")
    beside.add_argument("--around", type=int, metavar="SEQ", help="those around it")
    parser.set_defaults(query=None)
    return parser


def _search_parser() -> argparse.ArgumentParser:
    does = "Show past messages in which all words occur, newest first."
    parser = _parser("search", does, _SEARCH_EXAMPLES)
    parser.add_argument("query", nargs="+", metavar="WORDS", help="the words to look for")
    return parser


def _parser(name: str, does: str, examples: str) -> argparse.ArgumentParser:
    parser = options.parser(name, does, examples)
    options.add_selection(parser)
    parser.add_argument("--limit", type=int, default=100, help="how many messages (100)")
    parser.add_argument("--offset", type=int, default=0, help="how many newer ones to skip (0)")
    return parser


async def _fetch(given: argparse.Namespace) -> Page:
    filters: dict[str, Any] = options.filters(given.filter)
    if types := options.types(given.type):
        filters["type"] = types
    page = {"filters": filters, "limit": given.limit, "offset": given.offset}
    try:
        async with asyncio.timeout(_TIMEOUT), connect(given.url, token=given.token) as log:
            if given.query is not None:
                return await log.search(" ".join(given.query), **page)
            beside = {name: getattr(given, name) for name in ("before", "after", "around")}
            return await log.history(**page, **beside)
    except TimeoutError:
        raise TimeoutError(f"no answer from {shown(given.url)} in {_TIMEOUT} seconds") from None


def _place(page: Page) -> str:
    if not page.messages:
        return f"nothing to show; {page.total} messages match"
    first, last = page.offset + 1, page.offset + len(page.messages)
    return f"{first} to {last} of {page.total} messages, newest first"
