"""The flags that the client's commands share, and what they stand for."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from livelog.client.url import shown
from livelog.wire import WEBSOCKET_PATH

DEFAULT_URL = f"ws://127.0.0.1:8000{WEBSOCKET_PATH}"
_SCHEMES = {"http": "ws", "https": "wss"}


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keep examples as they are written, and flags such as `--limit-window` on one line."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


def parser(name: str, does: str, examples: str) -> argparse.ArgumentParser:
    """A parser with the flags that all have."""
    made = argparse.ArgumentParser(
        prog=f"livelog {name}",
        description=does,
        epilog=f"examples:\n{examples}",
        formatter_class=HelpFormatter,
    )
    made.add_argument(
        "--url", type=_url, default=DEFAULT_URL, help=f"address of the server ({DEFAULT_URL})"
    )
    made.add_argument(
        "--token",
        type=_token,
        default=os.environ.get("LIVELOG_TOKEN") or None,
        help="who you are: a token or an API key; other users of the machine do not see it in "
        "the variable LIVELOG_TOKEN",
    )
    return made


def add_selection(made: argparse.ArgumentParser) -> None:
    """Which messages, and how they are shown."""
    made.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="TYPE",
        help="only this type; may be repeated or list several: user,dm",
    )
    made.add_argument(
        "--filter",
        action="append",
        default=[],
        type=_condition,
        metavar="NAME=VALUE",
        help="only messages for which this holds: channel=general, user_id=…, "
        "date_from=…; may be repeated, and then all must hold",
    )
    made.add_argument("--json", action="store_true", help="print messages as JSON, one a line")


def types(given: Sequence[str]) -> list[str]:
    """The types that `--type` names."""
    return [name for names in given for name in names.split(",") if name]


def filters(given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The filters that `--filter` names."""
    return dict(given)


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _token(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise argparse.ArgumentTypeError("that is not a token")  # and is not repeated here
    return text


def _url(text: str) -> str:
    """A WebSocket address; `http://…` and a missing path are what somebody meant."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # checked only when it is looked at
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is not an address: {error}") from None
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    if scheme == "ws+unix":
        return text
    if scheme not in ("ws", "wss") or not parts.netloc:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is not an address such as {DEFAULT_URL}")
    path = WEBSOCKET_PATH if parts.path in ("", "/") else parts.path
    return parts._replace(scheme=scheme, path=path).geturl()
