"""The command line. Each command is a module that is loaded when the command is used.

The default command is `serve`, so `python -m livelog --port 8000` starts a server.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from livelog.cli import early
from livelog.cli.exit import WRONG_USAGE, printed, say
from livelog.config.suggest import suggestion

HELP = """\
usage: livelog [COMMAND] [options]

  serve      run a server; the default command
  tail       print new messages as they arrive
  history    print past messages
  search     print past messages that contain all given words
  stats      count past messages, by a field or over time
  publish    publish messages from a file or a pipe, one JSON object a line
  keys       create, list and revoke API keys
  doctor     try a server from outside, and say what is wrong
  admin      list and disconnect clients, and the like, with a key
  top        show how a server is and who is connected, redrawn as it goes
  config     check a file of settings, show those in force, write an example
  deploy     print files for systemd, containers, Kubernetes, nginx, Grafana
  store      check a store, encrypt it or change its key; create keys
  engine     look at a log that many servers share, and heal it

examples:
  livelog --demo                                serve sample traffic
  livelog tail --type user,dm --filter channel=general
  livelog tail --url ws://logs.example.com --json | jq .content
  livelog publish events.ndjson

Options of a command: livelog COMMAND --help. Version: livelog --version.
"""

COMMANDS = {
    "serve": "serve",
    "tail": "tail",
    "history": "history",
    "search": "history",
    "stats": "stats",
    "publish": "publish",
    "keys": "keys",
    "doctor": "doctor",
    "admin": "admin",
    "top": "top",
    "config": "configuration",
    "deploy": "deploy",
    "store": "store",
    "engine": "engine",
}
"""Command → module in this package, whose `main` gets all arguments from the command on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    first = given[0] if given else ""
    if first in ("-h", "--help"):
        return printed(HELP)
    if not first or first.startswith("-"):
        given.insert(0, "serve")
    elif first not in COMMANDS:
        meant = suggestion(first, COMMANDS) or f"; known are: {', '.join(COMMANDS)}"
        say(f"unknown command {first!r}{meant}")
        return WRONG_USAGE
    if given[0] == "serve":
        early.install()  # before the import below, which takes a while
    code: int = import_module(f"livelog.cli.{COMMANDS[given[0]]}").main(given)
    return code
