"""`livelog top`: how a server is, and who is connected, redrawn every few seconds.

It asks for `/metrics`, `/healthz` and the admin command `connections`, as anybody with the key may;
`figures` makes rates of two looks, `screen` draws them, `keyboard` reads single keys.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from livelog.cli import options
from livelog.cli.exit import Failure, outcome
from livelog.cli.top import keyboard
from livelog.cli.top.figures import Look, read
from livelog.cli.top.view import ORDERS, Act, View
from livelog.client.errors import Lost, unreachable
from livelog.client.httpreader import HttpReader
from livelog.client.url import listed, shown
from livelog.errors import SERVER_ERROR, RefusedError, UnreachableError, installing
from livelog.wire.events import AdminResult

if TYPE_CHECKING:
    from rich.live import Live

_EXAMPLES = """\
  livelog top
  livelog top --url wss://log.example.org --interval 5
  livelog top --once --sort bytes_sent

Keys: s changes the order, the arrows (or j and k) choose a client, d and then y
disconnect it, q quits. The key or token needs the scope admin, or metrics and
moderate for the two halves.
"""


def main(arguments: Sequence[str]) -> int:
    """Show a server until it is interrupted, and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    return outcome(lambda: _run(given))


def make_parser(name: str) -> options.Parser:
    """Make the parser of `top`."""
    parser = options.parser(name, "Show how a server is, and who is connected.", _EXAMPLES)
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=2.0,
        metavar="SECONDS",
        help="Seconds between two looks, 0.2 to 60 (default: 2).",
    )
    parser.add_argument(
        "--sort",
        choices=ORDERS,
        default=ORDERS[0],
        metavar="ORDER",
        help=f"Order of the clients: {', '.join(ORDERS)} (default: {ORDERS[0]}).",
    )
    parser.add_argument("--once", action="store_true", help="Print one frame and exit.")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.2 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is invalid: must be 0.2 to 60 seconds")
    return seconds


class Server:
    """The server that is looked at."""

    def __init__(self, url: str, token: str | None) -> None:
        self.name = shown(url)
        self._reader = HttpReader(url, token)

    def look(self, sort: str) -> Look:
        """Ask for all that is shown. Raises `UnreachableError`, and `RefusedError` for both."""
        try:
            metrics = self._kept_back("/metrics")
            asked = msgspec.json.encode({"sort": sort, "limit": 100})
            answer = self._tried(lambda: self._reader.post("/api/admin/connections", asked))
            health = self._kept_back("/healthz")
        except Lost as lost:
            missed = [f"{self.name}: {lost}"]
            raise unreachable(missed, answered=lost.loss.answered) from None
        if isinstance(metrics, RefusedError) and isinstance(answer, RefusedError):
            raise answer
        return read(time.monotonic(), metrics, answer, health)

    def disconnect(self, connection_id: str) -> str:
        """Disconnect a client, and say what has become of that."""
        fields = {"connection_id": connection_id, "reason": "", "reconnect_after_seconds": 10.0}
        try:
            body = self._reader.post("/api/admin/disconnect", msgspec.json.encode(fields))
            count = msgspec.json.decode(body, type=AdminResult).result.get("disconnected")
        except (RefusedError, Lost) as failure:
            return str(failure)
        return f"disconnected: {count}"

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()

    def _kept_back(self, path: str) -> bytes | RefusedError:
        """Return what proxies may keep back: the shipped ones do so with the metrics."""
        try:
            return self._tried(lambda: self._reader.get(path))
        except Lost as lost:
            if not lost.loss.answered:
                raise
            return RefusedError(SERVER_ERROR, "", str(lost))

    def _tried(self, ask: Callable[[], bytes]) -> bytes | RefusedError:
        try:
            return ask()
        except RefusedError as refused:
            return refused


def _run(given: argparse.Namespace) -> int:
    try:
        import rich
    except ImportError:
        raise Failure(f"top needs rich: {installing('cli')}") from None
    del rich
    server = Server((listed(given.url) or [given.url])[0], given.token)
    view = View(server.name, given.sort)
    with ExitStack() as stack:
        stack.callback(server.close)
        view.add(server.look(view.sort))
        if given.once:
            time.sleep(given.interval)
            view.add(server.look(view.sort))
            _print(view)
            return 0
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise Failure("top needs a terminal; --once prints one frame without one")
        _watch(server, view, given.interval, stack)
    return 0


def _print(view: View) -> None:
    from rich.console import Console

    from livelog.cli.top.screen import frame

    # Without a terminal rich would take 80 columns, which cuts the ids that one may want to copy.
    console = Console() if sys.stdout.isatty() else Console(width=160, color_system=None)
    console.print(frame(view, height=None))


def _watch(server: Server, view: View, interval: float, stack: ExitStack) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    stack.enter_context(keyboard.single_keys())
    live = stack.enter_context(Live(console=console, screen=True, auto_refresh=False))
    while True:
        until = time.monotonic() + interval
        _draw(live, console.height, view)
        while (left := until - time.monotonic()) > 0:
            act = view.press(keyboard.key(left))
            if act is Act.QUIT:
                return
            if act is Act.DISCONNECT:
                view.note = server.disconnect(view.chosen)
            if act is Act.LOOK:
                break
            _draw(live, console.height, view)
        try:
            view.add(server.look(view.sort))
        except UnreachableError as away:
            view.note = str(away)  # it may come back


def _draw(live: Live, height: int, view: View) -> None:
    from livelog.cli.top.screen import frame

    live.update(frame(view, height=height), refresh=True)
