"""The command line: which command was meant. Each is a module that is loaded when it is asked for.

Without a command it is `serve`, so `python -m livelog --port 8000` starts a server.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

HELP = """\
usage: livelog [COMMAND] [options]

  serve      run a server (what happens without a command)
  tail       follow messages as they come
  history    show past messages
  search     show past messages in which words occur
  publish    publish messages from a file or a pipe, one JSON object a line
  keys       make, list and withdraw API keys
  store      encrypt what a server has stored, or change its key

examples:
  livelog --demo                                a server with sample traffic
  livelog tail                                  follow all messages
  livelog tail --type user,dm --filter channel=general
  livelog tail --url ws://logs.example.com --json | jq .content
  livelog history --limit 20 --filter user_id=user_1
  livelog search 'ancient dragon' --type raid
  livelog publish events.ndjson

More about a command: livelog COMMAND --help. The version: livelog --version.
"""

COMMANDS = {
    "serve": "serve",
    "tail": "tail",
    "history": "history",
    "search": "history",
    "publish": "publish",
    "keys": "keys",
    "store": "store",
}
"""Command → module in this package, whose `main` gets all arguments from the command on."""

_WRONG_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    first = given[0] if given else ""
    if first in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if not first or first.startswith("-"):
        given.insert(0, "serve")
    elif first not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"livelog: there is no command {first!r}; there are: {known}", file=sys.stderr)
        return _WRONG_USAGE
    code: int = import_module(f"livelog.cli.{COMMANDS[given[0]]}").main(given)
    return code
